// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include "chainrule/learn/approximate.hpp"

namespace chainrule::internal {

/// On what scale a function of one variable changes: cells on each of which a polynomial of degree
/// 8 comes within a tolerance, and where no scale is small enough.
struct Resolution {
  std::vector<double> edges;            ///< of the cells, ascending, the domain's ends included
  std::vector<double> singularities{};  ///< kinks, jumps and the like, ascending
  double scale = 0;                     ///< largest |f| seen

  /// The largest cell is more than eight times the smallest.
  bool graded() const noexcept;
};

/// The smallest distance on the domain that says something of a function: 1e-15 of the width, and
/// more than eight numbers of float64, which are farther apart than that when the domain is far
/// from 0.
double least_distance(Interval domain) noexcept;

Resolution resolve(const ScalarFunction& f, Interval domain, double tolerance);

/// A piecewise constant density on the cells: the share `grading` spread evenly over cells, the
/// rest over length.
class Density {
 public:
  Density(const std::vector<double>& edges, double grading);

  /// The x below which the share q lies; beyond [0, 1] as if the density at the ends went on.
  double quantile(double q) const noexcept;
  /// The density at quantile(q).
  double at(double q) const noexcept;

 private:
  std::size_t cell(double q) const noexcept;

  std::vector<double> edges_;
  std::vector<double> below_;  ///< share below each edge
};

}  // namespace chainrule::internal
