// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "chainrule/learn/approximate.hpp"
#include "resolution.hpp"
#include "shallow_network.hpp"

namespace chainrule::internal {

/// Points joined by straight lines, x ascending.
struct Polyline {
  std::vector<double> x;
  std::vector<double> y;

  std::size_t size() const noexcept { return x.size(); }
};

/// The polyline of fewest pieces that stays within `tube` > 0 of another one of at least two
/// points: a minimum-link path, whose pieces are extreme lines through windows (Suri 1986), found
/// from the lines between points above and below (O'Rourke 1981).
Polyline fewest_pieces(const Polyline& points, double tube);

/// Points between which straight lines are within `tolerance` of f, as far as bisection sees;
/// nothing when that takes more than `most` points.
std::optional<Polyline> sample_polyline(const ScalarFunction& f, const Resolution& resolution,
                                        double tolerance, std::size_t most);

/// One unit a piece, none for changes of slope that come to no more than `negligible`.
ShallowNetwork to_relu_network(const Polyline& path, double negligible);

struct ReluFit {
  ShallowNetwork network;
  std::vector<double> fitted;  ///< the points that were looked at, ascending
  double error = 0;            ///< the largest on them
  bool within = false;         ///< the tube was kept within the units allowed
};

/// The ReLU network of fewest units in a tube just inside f +- epsilon, and of those nearly the
/// nearest; if they are more than `max_units`, that many in the narrowest tube that has room.
ReluFit fit_relu(const ScalarFunction& f, const Resolution& resolution, double epsilon,
                 Index max_units);
/// The same for given points.
ReluFit fit_relu(const Polyline& points, double epsilon, Index max_units);

}  // namespace chainrule::internal
