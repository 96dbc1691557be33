// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/columns.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "op_support.hpp"

namespace chainrule {
namespace {

/// Widths of concat's inputs, two 32-bit numbers an integer attribute: backward needs them of
/// inputs that it neither reads nor differentiates.
Attributes pack_widths(std::span<const Value> values) {
  Attributes attributes;
  for (std::size_t k = 0; k < values.size(); ++k) {
    if (!values[k]) continue;  // apply() says what is wrong
    attributes.integer[k / 2] |= values[k].shape().columns() << (32 * (k % 2));
  }
  return attributes;
}

Index width_of(const Attributes& attributes, std::size_t k) {
  return (attributes.integer[k / 2] >> (32 * (k % 2))) & 0xFFFFFFFF;
}

struct Concat {
  static constexpr std::string_view kName = "concat";
  static constexpr OpTraits kTraits{.min_inputs = 1,
                                    .max_inputs = kMaxInputs,
                                    .backward_reads = {.inputs = 0, .output = false},
                                    .linear = true,
                                    .handles_overwrite = true};

  static Shape infer(const InferContext& context) {
    Index columns = 0;
    for (std::size_t k = 0; k < context.inputs.size(); ++k) {
      const Shape& shape = context.inputs[k];
      const bool is_matrix = shape.rank() == 2 || (shape.rank() == 1 && shape.is_batched());
      if (!is_matrix || shape.rows() != context.inputs[0].rows()) {
        internal::throw_shapes(
            kName,
            fmt::format("{} and {}", internal::named("values[0]", context.inputs[0]),
                        internal::named(fmt::format("values[{}]", k), shape)),
            "matrices (or [batch]) with as many rows as values[0]");
      }
      if (shape.columns() != width_of(context.attributes, k)) {
        throw ArgumentError("concat: the widths in its attributes are not those of its inputs");
      }
      columns += shape.columns();
    }
    return internal::column_shape(context.inputs[0], columns);
  }

  static double flops_per_row(const InferContext&) { return 0; }

  template <class T>
  static void forward(const OpContext& context) {
    Index first = 0;
    for (int k = 0; k < context.input_count; ++k) {
      const MatrixView<const T> x = context.input<T>(k);
      const auto window = internal::column_window(context.out<T>(), first, x.columns);
      internal::kernels<T>(context).scale_into(T{1}, x, window, false);
      first += x.columns;
    }
  }

  template <class T>
  static void backward(const OpContext& context) {
    Index first = 0;
    for (int k = 0; k < context.input_count; ++k) {
      const Index count = width_of(*context.attributes, static_cast<std::size_t>(k));
      if (context.wants(k)) {
        internal::kernels<T>(context).scale_into(
            T{1}, internal::column_window(context.out_gradient<T>(), first, count),
            context.in_gradient<T>(k), context.accumulates(k));
      }
      first += count;
    }
  }

  template <class T>
  static void jvp(const OpContext& context) {
    forward<T>(context.along_tangents());
  }
};

struct Slice {
  static constexpr std::string_view kName = "slice";
  static constexpr OpTraits kTraits{
      .backward_reads = {.inputs = 0, .output = false}, .linear = true, .handles_overwrite = true};

  static Shape infer(const InferContext& context) {
    const Shape& x = context.inputs[0];
    const Index first = context.attributes.integer[0];
    const Index count = context.attributes.integer[1];
    internal::require_matrix(kName, "x", x);
    if (first < 0 || count < 0 || count > x.columns() || first > x.columns() - count) {
      throw ArgumentError(
          fmt::format("slice: first {} and count {} of x {}, expected 0 <= first, 0 <= count and "
                      "first + count <= {}",
                      first, count, to_string(x), x.columns()));
    }
    return internal::column_shape(x, count);
  }

  static double flops_per_row(const InferContext&) { return 0; }

  template <class T>
  static void forward(const OpContext& context) {
    const MatrixView<T> y = context.out<T>();
    const auto window =
        internal::column_window(context.input<T>(0), context.attributes->integer[0], y.columns);
    internal::kernels<T>(context).scale_into(T{1}, window, y, false);
  }

  template <class T>
  static void backward(const OpContext& context) {
    if (!context.wants(0)) return;
    const MatrixView<const T> dy = context.out_gradient<T>();
    const MatrixView<T> dx = context.in_gradient<T>(0);
    if (!context.accumulates(0)) {
      for (Index i = 0; i < dx.rows; ++i) std::fill_n(dx.row(i), dx.columns, T{0});
    }
    const auto window = internal::column_window(dx, context.attributes->integer[0], dy.columns);
    internal::kernels<T>(context).scale_into(T{1}, dy, window, context.accumulates(0));
  }

  template <class T>
  static void jvp(const OpContext& context) {
    forward<T>(context.along_tangents());
  }
};

}  // namespace

constinit const OpDef kConcatOp = define_op<Concat>();
constinit const OpDef kSliceOp = define_op<Slice>();

Value concat(std::span<const Value> values, Where where) {
  internal::check_at(where, [&] {
    if (!values.empty() && values.size() <= kMaxInputs) return;
    throw ArgumentError(
        fmt::format("concat: got {} values, expected 1 to {}", values.size(), kMaxInputs));
  });
  return internal::graph_of("concat", "values[0]", values[0], where)
      .apply(kConcatOp, values, pack_widths(values), where);
}

Value concat(std::initializer_list<Value> values, Where where) {
  return concat(std::span<const Value>(values.begin(), values.size()), where);
}

Value slice(const Value& x, Index first, Index count, Where where) {
  return internal::graph_of("slice", "x", x, where)
      .apply(kSliceOp, {x}, {.integer = {first, count}}, where);
}

}  // namespace chainrule
