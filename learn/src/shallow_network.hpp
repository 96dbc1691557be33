// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

#include "chainrule/core/tensor.hpp"
#include "chainrule/learn/approximate.hpp"
#include "chainrule/learn/evaluate.hpp"

namespace chainrule::internal {

/// Points [n, d] in float64 and the function there.
struct SampleSet {
  Tensor x;
  std::vector<double> y;

  Index size() const noexcept { return static_cast<Index>(y.size()); }
};

/// y = constant + sum_j c_j g(w_j . x + b_j).
struct ShallowNetwork {
  bool relu = false;  ///< g is ReLU, else tanh
  Index inputs = 1;
  std::vector<double> weights;  ///< w_jk at j * inputs + k
  std::vector<double> biases;
  std::vector<double> coefficients;
  double constant = 0;

  Index units() const noexcept { return static_cast<Index>(biases.size()); }
};

Model to_model(const ShallowNetwork& network);
/// 2^-52 |c|_1.
double rounding_floor(const ShallowNetwork& network);

/// Evaluates as Predictor does.
class NetworkEvaluator {
 public:
  explicit NetworkEvaluator(const ShallowNetwork& network);
  std::vector<double> operator()(const Tensor& x);

 private:
  Predictor predictor_;
};

/// Largest |network - y|; infinite where the network is not finite.
double sup_error(const ShallowNetwork& network, const SampleSet& samples);

/// Sets coefficients and constant to the least-squares solution; samples >= units + 1.
void fit_output_layer(ShallowNetwork& network, const SampleSet& samples);

/// Moves the hidden units of a tanh network by Levenberg-Marquardt steps, at most `steps` of them,
/// until the largest error on `samples` is <= `goal` or nothing moves. The network fits the samples
/// no worse afterwards. Samples >= (inputs + 1) * units + 1.
void refine_hidden_layer(ShallowNetwork& network, const SampleSet& samples, const Domain& domain,
                         double goal, int steps);

/// Points as a tensor [n, 1].
Tensor column_of(std::span<const double> points);
/// f there. ArgumentError naming the point when the value is not finite.
double evaluate_at(const ScalarFunction& f, std::span<const double> point);
/// The same for rows.
std::vector<double> evaluate_function(const ScalarFunction& f, const Tensor& x);

}  // namespace chainrule::internal
