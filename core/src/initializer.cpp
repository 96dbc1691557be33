// SPDX-License-Identifier: Apache-2.0
#include "chainrule/core/initializer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "chainrule/core/error.hpp"
#include "initializer_rules.hpp"

namespace chainrule {
namespace {

using Distribution = Initializer::Distribution;
using Scale = Initializer::Scale;

/// Half-width of the uniform distribution, standard deviation of the normal one.
double spread(const Initializer& initializer) noexcept {
  const auto fan_in = static_cast<double>(initializer.fan_in);
  const auto fan_out = static_cast<double>(initializer.fan_out);
  double variance = 0;
  switch (initializer.scale) {
    case Scale::kNone:
      return initializer.value;
    case Scale::kFanIn:
      variance = initializer.value / fan_in;
      break;
    case Scale::kFanAverage:
      variance = 2 * initializer.value / (fan_in + fan_out);
      break;
  }
  // A uniform distribution on [-limit, limit) has variance limit^2 / 3.
  return std::sqrt(initializer.distribution == Distribution::kUniform ? 3 * variance : variance);
}

template <class T>
void fill_constant(MatrixView<T> out, double value) noexcept {
  for (Index i = 0; i < out.rows; ++i) {
    std::fill_n(out.row(i), out.columns, static_cast<T>(value));
  }
}

template <class T>
void fill_random(MatrixView<T> out, Distribution distribution, double spread,
                 RandomKey key) noexcept {
  std::array<double, 256> buffer;
  for (Index i = 0; i < out.rows; ++i) {
    for (Index j = 0; j < out.columns;) {
      const Index count = std::min(static_cast<Index>(buffer.size()), out.columns - j);
      const std::span<double> numbers(buffer.data(), static_cast<std::size_t>(count));
      const auto first = static_cast<std::uint64_t>(i * out.columns + j);
      T* const target = out.row(i) + j;
      if (distribution == Distribution::kUniform) {
        fill_random_uniform(key, first, numbers);
        std::ranges::transform(numbers, target,
                               [spread](double u) { return static_cast<T>(spread * (2 * u - 1)); });
      } else {
        fill_random_normal(key, first, numbers);
        std::ranges::transform(numbers, target,
                               [spread](double z) { return static_cast<T>(spread * z); });
      }
      j += count;
    }
  }
}

template <class T>
void fill(const Initializer& initializer, RandomKey key, MatrixView<T> out) noexcept {
  if (initializer.distribution == Distribution::kConstant) {
    fill_constant(out, initializer.value);
  } else {
    fill_random(out, initializer.distribution, spread(initializer), key);
  }
}

}  // namespace

namespace internal {

void validate(const Initializer& initializer) {
  const bool sign_matters = initializer.distribution != Distribution::kConstant;
  if (!std::isfinite(initializer.value) || (sign_matters && initializer.value < 0)) {
    throw ArgumentError(fmt::format("an initializer's value must be finite{}, got {}",
                                    sign_matters ? " and >= 0" : "", initializer.value));
  }
  if (initializer.fan_in < 0 || initializer.fan_out < 0) {
    throw ArgumentError(fmt::format("an initializer's fans must be >= 0, got {} and {}",
                                    initializer.fan_in, initializer.fan_out));
  }
}

Initializer with_fans(const Initializer& initializer, const Shape& shape) noexcept {
  Initializer result = initializer;
  if (initializer.scale == Scale::kNone) return result;
  if (result.fan_in == 0) result.fan_in = shape.rank() == 2 ? shape.rows() : shape.columns();
  if (result.fan_out == 0) result.fan_out = shape.columns();
  return result;
}

}  // namespace internal

void initialize(const Initializer& initializer, RandomKey key, TensorView out) {
  internal::validate(initializer);
  if (out.dtype == DType::kInt32) {
    throw ShapeError("initialize: cannot initialize an int32 tensor; expected float32 or float64");
  }
  if (out.rows == 0 || out.columns == 0) return;
  const Shape shape = out.rows == 1 ? Shape{out.columns} : Shape{out.rows, out.columns};
  const Initializer complete = internal::with_fans(initializer, shape);
  if (out.dtype == DType::kFloat64) {
    fill(complete, key, out.as<double>());
  } else {
    fill(complete, key, out.as<float>());
  }
}

}  // namespace chainrule
