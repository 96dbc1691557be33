// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/core/tensor.hpp"

namespace chainrule {

/// Columns to mean 0 and standard deviation 1: x -> (x - mean) / scale, computed in double.
struct CHAINRULE_API Standardizer {
  std::vector<double> mean;
  std::vector<double> scale;

  /// Mean and population standard deviation of each column of x [n, d], n >= 1; a constant column
  /// gets scale 1. ArgumentError, naming the column, on a value that is not finite.
  static Standardizer fit(const Tensor& x);

  /// Fresh tensor of x's dtype (float64 for int32); ShapeError when the columns differ.
  Tensor apply(const Tensor& x) const;

  /// {"mean":[...],"scale":[...]} with digits that read back to the same bits.
  std::string to_json() const;
  /// FormatError unless it is what to_json() writes: equally many finite numbers, scales > 0.
  static Standardizer from_json(std::string_view text);

  bool operator==(const Standardizer&) const = default;
};

}  // namespace chainrule
