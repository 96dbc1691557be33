// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "chainrule/check/case_table.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/ops/ops.hpp"
#include "chainrule/runtime/executor.hpp"
#include "op_references.hpp"

namespace chainrule {
namespace {

using ::testing::ElementsAre;

TEST(CaseTable, EveryOpHasACase) {
  for (const OpDef* op : ops_without_cases(all_ops(), op_cases())) {
    ADD_FAILURE() << op->name << " has no row in check/src/op_cases.cpp or loss_cases.cpp";
  }
}

TEST(CaseTable, AnOpWithoutACaseIsFound) {
  OpDef novel = kReluOp;
  novel.name = "novel";
  const std::vector<const OpDef*> ops = {&kReluOp, &novel};
  EXPECT_THAT(ops_without_cases(ops, op_cases()), ElementsAre(&novel));
  EXPECT_THAT(ops_without_cases(ops, op_cases().first(1)), ElementsAre(&kReluOp, &novel));
}

TEST(CaseTable, NamesAreUniqueAndSizesCoverTheShapeClasses) {
  std::set<std::string> names;
  for (const OpCase& row : op_cases()) EXPECT_TRUE(names.insert(row.name()).second) << row.name();
  const auto sizes = case_sizes();
  const auto some = [&](auto&& test) { return std::any_of(sizes.begin(), sizes.end(), test); };
  EXPECT_TRUE(some([](const CaseSize& s) { return s.rows == 1 && s.columns > 1; }));
  EXPECT_TRUE(some([](const CaseSize& s) { return s.columns == 1 && s.rows > 1; }));
  EXPECT_TRUE(some([](const CaseSize& s) { return s.columns == 1 && s.rows == 1; }));
  EXPECT_TRUE(some([](const CaseSize& s) { return s.columns % 2 == 1 && s.rows % 2 == 1; }));
  EXPECT_TRUE(some([](const CaseSize& s) { return s.columns > 4 * s.rows && s.columns > 64; }));
  EXPECT_TRUE(some([](const CaseSize& s) { return s.rows > 2 * Plan::block_rows(s.rows); }));
}

TEST(CaseTable, CutBatchesAreStillSeveralBlocksOfRows) {
  for (const OpCase& row : op_cases()) {
    EXPECT_GT(row.most_rows, 2 * Plan::block_rows(row.most_rows)) << row.name();
  }
}

TEST(CaseTable, ACaseIsAFunctionOfItsSeed) {
  const OpCase& row = op_cases().front();
  const CaseSize size = case_sizes().front();
  CaseInstance a(row, size, DType::kFloat64, 3), b(row, size, DType::kFloat64, 3);
  CaseInstance other(row, size, DType::kFloat64, 4), single(row, size, DType::kFloat32, 3);
  const auto first = [](CaseInstance& c) { return element(c.data(c.graph().find("x")), 0, 0); };
  EXPECT_EQ(first(a), first(b));
  EXPECT_NE(first(a), first(other));
  EXPECT_EQ(static_cast<float>(first(a)), static_cast<float>(first(single)));
}

struct Param {
  const KernelTable* kernels;
  DType dtype;
};

std::vector<Param> params() {
  std::vector<Param> result;
  for (const KernelTable* kernels : available_kernels()) {
    result.push_back({kernels, DType::kFloat32});
    result.push_back({kernels, DType::kFloat64});
  }
  return result;
}

class ForwardTest : public ::testing::TestWithParam<Param> {
 protected:
  static std::vector<double> run(const CaseInstance& instance) {
    const Feed feed = instance.feed();
    const CompileOptions options{.dtype = GetParam().dtype,
                                 .mode = feed.mode,
                                 .outputs = {instance.output()},
                                 .kernels = GetParam().kernels};
    const Plan plan = compile(instance.graph(), options);
    EXPECT_EQ(plan.kernels().architecture, GetParam().kernels->architecture);
    Workspace workspace(plan, instance.rows());
    Bindings bindings(plan);
    for (const auto& [value, view] : feed.inputs) bindings.input(value, view);
    bindings.parameters(*feed.parameters).random(feed.random);
    Executor().run(workspace, bindings);
    const ConstTensorView y = workspace.output(instance.output());
    std::vector<double> result;
    for (Index i = 0; i < y.rows; ++i) {
      for (Index j = 0; j < y.columns; ++j) result.push_back(element(y, i, j));
    }
    return result;
  }
};

TEST_P(ForwardTest, EveryCaseGivesTheFormula) {
  const bool single = GetParam().dtype == DType::kFloat32;
  const double unit =
      single ? std::numeric_limits<float>::epsilon() : std::numeric_limits<double>::epsilon();
  for (const OpCase& row : op_cases()) {
    for (const CaseSize& size : case_sizes()) {
      const CaseInstance instance(row, size, GetParam().dtype);
      const std::vector<double> got = run(instance);
      const std::vector<long double> expected = testing::reference_output(instance);
      ASSERT_EQ(got.size(), expected.size()) << row.name() << ", " << size.name;
      long double largest = 0;
      for (const long double y : expected) largest = std::max(largest, std::abs(y));
      const auto terms = static_cast<double>(4 + std::max(instance.rows(), size.columns));
      const double tolerance = 2 * unit * terms * static_cast<double>(std::max(largest, 1.0L));
      const bool drops = row.op == &kDropoutOp && row.mode == Mode::kTraining;
      for (std::size_t k = 0; k < got.size(); ++k) {
        if (drops && got[k] == 0) continue;  // the fraction is DropoutKeepsOrDrops' business
        ASSERT_NEAR(got[k], static_cast<double>(expected[k]), tolerance)
            << row.name() << ", " << size.name << ", element " << k;
      }
    }
  }
}

TEST_P(ForwardTest, WhatTheContractsSayInUlpHolds) {
  const std::map<const OpDef*, double> contracts = {
      {&kAddOp, 0.5},     {&kSubOp, 0.5},    {&kMulOp, 0.5},     {&kScaleOp, 1},
      {&kAddBiasOp, 0.5}, {&kConcatOp, 0},   {&kSliceOp, 0},     {&kReluOp, 0},
      {&kLeakyReluOp, 1}, {&kIdentityOp, 0}, {&kEmbeddingOp, 0}, {&kDropoutOp, 1},
  };
  const bool single = GetParam().dtype == DType::kFloat32;
  const double unit =
      single ? std::numeric_limits<float>::epsilon() : std::numeric_limits<double>::epsilon();
  std::set<const OpDef*> seen;
  for (const OpCase& row : op_cases()) {
    const auto contract = contracts.find(row.op);
    if (contract == contracts.end()) continue;
    seen.insert(row.op);
    for (const CaseSize& size : case_sizes()) {
      const CaseInstance instance(row, size, GetParam().dtype);
      const std::vector<double> got = run(instance);
      const std::vector<long double> expected = testing::reference_output(instance);
      for (std::size_t k = 0; k < got.size(); ++k) {
        if (row.op == &kDropoutOp && got[k] == 0) continue;
        const auto y = static_cast<double>(expected[k]);
        const auto error = static_cast<double>(std::abs(got[k] - expected[k]));
        ASSERT_LE(error, contract->second * unit * std::abs(y))
            << row.name() << ", " << size.name << ", element " << k;
      }
    }
  }
  EXPECT_EQ(seen.size(), contracts.size());
}

TEST_P(ForwardTest, DropoutKeepsOrDrops) {
  const auto rows = op_cases();
  const auto row = std::find_if(rows.begin(), rows.end(), [](const OpCase& c) {
    return c.op == &kDropoutOp && c.mode == Mode::kTraining;
  });
  ASSERT_NE(row, rows.end());
  const std::vector<double> y = run(CaseInstance(*row, {"", 400, 10}, GetParam().dtype));
  const auto dropped = static_cast<double>(std::count(y.begin(), y.end(), 0.0));
  // Binomial(4000, 1/4): five standard deviations are 137.
  EXPECT_NEAR(dropped, 1000, 137);
}

INSTANTIATE_TEST_SUITE_P(Architectures, ForwardTest, ::testing::ValuesIn(params()),
                         [](const auto& info) {
                           return std::string(info.param.kernels->architecture) + "_" +
                                  std::string(to_string(info.param.dtype));
                         });

}  // namespace
}  // namespace chainrule
