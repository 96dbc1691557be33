// SPDX-License-Identifier: Apache-2.0
//
// The kernels of the active architecture, one thread, operands in cache.

#include <cmath>
#include <limits>
#include <string>

#include "chainrule/core/initializer.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "common.hpp"

namespace {

using namespace chainrule;

enum class Form { kForward, kWeightGradient };

template <class T>
Tensor random_tensor(const Shape& shape, std::uint64_t stream, double limit) {
  Tensor tensor(shape, kDTypeOf<T>);
  initialize(uniform(limit), {.seed = 1, .stream = stream}, tensor);
  return tensor;
}

// c = a b or a^T b, against sums in double.
template <class T>
bool gemm_is_right(Form form, const Tensor& a, const Tensor& b, const Tensor& c) {
  const Index inner = b.rows();
  for (Index i = 0; i < c.rows(); ++i) {
    for (Index j = 0; j < c.columns(); ++j) {
      double sum = 0;
      double terms = 0;
      for (Index k = 0; k < inner; ++k) {
        const double left = form == Form::kForward ? element(a, i, k) : element(a, k, i);
        sum += left * element(b, k, j);
        terms += std::abs(left * element(b, k, j));
      }
      const double bound =
          static_cast<double>(inner) * std::numeric_limits<T>::epsilon() * (terms + 1e-30);
      if (!(std::abs(element(c, i, j) - sum) <= bound)) return false;
    }
  }
  return true;
}

// Forward: [m, k] x [k, n]. Weight gradient: [k, m]^T x [k, n].
template <class T>
void gemm(benchmark::State& state, Form form, Index m, Index n, Index k) {
  const KernelTable& kernels = default_kernels();
  const bool forward = form == Form::kForward;
  Tensor a = random_tensor<T>(forward ? Shape{m, k} : Shape{k, m}, 1, 1);
  Tensor b = random_tensor<T>({k, n}, 2, 1);
  Tensor c({m, n}, kDTypeOf<T>);
  const auto multiply = [&] {
    kernels.get<T>().gemm({a.as<T>().data, forward ? a.ld() : 1, forward ? 1 : a.ld()}, b.as<T>(),
                          c.as<T>(), false, {});
  };
  multiply();
  if (!gemm_is_right<T>(form, a, b, c)) {
    state.SkipWithError("wrong result");
    return;
  }
  const double seconds = bench::timed(state, [&] {
    multiply();
    benchmark::ClobberMemory();
  });
  bench::report_flops<T>(
      state, kernels,
      2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k), seconds);
}

struct UnaryCase {
  const char* name;
  UnaryKernel kernel;
  double (*reference)(double);
};

const UnaryCase kUnaryCases[] = {
    {"relu", UnaryKernel::kRelu, [](double x) { return x > 0 ? x : 0; }},
    {"exp", UnaryKernel::kExp, [](double x) { return std::exp(x); }},
    {"sigmoid", UnaryKernel::kSigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }},
    {"tanh", UnaryKernel::kTanh, [](double x) { return std::tanh(x); }},
    {"softplus", UnaryKernel::kSoftplus, [](double x) { return std::log1p(std::exp(x)); }},
    {"silu", UnaryKernel::kSilu, [](double x) { return x / (1 + std::exp(-x)); }},
    {"gelu", UnaryKernel::kGelu, [](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }},
};

void apply_unary(UnaryKernel kernel, const Tensor& x, Tensor& y) {
  const double no_parameters[4] = {};
  default_kernels().f32.unary[static_cast<std::size_t>(kernel)](x.as<float>(), y.as<float>(),
                                                                no_parameters);
  benchmark::ClobberMemory();
}

// 64 x 256 elements: in L2.
void unary(benchmark::State& state, const UnaryCase& one) {
  const Tensor x = random_tensor<float>({64, 256}, 3, 4);
  Tensor y(x.shape(), DType::kFloat32);
  apply_unary(one.kernel, x, y);
  Tensor expected(x.shape(), DType::kFloat64);
  for (Index i = 0; i < x.rows(); ++i) {
    for (Index j = 0; j < x.columns(); ++j) {
      expected.as<double>()(i, j) = one.reference(element(x, i, j));
    }
  }
  if (!bench::agrees(y, expected, 1e-6)) {
    state.SkipWithError("wrong result");
    return;
  }
  const auto elements = static_cast<double>(x.rows() * x.columns());
  state.counters["elements"] =
      elements / bench::timed(state, [&] { apply_unary(one.kernel, x, y); });
  // On a busy machine a few calls are sometimes undisturbed, but never all.
  const double seconds = bench::least_seconds([&] { apply_unary(one.kernel, x, y); });
  state.counters["cycles_an_element"] = seconds * bench::clock_rate() / elements;
  // relu costs nothing beside the copy.
  const double copy = bench::least_seconds([&] { apply_unary(UnaryKernel::kRelu, x, y); });
  state.counters["times_a_copy"] = seconds / copy;
}

// Loss and gradient of softmax cross-entropy from logits.
void cross_entropy(benchmark::State& state, Index rows, Index classes) {
  const Kernels<float>& kernels = default_kernels().f32;
  const Tensor x = random_tensor<float>({rows, classes}, 4, 3);
  Tensor labels({rows, 1}, DType::kInt32), dloss({rows, 1}, DType::kFloat32);
  for (Index i = 0; i < rows; ++i) {
    labels.as<std::int32_t>()(i, 0) = static_cast<std::int32_t>(i * 7 % classes);
    dloss.as<float>()(i, 0) = 1;
  }
  Tensor loss({rows, 1}, DType::kFloat32), p(x.shape(), DType::kFloat32);
  Tensor dx(x.shape(), DType::kFloat32), expected(x.shape(), DType::kFloat64);
  const auto apply = [&] {
    kernels.cross_entropy(x.as<float>(), labels.as<std::int32_t>(), 0, loss.as<float>(),
                          p.as<float>());
    kernels.cross_entropy_backward(p.as<float>(), labels.as<std::int32_t>(), 0, dloss.as<float>(),
                                   dx.as<float>(), false);
    benchmark::ClobberMemory();
  };
  apply();
  for (Index i = 0; i < rows; ++i) {
    double sum = 0;
    for (Index j = 0; j < classes; ++j) sum += std::exp(element(x, i, j));
    for (Index j = 0; j < classes; ++j) {
      const double at_label = element(labels, i, 0) == static_cast<double>(j) ? 1 : 0;
      expected.as<double>()(i, j) = std::exp(element(x, i, j)) / sum - at_label;
    }
  }
  if (!bench::agrees(dx, expected, 1e-6)) {
    state.SkipWithError("wrong result");
    return;
  }
  bench::timed(state, apply);
  const double seconds = bench::least_seconds(apply);
  state.counters["least_us"] = 1e6 * seconds;
  state.counters["cycles_a_row"] = seconds * bench::clock_rate() / static_cast<double>(rows);
}

void register_all() {
  const struct {
    Index m, n, k;
  } shapes[] = {{1, 128, 784}, {8, 256, 256},   {32, 128, 784},   {32, 10, 128},
                {64, 64, 64},  {128, 512, 512}, {256, 1024, 1024}};
  for (const auto& s : shapes) {
    for (const Form form : {Form::kForward, Form::kWeightGradient}) {
      const std::string name =
          std::string(form == Form::kForward ? "gemm_forward" : "gemm_weight_gradient") + "/" +
          std::to_string(s.m) + "x" + std::to_string(s.n) + "x" + std::to_string(s.k);
      benchmark::RegisterBenchmark((name + "/float32").c_str(), [=](benchmark::State& state) {
        gemm<float>(state, form, s.m, s.n, s.k);
      });
      benchmark::RegisterBenchmark((name + "/float64").c_str(), [=](benchmark::State& state) {
        gemm<double>(state, form, s.m, s.n, s.k);
      });
    }
  }
  for (const UnaryCase& one : kUnaryCases) {
    benchmark::RegisterBenchmark((std::string("unary/") + one.name).c_str(),
                                 [&one](benchmark::State& state) { unary(state, one); });
  }
  for (const Index classes : {10, 1000}) {
    benchmark::RegisterBenchmark(
        ("cross_entropy/128x" + std::to_string(classes)).c_str(),
        [classes](benchmark::State& state) { cross_entropy(state, 128, classes); });
  }
}

}  // namespace

int main(int argc, char** argv) {
  register_all();
  return chainrule::bench::run(argc, argv);
}
