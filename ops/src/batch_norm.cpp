// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/batch_norm.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "op_support.hpp"

namespace chainrule {
namespace {

enum Input : int { kX, kGamma, kBeta, kRunningMean, kRunningVariance };

/// Columns of one tile: a whole number of cache lines of either dtype.
constexpr Index kTileColumns = 64;

/// Runs `body(first, count)` for every tile of columns.
template <class Body>
void for_column_tiles(const OpContext& context, Index columns, const Body& body) {
  const auto run_tile = [&](Index tile) {
    const Index first = tile * kTileColumns;
    body(first, std::min(kTileColumns, columns - first));
  };
  (*context.tiles)((columns + kTileColumns - 1) / kTileColumns, run_tile);
}

/// The running statistics of a tile in the layout that kernels take batch statistics in.
template <class T>
struct RunningStatistics {
  RunningStatistics(const OpContext& context, Index first, Index count) {
    std::copy_n(context.input<T>(kRunningMean).data + first, count, values.data());
    std::copy_n(context.input<T>(kRunningVariance).data + first, count,
                values.data() + kTileColumns);
  }
  MatrixView<const T> view(Index count) const { return {values.data(), 2, count, kTileColumns}; }

  std::array<T, 2 * kTileColumns> values;
};

/// dx (+)= dy gamma rstd; dgamma (+)= sum_i dy (x - mean) rstd; dbeta (+)= sum_i dy: the statistics
/// are constants. Empty views are not wanted.
template <class T>
void affine_backward(MatrixView<const T> x, MatrixView<const T> stats, const T* gamma,
                     double epsilon, MatrixView<const T> dy, MatrixView<T> dx, bool accumulate_dx,
                     MatrixView<T> dgamma, bool accumulate_dgamma) {
  std::array<T, kTileColumns> rstd;
  for (Index j = 0; j < x.columns; ++j) {
    rstd[static_cast<std::size_t>(j)] = T{1} / std::sqrt(stats(1, j) + static_cast<T>(epsilon));
  }
  if (dgamma.data != nullptr && !accumulate_dgamma) std::fill_n(dgamma.data, x.columns, T{0});
  for (Index i = 0; i < x.rows; ++i) {
    for (Index j = 0; j < x.columns; ++j) {
      const T scaled = dy(i, j) * rstd[static_cast<std::size_t>(j)];
      if (dx.data != nullptr) {
        dx(i, j) = accumulate_dx ? dx(i, j) + scaled * gamma[j] : scaled * gamma[j];
      }
      if (dgamma.data != nullptr) dgamma.data[j] += scaled * (x(i, j) - stats(0, j));
    }
  }
}

struct BatchNorm {
  static constexpr std::string_view kName = "batch_norm";
  static constexpr OpTraits kTraits{.kind = OpKind::kWholeBatch,
                                    .min_inputs = 5,
                                    .max_inputs = 5,
                                    .backward_reads = {.inputs = 0b11011, .output = false},
                                    .differentiable_inputs = 0b00111,
                                    .handles_overwrite = true,
                                    .state_input = kRunningMean};

  static Shape infer(const InferContext& context) {
    const double momentum = context.attributes.real[0];
    const double epsilon = context.attributes.real[1];
    internal::require_attribute(kName, "momentum", momentum, momentum >= 0 && momentum <= 1,
                                "0 <= momentum <= 1");
    internal::require_attribute(kName, "epsilon", epsilon, epsilon > 0 && std::isfinite(epsilon),
                                "0 < epsilon < inf");
    const Shape& x = context.inputs[kX];
    internal::require_matrix(kName, "x", x);
    internal::require_vector(kName, "gamma", context.inputs[kGamma], x);
    internal::require_vector(kName, "beta", context.inputs[kBeta], x);
    internal::require_vector(kName, "running_mean", context.inputs[kRunningMean], x);
    internal::require_vector(kName, "running_variance", context.inputs[kRunningVariance], x);
    return x;
  }

  static Shape saved(const InferContext& context) { return {2, context.inputs[kX].columns()}; }

  static double flops_per_row(const InferContext& context) {
    return 8 * static_cast<double>(context.inputs[kX].columns());
  }

  template <class T>
  static void forward(const OpContext& context) {
    const Kernels<T>& k = internal::kernels<T>(context);
    const auto normalize = [&](Index first, Index count, MatrixView<const T> stats) {
      k.batch_norm(internal::column_window(context.input<T>(kX), first, count), stats,
                   context.input<T>(kGamma).data + first, context.input<T>(kBeta).data + first,
                   context.attributes->real[1],
                   internal::column_window(context.out<T>(), first, count));
    };
    for_column_tiles(context, context.input<T>(kX).columns, [&](Index first, Index count) {
      if (context.mode == Mode::kInference) {
        normalize(first, count, RunningStatistics<T>(context, first, count).view(count));
        return;
      }
      const auto stats = internal::column_window(context.saved.as<T>(), first, count);
      k.column_moments(internal::column_window(context.input<T>(kX), first, count), stats);
      normalize(first, count, stats);
    });
  }

  template <class T>
  static void backward(const OpContext& context) {
    for_column_tiles(context, context.input<T>(kX).columns, [&](Index first, Index count) {
      if (context.mode == Mode::kInference) {
        backward_tile_inference<T>(context, first, count);
      } else {
        backward_tile_training<T>(context, first, count);
      }
    });
  }

  template <class T>
  static void jvp(const OpContext& context) {
    for_column_tiles(context, context.input<T>(kX).columns, [&](Index first, Index count) {
      if (context.mode == Mode::kInference) {
        jvp_tile<T>(context, first, count, RunningStatistics<T>(context, first, count).view(count));
      } else {
        jvp_tile<T>(context, first, count,
                    internal::column_window(context.saved.as<T>(), first, count));
      }
    });
  }

  template <class T>
  static void commit(const OpContext& context) noexcept {
    if (context.batch_rows == 0) return;
    const double rows = static_cast<double>(context.batch_rows);
    const double unbiased = context.batch_rows > 1 ? rows / (rows - 1) : 1;
    const double momentum = context.attributes->real[0];
    const MatrixView<T> stats = context.saved.as<T>();
    const MatrixView<T> mean = context.state<T>(kRunningMean);
    const MatrixView<T> variance = context.state<T>(kRunningVariance);
    const auto update = [momentum](T& running, double batch) {
      running = static_cast<T>((1 - momentum) * static_cast<double>(running) + momentum * batch);
    };
    for (Index j = 0; j < stats.columns; ++j) {
      update(mean.data[j], static_cast<double>(stats(0, j)));
      update(variance.data[j], unbiased * static_cast<double>(stats(1, j)));
    }
  }

 private:
  /// Along tx, the batch's mean moves by mean(tx) and rstd by -rstd^2 mean(h tx), h = (x - mean)
  /// rstd; running statistics do not move.
  template <class T>
  static void jvp_tile(const OpContext& context, Index first, Index count,
                       MatrixView<const T> stats) {
    const auto x = internal::column_window(context.input<T>(kX), first, count);
    const auto tx = internal::column_window(context.in_tangent<T>(kX), first, count);
    const auto ty = internal::column_window(context.out_tangent<T>(), first, count);
    const Index averaged = context.mode == Mode::kTraining ? x.rows : 0;
    for (Index j = 0; j < count; ++j) {
      const double mean = static_cast<double>(stats(0, j));
      const double variance = static_cast<double>(stats(1, j));
      const double rstd = 1 / std::sqrt(variance + context.attributes->real[1]);
      const auto h = [&](Index i) { return (static_cast<double>(x(i, j)) - mean) * rstd; };
      const auto along = [&](Index i) { return static_cast<double>(tx(i, j)); };
      double tmean = 0, product = 0;
      for (Index i = 0; i < averaged; ++i) {
        tmean += along(i) / static_cast<double>(averaged);
        product += h(i) * along(i) / static_cast<double>(averaged);
      }
      const auto gamma = static_cast<double>(context.input<T>(kGamma)(0, first + j));
      const auto tgamma = static_cast<double>(context.in_tangent<T>(kGamma)(0, first + j));
      const auto tbeta = static_cast<double>(context.in_tangent<T>(kBeta)(0, first + j));
      for (Index i = 0; i < x.rows; ++i) {
        const double th = rstd * (along(i) - tmean - h(i) * product);
        ty(i, j) = static_cast<T>(th * gamma + h(i) * tgamma + tbeta);
      }
    }
  }

  template <class T>
  static MatrixView<T> gradient_window(const OpContext& context, int input, Index first,
                                       Index count) {
    return internal::column_window(internal::wanted_gradient<T>(context, input), first, count);
  }

  template <class T>
  static void backward_tile_training(const OpContext& context, Index first, Index count) {
    internal::kernels<T>(context).batch_norm_backward(
        internal::column_window(context.input<T>(kX), first, count),
        internal::column_window(context.saved.as<T>(), first, count),
        context.input<T>(kGamma).data + first, context.attributes->real[1],
        internal::column_window(context.out_gradient<T>(), first, count),
        gradient_window<T>(context, kX, first, count), context.accumulates(kX),
        gradient_window<T>(context, kGamma, first, count).data, context.accumulates(kGamma),
        gradient_window<T>(context, kBeta, first, count).data, context.accumulates(kBeta));
  }

  template <class T>
  static void backward_tile_inference(const OpContext& context, Index first, Index count) {
    const RunningStatistics<T> running(context, first, count);
    const MatrixView<const T> dy = internal::column_window(context.out_gradient<T>(), first, count);
    affine_backward<T>(
        internal::column_window(context.input<T>(kX), first, count), running.view(count),
        context.input<T>(kGamma).data + first, context.attributes->real[1], dy,
        gradient_window<T>(context, kX, first, count), context.accumulates(kX),
        gradient_window<T>(context, kGamma, first, count), context.accumulates(kGamma));
    if (context.wants(kBeta)) {
      internal::kernels<T>(context).column_sum(
          dy, gradient_window<T>(context, kBeta, first, count).data, context.accumulates(kBeta));
    }
  }
};

}  // namespace

constinit const OpDef kBatchNormOp = define_op<BatchNorm>();

Value batch_norm(const Value& x, const Value& gamma, const Value& beta, const Value& running_mean,
                 const Value& running_variance, const BatchNormOptions& options, Where where) {
  return internal::graph_of("batch_norm", "x", x, where)
      .apply(kBatchNormOp, {x, gamma, beta, running_mean, running_variance},
             {.real = {options.momentum, options.epsilon}}, where);
}

}  // namespace chainrule
