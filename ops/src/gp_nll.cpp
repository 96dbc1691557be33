// SPDX-License-Identifier: Apache-2.0
#include "chainrule/ops/gp_nll.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <string_view>

#include "gp_covariance.hpp"
#include "op_support.hpp"

namespace chainrule {
namespace {

using internal::GpWork;

enum Input : int { kFeatures, kTargets, kLogVariance, kLogNoise, kLogLengthScale };

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

void require_one(std::string_view op, std::string_view argument, const Shape& shape) {
  if (!shape.is_batched() && shape.elements() == 1) return;
  internal::throw_shapes(op, internal::named(argument, shape), "one element");
}

template <class T>
void store_one(const OpContext& context, int input, double value) {
  if (!context.wants(input)) return;
  T& to = context.in_gradient<T>(input)(0, 0);
  to = static_cast<T>(context.accumulates(input) ? static_cast<double>(to) + value : value);
}

/// dx (+)= factor_c values(., c).
template <class T, class Factor>
void store_matrix(const OpContext& context, int input, MatrixView<const double> values,
                  const Factor& factor) {
  if (!context.wants(input)) return;
  const MatrixView<T> to = context.in_gradient<T>(input);
  const bool accumulate = context.accumulates(input);
  for (Index row = 0; row < to.rows; ++row) {
    for (Index c = 0; c < to.columns; ++c) {
      const double value = factor(c) * values(row, c);
      to(row, c) = static_cast<T>(accumulate ? static_cast<double>(to(row, c)) + value : value);
    }
  }
}

struct RbfGpNll {
  static constexpr std::string_view kName = "rbf_gp_nll";
  static constexpr int kInputs = 5;
  static constexpr OpTraits kTraits{.kind = OpKind::kWholeBatch,
                                    .min_inputs = kInputs,
                                    .max_inputs = kInputs,
                                    .backward_reads = {.inputs = 0b11, .output = false},
                                    .handles_overwrite = true};

  static Shape infer(const InferContext& context) {
    const double max_jitter = context.attributes.real[0];
    internal::require_attribute(kName, "max_jitter", max_jitter,
                                max_jitter >= 0 && std::isfinite(max_jitter),
                                "0 <= max_jitter < inf");
    const Shape& features = context.inputs[kFeatures];
    const Shape& targets = context.inputs[kTargets];
    internal::require_matrix(kName, "features", features);
    if (features.columns() == 0 || targets.columns() == 0) {
      internal::throw_shapes(kName, "no columns", "at least one of features and of targets");
    }
    if (features.is_batched() != targets.is_batched() ||
        (!features.is_batched() && features.rows() != targets.rows())) {
      internal::throw_shapes(kName,
                             fmt::format("{} and {}", internal::named("features", features),
                                         internal::named("targets", targets)),
                             "as many rows of both");
    }
    require_one(kName, "log_variance", context.inputs[kLogVariance]);
    require_one(kName, "log_noise", context.inputs[kLogNoise]);
    const Shape& scale = context.inputs[kLogLengthScale];
    if (scale.is_batched() || scale.elements() != 1) {
      internal::require_vector(kName, "log_length_scale", scale, features);
    }
    return {};
  }

  static Index workspace(const InferContext& context, Index batch) {
    const Shape& features = context.inputs[kFeatures];
    const Index rows = features.is_batched() ? batch : features.rows();
    return GpWork(nullptr, rows, features.columns(), context.inputs[kTargets].columns()).size;
  }

  static double flops_per_row(const InferContext& context) {
    return 10 * static_cast<double>(context.inputs[kFeatures].columns());
  }

  static double batch_flops(const InferContext& context, Index batch) {
    const Shape& features = context.inputs[kFeatures];
    const auto n = static_cast<double>(features.is_batched() ? batch : features.rows());
    return n * n * (n / 3 + static_cast<double>(features.columns()) + 20);
  }

  template <class T>
  static void forward(const OpContext& context) {
    const GpWork work = work_of<T>(context);
    read_inputs<T>(context, work);
    double value = 0;
    if (work.n() > 0) {
      work.finite() = internal::fill_covariance(context, work) ? 1 : 0;
      value = work.finite() == 0 ? kNan : solve<T>(context, work);
    }
    context.out<T>()(0, 0) = static_cast<T>(value * scale_of(context, work));
  }

  template <class T>
  static void backward(const OpContext& context) {
    const GpWork work = work_of<T>(context);
    const double dl =
        static_cast<double>(context.out_gradient<T>()(0, 0)) * scale_of(context, work);
    if (work.n() == 0 || work.finite() == 0) {
      store_everywhere<T>(context, work.n() == 0 ? 0 : kNan);
      return;
    }
    store_matrix<T>(context, kTargets, work.alpha, [=](Index) { return dl; });
    const bool more = context.wants(kFeatures) || context.wants(kLogVariance) ||
                      context.wants(kLogNoise) || context.wants(kLogLengthScale);
    if (!more) return;
    make_weights(context, work, dl);
    store_one<T>(context, kLogNoise, work.noise() * trace(work.square));
    store_one<T>(context, kLogVariance, internal::pull_back(context, work));
    store_matrix<T>(context, kFeatures, work.moved, [&](Index c) { return 2 / work.scales(0, c); });
    store_length_scales<T>(context, work);
  }

  template <class T>
  static void jvp(const OpContext& context) {
    const GpWork work = work_of<T>(context);
    const MatrixView<T> out = context.out_tangent<T>();
    out(0, 0) = 0;
    if (work.n() == 0) return;
    if (work.finite() == 0) {
      out(0, 0) = static_cast<T>(kNan);
      return;
    }
    for (Index i = 0; i < work.n(); ++i) {
      for (Index c = 0; c < work.moved.columns; ++c) {
        work.moved(i, c) = static_cast<double>(context.in_tangent<T>(kFeatures)(i, c));
      }
    }
    copy_length_scales(context.in_tangent<T>(kLogLengthScale), work.drift);
    internal::push_points(work);
    const double log_variance = static_cast<double>(context.in_tangent<T>(kLogVariance)(0, 0));
    const double noise = work.noise() * static_cast<double>(context.in_tangent<T>(kLogNoise)(0, 0));
    const double along_a = likelihood_tangent(context, work, log_variance, noise);
    const double along_y = product_with(work.alpha, context.in_tangent<T>(kTargets));
    out(0, 0) = static_cast<T>((along_a + along_y) * scale_of(context, work));
  }

 private:
  template <class T>
  static GpWork work_of(const OpContext& context) {
    const MatrixView<const T> features = context.input<T>(kFeatures);
    return {context.workspace, features.rows, features.columns, context.input<T>(kTargets).columns};
  }

  static double scale_of(const OpContext& context, const GpWork& work) {
    if (context.attributes->integer[0] == 0) return 1;
    return work.n() == 0 ? 0 : 1 / static_cast<double>(work.n() * work.alpha.columns);
  }

  /// One number for all columns, or one for each.
  template <class T>
  static void copy_length_scales(MatrixView<const T> from, MatrixView<double> to) {
    const bool shared = from.rows * from.columns == 1;
    for (Index c = 0; c < to.columns; ++c) to(0, c) = static_cast<double>(from(0, shared ? 0 : c));
  }

  template <class T>
  static void read_inputs(const OpContext& context, const GpWork& work) {
    const MatrixView<const T> features = context.input<T>(kFeatures);
    const MatrixView<const T> targets = context.input<T>(kTargets);
    for (Index i = 0; i < work.n(); ++i) {
      std::copy_n(features.row(i), features.columns, work.points.row(i));
      std::copy_n(targets.row(i), targets.columns, work.alpha.row(i));
    }
    work.variance() = std::exp(static_cast<double>(context.input<T>(kLogVariance)(0, 0)));
    work.noise() = std::exp(static_cast<double>(context.input<T>(kLogNoise)(0, 0)));
    copy_length_scales(context.input<T>(kLogLengthScale), work.scales);
    for (Index c = 0; c < work.scales.columns; ++c) {
      work.scales(0, c) = std::exp(work.scales(0, c));
    }
  }

  /// Factors A, makes y alpha; returns the value.
  template <class T>
  static double solve(const OpContext& context, const GpWork& work) {
    const Factor factor = context.algebra->cholesky(*context.tiles, kName, work.covariance,
                                                    context.attributes->real[0]);
    context.algebra->solve(*context.tiles, work.covariance, work.alpha);
    const auto columns = static_cast<double>(work.alpha.columns);
    const double numbers = columns * static_cast<double>(work.n());
    return 0.5 * (product_with(work.alpha, context.input<T>(kTargets)) +
                  columns * factor.log_determinant + numbers * std::log(2 * std::numbers::pi));
  }

  /// tr(alpha^T y).
  template <class T>
  static double product_with(MatrixView<const double> alpha, MatrixView<const T> y) {
    double sum = 0;
    for (Index i = 0; i < y.rows; ++i) {
      for (Index c = 0; c < y.columns; ++c) sum += alpha(i, c) * static_cast<double>(y(i, c));
    }
    return sum;
  }

  /// W, times dl, into `square`.
  static void make_weights(const OpContext& context, const GpWork& work, double dl) {
    context.algebra->invert(*context.tiles, work.covariance, work.square);
    const auto columns = static_cast<double>(work.alpha.columns);
    context.algebra->gemm(*context.tiles, -0.5 * dl, work.alpha, false, work.alpha, true,
                          0.5 * dl * columns, work.square);
  }

  static double trace(MatrixView<const double> a) {
    double sum = 0;
    for (Index i = 0; i < a.rows; ++i) sum += a(i, i);
    return sum;
  }

  /// k/2 tr(A^-1 tA) - 1/2 tr(alpha^T tA alpha), pair by pair.
  static double likelihood_tangent(const OpContext& context, const GpWork& work,
                                   double log_variance, double noise) {
    context.algebra->invert(*context.tiles, work.covariance, work.square);
    const MatrixView<double> alpha = work.alpha;
    const auto weight = [&](Index i, Index j) {
      double products = 0;
      for (Index c = 0; c < alpha.columns; ++c) products += alpha(i, c) * alpha(j, c);
      return static_cast<double>(alpha.columns) * work.square(i, j) - products;
    };
    internal::for_row_tiles(context, work.n(), [&](Index first, Index end) {
      for (Index i = first; i < end; ++i) {
        double sum =
            weight(i, i) * (internal::covariance_tangent(work, log_variance, i, i) + noise);
        for (Index j = 0; j < i; ++j) {
          sum += 2 * weight(i, j) * internal::covariance_tangent(work, log_variance, i, j);
        }
        work.sums(0, i) = sum;
      }
    });
    return 0.5 * std::accumulate(work.sums.data, work.sums.data + work.n(), 0.0);
  }

  /// From what pull_back() left in `moved`: phi and the length scales go together.
  template <class T>
  static void store_length_scales(const OpContext& context, const GpWork& work) {
    if (!context.wants(kLogLengthScale)) return;
    const MatrixView<T> to = context.in_gradient<T>(kLogLengthScale);
    const bool shared = to.rows * to.columns == 1;
    std::fill_n(work.drift.data, work.drift.columns, 0.0);
    for (Index i = 0; i < work.n(); ++i) {
      for (Index c = 0; c < work.points.columns; ++c) {
        work.drift(0, shared ? 0 : c) -= 2 * work.points(i, c) * work.moved(i, c);
      }
    }
    for (Index c = 0; c < to.columns; ++c) {
      const double before =
          context.accumulates(kLogLengthScale) ? static_cast<double>(to(0, c)) : 0;
      to(0, c) = static_cast<T>(before + work.drift(0, c));
    }
  }

  /// `value` as every gradient that is wanted: there is no batch, or no finite value.
  template <class T>
  static void store_everywhere(const OpContext& context, double value) {
    for (int input = 0; input < kInputs; ++input) {
      if (!context.wants(input)) continue;
      const MatrixView<T> to = context.in_gradient<T>(input);
      for (Index i = 0; i < to.rows; ++i) {
        for (Index c = 0; c < to.columns; ++c) {
          const double before = context.accumulates(input) ? static_cast<double>(to(i, c)) : 0;
          to(i, c) = static_cast<T>(before + value);
        }
      }
    }
  }
};

}  // namespace

constinit const OpDef kRbfGpNllOp = define_op<RbfGpNll>();

Value rbf_gp_nll(const Value& features, const Value& targets, const Value& log_variance,
                 const Value& log_length_scale, const Value& log_noise, const GpNllOptions& options,
                 Where where) {
  Graph& graph = internal::graph_of("rbf_gp_nll", "features", features, where);
  internal::check_at(where, [&] {
    if (options.reduction != Reduction::kNone) return;
    throw ArgumentError(
        "rbf_gp_nll: got reduction none, expected mean or sum: rows have no losses of their own");
  });
  const Index mean = options.reduction == Reduction::kMean ? 1 : 0;
  return graph.apply(kRbfGpNllOp, {features, targets, log_variance, log_noise, log_length_scale},
                     {.real = {options.max_jitter}, .integer = {mean}}, where);
}

}  // namespace chainrule
