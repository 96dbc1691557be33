// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <vector>

#include "line.hpp"

namespace chainrule::internal {

/// A row has the unaligned steps s, 2 s, 4 s and 8 s, of digits that no other row has.
inline constexpr int kRowSteps = 4;

/// What the step `multiple` * s of a row tells.
Difference at_row(Line& line, std::size_t channel, int row, int multiple);

/// What is left of a channel beside a smooth function, at the steps of row after row: its sixth
/// differences and those of the orders below, scaled to what independent noise leaves (ECnoise:
/// More & Wild 2011, "Estimating computational noise", SIAM J. Sci. Comput. 33). Noise leaves the
/// same at steps of all sizes, an edge of the function among them something in proportion to them
/// or to a power.
class Remainders {
 public:
  /// Of rows first_row ... last_row; some rows of larger steps tell what an edge in the first ones
  /// is one of.
  Remainders(Line& line, std::size_t channel, int first_row, int last_row);

  /// The largest of a row and those that share steps with it. Negative where f is not finite.
  double of_steps(int row) const;
  /// That of the row before, if it all but vanishes in this one; else 0.
  double dropped_at(int row) const;

  /// The noise of the function: where it is the same at steps of several sizes and no more than
  /// `small`, or `unit`, which rounding may be taken for.
  double noise(double small, double unit) const;
  /// The largest that has no trend over eight rows: less sensitive to single rows, and surer. What
  /// many edges leave gets less with the steps.
  double steady(double most) const;
  /// What the last rows have, which see all that can be seen.
  double at_the_end() const;
  bool has_trend_at_the_end() const;
  /// The row below which what larger steps see as noise is smooth, a ripple: remainders fade away
  /// to `rounding`, row by row, and do not end at an edge. Behind the last row where they do not.
  int row_of_smoothness(double rounding) const;
  /// The row below which all steps are on one tread of a staircase, however high its steps are.
  /// Before the first row where there is none.
  int row_of_treads() const;

 private:
  std::span<const double> rows() const;
  double alike(std::ptrdiff_t count, double ratio, double most) const;
  double above_a_plateau(double most) const;
  bool drops_below(std::size_t k) const;
  bool grew_before(std::size_t k) const;

  int first_row_;
  std::vector<double> values_;  // from some rows before the first one
  std::vector<double> finite_;  // of the rows
};

}  // namespace chainrule::internal
