// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/core/tensor.hpp"
#include "chainrule/learn/dual_activation.hpp"
#include "chainrule/learn/model.hpp"
#include "chainrule/runtime/executor.hpp"

namespace chainrule {

/// The prior of one dense layer: W_ij ~ N(0, weight / fan_in), b_i ~ N(0, bias).
struct WeightPrior {
  double weight = 2;
  double bias = 0;

  bool operator==(const WeightPrior&) const = default;
};

/// A fully connected network of infinitely wide hidden layers: dense[0], hidden[0], dense[1], ...,
/// hidden[L - 1], dense[L], L >= 0 the number of hidden layers.
///
///     z^0 = b^0 + W^0 x,   z^l = b^l + W^l phi_l(z^(l-1)),   l = 1..L; the output is z^L.
///
/// Its outputs are independent Gaussian processes (Neal 1996; Lee et al. 2018, eq. 4-6) with the
/// covariance K = K^L, and under gradient descent it moves by the neural tangent kernel
/// Theta = Theta^L (Jacot et al. 2018), where
///
///     K^0 = bias + weight <x, z> / d,            Theta^0 = K^0,
///     K^l = bias + weight E[phi(u) phi(v)],      Theta^l = K^l + weight E[phi'(u) phi'(v)]
///     Theta^(l-1),
///
/// (u, v) having the covariance K^(l-1) of x and z. Theta is that of the NTK parametrization:
/// sqrt(weight / fan_in) and sqrt(bias) multiply parameters of variance 1, all of which are
/// trained.
struct CHAINRULE_API InfiniteNetwork {
  std::vector<WeightPrior> dense;
  std::vector<DualActivation> hidden;

  /// `depth` hidden layers of one kind. ArgumentError when depth < 0.
  InfiniteNetwork(Index depth, const DualActivation& activation, WeightPrior prior);
  /// ArgumentError unless there is one prior more than activations, with variances >= 0 and finite.
  InfiniteNetwork(std::vector<WeightPrior> dense_, std::vector<DualActivation> hidden_);

  Index depth() const noexcept { return static_cast<Index>(hidden.size()); }
};

/// The limit of a model's own layers: each Linear layer gets `prior`, without a bias no bias
/// variance; two of them in a row have the identity between. Its likelihood and the values of its
/// parameters play no part, and its schema's standardization is not applied: see
/// Model::prepare_inputs(). UnsupportedError, naming the layer, for dropout, layer_norm, batch_norm
/// and elu, for activations in front of the first Linear layer, behind the last one, or in a row.
CHAINRULE_API InfiniteNetwork infinite_network(const Model& model, WeightPrior prior);
CHAINRULE_API InfiniteNetwork infinite_network(std::span<const Layer> layers, WeightPrior prior);

// Gram matrices, float64, for x [n, d] and z [m, d] of any dtype: [n, m], or [n, n] (symmetric, the
// same bits on both sides) without z. An element's bits depend on its two rows alone, not on the
// number of threads or rows. Memory beyond the result grows with n + m.
//
// Each element is within 1e-13 of sqrt(K_ii K_jj), by quadrature 1e-12. The product of X and Z^T
// leaves pairs of nearly parallel inputs with half of their digits: they are found (1 - |c| < 1e-5;
// in later layers 1e-7) and computed again from differences of the unit vectors, whose distances
// carry through the layers. Activations without a closed form are expanded in Hermite polynomials
// for each row and layer (256 terms, Mehler's formula); where variances are so large and |c| so
// near 1 that those do not suffice, a pair takes the rule of DualActivation, some 1e-4 to 1 s each.
//
// ShapeError when x and z have different columns, or none; ArgumentError for an element that is not
// finite or an activation whose moments overflow; UnsupportedError for an activation that is not
// smooth at the variances that arise.

/// K^L of the network.
CHAINRULE_API Tensor nngp(const InfiniteNetwork& network, const Tensor& x,
                          const Executor& executor = Executor(0));
CHAINRULE_API Tensor nngp(const InfiniteNetwork& network, const Tensor& x, const Tensor& z,
                          const Executor& executor = Executor(0));
/// Theta^L of the network.
CHAINRULE_API Tensor ntk(const InfiniteNetwork& network, const Tensor& x,
                         const Executor& executor = Executor(0));
CHAINRULE_API Tensor ntk(const InfiniteNetwork& network, const Tensor& x, const Tensor& z,
                         const Executor& executor = Executor(0));

/// The diagonals of nngp(network, x) and ntk(network, x), with their bits.
CHAINRULE_API std::vector<double> nngp_diagonal(const InfiniteNetwork& network, const Tensor& x);
CHAINRULE_API std::vector<double> ntk_diagonal(const InfiniteNetwork& network, const Tensor& x);

}  // namespace chainrule
