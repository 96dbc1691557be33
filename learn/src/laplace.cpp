// SPDX-License-Identifier: Apache-2.0
#include "laplace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "chainrule/core/error.hpp"
#include "chainrule/runtime/parallel_linear_algebra.hpp"

namespace chainrule::internal {
namespace {

using Values = std::vector<double>;

MatrixView<double> column(Values& values) {
  return {values.data(), static_cast<Index>(values.size()), 1, 1};
}

MatrixView<const double> column(const Values& values) {
  return {values.data(), static_cast<Index>(values.size()), 1, 1};
}

Values product(MatrixView<const double> k, const Values& x, const Executor& executor) {
  Values result(x.size());
  gemm(1, k, column(x), 0, column(result), executor);
  return result;
}

double logistic(double f) {
  return f >= 0 ? 1 / (1 + std::exp(-f)) : std::exp(f) / (1 + std::exp(f));
}

// log(1 / (1 + exp(-f)))
double log_logistic(double f) {
  return f >= 0 ? -std::log1p(std::exp(-f)) : f - std::log1p(std::exp(f));
}

double largest(const Values& x) {
  double result = 0;
  for (double value : x) result = std::max(result, std::abs(value));
  return result;
}

}  // namespace

LaplacePosterior::LaplacePosterior(MatrixView<const double> k, const Values& targets,
                                   const GaussianProcessClassifierOptions& options,
                                   const Executor& executor)
    : targets_(targets),
      latent_(targets.size()),
      a_(targets.size()),
      slope_(targets.size()),
      root_(targets.size()),
      factor_({k.rows, k.rows}, DType::kFloat64) {
  double value = objective(a_, latent_);
  for (int iteration = 0; iteration < options.max_iterations; ++iteration) {
    linearize(k, executor);
    const Values next_a = newton(k, executor), next = product(k, next_a, executor);
    Values move_a(a_.size()), move(a_.size());
    for (std::size_t i = 0; i < a_.size(); ++i) {
      move_a[i] = next_a[i] - a_[i];
      move[i] = next[i] - latent_[i];
    }
    // f is linear in a, so that shorter steps need no more products.
    double step = 1;
    Values a, f;
    double reached = 0;
    do {
      a = a_;
      f = latent_;
      for (std::size_t i = 0; i < a.size(); ++i) {
        a[i] += step * move_a[i];
        f[i] += step * move[i];
      }
      reached = objective(a, f);
      step /= 2;
    } while (!(reached >= value - 1e-10 * (1 + std::abs(value))) && step > 1e-8);
    a_ = std::move(a);
    latent_ = std::move(f);
    value = reached;
    if (largest(move) <= options.tolerance * (1 + largest(latent_))) {
      linearize(k, executor);
      return;
    }
  }
  throw Error(fmt::format("Laplace approximation: Newton's method has not converged in {} steps",
                          options.max_iterations));
}

double LaplacePosterior::objective(const Values& a, const Values& f) const {
  double sum = 0;
  for (std::size_t i = 0; i < f.size(); ++i) {
    sum += log_logistic(targets_[i] * f[i]) - 0.5 * a[i] * f[i];
  }
  return sum;
}

void LaplacePosterior::linearize(MatrixView<const double> k, const Executor& executor) {
  for (std::size_t i = 0; i < latent_.size(); ++i) {
    const double p = logistic(latent_[i]), against = logistic(-latent_[i]);
    slope_[i] = targets_[i] > 0 ? against : -p;
    root_[i] = std::sqrt(p * against);
  }
  const auto b = factor_.as<double>();
  executor.for_each(b.rows, static_cast<double>(b.rows * b.rows), [&](Index i, int) {
    const double left = root_[static_cast<std::size_t>(i)];
    for (Index j = 0; j <= i; ++j) b(i, j) = left * k(i, j) * root_[static_cast<std::size_t>(j)];
    b(i, i) += 1;
  });
  log_determinant_ = cholesky(b, {}, executor).log_determinant;
}

Values LaplacePosterior::newton(MatrixView<const double> k, const Executor& executor) const {
  Values b(latent_.size());
  for (std::size_t i = 0; i < b.size(); ++i) b[i] = root_[i] * root_[i] * latent_[i] + slope_[i];
  Values solved = product(k, b, executor);
  for (std::size_t i = 0; i < b.size(); ++i) solved[i] *= root_[i];
  solve_cholesky(factor_.as<double>(), column(solved), executor);
  for (std::size_t i = 0; i < b.size(); ++i) b[i] -= root_[i] * solved[i];
  return b;
}

void LaplacePosterior::add_likelihood(LogMarginalLikelihood& sum) const {
  sum.data_fit += objective(a_, latent_);
  sum.complexity -= 0.5 * log_determinant_;
  sum.value = sum.data_fit + sum.complexity;
}

void LaplacePosterior::add_gradient(MatrixView<const double> k, MatrixView<double> weights,
                                    const Executor& executor) const {
  const Index n = rows();
  const auto at = [](const Values& v, Index i) { return v[static_cast<std::size_t>(i)]; };
  // The variances of the posterior, diag(K - C^T C), and with them d log q / d f through log |B|.
  Tensor work({n, n}, DType::kFloat64);
  const auto w = work.as<double>();
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) w(i, j) = at(root_, i) * k(i, j);
  }
  solve_lower(factor_.as<double>(), w, executor);
  Values by_latent(latent_.size());
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) by_latent[static_cast<std::size_t>(j)] -= w(i, j) * w(i, j);
  }
  for (Index i = 0; i < n; ++i) {
    const double p = logistic(at(latent_, i)), against = logistic(-at(latent_, i));
    const double third = p * against * (p - against);  // of log p by f
    auto& element = by_latent[static_cast<std::size_t>(i)];
    element = 0.5 * (element + k(i, i)) * third;
  }
  // R = W^1/2 B^-1 W^1/2; f moves by (I + K W)^-1 dK slope = (I - K R) dK slope.
  invert_cholesky(factor_.as<double>(), w, executor);
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) w(i, j) *= at(root_, i) * at(root_, j);
  }
  const Values moved = product(w, product(k, by_latent, executor), executor);
  for (Index i = 0; i < n; ++i) {
    const double left = at(by_latent, i) - at(moved, i);
    for (Index j = 0; j < n; ++j) {
      const double right = at(by_latent, j) - at(moved, j);
      weights(i, j) +=
          0.5 * (at(a_, i) * at(a_, j) - w(i, j) + left * at(slope_, j) + at(slope_, i) * right);
    }
  }
}

void LaplacePosterior::predict(MatrixView<double> across, double* mean, double* variance,
                               const Executor& executor) const {
  const MatrixView<double> means{mean, across.columns, 1, 1};
  gemm(1, transpose(across), column(slope_), 0, means, executor);
  for (Index i = 0; i < across.rows; ++i) {
    for (Index j = 0; j < across.columns; ++j) across(i, j) *= root_[static_cast<std::size_t>(i)];
  }
  solve_lower(factor_.as<double>(), across, executor);
  for (Index i = 0; i < across.rows; ++i) {
    for (Index j = 0; j < across.columns; ++j) variance[j] -= across(i, j) * across(i, j);
  }
  for (Index j = 0; j < across.columns; ++j) variance[j] = std::max(variance[j], 0.0);
}

}  // namespace chainrule::internal
