// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "chainrule/learn/approximate.hpp"
#include "chainrule/learn/evaluate.hpp"
#include "learn_support.hpp"

namespace chainrule::testing {

template <class F>
ScalarFunction of_one(F f) {
  return [f](std::span<const double> point) { return f(point[0]); };
}
inline ScalarFunction of_one(double (*f)(double)) {
  return [f](std::span<const double> point) { return f(point[0]); };
}

/// The network's formula in long double.
inline double error_at(const Model& model, const ScalarFunction& f,
                       const std::vector<double>& point) {
  const auto weight = model.parameters().view(Index{0}).as<double>();
  const auto bias = model.parameters().view(Index{1}).as<double>();
  const auto output = model.parameters().view(Index{2}).as<double>();
  long double y = element(model.parameters().view(Index{3}), 0, 0);
  for (Index j = 0; j < weight.columns; ++j) {
    long double z = bias.data[j];
    for (Index k = 0; k < weight.rows; ++k) {
      z += static_cast<long double>(weight(k, j)) * point[static_cast<std::size_t>(k)];
    }
    const bool relu = std::holds_alternative<Relu>(model.layers()[1]);
    y += output(j, 0) * (relu ? std::max(0.0L, z) : std::tanh(z));
  }
  return static_cast<double>(std::abs(y - f(point)));
}

/// The largest error on a grid of its own, `side` points in each direction.
inline double sup_error(const Model& model, const ScalarFunction& f, const Domain& domain,
                        Index side) {
  double largest = 0;
  Index count = 1;
  for (std::size_t k = 0; k < domain.size(); ++k) count *= side;
  std::vector<double> point(domain.size());
  for (Index i = 0; i < count; ++i) {
    Index digits = i;
    for (std::size_t k = 0; k < domain.size(); ++k, digits /= side) {
      const double share = static_cast<double>(digits % side) / static_cast<double>(side - 1);
      point[k] = domain[k].low + share * (domain[k].high - domain[k].low);
    }
    largest = std::max(largest, error_at(model, f, point));
  }
  return largest;
}

/// It reached epsilon, also on another grid and in other arithmetic.
inline void expect_certified(const Approximation& result, const ScalarFunction& f,
                             const Domain& domain, double epsilon) {
  EXPECT_TRUE(result.reached);
  EXPECT_EQ(result.epsilon, epsilon);
  EXPECT_LE(result.sup_error, epsilon);
  const Index side = domain.size() == 1 ? 3001 : domain.size() == 2 ? 61 : 15;
  const double seen = sup_error(result.model, f, domain, side);
  EXPECT_LE(seen, result.sup_error * (1 + 1e-6) + 4 * result.rounding_floor);
  EXPECT_NEAR(error_at(result.model, f, result.worst_point), result.sup_error,
              4 * result.rounding_floor + 1e-12);
}

/// approximate(), which must reach epsilon.
inline Approximation certified(const ScalarFunction& f, const Domain& domain, double epsilon,
                               const ApproximateOptions& options = {}) {
  Approximation result = approximate(f, domain, epsilon, options);
  expect_certified(result, f, domain, epsilon);
  return result;
}

}  // namespace chainrule::testing
