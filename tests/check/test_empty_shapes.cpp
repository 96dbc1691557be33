// SPDX-License-Identifier: Apache-2.0
// Every case of the table on nothing: no rows, and no columns where the op allows that. Nothing
// crashes, whatever has elements gets a gradient of zero, and one thread or two make no difference.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <set>
#include <vector>

#include "chainrule/check/case_table.hpp"
#include "chainrule/core/error.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/ops/ops.hpp"
#include "chainrule/runtime/executor.hpp"

namespace chainrule {
namespace {

// The leaves that a gradient can reach.
std::vector<Value> leaves_of(const CaseInstance& instance) {
  const Value output = instance.output();
  const Node& node = output.node();
  std::vector<Value> leaves;
  for (std::size_t i = 0; i < node.inputs.size(); ++i) {
    const Value value(output.graph(), node.inputs[i]);
    const NodeKind kind = value.node().kind;
    const bool differentiable = ((node.op->traits.differentiable_inputs >> i) & 1U) != 0;
    if (!differentiable || (kind != NodeKind::kInput && kind != NodeKind::kParameter)) continue;
    if (std::find(leaves.begin(), leaves.end(), value) == leaves.end()) leaves.push_back(value);
  }
  return leaves;
}

struct Result {
  bool empty = false;  // some gradient has no elements, ...
  Index elements = 0;  // ... how many the others have, ...
  Index not_zero = 0;  // ... and how many of these are not zero
};

Result run(const CaseInstance& instance, const KernelTable& kernels, int threads) {
  const Feed feed = instance.feed();
  const Value output = instance.output();
  const std::vector<Value> leaves = leaves_of(instance);
  const Plan plan = compile(instance.graph(), {.dtype = feed.dtype,
                                               .mode = feed.mode,
                                               .cotangents = {output},
                                               .gradients = leaves,
                                               .outputs = {output},
                                               .kernels = &kernels});
  const Executor executor = threads == 1 ? Executor() : Executor(threads);
  Workspace workspace = executor.make_workspace(plan, instance.rows());
  Bindings bindings(plan);
  for (const auto& [value, view] : feed.inputs) bindings.input(value, view);
  const Shape& shape = output.shape();
  Tensor ones(Shape{shape.is_batched() ? instance.rows() : shape.rows(), shape.columns()},
              DType::kFloat64);
  for (Index i = 0; i < ones.rows(); ++i) {
    for (Index j = 0; j < ones.columns(); ++j) ones.as<double>()(i, j) = 1;
  }
  const Tensor cotangent = ones.to(feed.dtype);
  bindings.parameters(*feed.parameters).random(feed.random).cotangent(output, cotangent);
  executor.run(workspace, bindings);
  Result result;
  for (const Value& leaf : leaves) {
    const ConstTensorView g = workspace.gradient(leaf);
    result.empty = result.empty || g.rows * g.columns == 0;
    result.elements += g.rows * g.columns;
    for (Index i = 0; i < g.rows; ++i) {
      for (Index j = 0; j < g.columns; ++j) result.not_zero += element(g, i, j) == 0 ? 0 : 1;
    }
  }
  return result;
}

class EmptyShapes : public ::testing::TestWithParam<DType> {
 protected:
  // The ops of which some case can be built at that size and has an operand without elements.
  static std::set<const OpDef*> check(const CaseSize& size) {
    std::set<const OpDef*> ops;
    for (const OpCase& row : op_cases()) {
      std::optional<CaseInstance> instance;
      try {
        instance.emplace(row, size, GetParam());
      } catch (const Error&) {
        continue;  // the op does not allow it, and says so
      }
      for (const KernelTable* kernels : available_kernels()) {
        for (const int threads : {1, 2}) {
          const Result result = run(*instance, *kernels, threads);
          if (!result.empty) continue;
          ops.insert(row.op);
          // Beside a value without columns, concat passes the others on.
          if (row.op == &kConcatOp && size.rows > 0) continue;
          EXPECT_EQ(result.not_zero, 0)
              << row.name() << " [" << size.rows << ", " << size.columns << "], "
              << kernels->architecture << ", " << threads << " threads";
        }
      }
    }
    return ops;
  }
};

TEST_P(EmptyShapes, NoRows) {
  const std::set<const OpDef*> ops = check({"no rows", 0, 6});
  for (const OpDef* op : all_ops()) {
    if (op == &kEmbeddingOp) continue;  // its table has rows of its own
    EXPECT_TRUE(ops.contains(op)) << op->name;
  }
}

TEST_P(EmptyShapes, NoRowsLeaveWeightsAlone) {
  // What has rows of its own, and elements, when the batch has none.
  for (const OpCase& row : op_cases()) {
    if (row.op != &kMatmulOp && row.op != &kEmbeddingOp && row.op != &kAddBiasOp &&
        row.op != &kLayerNormOp && row.op != &kBatchNormOp) {
      continue;
    }
    const CaseInstance instance(row, {"no rows", 0, 6}, GetParam());
    for (const int threads : {1, 2}) {
      const Result result = run(instance, default_kernels(), threads);
      EXPECT_GT(result.elements, 0) << row.name();
      EXPECT_EQ(result.not_zero, 0) << row.name();
    }
  }
}

TEST_P(EmptyShapes, NoColumns) {
  const std::set<const OpDef*> ops = check({"no columns", 5, 0});
  // Losses need a column; what works on elements does not.
  EXPECT_FALSE(ops.contains(&kMeanSquaredErrorOp));
  EXPECT_FALSE(ops.contains(&kSoftmaxCrossEntropyOp));
  for (const OpDef* op : all_ops()) {
    if (!op->traits.elementwise) continue;
    EXPECT_TRUE(ops.contains(op)) << op->name;
  }
  for (const OpDef* op : {&kMatmulOp, &kAddBiasOp, &kSoftmaxOp, &kLogSoftmaxOp, &kLayerNormOp,
                          &kBatchNormOp, &kEmbeddingOp, &kConcatOp}) {
    EXPECT_TRUE(ops.contains(op)) << op->name;
  }
}

TEST_P(EmptyShapes, NeitherRowsNorColumns) { EXPECT_GT(check({"nothing", 0, 0}).size(), 20U); }

INSTANTIATE_TEST_SUITE_P(Types, EmptyShapes, ::testing::Values(DType::kFloat32, DType::kFloat64),
                         [](const auto& info) { return std::string(to_string(info.param)); });

}  // namespace
}  // namespace chainrule
