// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "chainrule/check/check_gradients.hpp"
#include "chainrule/core/dtype.hpp"
#include "chainrule/core/export.hpp"

namespace chainrule {

/// How a wrong gradient can differ from the right one, in the order in which they are looked for.
enum class GradientPattern : std::uint8_t {
  kNotFinite,        ///< NaN or infinity
  kZeroEverywhere,   ///< every element is 0
  kSign,             ///< -1 times the right one
  kFactor,           ///< a constant times the right one
  kMissingMean,      ///< n times too large, n the batch, the columns or both: 1/n is missing
  kExtraMean,        ///< n times too small: 1/n is there twice
  kTranspose,        ///< laid out as the transpose
  kRowShift,         ///< the gradient of the row before or after
  kColumnShift,      ///< the gradient of the column before or after
  kElement,          ///< right but for one element
  kRow,              ///< right but for one row, or for the rows from one on
  kColumn,           ///< right but for one column, or for the columns from one on
  kZeros,            ///< zero at some elements where it should not be
  kNotZero,          ///< not zero at some elements where it should be
  kRowFactors,       ///< a factor for each row
  kColumnFactors,    ///< a factor for each column
  kConstant,         ///< the same number added everywhere
  kRowConstants,     ///< a number for each row added
  kColumnConstants,  ///< a number for each column added
  kElsewhere,        ///< right wherever elements were compared, wrong along a direction
};

/// A guess at what is wrong with a gradient.
struct GradientHint {
  GradientPattern pattern = GradientPattern::kFactor;
  /// What the right gradient is multiplied by, or what is added, where the pattern has such.
  double factor = 1;
  /// The first row or column that is wrong, or by how many it is shifted, where there is one.
  Index place = -1;
  /// One line: "backward is 2 x too large".
  std::string text;
};

/// The shape a gradient has as a matrix, and the rows of the batch (0: none).
struct GradientLayout {
  Index rows = 1;
  Index columns = 1;
  Index batch_rows = 0;
};

/// The first pattern that explains every element: |analytic - pattern(numeric)| stays within the
/// element's tolerance, scaled with the pattern's factor. Elements that are unresolved or at a kink
/// say nothing. Nothing when no element or direction disagrees, or when no pattern fits. `elements`
/// may be a part of the gradient; a pattern needs enough of it.
CHAINRULE_API std::optional<GradientHint> gradient_hint(std::span<const ElementCheck> elements,
                                                        const GradientLayout& layout);

}  // namespace chainrule
