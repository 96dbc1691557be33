// SPDX-License-Identifier: Apache-2.0
//
// The program `peers` with the peers that were built, and with made-up ones that misbehave.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "process.hpp"

namespace chainrule::testing {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using Json = nlohmann::json;

// Fast, and done by every peer but OpenBLAS: one of predictions and one of steps.
constexpr const char* kSmall = "^(small-predict|tiny-step)$";

/// Our contender beside a made-up one, /bin/sh's `script`.
class Stage {
 public:
  explicit Stage(const std::string& script) {
    std::filesystem::create_symlink(CHAINRULE_PEER, directory_ / "peer_chainrule");
    const std::string path = directory_ / "peer_other";
    write_text(path, "#!/bin/sh\n" + script + "\n");
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  }

  std::string path() const { return directory_ / ""; }
  Outcome hold(std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments{"--directory",  path(),     "--filter",
                                       "tiny-predict", "--rounds", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }

 private:
  Directory directory_;
};

void expect_timed(const Json& entry) {
  SCOPED_TRACE(entry.dump());
  ASSERT_EQ(entry.at("status"), "timed");
  EXPECT_FALSE(entry.at("library").get<std::string>().empty());
  ASSERT_EQ(entry.at("times").size(), 2);
  double best = entry.at("times")[0].at("seconds");
  for (const Json& time : entry.at("times")) {
    EXPECT_EQ(time.at("rounds").size(), 2);
    best = std::min(best, time.at("seconds").get<double>());
  }
  EXPECT_GT(best, 0);
  EXPECT_EQ(entry.at("best_seconds"), best);
  EXPECT_THAT((std::vector<int>{1, 2}), Contains(entry.at("best_threads").get<int>()));
}

TEST(Peers, AgreeWithUsAndAreTimed) {
  const Directory directory;
  const std::string file = directory / "peers.json";
  const std::string table = run_ok({"--filter", kSmall, "--rounds", "2", "--json", file});
  const Json report = Json::parse(read_text(file));
  for (const char* key : {"cpu", "cores", "commit", "compiler", "flags", "tolerance"}) {
    EXPECT_TRUE(report.contains(key)) << key;
  }
  EXPECT_THAT(report.at("command").get<std::string>(), StartsWith("peers --filter"));
  EXPECT_EQ(report.at("rounds"), 2);
  EXPECT_EQ(report.at("threads"), Json({1, 2}));
  EXPECT_EQ(report.at("ok"), true);
  ASSERT_EQ(report.at("workloads").size(), 2);
  for (const Json& workload : report.at("workloads")) {
    EXPECT_THAT(table, HasSubstr("\n" + workload.at("workload").get<std::string>() + " "));
    EXPECT_TRUE(workload.contains("widths") && workload.contains("batch"));
    EXPECT_THAT((std::vector<Json>{"step", "predict"}), Contains(workload.at("task")));
    const Json& entries = workload.at("entries");
    EXPECT_EQ(entries.at(0).at("name"), "chainrule");
    EXPECT_EQ(entries.at(0).at("ratio"), 1);
    for (const Json& entry : entries) {
      if (entry.at("name") == "openblas") {
        EXPECT_EQ(entry.at("status"), "absent");
        continue;
      }
      expect_timed(entry);
      EXPECT_EQ(
          entry.at("ratio").get<double>(),
          entry.at("best_seconds").get<double>() / entries.at(0).at("best_seconds").get<double>());
    }
  }
}

// The batches of an epoch are the same rows: other ones would make other weights.
TEST(Peers, AgreeOnAnEpochsSteps) {
  if (!std::filesystem::exists(std::filesystem::path(CHAINRULE_PEER).parent_path() /
                               "peer_torch")) {
    GTEST_SKIP() << "libtorch was not found (apt-get install libtorch-dev)";
  }
  const Directory directory;
  const std::string file = directory / "peers.json";
  run_ok({"--filter", "^fashion-epoch$", "--peers", "torch", "--rounds", "1", "--threads", "2",
          "--json", file});
  const Json workload = Json::parse(read_text(file)).at("workloads").at(0);
  EXPECT_EQ(workload.at("task"), "epoch");
  for (const Json& entry : workload.at("entries")) {
    EXPECT_EQ(entry.at("status"), "timed") << entry.dump();
    EXPECT_GT(entry.at("best_seconds").get<double>(), 0);
  }
}

TEST(Peers, AlsoWriteCsvAndSvg) {
  const Directory directory;
  const std::string csv = directory / "peers.csv", svg = directory / "peers.svg";
  run_ok({"--filter", "^tiny-predict$", "--peers", "plain", "--rounds", "1", "--threads", "1",
          "--csv", csv, "--svg", svg});
  const std::vector<std::string> lines = lines_of(read_text(csv));
  ASSERT_EQ(lines.size(), 3);
  EXPECT_EQ(lines[0], "workload,contender,library,status,threads,seconds,ratio_of_best");
  EXPECT_THAT(lines[1], StartsWith("tiny-predict,chainrule,\"chainrule "));
  EXPECT_THAT(lines[2], StartsWith("tiny-predict,plain,\"plain loops\",timed,1,"));
  EXPECT_THAT(read_text(svg), AllOf(StartsWith("<svg "), HasSubstr(">tiny-predict</text>"),
                                    HasSubstr(">plain</text>"), EndsWith("</svg>\n")));
}

TEST(Peers, MisuseExitsWithTwoAndSaysWhat) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
      {{"--filter", "huge-step"}, "no workload is called so; there are tiny-step, tiny-predict"},
      {{"--filter", "("}, "--filter ("},
      {{"--peers", "abacus"}, "there is no peer_abacus in "},
      {{"--rounds", "0"}, "--rounds"},
      {{"--threads", "0"}, "--threads"},
      {{"--directory", "/nowhere"}, "/nowhere"},
      {{"--colour"}, "--colour"},
  };
  for (const auto& [arguments, fragment] : cases) {
    SCOPED_TRACE(::testing::PrintToString(arguments));
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, 2);
    EXPECT_THAT(outcome.err,
                AllOf(StartsWith("peers: error: "), HasSubstr(fragment), HasSubstr("--help")));
    EXPECT_EQ(outcome.out, "");
  }
}

TEST(Peers, TellAtOnceWhatCannotBeWritten) {
  const Directory directory;
  const std::string json = directory / "peers.json";
  for (const char* option : {"--csv", "--svg"}) {
    const Outcome outcome = run({"--json", json, option, "/nonexistent/x"});
    EXPECT_EQ(outcome.code, 1);
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, AllOf(StartsWith("peers: error: "), HasSubstr("/nonexistent/x")));
  }
}

TEST(Peers, WriteTheOtherFilesWhenOneIsLost) {
  const Directory directory;
  const std::string csv = directory / "peers.csv";
  const Outcome outcome = run({"--filter", "^tiny-predict$", "--peers", "plain", "--rounds", "1",
                               "--threads", "1", "--json", "/dev/full", "--csv", csv});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, AllOf(StartsWith("peers: error: "), HasSubstr("/dev/full")));
  EXPECT_EQ(lines_of(read_text(csv)).size(), 3);
}

TEST(Peers, HelpHasExamples) {
  EXPECT_THAT(run_ok({"--help"}), AllOf(HasSubstr("Examples:\n  peers\n"), HasSubstr("--json")));
}

TEST(Peers, WithoutOursThereIsNothingToCompareWith) {
  const Directory directory;
  const Outcome outcome = run({"--directory", directory / ""});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("no peer_chainrule in "));
}

TEST(Peers, AreNotTimedWhenTheyDisagree) {
  const Stage stage("printf 'library liar\\nresults 1\\nABCD'; cat");
  const Directory directory;
  const std::string file = directory / "peers.json";
  const Outcome outcome = stage.hold({"--json", file});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.out, HasSubstr("tiny-predict, other disagrees: on 1 thread: predictions, "
                                     "element 0: 781.035, ours "));
  const Json report = Json::parse(read_text(file));
  EXPECT_EQ(report.at("ok"), false);
  const Json& other = report.at("workloads")[0].at("entries")[1];
  EXPECT_EQ(other.at("status"), "disagrees");
  EXPECT_FALSE(other.contains("times"));
}

TEST(Peers, ThatMisbehaveAreReported) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"exit 7", "peer_other ended with exit code 7"},
      {"echo first >&2; echo last >&2; exit 1", "peer_other ended with exit code 1: last\n"},
      {"kill -SEGV $$", "peer_other was ended by signal 11 (Segmentation fault)"},
      {"echo hello", "peer_other said 'hello', expected 'library ...'"},
      {"echo library x; echo results many", "expected a count"},
      {"printf 'library x\\nresults 2\\nABCDABCD'; cat", "2 results, expected 1"},
      {"printf 'library x\\nresults 2\\nABCD'", "peer_other ended with exit code 0"},
  };
  for (const auto& [script, message] : cases) {
    SCOPED_TRACE(script);
    const Outcome outcome = Stage(script).hold();
    EXPECT_EQ(outcome.code, 1);
    EXPECT_THAT(outcome.out, HasSubstr(message));
  }
}

TEST(Peers, ThatDieOrTalkNonsenseWhileTimedAreReported) {
  const std::string honest = std::string(CHAINRULE_PEER) + " $1 $2 </dev/null; ";
  for (const auto& [script, message] : std::vector<std::pair<std::string, std::string>>{
           {"read line; exit 5", "peer_other ended with exit code 5"},
           {"read line; echo soon", "peer_other said 'soon', expected seconds"},
           {"read line; echo -1", "peer_other said '-1', expected seconds"}}) {
    SCOPED_TRACE(script);
    const Outcome outcome = Stage(honest + script).hold();
    EXPECT_EQ(outcome.code, 1);
    EXPECT_THAT(outcome.out, AllOf(HasSubstr("tiny-predict, other failed: "), HasSubstr(message)));
  }
}

TEST(Peers, MayNotHaveAWorkload) {
  const Outcome outcome = Stage("exit 3").hold();
  EXPECT_EQ(outcome.code, 0) << outcome.out;
  EXPECT_THAT(lines_of(outcome.out), Contains(AllOf(StartsWith("tiny-predict"), EndsWith(" -"))));
}

TEST(Peers, AreTimedBesideBusyProcesses) {
  const Directory directory;
  const std::string json = directory / "peers.json";
  const Outcome outcome = run({"--filter", "tiny-predict", "--peers", "plain", "--threads", "1",
                               "--rounds", "1", "--busy", "2", "--json", json});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, StartsWith("Beside 2 busy processes.\n"));
  EXPECT_EQ(Json::parse(read_text(json)).at("busy"), 2);
}

/// README.md with the lines between which the table goes, and what readme_table makes of it.
class ReadmeTable : public ::testing::Test {
 protected:
  Outcome fill(const std::string& json, std::string_view readme) {
    write_text(path_, readme);
    return Process({json, path_}, {}, CHAINRULE_README_TABLE).wait();
  }
  std::string readme() const { return read_text(path_); }

  const Directory directory_;
  const std::string path_ = directory_ / "README.md";
  static constexpr std::string_view kReadme =
      "before\n<!-- benchmarks: begin -->\nold\n<!-- benchmarks: end -->\nafter\n";
};

TEST_F(ReadmeTable, StandsBetweenItsLines) {
  const std::string json = write_text(
      directory_ / "peers.json",
      R"({"cpu": "Abacus", "cores": 2, "commit": "abc", "compiler": "GNU 12", "flags": "-O2",
          "command": "peers --json peers.json", "rounds": 9, "workloads": [{"workload": "tiny-step",
          "widths": "4-8-1", "batch": 1, "entries": [
          {"name": "chainrule", "status": "timed", "best_threads": 1, "best_seconds": 1.5e-7},
          {"name": "eigen", "status": "timed", "best_threads": 1, "best_seconds": 3e-7, "ratio": 2.0},
          {"name": "torch", "status": "absent"}, {"name": "plain", "status": "disagrees"}]}]})");
  const Outcome outcome = fill(json, kReadme);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(
      readme(),
      AllOf(StartsWith("before\n<!-- benchmarks: begin -->\n| workload | network | batch | "
                       "chainrule | eigen | torch | plain |\n"),
            HasSubstr("\n| tiny-step | 4-8-1 | 1 | 150 ns (1) | 2.00x |  | disagrees |\n"),
            HasSubstr("Abacus, 2 cores; commit abc, GNU 12, `-O2`; `peers --json peers.json`"),
            EndsWith("\n<!-- benchmarks: end -->\nafter\n"), Not(HasSubstr("old"))));
}

TEST_F(ReadmeTable, ChangesNothingWhenSomethingIsWrong) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"{", " is not JSON, at byte 2"},
      {"[]", " is not what peers --json writes: "},
      {R"({"workloads": []})", " is not what peers --json writes: it holds no workload"},
      {R"({"workloads": [{"entries": [{"name": 7}]}]})", " is not what peers --json writes: "},
  };
  for (const auto& [text, message] : cases) {
    SCOPED_TRACE(text);
    const std::string bad = write_text(directory_ / "bad.json", text);
    const Outcome outcome = fill(bad, kReadme);
    EXPECT_EQ(outcome.code, 1);
    EXPECT_THAT(outcome.err, StartsWith("readme_table: error: " + bad + message));
    EXPECT_EQ(readme(), kReadme);
  }
  const Outcome missing = fill(directory_ / "missing.json", kReadme);
  EXPECT_EQ(missing.code, 1);
  EXPECT_THAT(missing.err, AllOf(HasSubstr("cannot read "), HasSubstr("missing.json")));
}

TEST_F(ReadmeTable, IsThatOfTheResultsThatTheReadmeNames) {
  const std::string text = read_text(CHAINRULE_SOURCE_DIR "/README.md");
  ASSERT_THAT(text, HasSubstr("`benchmarks/peers/results/peers.json`"));
  const Outcome outcome = fill(CHAINRULE_SOURCE_DIR "/benchmarks/peers/results/peers.json", text);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(readme(), text);
}

TEST(Peers, GetACleanEnvironment) {
  const Directory directory;
  const std::string file = directory / "variables";
  const Stage stage("/usr/bin/env >" + file + "; exit 3");
  const Outcome outcome =
      Process({"--directory", stage.path(), "--filter", "tiny-predict", "--threads", "2"},
              {"OPENBLAS_CORETYPE=Haswell", "OMP_NUM_THREADS=7", "CHAINRULE_ARCH=baseline"})
          .wait();
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(lines_of(read_text(file)),
              AllOf(Contains("OMP_NUM_THREADS=2"), Contains("OMP_WAIT_POLICY=passive"),
                    Not(Contains(StartsWith("OPENBLAS_CORETYPE="))),
                    Not(Contains(StartsWith("CHAINRULE_ARCH=")))));
}

TEST(Peers, ContenderTellsMisuse) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{}, {"tiny-step"}, {"huge-step", "1"}, {"tiny-step", "0"}}) {
    const Outcome outcome = Process(arguments, {}, CHAINRULE_PEER).wait();
    EXPECT_EQ(outcome.code, 2);
    EXPECT_THAT(outcome.err, AllOf(HasSubstr("WORKLOAD THREADS"), HasSubstr("glm-gradient")));
  }
}

}  // namespace
}  // namespace chainrule::testing
