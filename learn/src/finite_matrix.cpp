// SPDX-License-Identifier: Apache-2.0
#include "finite_matrix.hpp"

#include <fmt/format.h>

#include <cmath>

#include "chainrule/core/error.hpp"

namespace chainrule::internal {

Tensor finite_matrix(const TensorFile& file, const std::string& name) {
  const Tensor& tensor = file.at(name);
  if (tensor.dtype() != DType::kFloat64 || tensor.shape().rank() != 2) {
    throw FormatError(fmt::format("tensor '{}' is {} {}, expected a float64 matrix", name,
                                  to_string(tensor.dtype()), to_string(tensor.shape())));
  }
  for (Index i = 0; i < tensor.rows(); ++i) {
    for (Index j = 0; j < tensor.columns(); ++j) {
      if (std::isfinite(element(tensor, i, j))) continue;
      throw FormatError(
          fmt::format("tensor '{}': element [{}, {}] is {}", name, i, j, element(tensor, i, j)));
    }
  }
  return tensor.to(DType::kFloat64);
}

}  // namespace chainrule::internal
