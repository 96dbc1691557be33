// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/infinite_kernel.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

namespace chainrule {
namespace {

Tensor infinite_inputs(MatrixView<const double> x) {
  return Tensor::view(const_cast<double*>(x.data), {x.rows, x.columns}, DType::kFloat64, x.ld);
}

CovarianceKernel infinite_kernel(const InfiniteNetwork& network, bool tangent, int threads,
                                 std::string formula) {
  const auto executor = std::make_shared<const Executor>(threads);
  return function_kernel(
      {.name = tangent ? "ntk" : "nngp",
       .gram =
           [=](MatrixView<const double> x, MatrixView<const double> z, MatrixView<double> k) {
             const Tensor left = infinite_inputs(x), right = infinite_inputs(z);
             const bool itself = x.data == z.data && x.rows == z.rows;
             const Tensor result =
                 itself ? (tangent ? ntk(network, left, *executor) : nngp(network, left, *executor))
                 : tangent ? ntk(network, left, right, *executor)
                           : nngp(network, left, right, *executor);
             copy_values(result, TensorView{k.data, DType::kFloat64, k.rows, k.columns, k.ld});
           },
       .diagonal =
           [=](MatrixView<const double> x, std::span<double> k) {
             const Tensor inputs = infinite_inputs(x);
             std::ranges::copy(
                 tangent ? ntk_diagonal(network, inputs) : nngp_diagonal(network, inputs),
                 k.begin());
           },
       .whole_matrices = true,
       .formula = std::move(formula)});
}

CovarianceKernel uniform_kernel(Index depth, std::string_view activation, WeightPrior prior,
                                bool tangent, int threads) {
  const InfiniteNetwork network(depth, DualActivation::named(activation), prior);
  return infinite_kernel(network, tangent, threads,
                         fmt::format("{}_{}({}, {}, {})", tangent ? "ntk" : "nngp", activation,
                                     depth, prior.weight, prior.bias));
}

}  // namespace

CovarianceKernel nngp_kernel(const InfiniteNetwork& network, int threads) {
  return infinite_kernel(network, false, threads, "");
}
CovarianceKernel ntk_kernel(const InfiniteNetwork& network, int threads) {
  return infinite_kernel(network, true, threads, "");
}
CovarianceKernel nngp_kernel(Index depth, std::string_view activation, WeightPrior prior,
                             int threads) {
  return uniform_kernel(depth, activation, prior, false, threads);
}
CovarianceKernel ntk_kernel(Index depth, std::string_view activation, WeightPrior prior,
                            int threads) {
  return uniform_kernel(depth, activation, prior, true, threads);
}

}  // namespace chainrule
