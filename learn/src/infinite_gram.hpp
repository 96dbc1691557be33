// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "chainrule/kernels/kernel_table.hpp"
#include "chainrule/learn/infinite_width.hpp"

namespace chainrule::internal {

enum class InfiniteKernel : std::uint8_t { kNngp, kNtk };

/// Inputs of an infinite network, and what each hidden layer's kernel wants to know of each alone.
class InfiniteSamples {
 public:
  /// `name` is that of x in errors.
  InfiniteSamples(const InfiniteNetwork& network, const Tensor& x, std::string_view name,
                  const Executor& executor);

  /// What a hidden layer wants to know.
  struct Layer {
    std::vector<double> first;   ///< DualFactors
    std::vector<double> second;  ///< DualFactors
    // Of quadrature: DualSeries(k, i), and how much of the second moment the series lacks, as a
    // fraction.
    Tensor values;
    Tensor slopes;
    std::vector<double> value_tail;
    std::vector<double> slope_tail;
  };

  Index rows() const noexcept { return scaled_.rows(); }
  Index columns() const noexcept { return scaled_.columns(); }
  /// x sqrt(weight / d) of the first dense layer.
  MatrixView<const double> scaled() const { return scaled_.as<double>(); }
  const Layer& layer(std::size_t l) const { return layers_[l]; }
  /// K^l(x_i, x_i).
  double variance(std::size_t l, Index i) const {
    return variances_[l][static_cast<std::size_t>(i)];
  }

 private:
  void add_input(const InfiniteNetwork& network, const Tensor& x, std::string_view name,
                 const Executor& executor);
  void add_layer(const InfiniteNetwork& network, std::size_t l, std::string_view name,
                 const Executor& executor);
  void add_factors(const DualActivation& dual, const WeightPrior& prior, std::size_t l, Index i);
  void add_series(const DualActivation& dual, const WeightPrior& prior, std::size_t l, Index first,
                  Index count);

  Tensor scaled_;
  std::vector<std::vector<double>> variances_;
  std::vector<Layer> layers_;
};

/// One element, with all its digits also where the inputs are nearly parallel: their angle is found
/// from differences, and 1 - c and 1 + c are carried through the layers.
double pair_kernel(const InfiniteNetwork& network, const InfiniteSamples& x, Index i,
                   const InfiniteSamples& z, Index j, InfiniteKernel kernel);

/// k(i, j) of x's row first + i and z's row j, for all of `k`, which may have fewer rows and
/// columns than there are; symmetric where x and z are one object and k is all of it.
void infinite_gram(const InfiniteNetwork& network, const InfiniteSamples& x, Index first,
                   const InfiniteSamples& z, InfiniteKernel kernel, MatrixView<double> k,
                   const Executor& executor);

}  // namespace chainrule::internal
