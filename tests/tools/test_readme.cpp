// SPDX-License-Identifier: Apache-2.0
//
// What the README shows is what happens.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <charconv>
#include <optional>
#include <regex>
#include <sstream>

#include "chainrule/check/gtest.hpp"
#include "process.hpp"
#include "snake_with_mean.hpp"

namespace chainrule::testing {
namespace {

using ::testing::HasSubstr;

// The block between a line ```LANGUAGE and the next ```, the first that begins with `start`.
std::string block(std::string_view language, std::string_view start) {
  const std::string readme = read_text(CHAINRULE_SOURCE_DIR "/README.md");
  const std::string opening = "\n```" + std::string(language) + "\n";
  for (std::size_t at = readme.find(opening); at != std::string::npos;
       at = readme.find(opening, at + 1)) {
    const std::size_t first = at + opening.size();
    const std::string text = readme.substr(first, readme.find("\n```\n", first) + 1 - first);
    if (text.rfind(start, 0) == 0) return text;
  }
  ADD_FAILURE() << "README.md has no block " << opening << start;
  return "";
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

std::optional<double> number_in(const std::string& word) {
  double value = 0;
  const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  const std::string_view rest(stop, static_cast<std::size_t>(word.data() + word.size() - stop));
  if (error != std::errc{} || (!rest.empty() && rest != ",")) return std::nullopt;
  return value;
}

#ifdef CHAINRULE_EXAMPLE_DIGITS
TEST(Readme, TheProgramIsTheExample) {
  const std::string source = read_text(CHAINRULE_SOURCE_DIR "/examples/digits.cpp");
  const std::string program = block("cpp", "#include <chainrule/");
  EXPECT_EQ("// SPDX-License-Identifier: Apache-2.0\n" + program, source);
  EXPECT_LE(lines_of(program).size(), 20U);
}

// Other kernels round differently, which 60 epochs make visible.
TEST(Readme, TheProgramPrintsWhatTheReadmeSays) {
  constexpr double kTolerance = 0.02;
  Directory directory;
  const Outcome outcome = Process({}, {}, CHAINRULE_EXAMPLE_DIGITS, directory / "").wait();
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const std::vector<std::string> seen = words_of(outcome.out);
  const std::vector<std::string> expected = words_of(block("", "epoch 1:"));
  ASSERT_EQ(seen.size(), expected.size()) << outcome.out;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    const auto number = number_in(seen[i]), wanted = number_in(expected[i]);
    if (number && wanted) {
      EXPECT_NEAR(*number, *wanted, kTolerance);
    } else {
      EXPECT_EQ(seen[i], expected[i]);
    }
  }
}
#endif

// Op, dtype, how much was compared and the verdict; errors and the worst value depend on kernels.
std::vector<std::string> essence(const std::string& transcript) {
  static const std::regex row(
      R"((\S+) +(float\d\d) +(?:\S+ )?\[[^\]]*\] +(\S+) +(\S+) +\S+ +\S+ +\S+ +(.*))");
  static const std::regex seconds(R"(\([0-9.]+ s\))");
  static const std::regex error(R"(error \S+ of \S+)");
  std::vector<std::string> lines;
  for (const std::string& line : lines_of(transcript)) {
    std::smatch parts;
    if (std::regex_match(line, parts, row)) {
      lines.push_back(parts.format("$1 $2 $3 $4 $5"));
    } else if (line.rfind("kernels ", 0) != 0) {
      const std::string timeless = std::regex_replace(line, seconds, "(# s)");
      lines.push_back(std::regex_replace(timeless, error, "error # of #"));
    }
  }
  return lines;
}

// Runs the command on the first line of the transcript.
void expect_transcript(const std::string& start) {
  SCOPED_TRACE(start);
  const std::string transcript = block("", "$ chainrule " + start);
  const std::string first = lines_of(transcript).front();
  std::vector<std::string> arguments = words_of(first);
  arguments.erase(arguments.begin(), arguments.begin() + 2);
  EXPECT_EQ(essence(run_ok(arguments)), essence(transcript.substr(first.size() + 1)));
}

TEST(Readme, TranscriptsOfGradcheckAreTrue) {
  expect_transcript("gradcheck --op matmul");
  expect_transcript("gradcheck --mutants --op");
}

// Up to where the README breaks off: "..." or, where kernels differ, the errors of a row.
std::string told(const std::string& line) {
  static const std::regex rest(R"((\.\.\.$)|( +\S+ +\S+ +\S+ +disagree$)|( \(snake_test.*))");
  return std::regex_replace(line, rest, "");
}

TEST(Readme, TheFailingMatcherSaysThat) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 3}), a = graph.parameter("a", {3}, ones());
  graph.apply(kSnakeWithMeanOp, {x, a});
  ::testing::StringMatchResultListener listener;
  EXPECT_FALSE(::testing::ExplainMatchResult(HasCorrectGradients(), graph, &listener));
  const std::string all = ::testing::PrintToString(graph) + listener.str();
  const std::string transcript = block("", "Expected: has gradients");
  const std::string actual = "  Actual: ";
  const std::string said = transcript.substr(transcript.find(actual) + actual.size());
  for (const std::string& line : lines_of(said)) EXPECT_THAT(all, HasSubstr(told(line)));

  const std::regex where(R"(snake_test\.cpp:([0-9]+))");
  std::smatch number;
  ASSERT_TRUE(std::regex_search(transcript, number, where));
  const auto lines = lines_of(read_text(CHAINRULE_SOURCE_DIR "/examples/custom_op/snake_test.cpp"));
  EXPECT_THAT(lines.at(std::stoul(number[1]) - 1), HasSubstr("apply(kSnakeWithMeanOp"));
}

}  // namespace
}  // namespace chainrule::testing
