// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>
#include <variant>

#include "chainrule/core/dtype.hpp"
#include "chainrule/core/initializer.hpp"

namespace chainrule {

/// z = x W + b, W [in, out]. Without initializers W and b start uniform within +-sqrt(6 / (in +
/// out)) (Glorot & Bengio 2010), as scikit-learn draws them.
struct Linear {
  Index in = 0;
  Index out = 0;
  bool bias = true;
  std::optional<Initializer> weight_initializer{};
  std::optional<Initializer> bias_initializer{};

  bool operator==(const Linear&) const = default;
};

// Activations; formulas in ops/activations.hpp.

struct Identity {
  bool operator==(const Identity&) const = default;
};
struct Relu {
  bool operator==(const Relu&) const = default;
};
struct LeakyRelu {
  double slope = 0.01;
  bool operator==(const LeakyRelu&) const = default;
};
struct Elu {
  double alpha = 1;
  bool operator==(const Elu&) const = default;
};
struct Sigmoid {
  bool operator==(const Sigmoid&) const = default;
};
struct Tanh {
  bool operator==(const Tanh&) const = default;
};
struct Softplus {
  bool operator==(const Softplus&) const = default;
};
struct Silu {
  bool operator==(const Silu&) const = default;
};
struct Gelu {
  bool operator==(const Gelu&) const = default;
};
struct GeluTanh {
  bool operator==(const GeluTanh&) const = default;
};

/// Zeroes a value with probability `rate` in training and scales the rest by 1 / (1 - rate).
struct Dropout {
  double rate = 0.5;
  bool operator==(const Dropout&) const = default;
};
/// Each row to mean 0 and variance 1, then times gamma plus beta, both [features].
struct LayerNorm {
  double epsilon = 1e-5;
  bool operator==(const LayerNorm&) const = default;
};
/// Each column to mean 0 and variance 1 over the batch (running statistics in inference).
struct BatchNorm {
  double momentum = 0.1;
  double epsilon = 1e-5;
  bool operator==(const BatchNorm&) const = default;
};

using Layer = std::variant<Linear, Identity, Relu, LeakyRelu, Elu, Sigmoid, Tanh, Softplus, Silu,
                           Gelu, GeluTanh, Dropout, LayerNorm, BatchNorm>;

// Likelihoods: what the last layer's outputs mean, the loss and the prediction. Formulas in
// ops/losses.hpp.

/// Softmax over the outputs; targets are class labels; predicts probabilities.
struct Categorical {
  double label_smoothing = 0;
  bool operator==(const Categorical&) const = default;
};
/// A sigmoid for one output; targets are the labels 0 and 1; predicts the probability of class 1.
struct Bernoulli {
  bool operator==(const Bernoulli&) const = default;
};
/// Squared error; predicts the mean.
struct Gaussian {
  bool operator==(const Gaussian&) const = default;
};
/// Absolute error; predicts the median.
struct Laplace {
  bool operator==(const Laplace&) const = default;
};
/// Squared error within `delta`, absolute beyond (Huber 1964).
struct HuberLoss {
  double delta = 1;
  bool operator==(const HuberLoss&) const = default;
};
/// Maximum margin for one output; targets are the labels 0 and 1, which the loss sees as -1 and 1;
/// predicts the score.
struct HingeLoss {
  bool operator==(const HingeLoss&) const = default;
};
/// Counts with log link; predicts the rate.
struct Poisson {
  bool operator==(const Poisson&) const = default;
};
/// Positive targets with log link and the given shape; predicts the mean.
struct Gamma {
  double shape = 1;
  bool operator==(const Gamma&) const = default;
};
/// Overdispersed counts with log link, variance mu + dispersion mu^2; predicts the mean.
struct NegativeBinomial {
  double dispersion = 1;
  bool operator==(const NegativeBinomial&) const = default;
};

using Likelihood = std::variant<Categorical, Bernoulli, Gaussian, Laplace, HuberLoss, HingeLoss,
                                Poisson, Gamma, NegativeBinomial>;

/// True for likelihoods of class labels (Categorical, Bernoulli, HingeLoss).
CHAINRULE_API bool is_classification(const Likelihood& likelihood) noexcept;
/// True for likelihoods with a log link, which take an offset.
CHAINRULE_API bool has_log_link(const Likelihood& likelihood) noexcept;

/// The names that files and the command line use: "relu", "leaky_relu", ..., "linear".
CHAINRULE_API std::string_view name_of(const Layer& layer) noexcept;
/// "softmax", "binary", "mse", "mae", "huber", "hinge", "poisson", "gamma", "negative-binomial".
CHAINRULE_API std::string_view name_of(const Likelihood& likelihood) noexcept;
/// The activation layer of that name with default parameters; ArgumentError, listing the names.
CHAINRULE_API Layer activation_named(std::string_view name);
/// The likelihood of that name with default parameters; ArgumentError, listing the names.
CHAINRULE_API Likelihood likelihood_named(std::string_view name);

}  // namespace chainrule
