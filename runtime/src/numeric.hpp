// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstring>

#include "chainrule/core/dtype.hpp"
#include "chainrule/core/tensor.hpp"
#include "chainrule/kernels/kernel_table.hpp"

namespace chainrule::internal {

/// Calls `function(T{})` with T = double or float.
template <class Function>
void by_dtype(DType dtype, Function&& function) {
  if (dtype == DType::kFloat64) {
    function(double{});
  } else {
    function(float{});
  }
}

/// Sets the elements to zero, not the padding.
inline void clear_rows(const TensorView& view) noexcept {
  const Index element = size_of(view.dtype);
  for (Index i = 0; i < view.rows; ++i) {
    std::memset(static_cast<std::byte*>(view.data) + i * view.ld * element, 0,
                static_cast<std::size_t>(view.columns * element));
  }
}

/// parts[0] += parts[1] + ... in a binary tree whose shape depends on `count` alone; a part is
/// `width` numbers, `stride` apart. Without parts, parts[0] becomes zero.
template <class T>
void add_in_tree(const Kernels<T>& kernels, T* parts, Index stride, Index count, Index width) {
  if (count == 0) std::fill_n(parts, width, T{0});
  for (Index step = 1; step < count; step *= 2) {
    for (Index i = 0; i + step < count; i += 2 * step) {
      const MatrixView<T> to{parts + i * stride, 1, width, width};
      kernels.add(to, {parts + (i + step) * stride, 1, width, width}, to);
    }
  }
}

}  // namespace chainrule::internal
