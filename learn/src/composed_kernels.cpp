// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/covariance_kernel.hpp"
#include "kernel_support.hpp"

namespace chainrule {
namespace {

using FunctionPointer = std::unique_ptr<CovarianceFunction>;

struct PairPoints : KernelPoints {
  PairPoints(std::unique_ptr<const KernelPoints> left_points,
             std::unique_ptr<const KernelPoints> right_points)
      : KernelPoints(left_points->rows()),
        left(std::move(left_points)),
        right(std::move(right_points)) {}
  std::unique_ptr<const KernelPoints> left;
  std::unique_ptr<const KernelPoints> right;
};

const PairPoints& pair(const KernelPoints& points) { return internal::as<PairPoints>(points); }

// Adds or multiplies `by` into `to`.
template <class Operation>
void combine(MatrixView<double> to, MatrixView<const double> by, const Operation& operation) {
  for (Index i = 0; i < to.rows; ++i) {
    for (Index j = 0; j < to.columns; ++j) to(i, j) = operation(to(i, j), by(i, j));
  }
}

double product_of(double a, double b) { return a * b; }
double sum_of(double a, double b) { return a + b; }

// What sums and products have in common: two parts and their hyperparameters.
class Pair : public CovarianceFunction {
 public:
  Pair(FunctionPointer left, FunctionPointer right)
      : left_(std::move(left)), right_(std::move(right)) {}

  std::vector<Hyperparameter> hyperparameters() const override {
    std::vector<Hyperparameter> all = left_->hyperparameters();
    for (Hyperparameter& h : right_->hyperparameters()) all.push_back(std::move(h));
    return all;
  }
  void set_values(std::span<const double> values) override {
    const std::size_t count = left_->hyperparameters().size();
    left_->set_values(values.first(count));
    right_->set_values(values.subspan(count));
  }
  Index block_rows() const override {
    const Index left = left_->block_rows(), right = right_->block_rows();
    return left == 0 || right == 0 ? 0 : std::max(left, right);
  }
  std::unique_ptr<const KernelPoints> prepare(MatrixView<const double> x) const override {
    return std::make_unique<PairPoints>(left_->prepare(x), right_->prepare(x));
  }

 protected:
  // The parts of where a gradient goes.
  std::pair<std::span<double>, std::span<double>> split(std::span<double> gradient) const {
    const std::size_t count = left_->hyperparameters().size();
    return {gradient.first(count), gradient.subspan(count)};
  }
  Tensor right_block(const KernelPoints& a, Index first, const KernelPoints& b, Index rows,
                     Index columns) const {
    Tensor k({rows, columns}, DType::kFloat64);
    right_->block(*pair(a).right, first, *pair(b).right, k.as<double>());
    return k;
  }

  FunctionPointer left_;
  FunctionPointer right_;
};

class Sum : public Pair {
 public:
  using Pair::Pair;
  FunctionPointer clone() const override {
    return std::make_unique<Sum>(left_->clone(), right_->clone());
  }
  std::string name() const override {
    return fmt::format("{} + {}", left_->name(), term(right_->name()));
  }
  std::string text() const override {
    return fmt::format("{} + {}", left_->text(), term(right_->text()));
  }
  void block(const KernelPoints& a, Index first, const KernelPoints& b,
             MatrixView<double> k) const override {
    left_->block(*pair(a).left, first, *pair(b).left, k);
    const Tensor other = right_block(a, first, b, k.rows, k.columns);
    combine(k, other.as<double>(), sum_of);
  }
  void diagonal(const KernelPoints& a, std::span<double> k) const override {
    std::vector<double> other(k.size());
    left_->diagonal(*pair(a).left, k);
    right_->diagonal(*pair(a).right, other);
    for (std::size_t i = 0; i < k.size(); ++i) k[i] += other[i];
  }
  void contract(const KernelPoints& a, Index first, const KernelPoints& b,
                MatrixView<const double> weights, std::span<double> gradient) const override {
    const auto [left, right] = split(gradient);
    left_->contract(*pair(a).left, first, *pair(b).left, weights, left);
    right_->contract(*pair(a).right, first, *pair(b).right, weights, right);
  }

 private:
  // So that a formula groups its terms as they are grouped.
  std::string term(const std::string& text) const {
    return dynamic_cast<const Sum*>(right_.get()) != nullptr ? fmt::format("({})", text) : text;
  }
};

class Product : public Pair {
 public:
  using Pair::Pair;
  FunctionPointer clone() const override {
    return std::make_unique<Product>(left_->clone(), right_->clone());
  }
  std::string name() const override {
    return fmt::format("{} * {}", left_factor(left_->name()), right_factor(right_->name()));
  }
  std::string text() const override {
    return fmt::format("{} * {}", left_factor(left_->text()), right_factor(right_->text()));
  }
  void block(const KernelPoints& a, Index first, const KernelPoints& b,
             MatrixView<double> k) const override {
    left_->block(*pair(a).left, first, *pair(b).left, k);
    const Tensor other = right_block(a, first, b, k.rows, k.columns);
    combine(k, other.as<double>(), product_of);
  }
  void diagonal(const KernelPoints& a, std::span<double> k) const override {
    std::vector<double> other(k.size());
    left_->diagonal(*pair(a).left, k);
    right_->diagonal(*pair(a).right, other);
    for (std::size_t i = 0; i < k.size(); ++i) k[i] *= other[i];
  }
  void contract(const KernelPoints& a, Index first, const KernelPoints& b,
                MatrixView<const double> weights, std::span<double> gradient) const override {
    const auto [left, right] = split(gradient);
    if (!left.empty()) {
      Tensor product = right_block(a, first, b, weights.rows, weights.columns);
      combine(product.as<double>(), weights, product_of);
      left_->contract(*pair(a).left, first, *pair(b).left, std::as_const(product).as<double>(),
                      left);
    }
    if (!right.empty()) {
      Tensor product({weights.rows, weights.columns}, DType::kFloat64);
      left_->block(*pair(a).left, first, *pair(b).left, product.as<double>());
      combine(product.as<double>(), weights, product_of);
      right_->contract(*pair(a).right, first, *pair(b).right, std::as_const(product).as<double>(),
                       right);
    }
  }

 private:
  template <class Composed>
  static bool is(const FunctionPointer& function) {
    return dynamic_cast<const Composed*>(function.get()) != nullptr;
  }
  std::string left_factor(const std::string& text) const {
    return is<Sum>(left_) ? fmt::format("({})", text) : text;
  }
  std::string right_factor(const std::string& text) const {
    return is<Sum>(right_) || is<Product>(right_) ? fmt::format("({})", text) : text;
  }
};

class FunctionKernel : public CovarianceFunction {
 public:
  explicit FunctionKernel(KernelFunctions functions) : functions_(std::move(functions)) {
    if (!functions_.gram || !functions_.diagonal) {
      throw ArgumentError(fmt::format("function_kernel '{}': got no {} function", functions_.name,
                                      functions_.gram ? "diagonal" : "gram"));
    }
  }
  FunctionPointer clone() const override { return std::make_unique<FunctionKernel>(*this); }
  std::string name() const override { return functions_.name; }
  // Nothing that could be taken for another kernel.
  std::string text() const override {
    return functions_.formula.empty() ? fmt::format("function '{}'", functions_.name)
                                      : functions_.formula;
  }
  Index block_rows() const override {
    return functions_.whole_matrices ? 0 : CovarianceFunction::block_rows();
  }
  std::unique_ptr<const KernelPoints> prepare(MatrixView<const double> x) const override {
    return std::make_unique<Points>(internal::scaled_copy(x, std::array{1.0}));
  }
  void block(const KernelPoints& a, Index first, const KernelPoints& b,
             MatrixView<double> k) const override {
    functions_.gram(rows(a, first, k.rows), rows(b, 0, k.columns), k);
  }
  void diagonal(const KernelPoints& a, std::span<double> k) const override {
    functions_.diagonal(rows(a, 0, a.rows()), k);
  }

 private:
  struct Points : KernelPoints {
    explicit Points(Tensor inputs) : KernelPoints(inputs.rows()), x(std::move(inputs)) {}
    Tensor x;
  };
  static MatrixView<const double> rows(const KernelPoints& points, Index first, Index count) {
    const MatrixView<const double> x = internal::as<Points>(points).x.as<double>();
    return {x.row(first), count, x.columns, x.ld};
  }

  KernelFunctions functions_;
};

}  // namespace

CovarianceKernel scaled(const CovarianceKernel& kernel, double variance) {
  return CovarianceKernel(std::make_unique<Product>(
      internal::constant_function("scaled", "variance", variance), kernel.function().clone()));
}
CovarianceKernel operator+(const CovarianceKernel& a, const CovarianceKernel& b) {
  return CovarianceKernel(std::make_unique<Sum>(a.function().clone(), b.function().clone()));
}
CovarianceKernel operator*(const CovarianceKernel& a, const CovarianceKernel& b) {
  return CovarianceKernel(std::make_unique<Product>(a.function().clone(), b.function().clone()));
}
CovarianceKernel function_kernel(KernelFunctions functions) {
  return CovarianceKernel(std::make_unique<FunctionKernel>(std::move(functions)));
}

}  // namespace chainrule
