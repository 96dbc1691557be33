// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "chainrule/check/case_table.hpp"
#include "chainrule/core/dtype.hpp"
#include "chainrule/kernels/kernel_table.hpp"
#include "data.hpp"
#include "gradcheck_run.hpp"
#include "mutant_run.hpp"

namespace chainrule::tools {

/// What is told of each check: before it begins, as "done of total, the next one", and after.
struct GradcheckObserver {
  std::function<void(std::size_t done, std::size_t total, const std::string& next)> before;
  /// The records of a group, once it is complete.
  std::function<void(GradcheckGroup group)> group;
};

/// An op by name, and its rows of the case table.
struct SelectedOp {
  std::string name;
  std::vector<const OpCase*> cases{};
};

/// Throws Error for one of `ops` that has no row among `cases`, and so nothing that would check it,
/// if it is among the ops of these names; any is for none.
void require_cases(std::span<const OpDef* const> ops, std::span<const OpCase> cases,
                   const std::vector<std::string>& names);
/// The ops of these names among `cases`, in the order of the names; all of them for none. What the
/// functions that build graphs are called stands for the ops they use. UsageError, listing the ops,
/// for an unknown name.
std::vector<SelectedOp> select_ops(std::span<const OpCase> cases,
                                   const std::vector<std::string>& names);
/// The widest GradcheckRecord::subject (or name, with `every_check`) of these ops.
std::size_t gradcheck_name_width(std::span<const SelectedOp> ops, bool every_check);
/// Checks every case of these ops at every size.
void check_ops(std::span<const SelectedOp> ops, std::span<const DType> dtypes,
               const KernelTable& kernels, const GradcheckObserver& observer, GradcheckRun& run);
/// What check_ops() would check, as text.
std::string list_of_checks(std::span<const SelectedOp> ops, const KernelTable& kernels);

struct MutantObserver {
  std::function<void(std::size_t done, std::size_t total, const std::string& next)> before;
  std::function<void(const MutationReport& of_one_op)> op;
};
/// check_mutants() of these ops, one after the other.
void damage_ops(std::span<const SelectedOp> ops, const KernelTable& kernels,
                const MutantObserver& observer, MutantRun& run);

/// Which model, and on which rows.
struct ModelCheck {
  std::string model;
  std::string data;  ///< empty: random inputs and targets
  DataColumns columns;
  HeaderOption header;
  Index samples = 32;
  std::vector<std::string> waived;  ///< tensors whose unresolved elements are no failure
  std::vector<std::string> zeros;   ///< tensors whose gradient is zero, as somebody declares
};

/// A model and a batch for it, loaded and ready.
class ModelChecker {
 public:
  /// Throws what load_model() and Model::prepare() throw; FormatError for data without rows,
  /// UsageError for a waiver of, or a zero for, no tensor.
  ModelChecker(const ModelCheck& check, std::uint64_t seed);
  ~ModelChecker();
  ModelChecker(const ModelChecker&) = delete;
  ModelChecker& operator=(const ModelChecker&) = delete;

  /// The model and its data, for people.
  const std::vector<std::pair<std::string, std::string>>& facts() const { return facts_; }
  std::size_t name_width() const;
  /// Checks the gradient of the loss with respect to each parameter, the inputs x and the offset.
  void check(std::span<const DType> dtypes, const KernelTable& kernels,
             const GradcheckObserver& observer, GradcheckRun& run) const;

 private:
  struct State;

  void expect_tensors(const char* option, const std::vector<std::string>& names) const;

  std::unique_ptr<State> state_;
  std::vector<std::string> waived_;
  std::vector<std::string> zeros_;
  std::vector<std::pair<std::string, std::string>> facts_;
};

}  // namespace chainrule::tools
