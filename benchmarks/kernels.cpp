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

// 64 x 256 elements: in L2.
void unary(benchmark::State& state, const UnaryCase& one) {
  const KernelTable& kernels = default_kernels();
  Tensor x = random_tensor<float>({64, 256}, 3, 4);
  Tensor y(x.shape(), DType::kFloat32);
  const double no_parameters[4] = {};
  const auto apply = [&] {
    kernels.f32.unary[static_cast<std::size_t>(one.kernel)](x.as<float>(), y.as<float>(),
                                                            no_parameters);
  };
  apply();
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
  const double seconds = bench::timed(state, [&] {
    apply();
    benchmark::ClobberMemory();
  });
  const auto elements = static_cast<double>(x.rows() * x.columns());
  state.counters["elements"] = elements / seconds;
  // Two FMA units do four operations a lane and cycle: the clock that the peak was measured at.
  const double clock =
      bench::fma_peak<float>(kernels) / (4.0 * static_cast<double>(kernels.float_lanes));
  state.counters["cycles_an_element"] = seconds * clock / elements;
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
}

}  // namespace

int main(int argc, char** argv) {
  register_all();
  return chainrule::bench::run(argc, argv);
}
