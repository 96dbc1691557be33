// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <utility>

#include "chainrule/core/export.hpp"
#include "chainrule/core/graph.hpp"
#include "chainrule/core/tensor.hpp"
#include "chainrule/runtime/differentiate.hpp"
#include "chainrule/runtime/parameters.hpp"

namespace chainrule {

struct RandomFeedOptions {
  Index rows = 5;  ///< of the batch
  Mode mode = Mode::kTraining;
  std::uint64_t seed = 1;
};

/// Numbers for everything that a graph reads, to check the gradients of `output` at:
///
/// - real inputs uniform on [-2, 2), or on [1/4, 2) when that makes `output` infinite or NaN (as a
///   logarithm does);
/// - indices below the number of columns of the op's first batched operand (class labels beside
///   logits), or else of rows of its first operand without batch (a table), or else 0;
/// - parameters and states as their initializers draw them; parameters moved by a number uniform on
///   +-1/2, divided by the root of a matrix's rows, so that none is zero everywhere.
///
/// An op that wants more of an input (rows that sum to 1, say) needs a Feed of the caller's own.
class CHAINRULE_API RandomFeed {
 public:
  /// Throws ArgumentError for an empty value or fewer than one row.
  explicit RandomFeed(const Value& output, const RandomFeedOptions& options = {});

  /// Views on this object, float64; valid as long as it lives and stays where it is.
  Feed feed() const;

 private:
  void draw(double low, double high);

  Value output_;
  RandomFeedOptions options_;
  Parameters parameters_;
  std::deque<std::pair<Value, Tensor>> inputs_;
};

}  // namespace chainrule
