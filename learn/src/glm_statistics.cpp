// SPDX-License-Identifier: Apache-2.0
#include "glm_statistics.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "batch_source.hpp"
#include "overloaded.hpp"

namespace chainrule::internal {
namespace {

constexpr double kLargestBias = 700;  // e^700 is finite

double softplus_of(double z) { return std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))); }

// x log x, 0 for 0.
double x_log(double x) { return x == 0 ? 0 : x * std::log(x); }

double weight_of(const Dataset& data, Index row) {
  return data.weights.shape().rank() == 0 ? 1 : element(data.weights, row, 0);
}

double offset_of(const Dataset& data, Index row) {
  return data.offset.shape().rank() == 0 ? 0 : element(data.offset, row, 0);
}

double target(const Dataset& data, Index row, Index output) { return element(data.y, row, output); }

// sum_i w_i value(i)
template <class Value>
double weighted_sum(const Dataset& data, Value&& value) {
  double sum = 0;
  for (Index i = 0; i < data.rows(); ++i) {
    const double w = weight_of(data, i);
    if (w != 0) sum += w * value(i);
  }
  return sum;
}

double log_softmax_at_label(const Dataset& data, MatrixView<const double> eta, Index row) {
  const double* const z = eta.row(row);
  const double largest = *std::max_element(z, z + eta.columns);
  double sum = 0;
  for (Index k = 0; k < eta.columns; ++k) sum += std::exp(z[k] - largest);
  return z[data.labels[static_cast<std::size_t>(row)]] - largest - std::log(sum);
}

// The shape k that maximizes the likelihood at a mean deviance d: log k - psi(k) = d / 2, by
// Newton's method in 1 / k from an approximation (Minka 2002, eq. 10).
double best_gamma_shape(double mean_deviance) {
  const double s = mean_deviance / 2;
  if (!(s > 0)) return HUGE_VAL;
  double k = (3 - s + std::sqrt((s - 3) * (s - 3) + 24 * s)) / (12 * s);
  for (int step = 0; step < 20; ++step) {
    const DigammaLessLog psi = digamma_less_log(k);
    const double next = 1 / (1 / k + (psi.value + s) / (k * k * psi.derivative));
    if (!(std::abs(next - k) > 1e-15 * k)) break;
    k = next;
  }
  return k;
}

double gaussian_log_likelihood(double deviance, double n) {
  return -n / 2 * (std::log(2 * std::numbers::pi * deviance / n) + 1);
}

// At the best shape the terms with the fitted means come to -n k (1 + log(mu / t)) on average.
double gamma_log_likelihood(const Dataset& data, double deviance, double n, Index output) {
  const double k = best_gamma_shape(deviance / n);
  if (!std::isfinite(k)) return HUGE_VAL;
  const double log_targets =
      weighted_sum(data, [&](Index i) { return std::log(target(data, i, output)); });
  return n * (k * std::log(k) - std::lgamma(k) - k) - log_targets - k * deviance / 2;
}

// Of NegativeBinomial: the root of the score in the bias, which falls with it.
double bisect_bias(const Dataset& data, double dispersion, Index output) {
  double low = -kLargestBias, high = kLargestBias;
  while (true) {
    const double middle = low + (high - low) / 2;
    if (middle <= low || middle >= high) return middle;
    const double score = weighted_sum(data, [&](Index i) {
      const double mu = std::exp(middle + offset_of(data, i));
      return (target(data, i, output) - mu) / (1 + dispersion * mu);
    });
    (score > 0 ? low : high) = middle;
  }
}

double null_bias_of_output(const Likelihood& likelihood, const Dataset& data, Index output) {
  const double n = total_weight(data, 0, data.rows());
  const auto mean = [&](auto&& factor) {
    return weighted_sum(data, [&](Index i) { return target(data, i, output) * factor(i); }) / n;
  };
  const auto plain_mean = [&] { return mean([](Index) { return 1.0; }); };
  return std::visit(
      Overloaded{
          [&](const Bernoulli&) { return std::log(plain_mean()) - std::log1p(-plain_mean()); },
          [&](const Poisson&) {
            const double exposure =
                weighted_sum(data, [&](Index i) { return std::exp(offset_of(data, i)); });
            return std::log(plain_mean() * n / exposure);
          },
          [&](const Gamma&) {
            return std::log(mean([&](Index i) { return std::exp(-offset_of(data, i)); }));
          },
          [&](const NegativeBinomial& l) {
            return data.offset.shape().rank() == 0 ? std::log(plain_mean())
                                                   : bisect_bias(data, l.dispersion, output);
          },
          [&](const auto&) { return plain_mean(); }},
      likelihood);
}

}  // namespace

// By recurrence to x >= 10 and the asymptotic series (Abramowitz & Stegun, 6.3.18 and 6.4.12).
DigammaLessLog digamma_less_log(double x) {
  const double begin = x;
  DigammaLessLog result{.derivative = -1 / x};
  for (; x < 10; ++x) {
    result.value -= 1 / x;
    result.derivative += 1 / (x * x);
  }
  const double s = 1 / (x * x);
  result.value += std::log(x / begin) - 0.5 / x -
                  s * (1.0 / 12 - s * (1.0 / 120 - s * (1.0 / 252 - s * (1.0 / 240 - s / 132))));
  result.derivative +=
      1 / x + s / 2 +
      s / x * (1.0 / 6 - s * (1.0 / 30 - s * (1.0 / 42 - s * (1.0 / 30 - s * 5 / 66))));
  return result;
}

bool has_free_dispersion(const Likelihood& likelihood) noexcept {
  return std::holds_alternative<Gaussian>(likelihood) || std::holds_alternative<Gamma>(likelihood);
}

std::vector<double> null_bias(const Likelihood& likelihood, const Dataset& data, Index outputs) {
  std::vector<double> bias(static_cast<std::size_t>(outputs));
  if (std::holds_alternative<Categorical>(likelihood)) {
    for (Index i = 0; i < data.rows(); ++i) {
      bias[static_cast<std::size_t>(data.labels[static_cast<std::size_t>(i)])] +=
          weight_of(data, i);
    }
    for (double& b : bias) b = std::log(b / total_weight(data, 0, data.rows()));
  } else {
    for (Index k = 0; k < outputs; ++k) {
      bias[static_cast<std::size_t>(k)] = null_bias_of_output(likelihood, data, k);
    }
  }
  if (!std::holds_alternative<Gaussian>(likelihood)) {
    for (double& b : bias) b = std::clamp(b, -kLargestBias, kLargestBias);
  }
  return bias;
}

double deviance(const Likelihood& likelihood, const Dataset& data, MatrixView<const double> eta,
                Index output) {
  const auto sum = [&](auto&& term) {
    return 2 * weighted_sum(data, [&](Index i) { return term(i, eta(i, output)); });
  };
  return std::visit(
      Overloaded{[&](const Categorical&) {
                   return sum([&](Index i, double) { return -log_softmax_at_label(data, eta, i); });
                 },
                 [&](const Bernoulli&) {
                   return sum([&](Index i, double z) {
                     return softplus_of(z) - target(data, i, output) * z;
                   });
                 },
                 [&](const Poisson&) {
                   return sum([&](Index i, double z) {
                     const double t = target(data, i, output);
                     return x_log(t) - t * z - (t - std::exp(z));
                   });
                 },
                 [&](const Gamma&) {
                   return sum([&](Index i, double z) {
                     const double d = std::log(target(data, i, output)) - z;
                     return std::expm1(d) - d;
                   });
                 },
                 [&](const NegativeBinomial& l) {
                   const double a = l.dispersion;
                   return sum([&](Index i, double z) {
                     const double t = target(data, i, output);
                     return x_log(t) - t * z +
                            (t + 1 / a) * (softplus_of(z + std::log(a)) - std::log1p(a * t));
                   });
                 },
                 [&](const auto&) {
                   return sum([&](Index i, double z) {
                     return std::pow(target(data, i, output) - z, 2) / 2;
                   });
                 }},
      likelihood);
}

double pearson_statistic(const Likelihood& likelihood, const Dataset& data,
                         MatrixView<const double> eta, Index output) {
  const bool relative = std::holds_alternative<Gamma>(likelihood);
  return weighted_sum(data, [&](Index i) {
    const double t = target(data, i, output), z = eta(i, output);
    return std::pow(relative ? std::expm1(std::log(t) - z) : t - z, 2);
  });
}

double log_likelihood(const Likelihood& likelihood, const Dataset& data,
                      MatrixView<const double> eta) {
  const double n = total_weight(data, 0, data.rows());
  const auto of_output = [&](Index k) {
    const double d = deviance(likelihood, data, eta, k);
    return std::visit(
        Overloaded{[&](const Gaussian&) { return gaussian_log_likelihood(d, n); },
                   [&](const Gamma&) { return gamma_log_likelihood(data, d, n, k); },
                   // The rest of log p is its value at mean t.
                   [&](const Poisson&) {
                     return weighted_sum(data,
                                         [&](Index i) {
                                           const double t = target(data, i, k);
                                           return x_log(t) - t - std::lgamma(t + 1);
                                         }) -
                            d / 2;
                   },
                   [&](const NegativeBinomial& l) {
                     const double a = l.dispersion;
                     return weighted_sum(data,
                                         [&](Index i) {
                                           const double t = target(data, i, k);
                                           return std::lgamma(t + 1 / a) - std::lgamma(1 / a) -
                                                  std::lgamma(t + 1) + x_log(t) + t * std::log(a) -
                                                  (t + 1 / a) * std::log1p(a * t);
                                         }) -
                            d / 2;
                   },
                   [&](const auto&) { return -d / 2; }},
        likelihood);
  };
  if (std::holds_alternative<Categorical>(likelihood)) return of_output(0);
  double sum = 0;
  for (Index k = 0; k < eta.columns; ++k) sum += of_output(k);
  return sum;
}

}  // namespace chainrule::internal
