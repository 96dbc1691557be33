// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "chainrule/core/version.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/learn/schedule.hpp"
#include "chainrule/runtime/machine.hpp"
#include "process.hpp"

namespace chainrule::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(CommandLine, EverySubcommandExplainsItselfWithExamples) {
  for (const std::string name :
       {"info", "gradcheck", "train", "evaluate", "predict", "kernel", "approximate"}) {
    EXPECT_THAT(run_ok({name, "--help"}), AllOf(HasSubstr("Examples:\n  chainrule " + name),
                                                HasSubstr("Usage: chainrule " + name)));
    EXPECT_THAT(run_ok({"--help"}), HasSubstr("\n  " + name + " "));
  }
}

TEST(CommandLine, HelpSaysWhichDigitsAreTestRows) {
  for (const std::string name : {"train", "evaluate"}) {
    EXPECT_THAT(run_ok({name, "--help"}),
                HasSubstr("digits: train rows i % 5 != 0, test rows i % 5 == 0"));
  }
}

TEST(CommandLine, HelpExplainsTheNumbersOfSchedules) {
  const std::string help = run_ok({"train", "--help"});
  // With the defaults that the library has.
  EXPECT_EQ(parse_schedule("step"), parse_schedule("step:10,0.1"));
  EXPECT_EQ(parse_schedule("cosine"), parse_schedule("cosine:0,0"));
  EXPECT_EQ(parse_schedule("robbins-monro"), parse_schedule("robbins-monro:1,0"));
  for (const std::string text : {"step:10,0.1", "cosine:0,0 ", "robbins-monro:1,0", "WARMUP of all",
                                 "FINAL times the learning rate", "A / (t + T0)"}) {
    EXPECT_THAT(help, HasSubstr(text));
  }
}

TEST(CommandLine, TellsItsVersion) {
  EXPECT_EQ(run_ok({"--version"}), "chainrule " CHAINRULE_VERSION_STRING "\n");
}

TEST(CommandLine, MisuseExitsWithTwoAndSaysWhat) {
  const std::vector<std::string> train{"train", "--data", "digits", "--model", "64-10"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), train.begin(), train.end());
    return more;
  };
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
      {{}, "subcommand"},
      {{"paint"}, "paint"},
      {{"info", "--colour"}, "--colour"},
      {{"train", "--model", "64-10"}, "--data"},
      {{"train", "--data", "d.csv"}, "--model is required"},
      {{"train", "--data", "digits", "--model", "64--10"}, "64--10"},
      {{"train", "--data", "digits", "--model", "64"}, "--model"},
      {with({"--epochs", "many"}), "many"},
      {with({"--epochs", "-1"}), "--epochs"},
      {with({"--batch", "0"}), "--batch"},
      {with({"--threads", "0"}), "--threads"},
      {with({"--seed", "-1"}), "--seed"},
      {with({"--loss", "guess"}), "guess"},
      {with({"--optimizer", "lbfgs"}), "expected sgd, adam or adamw"},
      {with({"--momentum", "0.9"}), "--optimizer sgd"},
      {with({"--learning-rate", "-1"}), "--learning-rate: -1, expected a finite number >= 0"},
      {with({"--weight-decay", "-0.5"}), "--weight-decay: -0.5, expected a finite number >= 0"},
      {with({"--optimizer", "sgd", "--momentum", "1"}), "--momentum: 1, expected 0 <= momentum"},
      {with({"--header", "none"}), "--header: got 'none', expected yes, no or auto"},
      {with({"--out", "m", "--history", "./m"}), "--history ./m: that is also the file of --out"},
      {with({"--seed", "-1"}), "-1, expected a whole number from 0 to 18446744073709551615 ("},
      {with({"--seed", "18446744073709551616"}), "18446744073709551616, expected"},
      {with({"--learning-rate", "nan"}), "--learning-rate: nan"},
      {with({"--schedule", "zigzag"}), "zigzag"},
      {with({"--schedule", "robbins-monro", "--learning-rate", "0.1"}),
       "--learning-rate has no part in --schedule robbins-monro"},
      {with({"--activation", "step"}), "step"},
      {with({"--dtype", "int32"}), "int32"},
      {with({"--gemm", "gpu"}), "gpu"},
      {with({"--validation", "1"}), "--validation"},
      {with({"--target", "digit"}), "--target"},
      {{"gradcheck", "--op", "matmull"}, "matmul"},
      {{"gradcheck", "--dtype", "half"}, "half"},
      {{"evaluate", "--data", "digits"}, "--model"},
      {{"predict", "--model", "m", "--data", "d"}, "--out"},
      {{"approximate"}, "one of --function and --data"},
      {{"approximate", "--function", "x", "--data", "d.csv"}, "--function excludes --data"},
      {{"approximate", "--function", "x", "--epsilon", "0"}, "--epsilon: 0"},
      {{"approximate", "--function", "x", "--units", "0"}, "--units"},
      {{"approximate", "--function", "x", "--activation", "elu"}, "expected tanh, relu or auto"},
      {{"approximate", "--function", "x", "--domain", "1"}, "--domain: got '1'"},
      {{"approximate", "--function", "x", "--domain", "pi:e"}, "LOW < HIGH"},
      {{"approximate", "--function", "x+y", "--domain", "0:1,0:1", "--activation", "relu"},
       "one variable, not 2"},
      {{"approximate", "--function", "x", "--out", "m", "--plot", "./m"}, "the file of --out"},
  };
  for (const auto& [arguments, fragment] : cases) {
    SCOPED_TRACE(::testing::PrintToString(arguments));
    const Outcome outcome = run(arguments);
    EXPECT_EQ(outcome.code, 2);
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err,
                AllOf(StartsWith("chainrule: error: "), HasSubstr(fragment), HasSubstr("--help")));
  }
}

TEST(Info, AgreesWithTheLibrary) {
  const MachineInfo machine = machine_info();
  const auto json = nlohmann::json::parse(run_ok({"info", "--json"}));
  EXPECT_EQ(json.at("version"), CHAINRULE_VERSION_STRING);
  EXPECT_EQ(json.at("cpu"), machine.cpu);
  EXPECT_EQ(json.at("cores"), machine.cores);
  EXPECT_EQ(json.at("threads"), machine.default_threads);
  EXPECT_EQ(json.at("kernels").at("available"), machine.architectures);
  EXPECT_EQ(json.at("blas").at("core"), machine.blas.core);
  EXPECT_EQ(json.at("warnings"), machine.warnings);
  EXPECT_THAT(run_ok({"info"}), AllOf(HasSubstr(machine.cpu), HasSubstr(machine.architecture),
                                      HasSubstr(machine.blas.library)));
}

TEST(Info, FollowsTheArchitectureOverride) {
  for (const KernelTable* table : available_kernels()) {
    const std::string name(table->architecture);
    const Outcome outcome = run({"info", "--json"}, {"CHAINRULE_ARCH=" + name});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(nlohmann::json::parse(outcome.out).at("kernels").at("active"), name);
  }
}

// What `info` warns of that begins with `word`, with variables set.
std::string warning_of(const std::string& word, const std::vector<std::string>& environment) {
  const auto json = nlohmann::json::parse(run({"info", "--json"}, environment).out);
  for (const std::string warning : json.at("warnings")) {
    if (warning.rfind(word, 0) == 0) return "chainrule: warning: " + warning + "\n";
  }
  ADD_FAILURE() << "no warning of " << word << " in " << json;
  return "";
}

TEST(Warnings, OfSlowKernelsReachWhoTrainsOnce) {
  if (available_kernels().size() == 1) GTEST_SKIP() << "this CPU runs one architecture only";
  const std::vector<std::string> slow{"CHAINRULE_ARCH=" +
                                      std::string(available_kernels().front()->architecture)};
  const Outcome outcome = run({"train", "--data", "digits", "--epochs", "1"}, slow);
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.err, warning_of("CHAINRULE_ARCH", slow));
}

TEST(Warnings, OfSlowBlasReachWhoTrainsWithItOnce) {
  const std::string best(available_kernels().back()->architecture);
  if (best != "avx512") GTEST_SKIP() << "OpenBLAS's Haswell kernels are slow with AVX-512 only";
  const std::vector<std::string> slow{"OPENBLAS_CORETYPE=Haswell", "CHAINRULE_ARCH=" + best};
  const std::vector<std::string> train{"train", "--data", "digits", "--epochs", "1", "--gemm"};
  const auto with = [&](const std::string& gemm) {
    std::vector<std::string> arguments = train;
    arguments.push_back(gemm);
    return run(arguments, slow);
  };
  EXPECT_EQ(with("blas").err, warning_of("OpenBLAS", slow));
  EXPECT_EQ(with("fused").err, "") << "BLAS is not used";
}

TEST(Info, AnUnknownArchitectureIsAnErrorEverywhere) {
  Directory directory;
  const std::vector<std::vector<std::string>> commands{
      {"info"},
      {"gradcheck", "--op", "relu"},
      {"train", "--data", "digits", "--model", "64-10", "--epochs", "1"}};
  for (const auto& command : commands) {
    const Outcome outcome = run(command, {"CHAINRULE_ARCH=sparc"});
    EXPECT_EQ(outcome.code, 1);
    EXPECT_THAT(outcome.err, AllOf(StartsWith("chainrule: error: "), HasSubstr("sparc")));
  }
}

}  // namespace
}  // namespace chainrule::testing
