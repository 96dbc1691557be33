// SPDX-License-Identifier: Apache-2.0
#include "chainrule/check/check_case.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "chainrule/core/error.hpp"
#include "chainrule/ops/all_ops.hpp"
#include "chainrule/runtime/executor.hpp"
#include "gradient_probe.hpp"

namespace chainrule {
namespace {

constexpr std::uint64_t kFirstStream = 21;
constexpr std::uint64_t kSecondStream = 22;
// Room for sums that are added in another order, in units of the longest sum.
constexpr double kRoundings = 8;

Tensor random_cotangent(const Shape& shape, DType dtype, std::uint64_t stream) {
  Tensor tensor(shape, DType::kFloat64);
  const MatrixView<double> v = tensor.as<double>();
  for (Index i = 0; i < v.rows; ++i) {
    for (Index j = 0; j < v.columns; ++j) {
      v(i, j) = internal::random_signed({.seed = 1, .stream = stream}, i * v.columns + j);
    }
  }
  return tensor.to(dtype);
}

struct Cotangent {
  Value value;
  const Tensor* tensor;
};

std::vector<Tensor> gradients(const CaseInstance& instance, const std::vector<Cotangent>& by,
                              const std::vector<Value>& values, const KernelTable* kernels) {
  const Feed feed = instance.feed();
  CompileOptions options;
  options.dtype = feed.dtype;
  options.mode = feed.mode;
  options.kernels = kernels;
  options.gradients = values;
  for (const Cotangent& cotangent : by) options.cotangents.push_back(cotangent.value);
  const Plan plan = compile(instance.graph(), options);
  Workspace workspace(plan, instance.rows());
  Bindings bindings(plan);
  for (const auto& [value, view] : feed.inputs) bindings.input(value, view);
  bindings.parameters(*feed.parameters).random(feed.random);
  for (const Cotangent& cotangent : by) bindings.cotangent(cotangent.value, *cotangent.tensor);
  Executor().run(workspace, bindings);
  std::vector<Tensor> result;
  for (const Value& value : values) {
    const ConstTensorView view = workspace.gradient(value);
    result.emplace_back(Shape{view.rows, view.columns}, feed.dtype);
    copy_values(view, result.back().view());
  }
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

void check_accumulation(const OpCase& op_case, const CaseSize& size, DType dtype,
                        const KernelTable* kernels, std::uint64_t seed, GradientReport& report) {
  CaseInstance instance(op_case, size, dtype, seed);
  const Value first = instance.output();
  std::vector<Value> inputs;
  for (const NodeId id : first.node().inputs) inputs.emplace_back(&instance.graph(), id);
  const Value second = instance.graph().apply(*op_case.op, inputs, first.node().attributes);
  const Shape shape = internal::filled_shape(first.shape(), instance.rows());
  const Tensor v = random_cotangent(shape, dtype, kFirstStream);
  const Tensor w = random_cotangent(shape, dtype, kSecondStream);
  const std::vector<Value> values = internal::differentiable_leaves(instance.graph(), first);
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
    if (is_sum(both[k], of_first[k], of_second[k], kRoundings * unit * longest)) continue;
    report.failures.push_back(
        fmt::format("gradient of {}: the op applied twice does not give the sum of both gradients",
                    values[k].node().name));
  }
}

}  // namespace

CaseReport check_case(const OpCase& op_case, const CaseSize& size, DType dtype,
                      const KernelTable* kernels, std::uint64_t seed) {
  const CaseInstance instance(op_case, size, dtype, seed);
  const Value output = instance.output();
  CaseReport report;
  report.op = op_case.op->name;
  report.name = op_case.name();
  report.size = size.name;
  report.shape = to_string(internal::filled_shape(output.shape(), instance.rows()));
  GradientCheckOptions options;
  options.dtype = dtype;
  options.float32_terms = op_case.terms;
  options.kernels = kernels;
  options.seed = seed;
  options.zero_gradients = instance.zero_gradients();
  options.kinks = instance.kinks();
  options.accept_kinks = false;
  report.gradients = check_gradients(instance.graph(), output, instance.feed(), options);
  check_accumulation(op_case, size, dtype, kernels, seed, report.gradients);
  return report;
}

std::vector<CaseReport> check_op(std::string_view op, DType dtype, const KernelTable* kernels,
                                 std::uint64_t seed) {
  std::vector<CaseReport> reports;
  for (const OpCase& op_case : op_cases()) {
    if (op_case.op->name != op) continue;
    for (const CaseSize& size : case_sizes()) {
      reports.push_back(check_case(op_case, size, dtype, kernels, seed));
    }
  }
  if (!reports.empty()) return reports;
  std::string names;
  for (const OpDef* known : all_ops()) {
    names += (names.empty() ? "" : ", ") + std::string(known->name);
  }
  throw ArgumentError(fmt::format("check_op: no op is called '{}'; there are: {}", op, names));
}

}  // namespace chainrule
