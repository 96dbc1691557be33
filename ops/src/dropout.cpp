// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/dropout.hpp"

#include <algorithm>
#include <array>
#include <span>

#include "op_support.hpp"

namespace chainrule {
namespace {

/// Columns whose random words are drawn at a time.
constexpr Index kChunk = 256;

template <class T>
struct Mask {
  explicit Mask(double rate)
      : threshold(static_cast<std::uint32_t>(rate * 4294967296.0)),
        kept(static_cast<T>(1 / (1 - rate))) {}

  std::uint32_t threshold;
  T kept;
};

/// One chunk of a row: y = m x, and m into `saved` unless that is null.
template <class T>
void drop(const Mask<T>& mask, std::span<const std::uint32_t> words, const T* x, T* y, T* saved) {
  for (std::size_t j = 0; j < words.size(); ++j) {
    const T m = words[j] >= mask.threshold ? mask.kept : T{0};
    y[j] = m == T{0} ? T{0} : m * x[j];
    if (saved != nullptr) saved[j] = m;
  }
}

struct Dropout {
  static constexpr std::string_view kName = "dropout";
  static constexpr OpTraits kTraits{.backward_reads = {.inputs = 0, .output = false},
                                    .linear = true,
                                    .output_may_alias_input = true,
                                    .gradient_may_alias = true,
                                    .handles_overwrite = true};

  static Shape infer(const InferContext& context) {
    const double rate = context.attributes.real[0];
    internal::require_attribute(kName, "rate", rate, rate >= 0 && rate < 1, "0 <= rate < 1");
    return context.inputs[0];
  }
  static Shape saved(const InferContext& context) { return context.inputs[0]; }

  static double flops_per_row(const InferContext& context) {
    return 20 * static_cast<double>(context.inputs[0].columns());
  }

  template <class T>
  static void forward(const OpContext& context) {
    const MatrixView<const T> x = context.input<T>(0);
    const MatrixView<T> y = context.out<T>();
    if (context.mode == Mode::kInference) {
      if (x.data != y.data) internal::kernels<T>(context).scale_into(T{1}, x, y, false);
      return;
    }
    const Mask<T> mask(context.attributes->real[0]);
    std::array<std::uint32_t, kChunk> words;
    for (Index i = 0; i < x.rows; ++i) {
      const Index row_start = (context.first_row + i) * x.columns;
      T* const saved = context.saved.data == nullptr ? nullptr : context.saved.as<T>().row(i);
      for (Index j = 0; j < x.columns; j += kChunk) {
        const auto count = static_cast<std::size_t>(std::min(kChunk, x.columns - j));
        const std::span<std::uint32_t> chunk(words.data(), count);
        fill_random_words(context.random, static_cast<std::uint64_t>(row_start + j), chunk);
        drop<T>(mask, chunk, x.row(i) + j, y.row(i) + j, saved == nullptr ? nullptr : saved + j);
      }
    }
  }

  template <class T>
  static void backward(const OpContext& context) {
    if (!context.wants(0)) return;
    if (context.mode == Mode::kInference) {
      internal::pass_gradient<T>(context, 0)();
    } else {
      internal::kernels<T>(context).mul_into(context.out_gradient<T>(), context.saved.as<T>(),
                                             context.in_gradient<T>(0), context.accumulates(0));
    }
  }

  /// Draws the mask again instead of trusting what was saved.
  template <class T>
  static void jvp(const OpContext& context) {
    forward<T>(context.along_tangents());
  }
};

}  // namespace

constinit const OpDef kDropoutOp = define_op<Dropout>();

Value dropout(const Value& x, double rate, Where where) {
  return internal::graph_of("dropout", "x", x, where)
      .apply(kDropoutOp, {x}, {.real = {rate}}, where);
}

}  // namespace chainrule
