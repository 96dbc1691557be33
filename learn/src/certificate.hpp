// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "chainrule/core/random.hpp"
#include "shallow_network.hpp"

namespace chainrule::internal {

/// The largest error on the points of a certificate.
struct Certificate {
  double sup_error = 0;
  std::vector<double> worst_point;
  Index points = 0;
};

/// In one variable: 20,000 random points spread evenly, eleven in each gap between `fitted`
/// (ascending), knots, middles between knots, both sides of knots and singularities down to 1e-14
/// of the domain's width (far from 0 to the numbers next to them), and a local search.
Certificate certify_on_line(const ScalarFunction& f, Interval domain, const ShallowNetwork& network,
                            std::span<const double> fitted, std::span<const double> singularities,
                            RandomKey key);

/// In more variables: in each cell of a grid with `per_direction` cells a direction a random point,
/// the domain's faces, and a local search. From three variables on, `total` points of a
/// low-discrepancy sequence instead of a grid.
Certificate certify_in_box(const ScalarFunction& f, const Domain& domain,
                           const ShallowNetwork& network, Index per_direction, Index total,
                           RandomKey key);

/// On given samples alone.
Certificate certify_on_samples(const ShallowNetwork& network, const SampleSet& samples);

/// The additive recurrence of dimension d by powers of the inverse of the root of x^(d+1) = x + 1
/// (Roberts 2018), shifted at random by `key`; points in [0, 1)^d.
class LowDiscrepancySequence {
 public:
  LowDiscrepancySequence(std::size_t dimension, RandomKey key);
  void point(Index i, std::span<double> out) const noexcept;

 private:
  std::vector<double> increments_;
  std::vector<double> shifts_;
};

/// From [0, 1)^d to the box, so that a part of the points lies on its faces, edges and corners:
/// there errors are largest, and in many variables hardly a point comes near.
void place_in_box(const Domain& domain, std::span<double> point) noexcept;

}  // namespace chainrule::internal
