// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <initializer_list>
#include <string>

#include "chainrule/core/dtype.hpp"
#include "chainrule/core/export.hpp"

namespace chainrule {

/// Stands for the symbolic batch dimension; only the first dimension of a shape may be kBatch.
inline constexpr Index kBatch = -1;

/// Up to four dimensions, each >= 0, the first possibly symbolic.
///
/// Every op sees a value as a matrix: the last dimension is the columns, the product of the others
/// the rows. A vector [n] is one row of n columns, [batch] is one column of batch rows, [] is 1
/// x 1.
class CHAINRULE_API Shape {
 public:
  static constexpr int kMaxRank = 4;

  /// The scalar shape [].
  Shape() = default;
  /// Throws ShapeError on more than kMaxRank dimensions, on a negative one, or on a kBatch that is
  /// not the first.
  Shape(std::initializer_list<Index> dimensions);

  int rank() const noexcept { return rank_; }
  /// Dimension `axis`; throws ShapeError outside [0, rank).
  Index operator[](int axis) const;

  bool is_batched() const noexcept { return rank_ > 0 && dimensions_[0] == kBatch; }
  /// Rows of the matrix view; kBatch when symbolic.
  Index rows() const noexcept;
  /// Columns of the matrix view.
  Index columns() const noexcept;
  /// Number of elements; throws ShapeError when the batch is symbolic or the product overflows.
  Index elements() const;
  /// The same shape with kBatch replaced by `rows`.
  Shape with_batch(Index rows) const;

  bool operator==(const Shape&) const = default;

 private:
  std::array<Index, kMaxRank> dimensions_{};
  int rank_ = 0;
};

/// "[batch, 64]".
CHAINRULE_API std::string to_string(const Shape& shape);

}  // namespace chainrule
