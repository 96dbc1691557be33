// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>

#include "chainrule/ops/reductions.hpp"
#include "op_support.hpp"

namespace chainrule {
namespace {

/// sums[j] = sum of w_i x(i, j) over the rows with w_i != 0.
template <class T>
void weighted_sums(MatrixView<const T> x, MatrixView<const T> weights, double* sums) {
  for (Index i = 0; i < x.rows; ++i) {
    const double weight = static_cast<double>(weights(i, 0));
    if (weight == 0) continue;
    for (Index j = 0; j < x.columns; ++j) sums[j] += weight * static_cast<double>(x(i, j));
  }
}

template <bool kMean>
struct BatchReduction {
  enum Input : int { kX, kWeights, kTotal };
  /// Columns that jvp sums at a time.
  static constexpr Index kSums = 256;
  /// So many are filled before a kernel has been called.
  static constexpr Index kFewRows = 16;

  static constexpr std::string_view kName = kMean ? "batch_mean" : "batch_sum";
  static constexpr OpTraits kTraits{
      .kind = OpKind::kBatchReduction,
      .min_inputs = 1,
      .max_inputs = kMean ? 3 : 2,
      .backward_reads = {.inputs = kMean ? 0b110U : 0b010U, .output = false},
      .differentiable_inputs = 0b001,
      .linear = true,
      .handles_overwrite = true};

  static Shape infer(const InferContext& context) {
    const Shape& x = context.inputs[kX];
    internal::require_batch(kName, "x", x);
    if (context.inputs.size() > 1) check_weights(context);
    const bool scalar = context.attributes.integer[0] != 0;
    if (scalar && x.columns() != 1) {
      internal::throw_shapes(kName, internal::named("x", x), "one column for a scalar");
    }
    return scalar || x.rank() == 1 ? Shape{} : Shape{x.columns()};
  }

  static double flops_per_row(const InferContext& context) {
    return 2 * static_cast<double>(context.inputs[kX].columns());
  }

  template <class T>
  static auto forward(const OpContext& context) {
    return row_sums<T>(context, context.input<T>(kX), context.partial);
  }

  template <class T>
  static auto finish(const OpContext& context) {
    return [y = context.out<T>(), sums = context.partial, divisor = divisor_of<T>(context)] {
      const double denominator = divisor();
      for (Index j = 0; j < y.columns; ++j) {
        y(0, j) = static_cast<T>(denominator == 0 ? 0 : sums[j] / denominator);
      }
    };
  }

  template <class T>
  static void jvp(const OpContext& context) {
    const MatrixView<T> ty = context.out_tangent<T>();
    const double denominator = divisor_of<T>(context)();
    std::array<double, kSums> sums;
    for (Index first = 0; first < ty.columns; first += kSums) {
      const Index count = std::min(kSums, ty.columns - first);
      row_sums<T>(context, internal::column_window(context.in_tangent<T>(kX), first, count),
                  sums.data())();
      for (Index j = 0; j < count; ++j) {
        const double sum = sums[static_cast<std::size_t>(j)];
        ty(0, first + j) = static_cast<T>(denominator == 0 ? 0 : sum / denominator);
      }
    }
  }

  template <class T>
  static PreparedCall backward(const OpContext& context) {
    if (!context.wants(kX)) return {};
    return [dy = context.out_gradient<T>(), dx = context.in_gradient<T>(kX),
            weights = row_weights<T>(context), divisor = divisor_of<T>(context),
            broadcast_column = internal::kernels<T>(context).broadcast_column,
            accumulate = context.accumulates(kX)] {
      const double denominator = divisor();
      const auto gradient = [&](double weight, Index j) {
        const bool selected = weight != 0 && denominator != 0;
        return selected ? static_cast<T>(weight * static_cast<double>(dy(0, j)) / denominator)
                        : T{0};
      };
      if (weights.data == nullptr && dx.columns == 1 && dx.ld == 1 && !accumulate) {
        const T value = gradient(1.0, 0);
        if (dx.rows < kFewRows) {
          std::fill_n(dx.data, dx.rows, value);
        } else {
          broadcast_column({&value, 1, 1, 1}, {dx.data, 1, dx.rows, dx.rows}, false);
        }
        return;
      }
      for (Index i = 0; i < dx.rows; ++i) {
        const double weight = weights.data == nullptr ? 1.0 : static_cast<double>(weights(i, 0));
        const bool as_first = weights.data == nullptr && !accumulate && i > 0;
        for (Index j = 0; j < dx.columns; ++j) {
          dx(i, j) = as_first     ? dx(0, j)
                     : accumulate ? dx(i, j) + gradient(weight, j)
                                  : gradient(weight, j);
        }
      }
    };
  }

 private:
  static void check_weights(const InferContext& context) {
    const Shape& weights = context.inputs[kWeights];
    if (!internal::same_matrix(weights, {kBatch})) {
      internal::throw_shapes(kName, internal::named("weights", weights), "[batch] or [batch, 1]");
    }
    if (!kMean) return;
    if (context.inputs.size() != 3) {
      throw ArgumentError("batch_mean: got weights without their total, expected both or neither");
    }
    if (context.inputs[kTotal] != Shape{}) {
      internal::throw_shapes(kName, internal::named("total", context.inputs[kTotal]), "[]");
    }
  }

  /// Empty: all weigh 1.
  template <class T>
  static MatrixView<const T> row_weights(const OpContext& context) {
    if (context.input_count == 1) return {};
    return context.input<T>(kWeights);
  }

  /// The (weighted) sums of the columns of x over the rows of this call.
  template <class T>
  static auto row_sums(const OpContext& context, MatrixView<const T> x, double* sums) {
    return [=, column_sum_double = internal::kernels<T>(context).column_sum_double,
            weights = row_weights<T>(context)] {
      std::fill_n(sums, x.columns, 0.0);
      if (weights.data == nullptr) {
        column_sum_double(x, sums);
      } else {
        weighted_sums(x, weights, sums);
      }
    };
  }

  /// What a sum is divided by; 0 stands for a mean of nothing.
  template <class T>
  static auto divisor_of(const OpContext& context) {
    const double count = kMean ? static_cast<double>(context.batch_rows) : 1;
    const T* const total =
        kMean && context.input_count > 1 ? context.input<T>(kTotal).data : nullptr;
    return [=] { return total == nullptr ? count : static_cast<double>(*total); };
  }
};

}  // namespace

constinit const OpDef kBatchSumOp = define_op<BatchReduction<false>>();
constinit const OpDef kBatchMeanOp = define_op<BatchReduction<true>>();

}  // namespace chainrule
