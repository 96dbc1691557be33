// SPDX-License-Identifier: Apache-2.0
#include "op_properties.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "chainrule/check/check_hessian.hpp"
#include "chainrule/ops/ops.hpp"
#include "chainrule/runtime/executor.hpp"
#include "gradient_probe.hpp"
#include "op_call.hpp"
#include "subject.hpp"

namespace chainrule::internal {
namespace {

constexpr std::uint64_t kFirstStream = 21;
constexpr std::uint64_t kSecondStream = 22;
// Room for sums that are added in another order, in units of the longest sum.
constexpr double kSumRoundings = 8;

void fail(CaseReport& report, const std::string& why) { report.gradients.failures.push_back(why); }

bool same_bits(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Tensor& x, const Tensor& y) {
    return internal::same_bits(x.view(), y.view());
  });
}

Tensor random_cotangent(const Shape& shape, DType dtype, std::uint64_t stream) {
  Tensor tensor(shape, DType::kFloat64);
  const MatrixView<double> v = tensor.as<double>();
  for (Index i = 0; i < v.rows; ++i) {
    for (Index j = 0; j < v.columns; ++j) {
      v(i, j) = random_signed({.seed = 1, .stream = stream}, i * v.columns + j);
    }
  }
  return tensor.to(dtype);
}

struct Cotangent {
  Value value;
  const Tensor* tensor;
};

std::vector<Tensor> gradients(const CaseInstance& instance, const std::vector<Cotangent>& by,
                              const std::vector<Value>& values, const KernelTable& kernels,
                              const Executor& executor = Executor()) {
  const Feed feed = instance.feed();
  CompileOptions options;
  options.dtype = feed.dtype;
  options.mode = feed.mode;
  options.kernels = &kernels;
  options.gradients = values;
  options.outputs = {instance.output()};
  for (const Cotangent& cotangent : by) options.cotangents.push_back(cotangent.value);
  const Plan plan = compile(instance.graph(), options);
  Workspace workspace = executor.make_workspace(plan, instance.rows());
  Bindings bindings(plan);
  for (const auto& [value, view] : feed.inputs) bindings.input(value, view);
  bindings.parameters(*feed.parameters).random(feed.random);
  for (const Cotangent& cotangent : by) bindings.cotangent(cotangent.value, *cotangent.tensor);
  executor.run(workspace, bindings);
  std::vector<Tensor> result;
  const auto keep = [&](ConstTensorView view) {
    result.emplace_back(Shape{view.rows, view.columns}, feed.dtype);
    copy_values(view, result.back().view());
  };
  for (const Value& value : values) keep(workspace.gradient(value));
  keep(workspace.output(instance.output()));
  return result;
}

bool is_sum(const Tensor& both, const Tensor& first, const Tensor& second, double tolerance) {
  double size = 0, error = 0;
  for (Index i = 0; i < both.rows(); ++i) {
    for (Index j = 0; j < both.columns(); ++j) {
      const double a = element(first.view(), i, j), b = element(second.view(), i, j);
      size = std::max({size, std::abs(a), std::abs(b)});
      const double e = std::abs(element(both.view(), i, j) - (a + b));
      error = e <= error ? error : e;  // keeps NaN
    }
  }
  return error <= tolerance * size;
}

}  // namespace

void check_memory(const CaseInstance& instance, const KernelTable& kernels, CaseReport& report) {
  OpCall padded(instance, kernels, OperandLayout::kPadded);
  const std::vector<Tensor> expected = padded.run();
  report.properties.emplace_back("determinism");
  if (!same_bits(padded.run(), expected)) fail(report, "running the op twice gives different bits");

  report.properties.emplace_back("strides");
  for (const OperandLayout layout : {OperandLayout::kDense, OperandLayout::kStrided}) {
    OpCall other(instance, kernels, layout);
    if (!same_bits(other.run(), expected)) {
      fail(report, "other leading dimensions and alignments give different bits");
    }
    if (!other.guards_are_intact()) fail(report, "writes outside the elements of its operands");
    if (!other.inputs_are_intact()) fail(report, "changes an input");
  }

  const OpTraits& traits = instance.output().node().op->traits;
  if (!traits.output_may_alias_input && !traits.gradient_may_alias) return;
  report.properties.emplace_back("aliasing");
  if (traits.output_may_alias_input) {
    const std::vector<Tensor> in_place = padded.run(OpCall::Aliasing::kOutput);
    if (!internal::same_bits(in_place[0].view(), expected[0].view())) {
      fail(report, "forward in the memory of input 0 gives different bits");
    }
  }
  if (traits.gradient_may_alias && !same_bits(padded.run(OpCall::Aliasing::kGradient), expected)) {
    fail(report, "backward in the memory of dY gives different bits");
  }
  if (!padded.guards_are_intact()) fail(report, "writes outside the elements of its operands");
}

void check_accumulation(const OpCase& op_case, const CaseSize& size, DType dtype,
                        const KernelTable& kernels, std::uint64_t seed, CaseReport& report) {
  report.properties.emplace_back("accumulation");
  CaseInstance instance(op_case, size, dtype, seed);
  const Value first = instance.output();
  std::vector<Value> inputs;
  for (const NodeId id : first.node().inputs) inputs.emplace_back(&instance.graph(), id);
  const Value second = instance.graph().apply(*op_case.op, inputs, first.node().attributes);
  const Shape shape = filled_shape(first.shape(), instance.rows());
  const Tensor v = random_cotangent(shape, dtype, kFirstStream);
  const Tensor w = random_cotangent(shape, dtype, kSecondStream);
  const std::vector<Value> values = differentiable_leaves(instance.graph(), first);
  const auto run = [&](const std::vector<Cotangent>& by) {
    return gradients(instance, by, values, kernels);
  };
  const std::vector<Tensor> both = run({{first, &v}, {second, &w}});
  const std::vector<Tensor> of_first = run({{first, &v}});
  const std::vector<Tensor> of_second = run({{second, &w}});
  const bool single = dtype == DType::kFloat32;
  const double unit =
      single ? std::numeric_limits<float>::epsilon() : std::numeric_limits<double>::epsilon();
  const auto longest =
      static_cast<double>(std::max({instance.rows(), size.columns, shape.columns()}));
  for (std::size_t k = 0; k < values.size(); ++k) {
    if (is_sum(both[k], of_first[k], of_second[k], kSumRoundings * unit * longest)) continue;
    fail(report,
         fmt::format("gradient of {}: the op applied twice does not give the sum of both gradients",
                     values[k].node().name));
  }
}

void check_second_order(const OpCase& op_case, const CaseSize& size, const KernelTable& kernels,
                        std::uint64_t seed, CaseReport& report) {
  CaseInstance instance(op_case, size, DType::kFloat64, seed);
  if (!op_case.op->has_second_order() || !instance.kinks().empty()) return;
  report.properties.emplace_back("second order");
  const Value y = instance.output();
  const Value loss = scale(reduce_sum(mul(y, y), Axis::kAll), 0.5);
  GradientCheckOptions options;
  options.kernels = &kernels;
  options.seed = seed;
  options.zero_gradients = instance.zero_gradients();
  report.second_order = check_hessian(instance.graph(), loss, instance.feed(), options);
  for (const std::string& failure : report.second_order.failures) fail(report, failure);
}

void check_threads(const CaseInstance& instance, const KernelTable& kernels, CaseReport& report) {
  if (Plan::block_rows(instance.rows()) >= instance.rows()) return;
  report.properties.emplace_back("threads");
  const Value output = instance.output();
  const Tensor v = random_cotangent(filled_shape(output.shape(), instance.rows()),
                                    instance.feed().dtype, kFirstStream);
  const std::vector<Value> values = differentiable_leaves(instance.graph(), output);
  const std::vector<Tensor> one = gradients(instance, {{output, &v}}, values, kernels);
  const std::vector<Tensor> two = gradients(instance, {{output, &v}}, values, kernels, Executor(2));
  if (!same_bits(one, two)) fail(report, "two threads give different bits than one");
}

}  // namespace chainrule::internal
