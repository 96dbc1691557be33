// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "chainrule/learn/gaussian_process_file.hpp"

namespace chainrule::tools {

/// A Gaussian process of a file or for one, exact or on inducing points, and what its data mean.
class FittedProcess {
 public:
  explicit FittedProcess(AnyGaussianProcessFile file) : file_(std::move(file)) {}

  /// nullptr for one of the other kind.
  GaussianProcess* exact();
  const GaussianProcess* exact() const;
  SparseGaussianProcess* sparse();
  const SparseGaussianProcess* sparse() const;

  const Schema& schema() const;
  const CovarianceKernel& kernel() const;
  std::vector<Hyperparameter> hyperparameters() const;  ///< the noise last
  double noise() const { return hyperparameters().back().value; }
  Index rows() const;  ///< of the data it was fitted to
  Index features() const;
  Index outputs() const;
  /// A Gaussian process of classes has a column for each; one of a target has one.
  bool has_classes() const { return outputs() > 1; }
  /// The log marginal likelihood or its lower bound, and what it is called.
  std::pair<std::string, double> likelihood() const;

  /// At raw inputs: before standardization.
  GaussianProcessPrediction predict(const Tensor& x) const;
  void save(const std::filesystem::path& path) const;

 private:
  AnyGaussianProcessFile file_;
};

}  // namespace chainrule::tools
