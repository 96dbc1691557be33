// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <span>
#include <vector>

#include "chainrule/core/dtype.hpp"

namespace chainrule::internal {

/// What numbers around 1 are rounded to.
inline constexpr double kEpsilon = std::numeric_limits<double>::epsilon();

/// Writes y(x0 + t d) for the direction d being differentiated along, and returns the t of the
/// point it took: x0 + t d is rounded, and who knows by how much says so.
using LineFunction = std::function<double(double t, std::span<double> y)>;

/// What the points at a distance h on both sides of the middle tell of one channel.
struct Difference {
  bool finite = false;  ///< y is, on both sides, and neither point is the middle
  Index moved = 0;      ///< outputs that differ between the three points
  double step = 0;      ///< h, as it was after rounding
  double slope = 0;     ///< of the chord between both points
  double left = 0;      ///< of the chords to the middle
  double right = 0;
  double terms = 0;  ///< sum_i |v_i dy_i/dt|
  double size = 0;   ///< sum_i |v_i| max|y_i| over the outputs that moved ...
  double still = 0;  ///< ... and over those that did not
};

/// The distances from which a line is looked at.
struct LineSteps {
  double first = 0;
  double smallest = 0;  ///< smaller ones drown in the rounding of x0
  double grid = 0;      ///< x0 + h is exact for multiples of this that are not large beside x0
  /// At which the function is expected to show itself: larger ones cannot tell what it does here if
  /// that is lost in its noise there, such as sin x in 1e16 + sin x.
  double natural = std::numeric_limits<double>::infinity();
};

/// A function on a line through a point, looked at from ever smaller distances h, h / 2, h / 4, ...
/// on both sides ("rows"). Points are computed once, when they are first asked for, and serve all
/// channels: channel 0 is sum_i v_i y_i, channel 1 + i is y_i (when `each`).
class Line {
 public:
  /// `y0` is y at t = 0. Both spans must outlive the line.
  Line(LineFunction function, std::span<const double> weights, std::span<const double> y0,
       const LineSteps& steps, bool each = false);

  /// The distance of row k, before rounding; k < 0 is farther away than the first step. It has few
  /// digits, so that x0 + h is exact for an x0 of few.
  double step(int row) const;
  /// A distance near that of row k of as many digits as leave x0 + h exact. At steps of few digits
  /// 1 + x0 + h, say, is always rounded by the same amount, which makes another smooth function of
  /// it; from a step like this to that of the next row it changes at random.
  double unaligned_step(int row) const;
  /// The row of the smallest step.
  int last_row() const { return last_row_; }
  /// That of the smallest one which x0 has digits for.
  int finest_row() const { return finest_row_; }
  /// What row k tells of a channel.
  const Difference& at(int row, std::size_t channel = 0) { return at_step(step(row), channel); }
  /// The same of any distance.
  const Difference& at_step(double step, std::size_t channel);
  /// The same, not remembered.
  Difference look(double step, std::size_t channel);
  /// The step or the natural one, whichever is smaller: what `noise` hides is noise over that.
  double telling(double step) const { return std::min(step, steps_.natural); }

 private:
  void sample(double step, std::span<Difference> channels);
  Difference moved_output(std::size_t i, double up, double down) const;

  LineFunction function_;
  std::span<const double> weights_;
  std::span<const double> y0_;
  double first_step_;
  LineSteps steps_;
  int last_row_;
  int finest_row_;
  std::size_t channels_;
  double still_ = 0;                                // sum_i |v_i y_i| at t = 0
  std::map<double, std::vector<Difference>> seen_;  // by distance
  std::vector<double> above_;
  std::vector<double> below_;
};

}  // namespace chainrule::internal
