// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/covariance_kernel.hpp"
#include "kernel_support.hpp"

namespace chainrule {
namespace {

constexpr double kPi = std::numbers::pi;

// Where 1 - |cosine| is below this, arccos has lost half of the digits.
constexpr double kNearlyParallel = 1e-6;

// (sqrt(weight variance) x, sqrt(bias variance)): their dot products are s.
class ArcPoints : public internal::MatrixPoints {
 public:
  ArcPoints(MatrixView<const double> x, double weight_variance, double bias_variance)
      : MatrixPoints(extended(x, std::sqrt(weight_variance), std::sqrt(bias_variance))) {
    for (double square : squares()) norms_.push_back(std::sqrt(square));
  }
  double square(Index i) const { return squares()[static_cast<std::size_t>(i)]; }
  double norm(Index i) const { return norms_[static_cast<std::size_t>(i)]; }

 private:
  static Tensor extended(MatrixView<const double> x, double weight, double bias) {
    Tensor result({x.rows, x.columns + 1}, DType::kFloat64);
    const auto to = result.as<double>();
    for (Index i = 0; i < x.rows; ++i) {
      for (Index k = 0; k < x.columns; ++k) to(i, k) = weight * x(i, k);
      to(i, x.columns) = bias;
    }
    return result;
  }

  std::vector<double> norms_;
};

struct Angle {
  double radians;
  double sine;
  double cosine;
};

// Of two rows whose dot product is s.
Angle angle_between(const ArcPoints& a, Index i, const ArcPoints& b, Index j, double s) {
  const double norms = a.norm(i) * b.norm(j);
  if (!(norms > 0)) return {.radians = kPi / 2, .sine = 1, .cosine = 0};
  const double cosine = std::clamp(s / norms, -1.0, 1.0);
  if (1 - std::abs(cosine) > kNearlyParallel) {
    return {.radians = std::acos(cosine),
            .sine = std::sqrt((1 - cosine) * (1 + cosine)),
            .cosine = cosine};
  }
  // Kahan's: twice the angle whose tangent is |u - v| / |u + v|, of unit vectors.
  const double* const u = a.rows_view().row(i);
  const double* const v = b.rows_view().row(j);
  double apart = 0, together = 0;
  for (Index k = 0; k < a.rows_view().columns; ++k) {
    const double left = u[k] / a.norm(i), right = v[k] / b.norm(j);
    apart += (left - right) * (left - right);
    together += (left + right) * (left + right);
  }
  const double radians = 2 * std::atan2(std::sqrt(apart), std::sqrt(together));
  return {.radians = radians, .sine = std::sin(radians), .cosine = std::cos(radians)};
}

class ArcCosine : public CovarianceFunction {
 public:
  ArcCosine(int order, double weight_variance, double bias_variance)
      : order_(order), weight_variance_(weight_variance), bias_variance_(bias_variance) {
    if (order != 0 && order != 1) {
      throw ArgumentError(fmt::format("arc_cosine_kernel: got order {}, expected 0 or 1", order));
    }
    internal::expect_positive("arc_cosine_kernel", "weight variance", weight_variance);
    internal::expect_positive("arc_cosine_kernel", "bias variance", bias_variance, true);
  }
  std::unique_ptr<CovarianceFunction> clone() const override {
    return std::make_unique<ArcCosine>(*this);
  }
  std::string name() const override { return fmt::format("arc_cosine{}", order_); }
  std::string text() const override {
    return fmt::format("arc_cosine({}, {}, {})", order_, weight_variance_, bias_variance_);
  }
  std::vector<Hyperparameter> hyperparameters() const override {
    std::vector<Hyperparameter> all{{.name = "weight_variance", .value = weight_variance_}};
    if (has_bias()) all.push_back({.name = "bias_variance", .value = bias_variance_});
    return all;
  }
  void set_values(std::span<const double> values) override {
    weight_variance_ = values[0];
    if (has_bias()) bias_variance_ = values[1];
  }

  std::unique_ptr<const KernelPoints> prepare(MatrixView<const double> x) const override {
    return std::make_unique<ArcPoints>(x, weight_variance_, bias_variance_);
  }

  void block(const KernelPoints& a, Index first, const KernelPoints& b,
             MatrixView<double> k) const override {
    const auto& left = internal::as<ArcPoints>(a);
    const auto& right = internal::as<ArcPoints>(b);
    internal::dot_products(left, first, right, k);
    for (Index i = 0; i < k.rows; ++i) {
      for (Index j = 0; j < k.columns; ++j) {
        if (&a == &b && first + i == j) {
          k(i, j) = of_itself(left.square(j));
          continue;
        }
        const Angle angle = angle_between(left, first + i, right, j, k(i, j));
        k(i, j) = order_ == 0 ? 1 - angle.radians / kPi
                              : left.norm(first + i) * right.norm(j) * bend(angle);
      }
    }
  }

  void diagonal(const KernelPoints& a, std::span<double> k) const override {
    const auto& squares = internal::as<ArcPoints>(a).squares();
    for (std::size_t i = 0; i < k.size(); ++i) k[i] = of_itself(squares[i]);
  }

  // By s = s(x, z), q = s(x, x) and p = s(z, z), and their derivatives by the logarithms of the
  // variances: s - b, q - b, p - b by the weights', b by the bias's.
  void contract(const KernelPoints& a, Index first, const KernelPoints& b,
                MatrixView<const double> weights, std::span<double> gradient) const override {
    const auto& left = internal::as<ArcPoints>(a);
    const auto& right = internal::as<ArcPoints>(b);
    Tensor products({weights.rows, weights.columns}, DType::kFloat64);
    const auto s = products.as<double>();
    internal::dot_products(left, first, right, s);
    for (Index i = 0; i < s.rows; ++i) {
      const double q = left.square(first + i);
      for (Index j = 0; j < s.columns; ++j) {
        const double p = right.square(j);
        const bool itself = &a == &b && first + i == j;
        const Angle angle =
            itself ? Angle{0, 0, 1} : angle_between(left, first + i, right, j, s(i, j));
        const Slopes slopes = slopes_of(angle, q, p);
        const double weight = weights(i, j), bias = bias_variance_;
        gradient[0] += weight * (slopes.by_product * (s(i, j) - bias) +
                                 slopes.by_square * (q - bias) + slopes.by_other * (p - bias));
        if (has_bias()) {
          gradient[1] += weight * bias * (slopes.by_product + slopes.by_square + slopes.by_other);
        }
      }
    }
  }

 private:
  struct Slopes {
    double by_product = 0;
    double by_square = 0;
    double by_other = 0;
  };

  bool has_bias() const noexcept { return bias_variance_ != 0; }

  double of_itself(double square) const {
    if (order_ == 1) return square;
    return square > 0 ? 1 : 0.5;
  }

  static double bend(const Angle& angle) {
    return (angle.sine + (kPi - angle.radians) * angle.cosine) / kPi;
  }

  Slopes slopes_of(const Angle& angle, double q, double p) const {
    const double norms = std::sqrt(q) * std::sqrt(p);
    if (!(norms > 0)) return {};
    if (order_ == 1) {
      const double by_norm = norms * angle.sine / (2 * kPi);
      return {(kPi - angle.radians) / kPi, by_norm / q, by_norm / p};
    }
    if (angle.sine == 0) return {};  // the angle stays 0 or pi
    const double by_cosine = 1 / (kPi * angle.sine);
    return {by_cosine / norms, -by_cosine * angle.cosine / (2 * q),
            -by_cosine * angle.cosine / (2 * p)};
  }

  int order_;
  double weight_variance_;
  double bias_variance_;
};

}  // namespace

CovarianceKernel arc_cosine_kernel(int order, double weight_variance, double bias_variance) {
  return CovarianceKernel(std::make_unique<ArcCosine>(order, weight_variance, bias_variance));
}

}  // namespace chainrule
