// SPDX-License-Identifier: Apache-2.0
#include "normal_quadrature.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>

#include "chainrule/core/error.hpp"

namespace chainrule::internal {
namespace {

using Form = DualActivation::Form;

constexpr double kReach = 10;             // the density beyond is 1e-22 of that at 0
constexpr double kFirstStep = 0.5;        // the density alone has converged to 1e-34
constexpr double kLastStep = 1.0 / 1024;  // of tanh, enough for variances up to 20,000
constexpr double kConverged = 1e-14;

double density(double g) { return std::exp(-g * g / 2) / std::sqrt(2 * std::numbers::pi); }

struct Moments {
  DualMoments first;
  DualMoments second;
};

Moments moments(const Form& form, double sigma, const NormalRule& rule) {
  Moments sum;
  for (std::size_t k = 0; k < rule.nodes.size(); ++k) {
    const double value = form.phi(sigma * rule.nodes[k]);
    const double slope = form.derivative(sigma * rule.nodes[k]);
    sum.first.value += rule.weights[k] * value;
    sum.first.derivative += rule.weights[k] * slope;
    sum.second.value += rule.weights[k] * value * value;
    sum.second.derivative += rule.weights[k] * slope * slope;
  }
  if (!std::isfinite(sum.second.value) || !std::isfinite(sum.second.derivative)) {
    throw ArgumentError(fmt::format(
        "activation '{}': phi or its derivative is not finite on [-{}, {}], expected finite values",
        form.name, kReach * sigma, kReach * sigma));
  }
  return sum;
}

// The means as well: the squares of |x| and its derivative have no kink.
bool is_close(double first, double finer_first, double second, double finer_second) {
  return std::abs(first - finer_first) <= kConverged * std::sqrt(finer_second) &&
         std::abs(second - finer_second) <= kConverged * finer_second;
}

// Along a direction in which u and v move `share` as fast as along their own.
NormalRule rule_along(double step, double share) {
  return {share * kFirstStep > step ? step / share : kFirstStep, kReach};
}

}  // namespace

NormalRule::NormalRule(double step, double reach) {
  const auto half = static_cast<int>(reach / step);
  for (int k = -half; k <= half; ++k) {
    nodes.push_back(k * step);
    weights.push_back(step * density(k * step));
  }
}

double converged_step(const Form& form, double sigma) {
  Moments before = moments(form, sigma, NormalRule(kFirstStep, kReach));
  double step = kFirstStep;
  while (step >= kLastStep) {
    step *= std::numbers::sqrt2 / 2;
    const Moments now = moments(form, sigma, NormalRule(step, kReach));
    if (is_close(before.first.value, now.first.value, before.second.value, now.second.value) &&
        is_close(before.first.derivative, now.first.derivative, before.second.derivative,
                 now.second.derivative)) {
      return step;
    }
    before = now;
  }
  throw UnsupportedError(fmt::format(
      "activation '{}': E[phi(u)^2] or E[phi'(u)^2] at variance {} does not converge to {}; "
      "expected a phi that is smooth on this scale",
      form.name, sigma * sigma, kConverged));
}

DualMoments smooth_moments(const Form& form, double variance) {
  const double sigma = std::sqrt(variance);
  return moments(form, sigma, NormalRule(converged_step(form, sigma), kReach)).second;
}

// u = sx (C g + S h) and v = sz (C g - S h) with independent g and h.
DualMoments smooth_moments(const Form& form, const PairCovariance& pair) {
  const double sx = std::sqrt(pair.xx);
  const double sz = std::sqrt(pair.zz);
  const double along = std::sqrt(pair.above_1 / 2);
  const double across = std::sqrt(pair.below_1 / 2);
  const double step = converged_step(form, std::max(sx, sz));
  const NormalRule g = rule_along(step, along);
  const NormalRule h = rule_along(step, across);
  DualMoments sum;
  for (std::size_t i = 0; i < g.nodes.size(); ++i) {
    DualMoments row;
    const double limit = kReach * kReach - g.nodes[i] * g.nodes[i];
    for (std::size_t j = 0; j < h.nodes.size(); ++j) {
      if (h.nodes[j] * h.nodes[j] > limit) continue;
      const double u = sx * (along * g.nodes[i] + across * h.nodes[j]);
      const double v = sz * (along * g.nodes[i] - across * h.nodes[j]);
      row.value += h.weights[j] * form.phi(u) * form.phi(v);
      row.derivative += h.weights[j] * form.derivative(u) * form.derivative(v);
    }
    sum.value += g.weights[i] * row.value;
    sum.derivative += g.weights[i] * row.derivative;
  }
  return sum;
}

void check_derivative(const Form& form) {
  const NormalRule rule(converged_step(form, 1), kReach);
  double first = 0;
  double second = 0;
  double scale = 0;
  for (std::size_t k = 0; k < rule.nodes.size(); ++k) {
    const double g = rule.nodes[k];
    const double value = rule.weights[k] * form.phi(g);
    const double slope = rule.weights[k] * form.derivative(g);
    first += g * value - slope;
    second += (g * g - 1) * value - g * slope;
    scale += (1 + g * g) * (std::abs(value) + std::abs(slope));
  }
  if (std::abs(first) > 1e-9 * scale || std::abs(second) > 1e-9 * scale) {
    throw ArgumentError(fmt::format(
        "activation '{}': E[g phi(g)] - E[phi'(g)] is {} and E[(g^2 - 1) phi(g)] - E[g phi'(g)] is "
        "{}, expected 0; is the derivative that of phi?",
        form.name, first, second));
  }
}

}  // namespace chainrule::internal
