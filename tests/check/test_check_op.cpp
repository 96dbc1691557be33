// SPDX-License-Identifier: Apache-2.0
// Every op x dtype x shape class x architecture of the case table (fewer under sanitizers).
#include <gmock/gmock.h>

#include <set>
#include <string>

#include "chainrule/check/check_case.hpp"
#include "chainrule/core/error.hpp"
#include "chainrule/ops/ops.hpp"
#include "checked_cases.hpp"

namespace chainrule {
namespace {

using ::testing::HasSubstr;

struct Param {
  const OpDef* op;
  DType dtype;
};

std::vector<Param> params() {
  std::vector<Param> result;
  for (const OpDef* op : all_ops()) {
    result.push_back({op, DType::kFloat32});
    result.push_back({op, DType::kFloat64});
  }
  return result;
}

class CheckOpTest : public ::testing::TestWithParam<Param> {
 protected:
  static void expect_second_order(const CaseReport& report) {
    const bool has_kinks = report.name.ends_with("(at the kink)");
    const bool expected =
        GetParam().dtype == DType::kFloat64 && GetParam().op->has_second_order() && !has_kinks;
    EXPECT_EQ(!report.second_order.values.empty(), expected) << report.name;
    EXPECT_EQ(report.second_order.comparisons() > 0, expected) << report.name;
    EXPECT_EQ(report.second_order.ok(), expected) << report.second_order.to_text();
  }
};

TEST_P(CheckOpTest, GradientsAgreeOnEveryArchitecture) {
  for (const KernelTable* kernels : testing::checked_kernels()) {
    const std::vector<CaseReport> reports =
        testing::check_sizes_of(*GetParam().op, GetParam().dtype, kernels);
    std::set<std::string> sizes;
    for (const CaseReport& report : reports) {
      EXPECT_TRUE(report.ok()) << report.name << ", " << report.size << '\n'
                               << report.gradients.to_text();
      EXPECT_GT(report.gradients.comparisons(), 0) << report.name;
      EXPECT_EQ(report.gradients.architecture, kernels->architecture);
      EXPECT_EQ(report.gradients.dtype, GetParam().dtype);
      for (const ValueCheck& value : report.gradients.values) {
        EXPECT_GE(value.forward_mode.products, 4) << report.name;
      }
      EXPECT_GE(report.properties.size(), 3U);
      expect_second_order(report);
      sizes.insert(report.size);
    }
    EXPECT_EQ(sizes.size(), testing::checked_sizes().size());
  }
}

INSTANTIATE_TEST_SUITE_P(Ops, CheckOpTest, ::testing::ValuesIn(params()), [](const auto& info) {
  return std::string(info.param.op->name) + "_" + std::string(to_string(info.param.dtype));
});

TEST(CheckOp, KinksAreReportedWhereTheCaseDeclaresThem) {
  Index kinks = 0;
  for (const CaseReport& report : check_op("relu", DType::kFloat64)) {
    const Index found = report.gradients.values.at(0).kinks;
    if (report.name == "relu") {
      EXPECT_EQ(found, 0) << report.size;
    }
    kinks += found;
  }
  EXPECT_GT(kinks, 10);
}

TEST(CheckOp, AnUndeclaredKinkFails) {
  const OpCase undeclared{.op = &kReluOp, .variant = "undeclared", .build = [](CaseBuilder& b) {
                            return relu(b.batch("x", {Fill::Kind::kEvenSixteenths, 0, 0.25}));
                          }};
  const CaseReport report = check_case(undeclared, {"", 4, 4}, DType::kFloat64);
  EXPECT_FALSE(report.ok());
  EXPECT_EQ(report.gradients.verdict(), Verdict::kUnresolved);
}

TEST(CheckOp, AnUnknownNameListsTheOps) {
  try {
    check_op("rleu", DType::kFloat64);
    FAIL() << "expected ArgumentError";
  } catch (const ArgumentError& error) {
    EXPECT_THAT(error.what(), HasSubstr("'rleu'"));
    EXPECT_THAT(error.what(), HasSubstr("relu"));
  }
}

TEST(CheckOp, ABackwardThatOverwritesWhereItMustAddIsCaught) {
  // Right when it runs alone, wrong when the gradient already holds a sum.
  static const OpDef overwriting = [] {
    OpDef def = kTanhOp;
    def.backward = {[](const OpContext& context) {
                      OpContext copy = context;
                      copy.overwrite = kAllInputs;
                      kTanhOp.backward[0](copy);
                    },
                    [](const OpContext& context) {
                      OpContext copy = context;
                      copy.overwrite = kAllInputs;
                      kTanhOp.backward[1](copy);
                    }};
    return def;
  }();
  const OpCase row{.op = &overwriting, .variant = {}, .build = [](CaseBuilder& b) {
                     return b.graph().apply(overwriting, {b.batch("x")});
                   }};
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    const CaseReport report = check_case(row, {"", 5, 6}, dtype);
    EXPECT_EQ(report.gradients.verdict(), Verdict::kAgree);
    ASSERT_EQ(report.gradients.failures.size(), 1U);
    EXPECT_THAT(report.gradients.failures[0], HasSubstr("applied twice"));
  }
}

}  // namespace
}  // namespace chainrule
