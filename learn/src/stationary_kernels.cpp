// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <numbers>
#include <string>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/covariance_kernel.hpp"
#include "kernel_support.hpp"

namespace chainrule {
namespace {

using internal::as;
using internal::MatrixPoints;

// A function of q = r^2: k becomes it in place. `slope` becomes g = -2 dk/dq, with which a
// coordinate's share of the derivative by the logarithm of its length scale is g times its share
// of q.
struct Rbf {
  static constexpr const char* kName = "rbf";
  static void value(MatrixView<double> q) {
    for_all(q, [](double square) { return -0.5 * square; });
    internal::exponentiate(q);
  }
  static void slope(MatrixView<double> q) { value(q); }

  template <class Function>
  static void for_all(MatrixView<double> q, const Function& function) {
    for (Index i = 0; i < q.rows; ++i) {
      for (Index j = 0; j < q.columns; ++j) q(i, j) = function(q(i, j));
    }
  }
};

// polynomial(a) exp(-a) of a = scale r.
template <class Polynomial>
void damped(MatrixView<double> q, double scale, const Polynomial& polynomial) {
  Tensor decay({q.rows, q.columns}, DType::kFloat64);
  const auto e = decay.as<double>();
  for (Index i = 0; i < q.rows; ++i) {
    for (Index j = 0; j < q.columns; ++j) {
      q(i, j) = scale * std::sqrt(q(i, j));
      e(i, j) = -q(i, j);
    }
  }
  internal::exponentiate(e);
  for (Index i = 0; i < q.rows; ++i) {
    for (Index j = 0; j < q.columns; ++j) q(i, j) = polynomial(q(i, j)) * e(i, j);
  }
}

struct Matern32 {
  static constexpr const char* kName = "matern32";
  static constexpr double kScale = std::numbers::sqrt3;
  static void value(MatrixView<double> q) {
    damped(q, kScale, [](double a) { return 1 + a; });
  }
  static void slope(MatrixView<double> q) {
    damped(q, kScale, [](double) { return 3.0; });
  }
};

struct Matern52 {
  static constexpr const char* kName = "matern52";
  static constexpr double kScale = 2.23606797749978969641;  // sqrt(5)
  static void value(MatrixView<double> q) {
    damped(q, kScale, [](double a) { return 1 + a + a * a / 3; });
  }
  static void slope(MatrixView<double> q) {
    damped(q, kScale, [](double a) { return 5.0 / 3.0 * (1 + a); });
  }
};

template <class Shape>
class Stationary : public CovarianceFunction {
 public:
  // `ard`: a length scale for each column, even if there is one only.
  Stationary(std::vector<double> length_scales, bool ard)
      : length_scales_(std::move(length_scales)), ard_(ard) {
    if (length_scales_.empty()) {
      throw ArgumentError(fmt::format("{}: got no length scales", name()));
    }
    for (double scale : length_scales_) {
      internal::expect_positive(Shape::kName, "length scale", scale);
    }
  }

  std::unique_ptr<CovarianceFunction> clone() const override {
    return std::make_unique<Stationary>(*this);
  }
  std::string name() const override {
    return ard_ ? fmt::format("ard_{}", Shape::kName) : Shape::kName;
  }

  std::string text() const override {
    return fmt::format("{}({})", name(), fmt::join(length_scales_, ", "));
  }

  std::vector<Hyperparameter> hyperparameters() const override {
    if (!ard_) return {{.name = "length_scale", .value = length_scales_[0]}};
    std::vector<Hyperparameter> all;
    for (double scale : length_scales_) {
      all.push_back({.name = fmt::format("length_scale_{}", all.size()), .value = scale});
    }
    return all;
  }
  void set_values(std::span<const double> values) override {
    length_scales_.assign(values.begin(), values.end());
  }

  std::unique_ptr<const KernelPoints> prepare(MatrixView<const double> x) const override {
    if (ard_) {
      internal::expect_columns(name(), x.columns, static_cast<Index>(length_scales_.size()));
    }
    std::vector<double> inverse;
    for (double scale : length_scales_) inverse.push_back(1 / scale);
    return std::make_unique<MatrixPoints>(internal::scaled_copy(x, inverse));
  }

  void block(const KernelPoints& a, Index first, const KernelPoints& b,
             MatrixView<double> k) const override {
    internal::squared_distances(as<MatrixPoints>(a), first, as<MatrixPoints>(b), k);
    Shape::value(k);
  }

  void diagonal(const KernelPoints&, std::span<double> k) const override {
    for (double& value : k) value = 1;
  }

  void contract(const KernelPoints& a, Index first, const KernelPoints& b,
                MatrixView<const double> weights, std::span<double> gradient) const override {
    const auto& left = as<MatrixPoints>(a);
    const auto& right = as<MatrixPoints>(b);
    Tensor squares({weights.rows, weights.columns}, DType::kFloat64);
    const auto q = squares.as<double>();
    internal::squared_distances(left, first, right, q);
    Tensor slopes = squares;
    const auto g = slopes.as<double>();
    Shape::slope(g);
    for (Index i = 0; i < g.rows; ++i) {
      for (Index j = 0; j < g.columns; ++j) g(i, j) *= weights(i, j);
    }
    if (!ard_) {
      gradient[0] += internal::sum_of_products(g, q);
      return;
    }
    for (std::size_t k = 0; k < gradient.size(); ++k) {
      gradient[k] += internal::weighted_squares(left, first, right, static_cast<Index>(k), g);
    }
  }

 private:
  std::vector<double> length_scales_;
  bool ard_;
};

template <class Shape>
CovarianceKernel stationary(std::vector<double> length_scales, bool ard) {
  return CovarianceKernel(std::make_unique<Stationary<Shape>>(std::move(length_scales), ard));
}

}  // namespace

CovarianceKernel rbf_kernel(double length_scale) { return stationary<Rbf>({length_scale}, false); }
CovarianceKernel ard_rbf_kernel(std::vector<double> length_scales) {
  return stationary<Rbf>(std::move(length_scales), true);
}
CovarianceKernel matern32_kernel(double length_scale) {
  return stationary<Matern32>({length_scale}, false);
}
CovarianceKernel ard_matern32_kernel(std::vector<double> length_scales) {
  return stationary<Matern32>(std::move(length_scales), true);
}
CovarianceKernel matern52_kernel(double length_scale) {
  return stationary<Matern52>({length_scale}, false);
}
CovarianceKernel ard_matern52_kernel(std::vector<double> length_scales) {
  return stationary<Matern52>(std::move(length_scales), true);
}

}  // namespace chainrule
