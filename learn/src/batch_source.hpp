// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/learn/dataset.hpp"
#include "chainrule/learn/model.hpp"
#include "chainrule/runtime/executor.hpp"

namespace chainrule::internal {

/// Which extra operands a prepared dataset brings.
Extras extras_of(const Dataset& data) noexcept;

/// The sum of the weights of some rows; their number when there are no weights.
double total_weight(const Dataset& data, Index first, Index count) noexcept;

/// Binds a prepared dataset's tensors to the inputs of a model's network.
class BatchSource {
 public:
  /// Both must outlive the source.
  BatchSource(const Network& network, const Dataset& data, Extras extras, bool with_target) noexcept
      : network_(network), data_(data), extras_(extras), with_target_(with_target) {}

  /// Rows [first, first + count) in their order.
  void bind_rows(Bindings& bindings, Index first, Index count) const;
  /// All rows, for plans that gather.
  void bind_all(Bindings& bindings) const { bind_rows(bindings, 0, data_.x.rows()); }

 private:
  const Network& network_;
  const Dataset& data_;
  Extras extras_;
  bool with_target_;
};

}  // namespace chainrule::internal
