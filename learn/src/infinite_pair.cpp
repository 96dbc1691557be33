// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "dual_form.hpp"
#include "infinite_gram.hpp"

namespace chainrule::internal {
namespace {

using Family = DualActivation::Form::Family;

constexpr Index kSums = 4;  // that a CPU adds side by side

// K^0 of a pair from the difference and the sum of its unit vectors, (x, sqrt(bias)) scaled.
PairCovariance input_pair(double bias, const InfiniteSamples& x, Index i, const InfiniteSamples& z,
                          Index j) {
  PairCovariance pair{.xx = x.variance(0, i), .zz = z.variance(0, j)};
  if (pair.xx == 0 || pair.zz == 0) return pair;
  const double scale_x = 1 / std::sqrt(pair.xx);
  const double scale_z = 1 / std::sqrt(pair.zz);
  const double* const u = x.scaled().row(i);
  const double* const v = z.scaled().row(j);
  std::array<double, kSums> minus{};
  std::array<double, kSums> plus{};
  const auto add = [&](double a, double b, Index sum) {
    const auto s = static_cast<std::size_t>(sum);
    minus[s] += (a - b) * (a - b);
    plus[s] += (a + b) * (a + b);
  };
  Index k = 0;
  for (; k + kSums <= x.columns(); k += kSums) {
    for (Index s = 0; s < kSums; ++s) add(scale_x * u[k + s], scale_z * v[k + s], s);
  }
  for (; k < x.columns(); ++k) add(scale_x * u[k], scale_z * v[k], 0);
  add(scale_x * std::sqrt(bias), scale_z * std::sqrt(bias), 1);
  pair.below_1 = ((minus[0] + minus[1]) + (minus[2] + minus[3])) / 2;
  pair.above_1 = ((plus[0] + plus[1]) + (plus[2] + plus[3])) / 2;
  if (pair.below_1 < pair.above_1) {
    pair.above_1 = 2 - pair.below_1;
  } else {
    pair.below_1 = 2 - pair.above_1;
  }
  return pair;
}

// The covariance bias + weight E, without cancellation:
// Kx Kz - K^2 = bias weight (Ex + Ez - 2 E) + weight^2 (Ex Ez - E^2), of which no term is negative.
PairCovariance dense_pair(const WeightPrior& prior, const PairCovariance& e, double xx, double zz) {
  PairCovariance pair{.xx = xx, .zz = zz};
  const double root = std::sqrt(xx * zz);
  if (root == 0) return pair;
  const double product = e.xx * e.zz;
  const double difference = std::sqrt(e.xx) - std::sqrt(e.zz);
  const double spread = difference * difference + 2 * std::sqrt(product) * e.below_1;
  const double gap =
      prior.weight * (prior.bias * spread + prior.weight * product * (e.below_1 * e.above_1));
  const double xz = prior.bias + prior.weight * e.xz();
  const double near = std::clamp(gap / (root * (root + std::abs(xz))), 0.0, 1.0);
  pair.below_1 = xz > 0 ? near : 2 - near;
  pair.above_1 = xz > 0 ? 2 - near : near;
  return pair;
}

// Whether a rectifier, whose derivative has a kink in c at 1 and -1, is behind hidden layer l.
bool angle_matters(const InfiniteNetwork& network, std::size_t l) {
  return std::any_of(
      network.hidden.begin() + static_cast<std::ptrdiff_t>(l) + 1, network.hidden.end(),
      [](const DualActivation& dual) { return dual.form().family == Family::kRectifier; });
}

}  // namespace

double pair_kernel(const InfiniteNetwork& network, const InfiniteSamples& x, Index i,
                   const InfiniteSamples& z, Index j, InfiniteKernel kernel) {
  const bool same = &x == &z && i == j;
  PairCovariance pair = input_pair(network.dense[0].bias, x, i, z, j);
  double k = pair.xz();
  double theta = k;
  for (std::size_t l = 0; l < network.hidden.size(); ++l) {
    const DualActivation& dual = network.hidden[l];
    const WeightPrior& prior = network.dense[l + 1];
    const double xx = x.variance(l + 1, i);
    const double zz = z.variance(l + 1, j);
    const DualMoments moments = same ? dual(pair.xx) : dual(pair);
    k = prior.bias + prior.weight * moments.value;
    theta = k + prior.weight * moments.derivative * theta;
    if (same) {
      pair.xx = pair.zz = xx;
    } else if (angle_matters(network, l)) {
      pair = dense_pair(prior, dual.outputs(pair), xx, zz);
    } else {
      const double limit = std::sqrt(xx * zz);
      pair = PairCovariance::from(xx, zz, std::clamp(k, -limit, limit));
    }
  }
  return kernel == InfiniteKernel::kNngp ? k : theta;
}

}  // namespace chainrule::internal
