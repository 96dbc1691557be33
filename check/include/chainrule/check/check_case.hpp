// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "chainrule/check/case_table.hpp"
#include "chainrule/check/check_gradients.hpp"

namespace chainrule {

/// What came of one case at one size in one dtype.
struct CaseReport {
  std::string op;            ///< "matmul"
  std::string name;          ///< OpCase::name()
  std::string size;          ///< CaseSize::name
  std::string shape;         ///< of the op's output, "[5, 4]"
  GradientReport gradients;  ///< with the dtype, the architecture and all failures
  /// check_hessian(), whose failures are among those of `gradients` too; without values where there
  /// was nothing to compare.
  GradientReport second_order;
  /// The further properties that were checked; see check_case(). What fails of them is among the
  /// failures of `gradients`.
  std::vector<std::string> properties;

  bool ok() const noexcept { return gradients.ok(); }
};

/// check_gradients() of a case, with float32 held to the op's BackwardAccuracy, and further
/// properties of the op's functions:
///
/// - "forward mode": of an op that has a jvp, backward agrees with it, as part of `gradients`;
/// - "accumulation": on another graph, where the op is applied twice to the same inputs, their
///   gradients are the sum of both (so backward adds where it must);
/// - "determinism": running twice, in another workspace as well, gives the same bits;
/// - "strides": so do other leading dimensions and alignments; no padding is read into a result or
///   written, and inputs keep their values;
/// - "aliasing": so does the output in the memory of input 0, and the gradient of input 0 in that
///   of dY, of an op whose traits declare it;
/// - "threads": so do two threads, at sizes of several blocks of rows;
/// - "second order": in float64, of an op that has second derivatives and away from its kinks,
///   check_hessian() of sum y^2 / 2, where the gradient moves with the op's inputs and with dY.
///
/// `kernels` null: default_kernels().
CHAINRULE_API CaseReport check_case(const OpCase& op_case, const CaseSize& size, DType dtype,
                                    const KernelTable* kernels = nullptr, std::uint64_t seed = 1);

/// Every case of the op of that name, at every size of case_sizes(). ArgumentError, naming the ops
/// there are, for an unknown name; so `for (const OpDef* op : all_ops()) check_op(op->name, ...)`
/// is the whole table.
CHAINRULE_API std::vector<CaseReport> check_op(std::string_view op, DType dtype,
                                               const KernelTable* kernels = nullptr,
                                               std::uint64_t seed = 1);

}  // namespace chainrule
