// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/covariance_kernel.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "chainrule/core/error.hpp"

namespace chainrule {
namespace {

// What an element of a Gram matrix costs at least, for the executor.
constexpr double kFlopsPerElement = 50;
// Of the blocks on the diagonal that contract_diagonal() goes by.
constexpr Index kDiagonalRows = 8;

// The rows of a Gram matrix as a function wants them.
class Blocks {
 public:
  Blocks(const CovarianceFunction& function, Index rows)
      : rows_(rows), height_(function.block_rows() == 0 ? rows : function.block_rows()) {}

  Index count() const { return rows_ == 0 ? 0 : (rows_ + height_ - 1) / height_; }
  Index first(Index block) const { return block * height_; }
  Index rows(Index block) const { return std::min(height_, rows_ - first(block)); }

 private:
  Index rows_;
  Index height_;
};

// add(first, rows, gradient) adds what a block of rows comes to; the blocks' sums are added in
// their order.
template <class Add>
std::vector<double> sum_over_blocks(const CovarianceFunction& function, Index rows, double flops,
                                    const Executor& executor, Add&& add) {
  const std::size_t count = function.hyperparameters().size();
  const Blocks blocks(function, rows);
  std::vector<double> parts(count * static_cast<std::size_t>(blocks.count()));
  executor.for_each(blocks.count(), flops, [&](Index block, int) {
    add(blocks.first(block), blocks.rows(block),
        std::span(parts).subspan(static_cast<std::size_t>(block) * count, count));
  });
  std::vector<double> gradient(count);
  for (std::size_t i = 0; i < parts.size(); ++i) gradient[i % count] += parts[i];
  return gradient;
}

Tensor as_float64(const Tensor& x, const char* who) {
  if (x.shape().rank() != 2) {
    throw ShapeError(
        fmt::format("{}: got inputs {}, expected a matrix [n, d]", who, to_string(x.shape())));
  }
  if (x.dtype() != DType::kFloat64) return x.to(DType::kFloat64);
  return Tensor::view(const_cast<void*>(x.data()), x.shape(), x.dtype(), x.ld());
}

MatrixView<const double> window_of(const Tensor& x) { return x.as<double>(); }

double coordinate(const Hyperparameter& h) { return h.positive ? std::log(h.value) : h.value; }

void expect_in_domain(const Hyperparameter& h, double value) {
  if (std::isfinite(value) && (!h.positive || value > 0)) return;
  throw ArgumentError(fmt::format("kernel: got {} = {}, expected a finite number{}", h.name, value,
                                  h.positive ? " > 0" : ""));
}

std::size_t hyperparameter_position(const std::vector<Hyperparameter>& all, std::string_view name) {
  const auto found = std::ranges::find(all, name, &Hyperparameter::name);
  if (found != all.end()) return static_cast<std::size_t>(found - all.begin());
  std::vector<std::string> names;
  for (const Hyperparameter& h : all) names.push_back(h.name);
  throw ArgumentError(
      fmt::format("kernel: no hyperparameter '{}'; there are: {}", name,
                  names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "))));
}

}  // namespace

KernelPoints::~KernelPoints() = default;
CovarianceFunction::~CovarianceFunction() = default;
std::string CovarianceFunction::text() const { return name(); }
std::vector<Hyperparameter> CovarianceFunction::hyperparameters() const { return {}; }
void CovarianceFunction::set_values(std::span<const double>) {}
Index CovarianceFunction::block_rows() const { return 64; }
void CovarianceFunction::contract(const KernelPoints&, Index, const KernelPoints&,
                                  MatrixView<const double>, std::span<double>) const {}

CovarianceKernel::CovarianceKernel(std::unique_ptr<CovarianceFunction> function)
    : function_(std::move(function)) {
  if (function_ == nullptr) throw ArgumentError("CovarianceKernel: got no function");
}
CovarianceKernel::~CovarianceKernel() = default;
CovarianceKernel::CovarianceKernel(const CovarianceKernel& other)
    : function_(other.function_->clone()) {}
CovarianceKernel& CovarianceKernel::operator=(const CovarianceKernel& other) {
  function_ = other.function_->clone();
  return *this;
}
CovarianceKernel::CovarianceKernel(CovarianceKernel&&) noexcept = default;
CovarianceKernel& CovarianceKernel::operator=(CovarianceKernel&&) noexcept = default;

std::string CovarianceKernel::name() const { return function_->name(); }

std::vector<Hyperparameter> CovarianceKernel::hyperparameters() const {
  std::vector<Hyperparameter> all = function_->hyperparameters();
  std::map<std::string, int> seen;
  for (Hyperparameter& h : all) {
    const int count = ++seen[h.name];
    if (count > 1) h.name += fmt::format("#{}", count);
  }
  return all;
}

double CovarianceKernel::hyperparameter(std::string_view name) const {
  const std::vector<Hyperparameter> all = hyperparameters();
  return all[hyperparameter_position(all, name)].value;
}

void CovarianceKernel::set_hyperparameter(std::string_view name, double value) {
  const std::vector<Hyperparameter> all = hyperparameters();
  const std::size_t position = hyperparameter_position(all, name);
  expect_in_domain(all[position], value);
  std::vector<double> values;
  for (const Hyperparameter& h : all) values.push_back(h.value);
  values[position] = value;
  function_->set_values(values);
}

std::vector<double> CovarianceKernel::theta() const {
  std::vector<double> theta;
  for (const Hyperparameter& h : hyperparameters()) theta.push_back(coordinate(h));
  return theta;
}

void CovarianceKernel::set_theta(std::span<const double> theta) {
  const std::vector<Hyperparameter> all = hyperparameters();
  if (theta.size() != all.size()) {
    throw ArgumentError(
        fmt::format("kernel: got {} coordinates for {} hyperparameters", theta.size(), all.size()));
  }
  std::vector<double> values;
  for (std::size_t i = 0; i < all.size(); ++i) {
    // The logarithm's exponential need not be the number it was taken of.
    const bool same = theta[i] == coordinate(all[i]);
    values.push_back(same ? all[i].value : all[i].positive ? std::exp(theta[i]) : theta[i]);
    expect_in_domain(all[i], values.back());
  }
  function_->set_values(values);
}

Tensor CovarianceKernel::gram(const Tensor& x, const Tensor& z, const Executor& executor) const {
  const Tensor left = as_float64(x, "gram"), right = as_float64(z, "gram");
  if (left.columns() != right.columns()) {
    throw ShapeError(fmt::format("gram: got x {} and z {}, expected as many columns",
                                 to_string(x.shape()), to_string(z.shape())));
  }
  const auto a = function_->prepare(window_of(left)), b = function_->prepare(window_of(right));
  Tensor k({x.rows(), z.rows()}, DType::kFloat64);
  const auto out = k.as<double>();
  const double flops = kFlopsPerElement * static_cast<double>(out.rows * out.columns);
  const Blocks blocks(*function_, out.rows);
  executor.for_each(blocks.count(), flops, [&](Index block, int) {
    const Index first = blocks.first(block), rows = blocks.rows(block);
    function_->block(*a, first, *b, {out.row(first), rows, out.columns, out.ld});
  });
  return k;
}

void CovarianceKernel::lower_gram(const Tensor& x, MatrixView<double> k,
                                  const Executor& executor) const {
  const Tensor inputs = as_float64(x, "lower_gram");
  if (k.rows != inputs.rows() || k.columns != k.rows) {
    throw ShapeError(fmt::format("lower_gram: got x {} for a matrix [{}, {}], expected [n, n]",
                                 to_string(x.shape()), k.rows, k.columns));
  }
  const auto points = function_->prepare(window_of(inputs));
  const double flops = kFlopsPerElement / 2 * static_cast<double>(k.rows * k.rows);
  const Blocks blocks(*function_, k.rows);
  executor.for_each(blocks.count(), flops, [&](Index block, int) {
    const Index first = blocks.first(block), rows = blocks.rows(block);
    // The diagonal block has an upper triangle, which is not ours.
    Tensor values({rows, first + rows}, DType::kFloat64);
    const auto from = values.as<double>();
    function_->block(*points, first, *points, from);
    for (Index i = 0; i < rows; ++i) std::copy_n(from.row(i), first + i + 1, k.row(first + i));
  });
}

Tensor CovarianceKernel::gram(const Tensor& x, const Executor& executor) const {
  Tensor k({x.rows(), x.rows()}, DType::kFloat64);
  const auto out = k.as<double>();
  lower_gram(x, out, executor);
  for (Index i = 0; i < out.rows; ++i) {
    for (Index j = 0; j < i; ++j) out(j, i) = out(i, j);
  }
  return k;
}

Tensor CovarianceKernel::diagonal(const Tensor& x) const {
  const Tensor inputs = as_float64(x, "diagonal");
  const auto points = function_->prepare(window_of(inputs));
  Tensor k({x.rows(), 1}, DType::kFloat64);
  function_->diagonal(*points, {k.as<double>().data, static_cast<std::size_t>(x.rows())});
  return k;
}

std::vector<double> CovarianceKernel::contract(const Tensor& x, MatrixView<const double> weights,
                                               const Executor& executor) const {
  const Tensor inputs = as_float64(x, "contract");
  const Index n = inputs.rows();
  if (weights.rows != n || weights.columns != n) {
    throw ShapeError(fmt::format("contract: got weights [{}, {}] for x {}", weights.rows,
                                 weights.columns, to_string(x.shape())));
  }
  const auto points = function_->prepare(window_of(inputs));
  const double flops = kFlopsPerElement * static_cast<double>(n * n);
  return sum_over_blocks(*function_, n, flops, executor,
                         [&](Index first, Index rows, std::span<double> gradient) {
                           // Both triangles by the lower one: twice what lies off the diagonal.
                           Tensor doubled({rows, first + rows}, DType::kFloat64);
                           const auto to = doubled.as<double>();
                           for (Index i = 0; i < rows; ++i) {
                             for (Index j = 0; j < first + i; ++j)
                               to(i, j) = 2 * weights(first + i, j);
                             to(i, first + i) = weights(first + i, first + i);
                           }
                           function_->contract(*points, first, *points, to, gradient);
                         });
}

std::vector<double> CovarianceKernel::contract(const Tensor& x, const Tensor& z,
                                               MatrixView<const double> weights,
                                               const Executor& executor) const {
  const Tensor left = as_float64(x, "contract"), right = as_float64(z, "contract");
  if (left.columns() != right.columns() || weights.rows != left.rows() ||
      weights.columns != right.rows()) {
    throw ShapeError(fmt::format("contract: got weights [{}, {}] for x {} and z {}", weights.rows,
                                 weights.columns, to_string(x.shape()), to_string(z.shape())));
  }
  const auto a = function_->prepare(window_of(left)), b = function_->prepare(window_of(right));
  const double flops = kFlopsPerElement * static_cast<double>(weights.rows * weights.columns);
  return sum_over_blocks(*function_, weights.rows, flops, executor,
                         [&](Index first, Index rows, std::span<double> gradient) {
                           function_->contract(
                               *a, first, *b,
                               {weights.row(first), rows, weights.columns, weights.ld}, gradient);
                         });
}

std::vector<double> CovarianceKernel::contract_diagonal(const Tensor& x) const {
  const Tensor inputs = as_float64(x, "contract_diagonal");
  std::vector<double> gradient(function_->hyperparameters().size());
  if (gradient.empty()) return gradient;
  // A function contracts matrices; small ones waste little off their diagonals.
  const MatrixView<const double> rows = window_of(inputs);
  for (Index first = 0; first < rows.rows; first += kDiagonalRows) {
    const Index count = std::min(kDiagonalRows, rows.rows - first);
    Tensor ones({count, count}, DType::kFloat64);
    for (Index i = 0; i < count; ++i) ones.as<double>()(i, i) = 1;
    const auto points = function_->prepare({rows.row(first), count, rows.columns, rows.ld});
    function_->contract(*points, 0, *points, std::as_const(ones).as<double>(), gradient);
  }
  return gradient;
}

}  // namespace chainrule
