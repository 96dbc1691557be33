// SPDX-License-Identifier: Apache-2.0
#include "batch_source.hpp"

namespace chainrule::internal {
namespace {

ConstTensorView rows_of(const Tensor& tensor, Index first, Index count) {
  ConstTensorView view = tensor.view();
  view.data = static_cast<const std::byte*>(view.data) + first * view.ld * size_of(view.dtype);
  view.rows = count;
  return view;
}

}  // namespace

Extras extras_of(const Dataset& data) noexcept {
  return {.weights = data.weights.shape().rank() != 0, .offset = data.offset.shape().rank() != 0};
}

double total_weight(const Dataset& data, Index first, Index count) noexcept {
  if (data.weights.shape().rank() == 0) return static_cast<double>(count);
  double sum = 0;
  for (Index i = first; i < first + count; ++i) sum += element(data.weights.view(), i, 0);
  return sum;
}

void BatchSource::bind_rows(Bindings& bindings, Index first, Index count) const {
  bindings.input(network_.x(), rows_of(data_.x, first, count));
  if (extras_.offset) bindings.input(network_.offset(), rows_of(data_.offset, first, count));
  if (!with_target_) return;
  if (extras_.weights) bindings.input(network_.weights(), rows_of(data_.weights, first, count));
  const bool labels = network_.target().node().kind == NodeKind::kIndexInput;
  bindings.input(network_.target(),
                 labels ? ConstTensorView(data_.labels.data() + first, DType::kInt32, count, 1, 1)
                        : rows_of(data_.y, first, count));
}

}  // namespace chainrule::internal
