// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "chainrule/core/export.hpp"
#include "chainrule/core/random.hpp"
#include "chainrule/core/tensor.hpp"

namespace chainrule {

/// How a parameter starts. For a weight [in, out] the fans are its rows and columns unless
/// `fan_in` / `fan_out` say otherwise; a vector [n] without them has both fans n. (Graph::parameter
/// fills in the fans; initialize() takes a view of one row for a vector.)
struct Initializer {
  enum class Distribution : std::uint8_t { kConstant, kUniform, kNormal };
  /// What the variance is divided by.
  enum class Scale : std::uint8_t { kNone, kFanIn, kFanAverage };

  Distribution distribution = Distribution::kConstant;
  Scale scale = Scale::kNone;
  double value = 0;  ///< the constant; the variance's numerator; without scale the limit or std
  Index fan_in = 0;
  Index fan_out = 0;

  bool operator==(const Initializer&) const = default;
};

constexpr Initializer constant(double value) { return {.value = value}; }
constexpr Initializer zeros() { return constant(0); }
constexpr Initializer ones() { return constant(1); }
/// Uniform on [-limit, limit).
constexpr Initializer uniform(double limit) {
  return {.distribution = Initializer::Distribution::kUniform, .value = limit};
}
/// Normal with mean 0.
constexpr Initializer normal(double standard_deviation) {
  return {.distribution = Initializer::Distribution::kNormal, .value = standard_deviation};
}

namespace internal {
constexpr Initializer scaled(Initializer::Distribution distribution, Initializer::Scale scale,
                             double variance) {
  return {.distribution = distribution, .scale = scale, .value = variance};
}
}  // namespace internal

/// Glorot & Bengio 2010, eq. 16: variance 2 / (fan_in + fan_out).
constexpr Initializer glorot_uniform() {
  return internal::scaled(Initializer::Distribution::kUniform, Initializer::Scale::kFanAverage, 1);
}
constexpr Initializer glorot_normal() {
  return internal::scaled(Initializer::Distribution::kNormal, Initializer::Scale::kFanAverage, 1);
}
/// He et al. 2015: variance 2 / fan_in.
constexpr Initializer he_uniform() {
  return internal::scaled(Initializer::Distribution::kUniform, Initializer::Scale::kFanIn, 2);
}
constexpr Initializer he_normal() {
  return internal::scaled(Initializer::Distribution::kNormal, Initializer::Scale::kFanIn, 2);
}
/// LeCun et al. 1998: variance 1 / fan_in.
constexpr Initializer lecun_uniform() {
  return internal::scaled(Initializer::Distribution::kUniform, Initializer::Scale::kFanIn, 1);
}
constexpr Initializer lecun_normal() {
  return internal::scaled(Initializer::Distribution::kNormal, Initializer::Scale::kFanIn, 1);
}

/// Fills `out`; element (i, j) is a pure function of (initializer, key, i * columns + j), equal in
/// float32 and float64 up to rounding. Throws ArgumentError for a value that is not finite or a
/// negative limit, variance or fan, ShapeError for int32.
CHAINRULE_API void initialize(const Initializer& initializer, RandomKey key, TensorView out);

}  // namespace chainrule
