// SPDX-License-Identifier: Apache-2.0
#include "design.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "chainrule/core/error.hpp"

namespace chainrule::internal {

Index design_columns(const Model& model) {
  const auto& head = std::get<Linear>(model.layers().back());
  return head.in + (head.bias ? 1 : 0);
}

Tensor design_matrix(const Model& model, const Tensor& x, Index first, Index count) {
  auto* const data = static_cast<std::byte*>(const_cast<void*>(x.data()));
  const Tensor window = Tensor::view(data + first * x.ld() * size_of(x.dtype()),
                                     {count, x.columns()}, x.dtype(), x.ld());
  const Tensor phi = model.features(window);
  Tensor design({count, design_columns(model)}, DType::kFloat64);
  const auto to = design.as<double>();
  for (Index i = 0; i < count; ++i) {
    const double* const from = phi.as<double>().row(i);
    std::copy_n(from, phi.columns(), to.row(i));
    if (to.columns > phi.columns()) to(i, phi.columns()) = 1;
  }
  return design;
}

void expect_finite_rows(const Tensor& x, const char* what) {
  for (Index i = 0; i < x.rows(); ++i) {
    for (Index j = 0; j < x.columns(); ++j) {
      if (std::isfinite(element(x, i, j))) continue;
      throw ArgumentError(
          fmt::format("add: {} has {} in row {}, column {}", what, element(x, i, j), i, j));
    }
  }
}

Tensor transposed_copy(MatrixView<const double> a) {
  Tensor result({a.columns, a.rows}, DType::kFloat64);
  const auto to = result.as<double>();
  for (Index i = 0; i < a.rows; ++i) {
    for (Index j = 0; j < a.columns; ++j) to(j, i) = a(i, j);
  }
  return result;
}

}  // namespace chainrule::internal
