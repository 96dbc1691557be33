// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "line.hpp"
#include "ridders.hpp"

namespace chainrule::internal {

/// How far an estimate may be off before it refutes anything.
struct Trust {
  double error_bars = 10;  ///< in its own bars ...
  double roundings = 8;    ///< ... and in roundings of the outputs
  double relative = 0;     ///< ... and in itself
  double noise = 0;        ///< the function is known to have at least that much
};

/// The second look, for a derivative that the first one disagrees with: `claimed` among estimates
/// from steps of every size, and of digits that no others have, so that what rounding does to the
/// function is seen as the noise that it is. Each is of four steps, h to h / 8, and trusts a series
/// in h^2 only as far as the ratios of successive differences confirm it there (cautious
/// extrapolation: de Boor 1971, "CADRE", in Rice, Mathematical Software); where they do not,
/// because an edge lies between the steps, its bar is the spread of the plain central differences.
/// The noise of the function, measured at larger steps, counts at smaller ones too, which may see
/// one exact step of a staircase.
///
/// Steps far beyond the natural one of the line refute by less: what they see as noise may be the
/// function.
///
/// Noise that fades to rounding, row by row, where steps get small is no noise but a ripple, and
/// the derivative is the ripple's. Where f is not smooth at the smallest steps either, as with a
/// pole between them, nothing is refuted.
///
/// Returns `first` where every estimate that can tell refutes the claim, a better derivative with
/// an honest bar where the best of them and another confirm it, and an unresolved one where they
/// contradict each other or none can tell.
NumericDerivative differentiate_at_all_scales(Line& line, std::size_t channel, double claimed,
                                              const NumericDerivative& first,
                                              const Trust& trust = {});

}  // namespace chainrule::internal
