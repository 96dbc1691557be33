// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "line.hpp"

namespace chainrule::internal {

/// The steps around the point that do not move a channel, and what its first movement beyond them
/// tells of why they do not.
struct Plateau {
  double distance = 0;  ///< no step up to here moves it
  /// By how much it moves first, if that is the rounding of something: of the output, or of what it
  /// is computed from, as in log(1 - sigmoid x). 0 if the function is really flat here: constant as
  /// far as one can see, about to leave at a kink (relu at -3), or at a single jump.
  double quantum = 0;
  /// The jump is small beside how far the channel gets, or beside 1: hardly the function's own.
  bool is_fine = false;

  /// The largest derivative that rounding may keep still.
  double hidden() const;
};

/// What happens to a channel that row `row` does not move, nor any smaller step. Looks at larger
/// ones: from a kink a function departs by next to nothing, and then in proportion; rounding makes
/// it jump, and jump again. Infinitely much may be hidden where it is not finite beyond.
Plateau plateau_around(Line& line, std::size_t channel, int row);

/// The same where small steps, but not the first, do not move the channel; nothing where they do.
std::optional<Plateau> plateau_of_small_steps(Line& line, std::size_t channel);

}  // namespace chainrule::internal
