// SPDX-License-Identifier: Apache-2.0
#include "fitted_process.hpp"

#include <variant>

namespace chainrule::tools {
namespace {

template <class File, class AnyFile>
auto* process_in(AnyFile& file) {
  auto* const found = std::get_if<File>(&file);
  return found == nullptr ? nullptr : &found->gp;
}

}  // namespace

GaussianProcess* FittedProcess::exact() { return process_in<GaussianProcessFile>(file_); }
const GaussianProcess* FittedProcess::exact() const {
  return process_in<GaussianProcessFile>(file_);
}
SparseGaussianProcess* FittedProcess::sparse() {
  return process_in<SparseGaussianProcessFile>(file_);
}
const SparseGaussianProcess* FittedProcess::sparse() const {
  return process_in<SparseGaussianProcessFile>(file_);
}

const Schema& FittedProcess::schema() const {
  return std::visit([](const auto& file) -> const Schema& { return file.schema; }, file_);
}

const CovarianceKernel& FittedProcess::kernel() const {
  return std::visit([](const auto& file) -> const CovarianceKernel& { return file.gp.kernel(); },
                    file_);
}

std::vector<Hyperparameter> FittedProcess::hyperparameters() const {
  return std::visit([](const auto& file) { return file.gp.hyperparameters(); }, file_);
}

Index FittedProcess::rows() const { return exact() ? exact()->x().rows() : sparse()->rows(); }

Index FittedProcess::features() const {
  return exact() ? exact()->x().columns() : sparse()->inducing().columns();
}

Index FittedProcess::outputs() const {
  return exact() ? exact()->y().columns() : sparse()->outputs();
}

std::pair<std::string, double> FittedProcess::likelihood() const {
  if (exact()) return {"log marginal likelihood", exact()->log_marginal_likelihood().value};
  return {"lower bound of the log marginal likelihood", sparse()->lower_bound()};
}

GaussianProcessPrediction FittedProcess::predict(const Tensor& x) const {
  const auto& standardizer = schema().standardizer;
  const Tensor inputs = standardizer ? standardizer->apply(x) : x;
  return std::visit([&](const auto& file) { return file.gp.predict(inputs); }, file_);
}

void FittedProcess::save(const std::filesystem::path& path) const {
  std::visit([&](const auto& file) { chainrule::save(file, path); }, file_);
}

}  // namespace chainrule::tools
