// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/all_ops.hpp"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "chainrule/ops/ops.hpp"

namespace chainrule {
namespace {

using ::testing::Contains;

TEST(AllOpsTest, HoldsEveryOpThatAHeaderDeclares) {
  Index declared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(CHAINRULE_OPS_INCLUDE_DIR)) {
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      if (line.starts_with("extern CHAINRULE_API const OpDef ")) ++declared;
    }
  }
  EXPECT_GT(declared, 30);
  EXPECT_EQ(static_cast<Index>(all_ops().size()), declared);
}

TEST(AllOpsTest, NamesAndPointersAreUnique) {
  std::set<const OpDef*> ops;
  std::set<std::string_view> names;
  for (const OpDef* op : all_ops()) {
    EXPECT_TRUE(ops.insert(op).second) << op->name;
    EXPECT_TRUE(names.insert(op->name).second) << op->name;
  }
  EXPECT_THAT(names, Contains("matmul"));
  EXPECT_THAT(names, Contains("negative_binomial_nll"));
}

TEST(AllOpsTest, EveryOpHasAGradientCountsItsWorkAndHonoursOverwrite) {
  for (const OpDef* op : all_ops()) {
    EXPECT_TRUE(op->has_gradient()) << op->name;
    EXPECT_NE(op->flops_per_row, nullptr) << op->name;
    EXPECT_TRUE(op->traits.handles_overwrite) << op->name;
    EXPECT_LE(op->traits.max_inputs, kMaxInputs) << op->name;
  }
}

TEST(AllOpsTest, ElementwiseOpsRunInPlace) {
  for (const OpDef* op : all_ops()) {
    if (!op->traits.elementwise) continue;
    EXPECT_TRUE(op->traits.output_may_alias_input) << op->name;
    EXPECT_EQ(op->traits.kind, OpKind::kRowwise) << op->name;
  }
}

TEST(AllOpsTest, MatmulCountsTwoFlopsAMultiplyAdd) {
  const std::array<Shape, 2> shapes{Shape{kBatch, 64}, Shape{64, 10}};
  EXPECT_EQ(kMatmulOp.flops_per_row({.inputs = shapes, .attributes = {}}), 2 * 64 * 10);
}

}  // namespace
}  // namespace chainrule
