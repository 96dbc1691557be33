// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/core/tensor.hpp"

namespace chainrule {

/// A number that a kernel depends on. Positive ones are optimized by their logarithm.
struct Hyperparameter {
  std::string name;
  double value = 0;
  bool positive = true;

  bool operator==(const Hyperparameter&) const = default;
};

/// Inputs as a covariance function wants them: scaled, with their norms, mapped to features, ...
class CHAINRULE_API KernelPoints {
 public:
  explicit KernelPoints(Index rows) noexcept : rows_(rows) {}
  virtual ~KernelPoints();
  KernelPoints(const KernelPoints&) = delete;
  KernelPoints& operator=(const KernelPoints&) = delete;

  Index rows() const noexcept { return rows_; }

 private:
  Index rows_;
};

/// What a CovarianceKernel is made of, and the way to add a kind of one's own: a symmetric positive
/// semidefinite k(x, z), computed in float64, a block of rows of the Gram matrix at a time. A const
/// object is called by several threads at once.
class CHAINRULE_API CovarianceFunction {
 public:
  virtual ~CovarianceFunction();

  virtual std::unique_ptr<CovarianceFunction> clone() const = 0;
  /// In the field's terms, as "matern32"; of composed ones a formula.
  virtual std::string name() const = 0;

  /// With all its numbers, as parse_kernel() reads it; the same as name() unless overridden.
  virtual std::string text() const;

  /// What can be optimized; none unless overridden.
  virtual std::vector<Hyperparameter> hyperparameters() const;
  /// Their values, in the same order and in the units of Hyperparameter::value; checked by the
  /// caller: finite, and > 0 where positive.
  virtual void set_values(std::span<const double> values);

  /// How many rows of a Gram matrix to ask for at a time. 64 unless overridden; 0 for all of them,
  /// on the calling thread. Sums over the matrix depend on it in their rounding.
  virtual Index block_rows() const;

  /// Called once for the rows of a matrix x [n, d]; ShapeError when it cannot take d columns.
  virtual std::unique_ptr<const KernelPoints> prepare(MatrixView<const double> x) const = 0;
  /// k(i, j) = k(x of a's row first + i, x of b's row j) for all of `k`, which may have fewer
  /// columns than b has rows. Where both are the same object, a point's distance or angle to
  /// itself must be exactly 0.
  virtual void block(const KernelPoints& a, Index first, const KernelPoints& b,
                     MatrixView<double> k) const = 0;
  /// k(x, x) of each row.
  virtual void diagonal(const KernelPoints& a, std::span<double> k) const = 0;
  /// gradient[h] += sum_ij weights(i, j) dk(i, j) / dtheta_h, (i, j) as in block(), theta_h the
  /// logarithm of hyperparameter h where it is positive, and else itself. Does nothing unless
  /// overridden.
  virtual void contract(const KernelPoints& a, Index first, const KernelPoints& b,
                        MatrixView<const double> weights, std::span<double> gradient) const;

 protected:
  CovarianceFunction() = default;
  CovarianceFunction(const CovarianceFunction&) = default;
  CovarianceFunction& operator=(const CovarianceFunction&) = default;
};

}  // namespace chainrule
