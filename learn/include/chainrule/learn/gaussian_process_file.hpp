// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <variant>

#include "chainrule/core/export.hpp"
#include "chainrule/learn/gaussian_process.hpp"
#include "chainrule/learn/model.hpp"
#include "chainrule/learn/sparse_gaussian_process.hpp"

namespace chainrule {

// Gaussian processes in safetensors files: a description in the metadata entry "chainrule_gp", the
// kernel as to_text() writes it, options and schema; of exact ones tensors "x" [n, d] and "y" [n,
// k] as fit() got them, of sparse ones (format version 2) "inducing" [m, d] and the sums "squares"
// [m, m] and "products" [m, k]. A learned kernel's model is inside, its tensors as "model.0.weight"
// and so on. Reading one factors the kernel matrix anew, O(n^3) or O(m^3).

/// A fitted Gaussian process and what its data mean.
struct GaussianProcessFile {
  GaussianProcess gp;
  /// Names, and what turns raw inputs into gp.x(): apply standardizer before predict().
  Schema schema{};
  std::optional<Model> model{};  ///< what "learned" in the kernel's formula is
};

/// The same on inducing points, which are gp.inducing().
struct SparseGaussianProcessFile {
  SparseGaussianProcess gp;
  Schema schema{};
  std::optional<Model> model{};
};

using AnyGaussianProcessFile = std::variant<GaussianProcessFile, SparseGaussianProcessFile>;

/// ArgumentError before fit(); UnsupportedError for a kernel that is not made of those that
/// parse_kernel() knows, or is learned and `model` missing.
CHAINRULE_API void save(const GaussianProcessFile& file, const std::filesystem::path& path);
CHAINRULE_API void save(const SparseGaussianProcessFile& file, const std::filesystem::path& path);
/// `threads` as in GaussianProcessOptions. Throws FormatError, with the reason, on anything that is
/// not a complete file of a Gaussian process, and Error where a kernel matrix is not positive
/// definite.
CHAINRULE_API AnyGaussianProcessFile load_any_gaussian_process(const std::filesystem::path& path,
                                                               int threads = 0);
/// An exact one; FormatError for a sparse one.
CHAINRULE_API GaussianProcessFile load_gaussian_process(const std::filesystem::path& path,
                                                        int threads = 0);

}  // namespace chainrule
