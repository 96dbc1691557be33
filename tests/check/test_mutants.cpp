// SPDX-License-Identifier: Apache-2.0
// The proof that the gradient checker sees what is wrong, and nothing else.
#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chainrule/check/case_table.hpp"
#include "chainrule/check/mutants.hpp"
#include "chainrule/core/error.hpp"
#include "chainrule/ops/all_ops.hpp"

namespace chainrule {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// How much of it is damaged, and how much there must be to catch.
struct Extent {
  std::vector<std::string> ops;  // empty: all
  Index mutants;
  Index inputs;
  Index kinks;
  Index controls;
  Index caught_by_each;
};

#ifdef CHAINRULE_TEST_SANITIZED
// Sanitizers make it seven times as long: there, some ops of each kind stand for all. The proof is
// the test without them; with them it shows that the checker's own code is sound.
const Extent kExtent{.ops = {"embedding", "scale", "relu", "leaky_relu", "elu", "tanh", "gelu",
                             "softmax", "layer_norm", "slice", "batch_mean", "mean_squared_error",
                             "mean_absolute_error", "hinge", "poisson_nll"},
                     .mutants = 2100,
                     .inputs = 6000,
                     .kinks = 270,
                     .controls = 230,
                     .caught_by_each = 120};
#else
const Extent kExtent{.ops = {},
                     .mutants = 6000,
                     .inputs = 20000,
                     .kinks = 300,
                     .controls = 700,
                     .caught_by_each = 180};
#endif

bool is_attacked(std::string_view op) {
  return kExtent.ops.empty() ||
         std::find(kExtent.ops.begin(), kExtent.ops.end(), op) != kExtent.ops.end();
}

// Made once: it takes most of the time of these tests.
const MutationReport& whole_report() {
  static const MutationReport report = check_mutants({.ops = kExtent.ops});
  return report;
}

std::vector<MutantResult> mutants_of(const std::set<std::string>& ops) {
  std::vector<MutantResult> result;
  for (const std::string& op : ops) EXPECT_TRUE(is_attacked(op)) << op;
  for (const MutantResult& mutant : whole_report().mutants) {
    if (ops.contains(mutant.op)) result.push_back(mutant);
  }
  return result;
}

std::string describe(const MutantResult& mutant) {
  return mutant.name + " " + std::to_string(mutant.rows) + "x" + std::to_string(mutant.columns) +
         " times " + std::to_string(mutant.scale) + ", " + std::string(to_string(mutant.kind)) +
         ", gradient of " + mutant.input + ": " + mutant.description;
}

void expect_nothing_escaped(const MutationReport& report) {
  for (const MutantResult& mutant : report.mutants) {
    EXPECT_NE(mutant.caught(), mutant.equivalent)
        << describe(mutant) << (mutant.equivalent ? " changes no bit, but: " : " escaped")
        << mutant.evidence;
    EXPECT_EQ(mutant.caught(), !mutant.evidence.empty()) << describe(mutant);
  }
  for (const FalseAlarm& alarm : report.alarms) {
    ADD_FAILURE() << "false alarm: " << alarm.name << " " << alarm.rows << "x" << alarm.columns
                  << " times " << alarm.scale << ", seed " << alarm.seed << ", by "
                  << to_string(alarm.detector) << ": " << alarm.evidence;
  }
}

// No class of damage to an op is only ever equivalent: it would prove nothing.
void expect_no_class_all_equivalent(const MutationReport& report) {
  std::map<std::pair<std::string, MutantClass>, bool> changes_bits;
  for (const MutantResult& mutant : report.mutants) {
    changes_bits[{mutant.op, mutant.kind}] |= !mutant.equivalent;
  }
  for (const auto& [key, changes] : changes_bits) {
    EXPECT_TRUE(changes) << key.first << ", " << to_string(key.second);
  }
}

void expect_every_op_is_attacked(const MutationReport& report) {
  std::map<std::string, std::set<double>> scales;
  std::map<std::string, std::set<MutantClass>> classes;
  std::set<std::string> cases, own_formulas;
  for (const MutantResult& mutant : report.mutants) {
    scales[mutant.op].insert(mutant.scale);
    classes[mutant.op].insert(mutant.kind);
    if (mutant.own_formula) own_formulas.insert(mutant.op);
    cases.insert(mutant.name);
  }
  for (const OpCase& row : op_cases()) {
    EXPECT_EQ(cases.contains(row.name()), is_attacked(row.op->name)) << row.name();
  }
  for (const OpDef* op : all_ops()) {
    const std::string name(op->name);
    if (!is_attacked(name)) continue;
    EXPECT_THAT(scales[name], ElementsAre(0.1, 1, 10)) << name;
    for (const MutantClass kind :
         {MutantClass::kScaled, MutantClass::kOneElement, MutantClass::kSign,
          MutantClass::kOverwritten, MutantClass::kDropped}) {
      EXPECT_THAT(classes[name], Contains(kind)) << name << ", " << to_string(kind);
    }
    EXPECT_THAT(own_formulas, Contains(name));
  }
}

TEST(Mutants, AllAreCaughtAndNothingElse) {
  const MutationReport& report = whole_report();
  expect_nothing_escaped(report);
  expect_no_class_all_equivalent(report);
  expect_every_op_is_attacked(report);
  EXPECT_TRUE(report.ok());
  EXPECT_EQ(report.caught, report.total);
  EXPECT_EQ(report.total + report.equivalent, std::ssize(report.mutants));
  EXPECT_GT(report.total, kExtent.mutants);
  EXPECT_LE(report.equivalent * 50, std::ssize(report.mutants)) << "more than 2 %";
  EXPECT_GE(report.inputs, kExtent.inputs);
  EXPECT_GE(report.kinks, kExtent.kinks);
  // Nor is it the making of a formula that is caught, but what is wrong with it.
  EXPECT_GE(report.controls, kExtent.controls);
  EXPECT_LE(report.unresolved * 100, report.inputs);
  for (const Index caught : report.caught_by) EXPECT_GT(caught, kExtent.caught_by_each);
}

TEST(Mutants, AtAKinkTheContractAndJvpDecide) {
  Index boundaries = 0;
  for (const MutantResult& mutant :
       mutants_of({"relu", "leaky_relu", "elu", "mean_absolute_error", "hinge"})) {
    if (mutant.kind != MutantClass::kBoundary) continue;
    ++boundaries;
    EXPECT_TRUE(mutant.at_kinks) << describe(mutant);
    EXPECT_TRUE(mutant.caught_by_detector(MutantDetector::kContract)) << describe(mutant);
    EXPECT_TRUE(mutant.caught_by_detector(MutantDetector::kForwardMode)) << describe(mutant);
    // Differences accept whatever lies between the slopes on both sides.
    const bool between =
        mutant.op == "relu" || mutant.op == "mean_absolute_error" || mutant.op == "hinge";
    EXPECT_TRUE(!between || !mutant.caught_by_detector(MutantDetector::kDifferences))
        << describe(mutant);
  }
  EXPECT_GE(boundaries, 40);
}

TEST(Mutants, WhatIsOverwrittenIsCaughtOnlyWhereTheOpIsAppliedTwice) {
  Index overwritten = 0;
  for (const MutantResult& mutant : mutants_of({"tanh"})) {
    if (mutant.kind != MutantClass::kOverwritten) continue;
    ++overwritten;
    EXPECT_EQ(mutant.caught_by, 1U << static_cast<unsigned>(MutantDetector::kProperties))
        << describe(mutant);
    EXPECT_THAT(mutant.evidence, HasSubstr("twice"));
  }
  EXPECT_GE(overwritten, 10);
}

// Forward mode is a second opinion, not a crutch.
TEST(Mutants, DifferencesAloneSeeMostOfThem) {
  Index made = 0, seen = 0;
  for (const MutantResult& mutant : mutants_of({"layer_norm", "gelu", "poisson_nll"})) {
    if (mutant.equivalent || mutant.kind == MutantClass::kOverwritten) continue;
    ++made;
    seen += mutant.caught_by_detector(MutantDetector::kDifferences) ? 1 : 0;
  }
  EXPECT_GT(made, 300);
  EXPECT_GE(seen * 100, made * 99);
}

TEST(Mutants, TheSameSeedGivesTheSameMutants) {
  const MutationReport a = check_mutants({.ops = {"softmax"}, .seed = 5});
  const MutationReport b = check_mutants({.ops = {"softmax"}, .seed = 5});
  ASSERT_EQ(a.mutants.size(), b.mutants.size());
  ASSERT_FALSE(a.mutants.empty());
  for (std::size_t k = 0; k < a.mutants.size(); ++k) {
    EXPECT_EQ(a.mutants[k].description, b.mutants[k].description);
    EXPECT_EQ(a.mutants[k].evidence, b.mutants[k].evidence);
  }
  EXPECT_EQ(a.inputs, b.inputs);
}

TEST(Mutants, ProgressNamesEveryOpInOrder) {
  std::vector<std::string> ops;
  std::vector<Index> mutants;
  MutationOptions options{.ops = {"add", "scale", "add"}, .undamaged_seeds = 0};
  options.progress = [&](const MutationProgress& progress) {
    EXPECT_EQ(progress.done, std::ssize(ops));
    EXPECT_EQ(progress.count, 2);
    ops.emplace_back(progress.op);
    mutants.push_back(progress.mutants);
  };
  const MutationReport report = check_mutants(options);
  EXPECT_THAT(ops, ElementsAre("add", "scale"));
  ASSERT_EQ(mutants.size(), 2U);
  EXPECT_EQ(mutants[0], 0);
  EXPECT_GT(mutants[1], 0);
  EXPECT_LT(mutants[1], std::ssize(report.mutants));
}

TEST(Mutants, NoSeedsMeansNoUndamagedOps) {
  const MutationReport report = check_mutants({.ops = {"add"}, .undamaged_seeds = 0});
  EXPECT_EQ(report.inputs, 0);
  EXPECT_GT(report.total, 0);
  EXPECT_THROW(check_mutants({.ops = {"add"}, .undamaged_seeds = -1}), ArgumentError);
}

TEST(Mutants, AnUnknownNameListsTheOps) {
  try {
    check_mutants({.ops = {"tanhh"}});
    FAIL() << "expected ArgumentError";
  } catch (const ArgumentError& error) {
    EXPECT_THAT(error.what(), HasSubstr("'tanhh'"));
    EXPECT_THAT(error.what(), HasSubstr("gelu_tanh"));
  }
}

TEST(Mutants, ClassesAndDetectorsHaveNames) {
  std::set<std::string_view> names;
  for (int kind = 0; kind <= static_cast<int>(MutantClass::kBoundary); ++kind) {
    names.insert(to_string(static_cast<MutantClass>(kind)));
  }
  EXPECT_EQ(names.size(), 15U);
  EXPECT_EQ(names.count("unknown"), 0U);
  names.clear();
  for (int k = 0; k < kMutantDetectors; ++k) {
    names.insert(to_string(static_cast<MutantDetector>(k)));
  }
  EXPECT_EQ(names.size(), static_cast<std::size_t>(kMutantDetectors));
  EXPECT_EQ(names.count("unknown"), 0U);
}

}  // namespace
}  // namespace chainrule
