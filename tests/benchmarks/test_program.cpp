// SPDX-License-Identifier: Apache-2.0
//
// What the programs share: errors, exit codes, files.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

#include "chainrule/learn/output.hpp"
#include "process.hpp"
#include "program.hpp"

namespace chainrule::bench {
namespace {

using chainrule::testing::Directory;
using chainrule::testing::read_text;
using chainrule::testing::write_text;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::ThrowsMessage;

std::string message_of(const std::function<int()>& body, int code) {
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(run_main("abacus", body), code);
  return ::testing::internal::GetCapturedStderr();
}

TEST(Program, TurnsExceptionsIntoExitCodes) {
  EXPECT_EQ(message_of([] { return 7; }, 7), "");
  EXPECT_EQ(message_of([]() -> int { throw Misuse("no such bead"); }, 2),
            "abacus: error: no such bead (see abacus --help)\n");
  EXPECT_EQ(message_of([]() -> int { throw Error("a bead is lost"); }, 1),
            "abacus: error: a bead is lost\n");
  EXPECT_EQ(message_of([]() -> int { throw std::runtime_error("wood"); }, 1),
            "abacus: error: wood\n");
}

TEST(Program, SeesWhatCannotBeWrittenBeforeItWrites) {
  const Directory directory;
  const std::string fresh = directory / "fresh.json";
  EXPECT_NO_THROW(expect_writable(fresh));
  EXPECT_EQ(read_text(fresh), "");
  const std::string old = write_text(directory / "old.json", "old");
  EXPECT_NO_THROW(expect_writable(old));
  EXPECT_EQ(read_text(old), "old");
  EXPECT_NO_THROW(expect_writable("/dev/null"));
  EXPECT_NO_THROW(expect_writable("/dev/stdout"));
  EXPECT_THAT([&] { expect_writable(directory / ""); },
              ThrowsMessage<FormatError>(HasSubstr("Is a directory")));
  EXPECT_THAT(
      [&] { expect_writable(directory / "none/x.json"); },
      ThrowsMessage<FormatError>(AllOf(HasSubstr("none/x.json"), HasSubstr("No such file"))));
}

TEST(Program, WritesTheOtherFilesWhenOneCannotBeWritten) {
  const Directory directory;
  const std::string good = directory / "good.csv", bad = directory / "none/bad.json";
  const auto write = [&] {
    write_outputs({{bad, [] { return "{}"; }},
                   {"", []() -> std::string { throw Error("nobody asked for it"); }},
                   {good, [] { return "a,b\n"; }}});
  };
  EXPECT_THAT(write,
              ThrowsMessage<Error>(AllOf(HasSubstr("none/bad.json"), Not(HasSubstr("good.csv")))));
  EXPECT_EQ(read_text(good), "a,b\n");
}

}  // namespace
}  // namespace chainrule::bench
