// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "chainrule/core/graph.hpp"
#include "chainrule/core/tensor.hpp"
#include "chainrule/core/update_def.hpp"
#include "chainrule/kernels/kernel_table.hpp"
#include "chainrule/runtime/executor.hpp"
#include "chainrule/runtime/parameters.hpp"
#include "chainrule/runtime/plan.hpp"

namespace chainrule::testing {

/// p -= rate (g + decay p), with scalars {rate, decay}.
extern const UpdateDef kSgdUpdate;
/// Adam with two slots, scalars as UpdateKernel::kAdam.
extern const UpdateDef kAdamUpdate;

/// Scalars of one group for step 1, 2, ...
std::vector<double> sgd_scalars(double rate);
std::vector<double> adam_scalars(double rate, int step);

/// Every parameter that `plan`-to-be updates: all learned ones of the graph, in group 0.
std::vector<UpdateOptions::Target> all_parameters(Graph& graph);

/// Values uniform on [-1, 1) that depend on the seed alone.
Tensor random_tensor(const Shape& shape, DType dtype, std::uint64_t seed);
/// Class labels in [0, classes), [rows, 1].
Tensor random_labels(Index rows, Index classes, std::uint64_t seed);
/// A tensor of the given values, float64 unless told otherwise.
Tensor tensor(const Shape& shape, const std::vector<double>& values, DType dtype = DType::kFloat64);
/// The first `rows` rows.
ConstTensorView first_rows(const Tensor& tensor, Index rows);

/// The elements, row by row, as doubles.
std::vector<double> elements(ConstTensorView view);
/// The elements as they are in memory, without padding.
std::string bytes(ConstTensorView view);
std::string bytes(const Parameters& parameters);
std::string bytes(const OptimizerState& state);

/// y = x, and the first call of each thread waits until `expected` threads are in one, so that a
/// test is sure that several workers take part however busy the machine is. Gives up after a while.
class Meeting {
 public:
  explicit Meeting(int expected);
  ~Meeting();
  /// How many threads came.
  int arrived() const noexcept;
  static void attend();
};
Value meet(Value x);

/// Switches that make the ops below throw Failure; reset by the destructor.
struct Failures {
  static std::atomic<Index> forward_from;    ///< forward of rows from this one ...
  static std::atomic<Index> forward_to;      ///< ... to before this one
  static std::atomic<Index> backward_from;   ///< backward of rows from this one
  static std::atomic<bool> weight_gradient;  ///< all tiles but the first
  Failures() { reset(); }
  ~Failures() { reset(); }
  static void reset();
};

/// What the user's ops throw: no chainrule::Error, to show that its type survives.
struct Failure {
  std::string where;
  Index row = 0;
};

/// y = x, with a gradient; fails on demand.
Value fragile(Value x);
/// y = x w for x [batch, k], w [k, 1], a user's op that asks for no overwriting and whose
/// weight_gradient may throw.
Value fragile_dot(Value x, Value w);
/// y = x, without a gradient.
Value opaque(Value x);

}  // namespace chainrule::testing
