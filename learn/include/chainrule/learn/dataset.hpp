// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/core/tensor.hpp"

namespace chainrule {

struct Split;

/// Samples in rows. A tensor of rank 0 (a default-constructed one) means "not there", and so does
/// an empty vector.
struct CHAINRULE_API Dataset {
  Tensor x{};                                ///< features [n, d]
  Tensor y{};                                ///< real targets [n, k]
  std::vector<std::int32_t> labels{};        ///< class of each row, in [0, classes())
  Tensor weights{};                          ///< sample weights [n, 1]
  Tensor offset{};                           ///< added to the linear predictor of a GLM, [n, 1]
  std::vector<std::string> feature_names{};  ///< d of them
  std::vector<std::string> class_names{};    ///< by class
  std::string target_name{};
  std::string offset_name{};

  Index rows() const noexcept;
  Index features() const noexcept;
  /// The number of class names, or without names the largest label + 1.
  Index classes() const noexcept;

  /// Throws ShapeError where the parts disagree on rows or columns and ArgumentError on a label
  /// outside [0, classes()) or a negative or non-finite weight; says what came.
  void validate() const;

  /// The given rows, in that order, repeated where they repeat; ArgumentError on one beyond rows().
  Dataset subset(std::span<const std::uint32_t> rows) const;
  /// A random part as test set: round(test_fraction * n) rows, at least one on either side unless
  /// the fraction is 0. Both parts keep the order of the rows. Depends on (n, fraction, seed)
  /// alone. ArgumentError unless 0 <= test_fraction < 1.
  Split split(double test_fraction, std::uint64_t seed) const;
  /// Row i is test when i % k == 0; ArgumentError unless k >= 2.
  Split split_every(Index k) const;
  /// The same with all real tensors in another dtype.
  Dataset to(DType dtype) const;
};

struct Split {
  Dataset train{};
  Dataset test{};
};

}  // namespace chainrule
