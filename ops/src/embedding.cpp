// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/embedding.hpp"

#include <algorithm>

#include "op_support.hpp"

namespace chainrule {
namespace {

struct Embedding {
  static constexpr std::string_view kName = "embedding";
  static constexpr OpTraits kTraits{.min_inputs = 2,
                                    .max_inputs = 2,
                                    .backward_reads = {.inputs = 0b01, .output = false},
                                    .differentiable_inputs = 0b10,
                                    .index_inputs = 0b01,
                                    .linear = true,
                                    .handles_overwrite = true,
                                    .weight_input = 1};

  static Shape infer(const InferContext& context) {
    const Shape& indices = context.inputs[0];
    const Shape& table = context.inputs[1];
    internal::require_batch(kName, "indices", indices);
    if (table.rank() != 2 || table.is_batched()) {
      internal::throw_shapes(kName, internal::named("table", table),
                             "a matrix [count, width] without a batch");
    }
    return internal::column_shape(indices, indices.columns() * table.columns());
  }

  static double flops_per_row(const InferContext&) { return 0; }

  template <class T>
  static void forward(const OpContext& context) {
    const MatrixView<const std::int32_t> indices = context.input<std::int32_t>(0);
    const MatrixView<const T> table = context.input<T>(1);
    const MatrixView<T> y = context.out<T>();
    for (Index i = 0; i < indices.rows; ++i) {
      for (Index j = 0; j < indices.columns; ++j) {
        const std::int32_t index = indices(i, j);
        if (index < 0 || index >= table.rows) {
          internal::throw_index(kName, "index", context.first_row + i, index, table.rows);
        }
        std::copy_n(table.row(index), table.columns, y.row(i) + j * table.columns);
      }
    }
  }

  /// The table's gradient is a weight gradient; no other input has one.
  template <class T>
  static void backward(const OpContext&) {}

  template <class T>
  static void jvp(const OpContext& context) {
    forward<T>(context.along_tangents());
  }

  template <class T>
  static void weight_gradient(const OpContext& context, Index first, Index count) noexcept {
    const MatrixView<const std::int32_t> indices = context.input<std::int32_t>(0);
    const MatrixView<const T> dy = context.out_gradient<T>();
    const MatrixView<T> dtable = context.in_gradient<T>(1);
    if (!context.accumulates(1)) {
      for (Index i = 0; i < count; ++i) std::fill_n(dtable.row(i), dtable.columns, T{0});
    }
    for (Index i = 0; i < indices.rows; ++i) {
      for (Index j = 0; j < indices.columns; ++j) {
        const Index row = indices(i, j) - first;
        if (row < 0 || row >= count) continue;
        const T* const from = dy.row(i) + j * dtable.columns;
        T* const to = dtable.row(row);
        for (Index c = 0; c < dtable.columns; ++c) to[c] += from[c];
      }
    }
  }
};

}  // namespace

constinit const OpDef kEmbeddingOp = define_op<Embedding>();

Value embedding(const Value& indices, const Value& table, Where where) {
  return internal::graph_of("embedding", "indices", indices, where)
      .apply(kEmbeddingOp, {indices, table}, {}, where);
}

}  // namespace chainrule
