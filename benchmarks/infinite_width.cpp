// SPDX-License-Identifier: Apache-2.0
//
// Gram matrices of infinitely wide networks, of n inputs of 784 numbers, beside the least time that
// the product X X^T in them takes: n (n + 1) / 2 dot products at the FMA peak.

#include <cmath>
#include <numbers>
#include <string>

#include "chainrule/core/random.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/learn/infinite_width.hpp"
#include "common.hpp"

namespace {

using namespace chainrule;

constexpr bench::Program kProgram{
    .name = "infinite_width",
    .about =
        R"(Gram matrices of infinitely wide networks, nngp/ or ntk/ACTIVATION/depth:D/rows:N/threads:P, of N
inputs of 784 numbers; depth 0 is the product alone.

  fma_fraction  the share of P threads' FMA peak, measured in this process, by the N (N + 1) / 2
                dot products alone; flops: their operations a second
)",
    .has_bits = false};

constexpr Index kColumns = 784;
constexpr WeightPrior kPrior{.weight = 2, .bias = 0.1};

Tensor inputs(Index rows) {
  Tensor x({rows, kColumns}, DType::kFloat64);
  for (Index i = 0; i < rows; ++i) {
    fill_random_uniform({.seed = 5, .stream = static_cast<std::uint64_t>(i)}, 0,
                        {x.as<double>().row(i), static_cast<std::size_t>(kColumns)});
  }
  return x;
}

// K and Theta of relu, element by element in long double.
struct Kernels2 {
  long double k = 0;
  long double theta = 0;
};

Kernels2 relu_kernels(const Tensor& x, Index i, Index j, Index depth) {
  const auto product = [&](Index a, Index b) {
    long double sum = 0;
    for (Index c = 0; c < kColumns; ++c) {
      sum += static_cast<long double>(element(x, a, c)) * element(x, b, c);
    }
    return kPrior.bias + kPrior.weight * sum / kColumns;
  };
  long double xx = product(i, i);
  long double zz = product(j, j);
  Kernels2 result{.k = product(i, j), .theta = product(i, j)};
  constexpr long double kPi = std::numbers::pi_v<long double>;
  for (Index l = 0; l < depth; ++l) {
    const long double root = std::sqrt(xx * zz);
    const long double angle = std::acos(std::min(result.k / root, 1.0L));
    result.k = kPrior.bias + kPrior.weight * root / (2 * kPi) *
                                 (std::sin(angle) + (kPi - angle) * std::cos(angle));
    result.theta = result.k + kPrior.weight * (kPi - angle) / (2 * kPi) * result.theta;
    xx = kPrior.bias + kPrior.weight * xx / 2;
    zz = kPrior.bias + kPrior.weight * zz / 2;
  }
  return result;
}

bool is_right(const Tensor& x, const Tensor& gram, Index depth, bool tangent) {
  for (Index at = 0; at < 200; ++at) {
    const Index i = at * 7919 % x.rows();
    const Index j = (at * 104729 + 1) % x.rows();
    if (i == j) continue;
    const Kernels2 expected = relu_kernels(x, i, j, depth);
    const long double value = tangent ? expected.theta : expected.k;
    if (std::abs(element(gram, i, j) - value) > 1e-12L * value) return false;
  }
  return true;
}

void gram(benchmark::State& state, const std::string& activation, Index depth, bool tangent,
          Index rows, int threads) {
  const KernelTable& kernels = default_kernels();
  const Tensor x = inputs(rows);
  const InfiniteNetwork network(depth, DualActivation::named(activation), kPrior);
  const Executor executor(threads);
  const auto compute = [&] {
    return tangent ? ntk(network, x, executor) : nngp(network, x, executor);
  };
  if ((activation == "relu" || depth == 0) && !is_right(x, compute(), depth, tangent)) {
    state.SkipWithError("wrong result");
    return;
  }
  const double seconds = bench::timed(state, [&] { benchmark::DoNotOptimize(compute().data()); });
  const double pairs = static_cast<double>(rows) * static_cast<double>(rows + 1) / 2;
  bench::report_flops<double>(state, kernels, 2.0 * kColumns * pairs, seconds, threads);
}

void register_all() {
  for (const int threads : {1, 2}) {
    for (const Index rows : {2000, 10'000}) {
      const auto add = [&](const std::string& activation, Index depth, bool tangent) {
        const std::string name = std::string(tangent ? "ntk/" : "nngp/") + activation +
                                 "/depth:" + std::to_string(depth) +
                                 "/rows:" + std::to_string(rows) +
                                 "/threads:" + std::to_string(threads);
        benchmark::RegisterBenchmark(name.c_str(),
                                     [=](benchmark::State& state) {
                                       gram(state, activation, depth, tangent, rows, threads);
                                     })
            ->Unit(benchmark::kMillisecond)
            ->UseRealTime();
      };
      add("identity", 0, false);  // the product alone
      for (const char* activation : {"relu", "erf", "sin", "gelu", "tanh"}) {
        add(activation, 3, false);
        add(activation, 3, true);
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  register_all();
  return chainrule::bench::run(argc, argv, kProgram);
}
