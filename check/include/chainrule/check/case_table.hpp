// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/core/graph.hpp"
#include "chainrule/core/tensor.hpp"
#include "chainrule/runtime/differentiate.hpp"
#include "chainrule/runtime/parameters.hpp"

namespace chainrule {

/// A shape class: rows of the batch and columns of the op's first real input.
struct CaseSize {
  std::string_view name;
  Index rows = 1;
  Index columns = 1;
};

/// Typical, one row, one column, one element, odd, wide, and tall (several blocks of rows).
CHAINRULE_API std::span<const CaseSize> case_sizes() noexcept;

/// How the elements of an input are drawn.
struct Fill {
  enum class Kind : std::uint8_t {
    kUniform,         ///< on [low, high)
    kOddSixteenths,   ///< odd multiples of 1/16 in [low, high): away from kinks at ...
    kEvenSixteenths,  ///< ... multiples of 1/8, among which these are
    kIntegers,        ///< low, low + 1, ..., high - 1
    kRows,            ///< positive rows that sum to 1
    kSigns,           ///< -1 or 1
  };

  Kind kind = Kind::kUniform;
  double low = -2;
  double high = 2;
  double scale = 1;  ///< of the numbers drawn as above; rows that sum to 1 stay so
};

/// What a case's build function adds its inputs through.
class CHAINRULE_API CaseBuilder {
 public:
  CaseBuilder(Graph& graph, const CaseSize& size) : graph_(&graph), size_(size) {}

  Index rows() const noexcept { return size_.rows; }
  Index columns() const noexcept { return size_.columns; }
  Graph& graph() noexcept { return *graph_; }

  /// x [batch, columns()].
  Value batch(std::string name, const Fill& fill = {});
  Value input(std::string name, const Shape& shape, const Fill& fill = {});
  Value parameter(std::string name, const Shape& shape, const Fill& fill = {});
  Value state(std::string name, const Shape& shape, const Fill& fill = {});
  Value indices(std::string name, const Shape& shape, Index count);
  /// The gradient with respect to this value is identically zero at this size.
  void expect_zero_gradient(const Value& value) { zero_gradients.push_back(value); }
  /// Elements of this value sit at a kink.
  void expect_kinks(const Value& value) { kinks.push_back(value); }

  struct Leaf {
    Value value;
    Fill fill;
  };
  std::vector<Leaf> leaves;
  std::vector<Value> zero_gradients;
  std::vector<Value> kinks;

 private:
  Value add(const Value& value, const Fill& fill);

  Graph* graph_;
  CaseSize size_;
};

class CaseInstance;

/// One row of the case table. It feeds the correctness test, the gradient check and the benchmark
/// of its op, each at the sizes it likes.
struct OpCase {
  const OpDef* op = nullptr;
  std::string variant;  ///< empty, or what differs: "smoothing", "at the kink"
  Mode mode = Mode::kTraining;
  /// A batch is cut to so many rows, where an op's work grows faster than they do.
  Index most_rows = std::numeric_limits<Index>::max();
  /// The sum of the terms of BackwardAccuracy for element (row, column) of input `input` of the op,
  /// in float64; null or 0: they are no larger than their sum.
  double (*terms)(const CaseInstance& instance, std::size_t input, Index row,
                  Index column) = nullptr;
  /// Adds the inputs and the node of `op`; returns that node. Differentiated is whatever `op` can
  /// differentiate.
  std::function<Value(CaseBuilder&)> build;

  /// "softmax_cross_entropy (smoothing)".
  CHAINRULE_API std::string name() const;
};

/// The whole table; every op of all_ops() has a row at least.
CHAINRULE_API std::span<const OpCase> op_cases();
/// The ops among `ops` that `cases` has no row for; all_ops() and op_cases() give none.
CHAINRULE_API std::vector<const OpDef*> ops_without_cases(std::span<const OpDef* const> ops,
                                                          std::span<const OpCase> cases);

/// A case at one size, with its numbers: ready to be compiled or checked. Inputs and parameters
/// are functions of (case, size, seed), equal in both dtypes up to rounding.
class CHAINRULE_API CaseInstance {
 public:
  CaseInstance(const OpCase& op_case, const CaseSize& size, DType dtype, std::uint64_t seed = 1);
  CaseInstance(CaseInstance&&) noexcept = default;
  CaseInstance& operator=(CaseInstance&&) noexcept = default;

  Graph& graph() noexcept { return *graph_; }
  const Graph& graph() const noexcept { return *graph_; }
  /// The node of the op.
  Value output() const noexcept { return output_; }
  Index rows() const noexcept { return rows_; }
  const std::vector<Value>& zero_gradients() const noexcept { return zero_gradients_; }
  const std::vector<Value>& kinks() const noexcept { return kinks_; }
  /// The numbers of an input, parameter or state; ArgumentError for any other value.
  ConstTensorView data(const Value& value) const;
  /// Views on the instance; valid as long as it lives and stays where it is.
  Feed feed() const;

 private:
  std::unique_ptr<Graph> graph_;
  Value output_;
  Index rows_ = 0;
  DType dtype_ = DType::kFloat64;
  Mode mode_ = Mode::kTraining;
  std::vector<Value> zero_gradients_;
  std::vector<Value> kinks_;
  std::vector<Value> inputs_;
  std::deque<Tensor> tensors_;
  Parameters parameters_;
};

}  // namespace chainrule
