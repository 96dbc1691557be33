// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/covariance_kernel.hpp"
#include "kernel_support.hpp"

namespace chainrule {
namespace {

using internal::as;
using internal::MatrixPoints;

class Constant : public CovarianceFunction {
 public:
  Constant(std::string name, double value) : name_(std::move(name)), value_(value) {}
  std::unique_ptr<CovarianceFunction> clone() const override {
    return std::make_unique<Constant>(*this);
  }
  std::string name() const override { return name_; }
  std::string text() const override {
    return name_ == "constant" ? fmt::format("constant({})", value_) : fmt::format("{}", value_);
  }
  std::vector<Hyperparameter> hyperparameters() const override {
    return {{.name = name_, .value = value_}};
  }
  void set_values(std::span<const double> values) override { value_ = values[0]; }
  std::unique_ptr<const KernelPoints> prepare(MatrixView<const double> x) const override {
    return std::make_unique<Points>(x.rows);
  }
  void block(const KernelPoints&, Index, const KernelPoints&, MatrixView<double> k) const override {
    for (Index i = 0; i < k.rows; ++i) std::fill_n(k.row(i), k.columns, value_);
  }
  void diagonal(const KernelPoints&, std::span<double> k) const override {
    for (double& value : k) value = value_;
  }
  void contract(const KernelPoints&, Index, const KernelPoints&, MatrixView<const double> weights,
                std::span<double> gradient) const override {
    double sum = 0;
    for (Index i = 0; i < weights.rows; ++i) {
      for (Index j = 0; j < weights.columns; ++j) sum += weights(i, j);
    }
    gradient[0] += value_ * sum;
  }

 private:
  struct Points : KernelPoints {
    using KernelPoints::KernelPoints;
  };
  std::string name_;
  double value_;
};

// (x . z + offset)^degree; with degree 1 and no offset, linear.
class Polynomial : public CovarianceFunction {
 public:
  Polynomial(int degree, double offset) : degree_(degree), offset_(offset) {
    if (degree < 1) {
      throw ArgumentError(fmt::format("polynomial_kernel: got degree {}, expected >= 1", degree));
    }
    internal::expect_positive("polynomial_kernel", "offset", offset, true);
  }
  std::unique_ptr<CovarianceFunction> clone() const override {
    return std::make_unique<Polynomial>(*this);
  }
  std::string name() const override {
    if (degree_ == 1 && offset_ == 0) return "linear";
    return fmt::format("polynomial{}", degree_);
  }
  std::string text() const override {
    if (degree_ == 1 && offset_ == 0) return "linear";
    return fmt::format("polynomial({}, {})", degree_, offset_);
  }
  std::vector<Hyperparameter> hyperparameters() const override {
    if (offset_ == 0) return {};
    return {{.name = "offset", .value = offset_}};
  }
  void set_values(std::span<const double> values) override {
    if (offset_ != 0) offset_ = values[0];
  }
  std::unique_ptr<const KernelPoints> prepare(MatrixView<const double> x) const override {
    return std::make_unique<MatrixPoints>(internal::scaled_copy(x, std::array{1.0}));
  }
  void block(const KernelPoints& a, Index first, const KernelPoints& b,
             MatrixView<double> k) const override {
    internal::dot_products(as<MatrixPoints>(a), first, as<MatrixPoints>(b), k);
    for (Index i = 0; i < k.rows; ++i) {
      for (Index j = 0; j < k.columns; ++j) k(i, j) = power(k(i, j) + offset_, degree_);
    }
  }
  void diagonal(const KernelPoints& a, std::span<double> k) const override {
    const auto& squares = as<MatrixPoints>(a).squares();
    for (std::size_t i = 0; i < k.size(); ++i) k[i] = power(squares[i] + offset_, degree_);
  }
  void contract(const KernelPoints& a, Index first, const KernelPoints& b,
                MatrixView<const double> weights, std::span<double> gradient) const override {
    if (offset_ == 0) return;
    Tensor products({weights.rows, weights.columns}, DType::kFloat64);
    const auto k = products.as<double>();
    internal::dot_products(as<MatrixPoints>(a), first, as<MatrixPoints>(b), k);
    for (Index i = 0; i < k.rows; ++i) {
      for (Index j = 0; j < k.columns; ++j) k(i, j) = power(k(i, j) + offset_, degree_ - 1);
    }
    gradient[0] += offset_ * degree_ * internal::sum_of_products(weights, k);
  }

 private:
  static double power(double base, int exponent) {
    double result = 1;
    for (int i = 0; i < exponent; ++i) result *= base;
    return result;
  }

  int degree_;
  double offset_;
};

class Learned : public CovarianceFunction {
 public:
  Learned(Model model, std::optional<std::size_t> layer) : model_(std::move(model)), layer_(layer) {
    if (layer_ && *layer_ >= model_.layers().size()) {
      throw ArgumentError(fmt::format("learned_kernel: got layer {} (from 0) of a model of {}",
                                      *layer_, model_.layers().size()));
    }
  }
  std::unique_ptr<CovarianceFunction> clone() const override {
    return std::make_unique<Learned>(*this);
  }
  std::string name() const override {
    return layer_ ? fmt::format("learned({})", *layer_) : "learned";
  }
  std::unique_ptr<const KernelPoints> prepare(MatrixView<const double> x) const override {
    const Tensor inputs =
        Tensor::view(const_cast<double*>(x.data), {x.rows, x.columns}, DType::kFloat64, x.ld);
    return std::make_unique<MatrixPoints>(model_.features(inputs, layer_).to(DType::kFloat64));
  }
  void block(const KernelPoints& a, Index first, const KernelPoints& b,
             MatrixView<double> k) const override {
    internal::dot_products(as<MatrixPoints>(a), first, as<MatrixPoints>(b), k);
  }
  void diagonal(const KernelPoints& a, std::span<double> k) const override {
    const auto& squares = as<MatrixPoints>(a).squares();
    std::copy(squares.begin(), squares.end(), k.begin());
  }

 private:
  Model model_;
  std::optional<std::size_t> layer_;
};

}  // namespace

std::unique_ptr<CovarianceFunction> internal::constant_function(const char* who, std::string name,
                                                                double value) {
  expect_positive(who, name, value);
  return std::make_unique<Constant>(std::move(name), value);
}

CovarianceKernel constant_kernel(double value) {
  return CovarianceKernel(internal::constant_function("constant_kernel", "constant", value));
}
CovarianceKernel linear_kernel() { return CovarianceKernel(std::make_unique<Polynomial>(1, 0)); }
CovarianceKernel polynomial_kernel(int degree, double offset) {
  return CovarianceKernel(std::make_unique<Polynomial>(degree, offset));
}
CovarianceKernel learned_kernel(const Model& model, std::optional<std::size_t> layer) {
  return CovarianceKernel(std::make_unique<Learned>(model, layer));
}

}  // namespace chainrule
