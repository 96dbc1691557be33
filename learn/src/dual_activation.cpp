// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/dual_activation.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "chainrule/core/error.hpp"
#include "dual_form.hpp"
#include "normal_quadrature.hpp"

namespace chainrule {
namespace {

using Form = DualActivation::Form;
using Family = Form::Family;
using std::numbers::pi;

// Above this |xz| / sqrt(xx zz) rounding is no excuse.
constexpr double kCorrelationSlack = 1 + 1e-10;
// Pairs nearer than this to c = 1 or -1 take their cosine from differences.
constexpr double kNear = 1e-4;

double normal_cdf(double x) { return std::erfc(-x / std::numbers::sqrt2) / 2; }
double normal_pdf(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * pi); }
double logistic(double x) {
  const double small = std::exp(-std::abs(x));
  return (x < 0 ? small : 1) / (1 + small);
}
double logistic_slope(double x) {
  const double small = std::exp(-std::abs(x));
  return small / ((1 + small) * (1 + small));
}

// gelu_tanh(x) = x logistic(2 inner(x)).
constexpr double kGeluTanhScale = 0.79788456080286535588;  // sqrt(2 / pi)
double gelu_tanh_inner(double x) { return kGeluTanhScale * (x + 0.044715 * x * x * x); }
double gelu_tanh_slope(double x) {
  const double inner_slope = kGeluTanhScale * (1 + 3 * 0.044715 * x * x);
  return logistic(2 * gelu_tanh_inner(x)) +
         2 * x * logistic_slope(2 * gelu_tanh_inner(x)) * inner_slope;
}

// 1 - (sin theta + c asin c) 2/pi with the sign of c dropped: theta = acos |c|, near = 1 - |c|.
double one_minus_absolute(double near, double theta) {
  // sin theta - theta cos theta cancels for small angles: its series there.
  double excess = 0;
  if (theta < 0.5) {
    const double square = theta * theta;
    double term = theta * square / 3;
    for (int k = 1; k <= 8; ++k) {
      excess += term;
      term *= -square / (2.0 * k * (2 * k + 3));
    }
  } else {
    excess = std::sin(theta) - theta * std::cos(theta);
  }
  return near - 2 / pi * excess;
}

DualMoments rectifier_moments(const Form& form, const PairCovariance& pair) {
  const double arc_sine = pi / 2 - pair.angle();
  const double c = pair.correlation();
  const double sine = std::sqrt(pair.below_1 * pair.above_1);
  const double even = form.even() * 2 / pi;
  return {.value = std::sqrt(pair.xx * pair.zz) * (form.odd() * c + even * (sine + c * arc_sine)),
          .derivative = form.odd() + even * arc_sine};
}

PairCovariance rectifier_outputs(const Form& form, const PairCovariance& pair) {
  const double total = form.odd() + form.even();
  PairCovariance result{.xx = total * pair.xx, .zz = total * pair.zz};
  if (result.xx == 0 || result.zz == 0) return result;
  const double near = std::min(pair.below_1, pair.above_1);
  const double theta = pair.angle();
  const double rest = one_minus_absolute(near, std::min(theta, pi - theta));
  result.below_1 = (form.odd() * pair.below_1 + form.even() * rest) / total;
  result.above_1 = (form.odd() * pair.above_1 + form.even() * (2 - rest)) / total;
  return result;
}

// (1 + scale xx)(1 + scale zz) - (scale xz)^2.
double determinant(const PairCovariance& pair, double scale) {
  return 1 + scale * (pair.xx + pair.zz) +
         scale * scale * pair.xx * pair.zz * pair.below_1 * pair.above_1;
}

DualMoments erf_moments(const PairCovariance& pair) {
  const double root = std::sqrt(determinant(pair, 2));
  return {.value = 2 / pi * std::atan2(2 * pair.xz(), root), .derivative = 4 / pi / root};
}

DualMoments sin_moments(const PairCovariance& pair) {
  const double xz = pair.xz();
  const double difference = std::sqrt(pair.xx) - std::sqrt(pair.zz);
  const double near = std::min(pair.below_1, pair.above_1);
  const double scale =
      std::exp(-difference * difference / 2 - std::sqrt(pair.xx * pair.zz) * near) / 2;
  const double excess = std::expm1(-2 * std::abs(xz));
  return {.value = std::copysign(scale * excess, xz), .derivative = scale * (2 + excess)};
}

DualMoments gelu_moments(const PairCovariance& pair) {
  const double xz = pair.xz();
  const double square = determinant(pair, 1);
  const double root = std::sqrt(square);
  const double density = 1 / (2 * pi * root);
  const double both = 0.25 + std::atan2(xz, root) / (2 * pi);
  const double product = pair.xx * pair.zz;
  const double sum = 1 / (1 + pair.xx) + 1 / (1 + pair.zz);
  const double even = product + xz * xz * (1 - product) / ((1 + pair.xx) * (1 + pair.zz));
  return {.value = density * even + xz * both,
          .derivative = both + xz * density * (sum + 1 / square)};
}

// phi(u) and phi(v) as functions of one number g where |c| is 1, as unit vectors: half the squares
// of their difference and sum. Price's theorem, dE[phi(u) phi(v)] / dxz = E[phi'(u) phi'(v)], says
// how they part from there; three Gauss points integrate it.
PairCovariance near_outputs(const DualActivation& dual, const PairCovariance& pair,
                            PairCovariance result) {
  const Form& form = dual.form();
  const bool positive = pair.below_1 < pair.above_1;
  const double sx = std::sqrt(pair.xx);
  const double sz = std::sqrt(pair.zz);
  const internal::NormalRule rule(internal::converged_step(form, std::max(sx, sz)), 10);
  const double length_x = std::sqrt(result.xx);
  const double length_z = std::sqrt(result.zz);
  double minus = 0;
  double plus = 0;
  for (std::size_t k = 0; k < rule.nodes.size(); ++k) {
    const double u = form.phi(sx * rule.nodes[k]) / length_x;
    const double v = form.phi((positive ? sz : -sz) * rule.nodes[k]) / length_z;
    minus += rule.weights[k] * (u - v) * (u - v) / 2;
    plus += rule.weights[k] * (u + v) * (u + v) / 2;
  }
  const double near = std::min(pair.below_1, pair.above_1);
  const double offset = std::sqrt(0.15);
  double parting = 0;
  for (const auto& [at, weight] :
       {std::pair{0.5 - offset, 5.0 / 18}, {0.5, 8.0 / 18}, {0.5 + offset, 5.0 / 18}}) {
    PairCovariance between = pair;
    (positive ? between.below_1 : between.above_1) = near * at;
    (positive ? between.above_1 : between.below_1) = 2 - near * at;
    if (near > 0) parting += weight * dual(between).derivative;
  }
  parting *= near * sx * sz / (length_x * length_z) * (positive ? 1 : -1);
  result.below_1 = std::max(minus + parting, 0.0);
  result.above_1 = std::max(plus - parting, 0.0);
  return result;
}

DualActivation::Function of(double (*function)(double)) { return function; }

}  // namespace

PairCovariance PairCovariance::from(double xx, double zz, double xz) {
  const double product = xx * zz;
  const double root = std::sqrt(product);
  if (!(xx >= 0) || !(zz >= 0) || !std::isfinite(product) ||
      !(std::abs(xz) <= kCorrelationSlack * root)) {
    throw ArgumentError(
        fmt::format("PairCovariance: got variances {} and {} and covariance {}, expected variances "
                    ">= 0 and a covariance of at most {} in magnitude",
                    xx, zz, xz, root));
  }
  PairCovariance pair{.xx = xx, .zz = zz};
  if (root == 0) return pair;
  // xx zz - xz^2 as if products were exact.
  const double square = xz * xz;
  const double lost = std::fma(xx, zz, -product) - std::fma(xz, xz, -square);
  const double near = std::max(((product - square) + lost) / (root * (root + std::abs(xz))), 0.0);
  pair.below_1 = xz > 0 ? near : 2 - near;
  pair.above_1 = xz > 0 ? 2 - near : near;
  return pair;
}

double PairCovariance::correlation() const noexcept {
  return below_1 < above_1 ? 1 - below_1 : above_1 - 1;
}

double PairCovariance::xz() const noexcept { return std::sqrt(xx * zz) * correlation(); }

double PairCovariance::angle() const noexcept {
  return 2 * std::atan2(std::sqrt(below_1), std::sqrt(above_1));
}

DualActivation::DualActivation(std::shared_ptr<const Form> form) : form_(std::move(form)) {}

DualActivation DualActivation::identity() {
  return DualActivation(std::make_shared<Form>(Form{.name = "identity", .slope = 1}));
}
DualActivation DualActivation::relu() {
  return DualActivation(std::make_shared<Form>(Form{.name = "relu", .slope = 0}));
}
DualActivation DualActivation::leaky_relu(double slope) {
  if (!std::isfinite(slope)) {
    throw ArgumentError(fmt::format("leaky_relu: got slope {}, expected a finite one", slope));
  }
  return DualActivation(std::make_shared<Form>(Form{.name = "leaky_relu", .slope = slope}));
}
DualActivation DualActivation::abs() {
  return DualActivation(std::make_shared<Form>(Form{.name = "abs", .slope = -1}));
}
DualActivation DualActivation::erf() {
  return DualActivation(std::make_shared<Form>(
      Form{.family = Family::kErf,
           .name = "erf",
           .phi = of([](double x) { return std::erf(x); }),
           .derivative = of([](double x) { return 2 / std::sqrt(pi) * std::exp(-x * x); })}));
}
DualActivation DualActivation::sin() {
  return DualActivation(
      std::make_shared<Form>(Form{.family = Family::kSin,
                                  .name = "sin",
                                  .phi = of([](double x) { return std::sin(x); }),
                                  .derivative = of([](double x) { return std::cos(x); })}));
}
DualActivation DualActivation::gelu() {
  return DualActivation(std::make_shared<Form>(
      Form{.family = Family::kGelu,
           .name = "gelu",
           .phi = of([](double x) { return x * normal_cdf(x); }),
           .derivative = of([](double x) { return normal_cdf(x) + x * normal_pdf(x); })}));
}
DualActivation DualActivation::tanh() {
  return smooth(
      "tanh", [](double x) { return std::tanh(x); },
      [](double x) { return 4 * logistic_slope(2 * x); });
}
DualActivation DualActivation::sigmoid() { return smooth("sigmoid", logistic, logistic_slope); }
DualActivation DualActivation::softplus() {
  return smooth(
      "softplus", [](double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); },
      logistic);
}
DualActivation DualActivation::silu() {
  return smooth(
      "silu", [](double x) { return x * logistic(x); },
      [](double x) { return logistic(x) + x * logistic_slope(x); });
}
DualActivation DualActivation::gelu_tanh() {
  return smooth(
      "gelu_tanh", [](double x) { return x * logistic(2 * gelu_tanh_inner(x)); }, gelu_tanh_slope);
}

DualActivation DualActivation::smooth(std::string name, Function phi, Function derivative) {
  if (!phi || !derivative) {
    throw ArgumentError(fmt::format("activation '{}': expected phi and its derivative", name));
  }
  auto form = std::make_shared<Form>(Form{.family = Family::kSmooth,
                                          .name = std::move(name),
                                          .phi = std::move(phi),
                                          .derivative = std::move(derivative)});
  internal::check_derivative(*form);
  return DualActivation(std::move(form));
}

std::vector<std::string> DualActivation::names() {
  return {"identity", "relu", "leaky_relu", "abs",      "erf",  "sin",
          "gelu",     "tanh", "sigmoid",    "softplus", "silu", "gelu_tanh"};
}

DualActivation DualActivation::named(std::string_view name, double slope) {
  if (name == "leaky_relu") return leaky_relu(slope);
  const std::pair<std::string_view, DualActivation (*)()> known[] = {
      {"identity", identity}, {"relu", relu},           {"abs", abs},   {"erf", erf},
      {"sin", sin},           {"gelu", gelu},           {"tanh", tanh}, {"sigmoid", sigmoid},
      {"softplus", softplus}, {"gelu_tanh", gelu_tanh}, {"silu", silu}};
  for (const auto& [text, make] : known) {
    if (name == text) return make();
  }
  throw ArgumentError(
      fmt::format("unknown activation '{}', expected one of {}", name, fmt::join(names(), ", ")));
}

const std::string& DualActivation::name() const noexcept { return form_->name; }

DualMoments DualActivation::operator()(const PairCovariance& pair) const {
  switch (form_->family) {
    case Family::kErf:
      return erf_moments(pair);
    case Family::kSin:
      return sin_moments(pair);
    case Family::kGelu:
      return gelu_moments(pair);
    case Family::kSmooth:
      return internal::smooth_moments(*form_, pair);
    case Family::kRectifier:
      break;
  }
  return rectifier_moments(*form_, pair);
}

DualMoments DualActivation::operator()(double variance) const {
  if (form_->family == Family::kSmooth) return internal::smooth_moments(*form_, variance);
  if (variance == 0) return (*this)(PairCovariance{});
  return (*this)({.xx = variance, .zz = variance, .below_1 = 0, .above_1 = 2});
}

PairCovariance DualActivation::outputs(const PairCovariance& pair) const {
  if (form_->family == Family::kRectifier) return rectifier_outputs(*form_, pair);
  PairCovariance result{.xx = (*this)(pair.xx).value, .zz = (*this)(pair.zz).value};
  if (result.xx == 0 || result.zz == 0) return result;
  if (std::min(pair.below_1, pair.above_1) < kNear) return near_outputs(*this, pair, result);
  const double c = (*this)(pair).value / std::sqrt(result.xx * result.zz);
  result.below_1 = std::max(1 - c, 0.0);
  result.above_1 = std::max(1 + c, 0.0);
  return result;
}

}  // namespace chainrule
