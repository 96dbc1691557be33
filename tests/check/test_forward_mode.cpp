// SPDX-License-Identifier: Apache-2.0
// Forward mode against reverse mode on every case of the case table: neither needs a step size, and
// jvp() and backward() are written independently of each other.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "chainrule/check/case_table.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/ops/ops.hpp"
#include "chainrule/runtime/differentiate.hpp"
#include "chainrule/runtime/executor.hpp"

namespace chainrule {
namespace {

// Units of roundoff that a sum of products may lose, for each of its terms' largest.
constexpr double kRoundings = 32;

double epsilon(DType dtype) {
  return dtype == DType::kFloat32 ? std::numeric_limits<float>::epsilon()
                                  : std::numeric_limits<double>::epsilon();
}

/// The inputs and parameters that a gradient of the output can reach.
std::vector<Value> leaves(CaseInstance& instance) {
  Graph& graph = instance.graph();
  std::vector<bool> reached(static_cast<std::size_t>(graph.size()));
  reached[static_cast<std::size_t>(instance.output().id())] = true;
  std::vector<Value> result;
  for (auto id = static_cast<NodeId>(graph.size()) - 1; id >= 0; --id) {
    if (!reached[static_cast<std::size_t>(id)]) continue;
    const Node& node = graph.node(id);
    if (node.op == nullptr) result.emplace_back(&graph, id);
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      if (((node.op->traits.differentiable_inputs >> i) & 1U) == 0) continue;
      reached[static_cast<std::size_t>(node.inputs[i])] = true;
    }
  }
  return result;
}

Tensor random_like(ConstTensorView view, DType dtype, std::uint64_t stream) {
  Tensor result(Shape{view.rows, view.columns}, dtype);
  initialize(uniform(1), {.seed = 41, .stream = stream}, result);
  return result;
}

double norm(ConstTensorView view) {
  double sum = 0;
  for (Index i = 0; i < view.rows; ++i) {
    for (Index j = 0; j < view.columns; ++j) sum += std::pow(element(view, i, j), 2);
  }
  return std::sqrt(sum);
}

double dot(ConstTensorView a, ConstTensorView b) {
  double sum = 0;
  for (Index i = 0; i < a.rows; ++i) {
    for (Index j = 0; j < a.columns; ++j) sum += element(a, i, j) * element(b, i, j);
  }
  return sum;
}

/// The largest entry of row i, but no less than the case's terms.
double scale_of_row(const Tensor& jacobian, Index i, double terms) {
  double largest = terms;
  for (Index j = 0; j < jacobian.columns(); ++j) {
    largest = std::max(largest, std::abs(element(jacobian, i, j)));
  }
  return largest;
}

void expect_equal_jacobians(const OpCase& row, CaseInstance& instance, Value leaf) {
  const Feed feed = instance.feed();
  const Graph& graph = instance.graph();
  const Tensor forward =
      full_jacobian(graph, instance.output(), leaf, feed, JacobianMode::kForward);
  const Tensor reverse =
      full_jacobian(graph, instance.output(), leaf, feed, JacobianMode::kReverse);
  ASSERT_EQ(forward.shape(), reverse.shape());
  for (Index i = 0; i < forward.rows(); ++i) {
    const double tolerance =
        kRoundings * epsilon(DType::kFloat64) * scale_of_row(reverse, i, row.terms);
    for (Index j = 0; j < forward.columns(); ++j) {
      ASSERT_NEAR(element(forward, i, j), element(reverse, i, j), tolerance)
          << "output element " << i << ", element " << j << " of " << leaf.node().name;
    }
  }
}

TEST(ForwardMode, GivesTheJacobianOfReverseModeInEveryCase) {
  constexpr Index kLargest = 8000;  // entries of a Jacobian that are worth the time
  std::set<const OpDef*> covered;
  for (const OpCase& row : op_cases()) {
    for (const CaseSize& size : case_sizes()) {
      SCOPED_TRACE(row.name() + ", " + std::string(size.name));
      CaseInstance instance(row, size, DType::kFloat64);
      const Value output = instance.output();
      const Index outputs = output.shape().with_batch(size.rows).elements();
      for (const Value& leaf : leaves(instance)) {
        if (outputs * leaf.shape().with_batch(size.rows).elements() > kLargest) continue;
        expect_equal_jacobians(row, instance, leaf);
        covered.insert(row.op);
      }
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
  EXPECT_EQ(covered.size(), all_ops().size());
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

class ForwardModeTest : public ::testing::TestWithParam<Param> {
 protected:
  /// One run moves all leaves at once and takes all their gradients.
  static void expect_transposed(const OpCase& row, const CaseSize& size, bool& nonzero) {
    const DType dtype = GetParam().dtype;
    CaseInstance instance(row, size, dtype);
    const Feed feed = instance.feed();
    const Value output = instance.output();
    const std::vector<Value> by = leaves(instance);
    const Plan plan = compile(instance.graph(), {.dtype = dtype,
                                                 .mode = feed.mode,
                                                 .cotangents = {output},
                                                 .gradients = by,
                                                 .tangents = by,
                                                 .output_tangents = {output},
                                                 .kernels = GetParam().kernels});
    Workspace workspace(plan, instance.rows());
    Bindings bindings(plan);
    for (const auto& [value, view] : feed.inputs) bindings.input(value, view);
    bindings.parameters(*feed.parameters).random(feed.random);
    std::vector<Tensor> u;
    for (const Value& leaf : by) {
      u.push_back(random_like(instance.data(leaf), dtype, static_cast<std::uint64_t>(leaf.id())));
    }
    for (std::size_t k = 0; k < by.size(); ++k) bindings.tangent(by[k], u[k]);
    const Shape& shape = output.shape();
    Tensor v(Shape{shape.is_batched() ? size.rows : shape.rows(), shape.columns()}, dtype);
    initialize(uniform(1), {.seed = 42}, v);
    bindings.cotangent(output, v);
    Executor().run(workspace, bindings);

    const ConstTensorView ju = workspace.tangent(output);
    double other = 0, scale = norm(v) * norm(ju) + row.terms;
    for (std::size_t k = 0; k < by.size(); ++k) {
      const ConstTensorView gradient = workspace.gradient(by[k]);
      other += dot(gradient, u[k]);
      scale += norm(gradient) * norm(u[k]);
    }
    EXPECT_NEAR(dot(v, ju), other, kRoundings * epsilon(dtype) * scale);
    nonzero = nonzero || norm(ju) > 0;
  }
};

TEST_P(ForwardModeTest, IsTheTransposeOfReverseMode) {
  for (const OpCase& row : op_cases()) {
    bool nonzero = false;
    for (const CaseSize& size : case_sizes()) {
      SCOPED_TRACE(row.name() + ", " + std::string(size.name));
      expect_transposed(row, size, nonzero);
    }
    EXPECT_TRUE(nonzero) << row.name() << ": zeros prove nothing";
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures, ForwardModeTest, ::testing::ValuesIn(params()),
                         [](const auto& info) {
                           return std::string(info.param.kernels->architecture) + "_" +
                                  std::string(to_string(info.param.dtype));
                         });

}  // namespace
}  // namespace chainrule
