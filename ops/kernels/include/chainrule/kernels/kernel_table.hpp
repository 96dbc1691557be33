// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "chainrule/core/prepared_call.hpp"
#include "chainrule/core/tensor.hpp"

namespace chainrule {

/// Elementwise functions y = f(x); see ops/activations.hpp for the formulas. parameters[0] is the
/// slope of kLeakyRelu and the alpha of kElu; the others read none. Accuracy: kernels/accuracy.hpp.
enum class UnaryKernel : std::uint8_t {
  kRelu,
  kLeakyRelu,
  kElu,
  kSigmoid,
  kTanh,
  kSoftplus,
  kSilu,
  kGelu,
  kGeluTanh,
  kExp,
  kLog,
  kCount,
};

/// Losses of one row against a row of real targets; see ops/losses.hpp for the formulas.
/// parameters[0] is the delta of kHuber, the shape of kGamma and the dispersion alpha of
/// kNegativeBinomial; the others read none. Targets of kHinge are -1 or 1.
enum class LossKernel : std::uint8_t {
  kSquaredError,
  kAbsoluteError,
  kHuber,
  kBinaryCrossEntropy,
  kHinge,
  kPoisson,
  kGamma,
  kNegativeBinomial,
  kCount,
};

/// Families of activations with closed-form moments under a bivariate normal (u, v); see
/// learn/dual_activation.hpp for the formulas and their sources. Every side of a pair enters by two
/// numbers that its variance K gives, first and second:
///   kRectifier  sqrt(K), 1 / sqrt(K) or 0: relu, leaky relu, abs and identity
///   kErf        0, sqrt(2 / (1 + 2 K))
///   kSin        K / 2, 0
///   kGelu       K, 1 / sqrt(1 + K)
enum class DualKernel : std::uint8_t { kRectifier, kErf, kSin, kGelu, kCount };

/// One hidden layer of the kernel recursions of an infinitely wide network:
///   k = bias + odd E1 + even E2,   theta = k + (odd E1' + even E2') theta,
/// where phi = odd part + even part of a rectifier with odd = weight variance ((1 + slope) / 2)^2,
/// even = weight variance ((1 - slope) / 2)^2. Others have the weight variance in `odd` alone.
struct DualLayer {
  double bias = 0;
  double odd = 0;
  double even = 0;
};

/// The two numbers of one row x against those of columns z.
struct DualFactors {
  double first = 0;
  double second = 0;
  const double* column_first = nullptr;
  const double* column_second = nullptr;
};

/// Coefficients of phi(sqrt(K) g), or phi'(sqrt(K) g), in normalized Hermite polynomials of g.
struct DualSeries {
  const double* row = nullptr;       ///< of x, as many as `columns` has rows
  MatrixView<const double> columns;  ///< (k, j): coefficient k of column j
};

/// Kernels of infinitely wide networks, float64. `k` and, where it is not null, `theta` are rows of
/// `count` numbers that are replaced by those of the next layer.
struct DualKernels {
  /// Returns the largest |k x.second z.second|, the argument of the arc sine: near 1 it has lost
  /// digits.
  using Layer = double (*)(const DualLayer& layer, const DualFactors& factors, Index count,
                           double* k, double* theta);
  std::array<Layer, static_cast<std::size_t>(DualKernel::kCount)> layer;

  /// E[phi(u) phi(v)] = sum a_k(x) a_k(z) c^k (Mehler), c = k x.second z.second with the factors of
  /// kRectifier. `slopes` is read where theta is not null.
  double (*series)(const DualLayer& layer, const DualFactors& factors, const DualSeries& values,
                   const DualSeries& slopes, Index count, double* k, double* theta);
};

/// Optimizer updates of a parameter p by its gradient g, with `scalars` and states
///   kSgd       {rate, l2}: g += l2 p; p -= rate g.
///   kMomentum  {rate, mu, nesterov (0 or 1), l2}, state0 = v: g += l2 p; v = mu v + g;
///              p -= rate (nesterov ? g + mu v : v).
///   kAdam      {rate / (1 - beta1^t), beta1, beta2, epsilon, 1 / sqrt(1 - beta2^t), l2,
///              decoupled}, state0 = m, state1 = v: g += l2 p; m = beta1 m + (1 - beta1) g;
///              v = beta2 v + (1 - beta2) g^2;
///              p = (1 - decoupled) p - scalars[0] m / (sqrt(v) scalars[4] + epsilon).
enum class UpdateKernel : std::uint8_t { kSgd, kMomentum, kAdam, kCount };

/// A matrix with any strides: element (i, j) is data[i * row_stride + j * column_stride].
template <class T>
struct StridedView {
  const T* data = nullptr;
  Index row_stride = 0;
  Index column_stride = 0;
};

/// What gemm does to the elements of c once their sums are complete, in this order. The bits are
/// those that the kernels of these names would give afterwards.
template <class T>
struct GemmFinish {
  const T* bias = nullptr;                     ///< add_bias
  UnaryKernel function = UnaryKernel::kCount;  ///< `unary`, or with a source ...
  MatrixView<const T> source{};                ///< ... `unary_backward`, of c's shape
  const double* parameters = nullptr;          ///< of the function
  /// Last: c is a gradient, and the matrix of its shape here takes a step of kSgd down it, with
  /// those scalars; c's elements are then unspecified. data == nullptr: c is stored.
  MatrixView<T> descending{};
  const double* sgd = nullptr;
};

/// How prepare_gemm computes a product c (+)= a b: a function of the shapes, of which operands lie
/// by rows, and of what follows. HACKING.md has what each of them gains.
enum class GemmForm : std::uint8_t {
  kTiles,            ///< tiles of c in registers, rows of b against elements of a
  kOneTile,          ///< the same where one tile is all of c
  kTransposedTiles,  ///< few columns, a by columns: tiles of c^T, whose vectors run along a's rows
  kColumnAsRow,      ///< one column without gaps, a by columns: the row that it is in memory
  kDots,             ///< one column, a by rows: vectors run along the inner dimension
  kStridedDots,      ///< the same of a column of b with gaps, which is copied
  kCount,
};

/// The kernels of one architecture for one element type. Views may have any leading dimension and
/// any alignment; no kernel writes the padding between a row's columns and its leading dimension.
/// `accumulate` false overwrites the destination without reading it. Rows are independent, and a
/// result's bits depend neither on the number of rows nor on alignment or leading dimension.
/// Elementwise kernels allow the output to be the same view as an input of the same shape.
template <class T>
struct Kernels {
  using In = MatrixView<const T>;
  using Out = MatrixView<T>;
  using Unary = void (*)(In x, Out y, const double* parameters);
  /// dx (+)= dy * f'; `source` is x or y as unary_reads_output says.
  using UnaryBackward = void (*)(In source, In dy, Out dx, const double* parameters,
                                 bool accumulate);

  /// ty = f'(x) tx: f as `unary` computes it, differentiated; always from x.
  using UnaryTangent = void (*)(In x, In tx, Out ty, const double* parameters);
  /// dx (+)= dy f'' tx, with the source of UnaryBackward. f'' of a kink is that of f' beside it.
  using UnaryCurvature = void (*)(In source, In dy, In tx, Out dx, const double* parameters,
                                  bool accumulate);

  std::array<Unary, static_cast<std::size_t>(UnaryKernel::kCount)> unary;
  std::array<UnaryBackward, static_cast<std::size_t>(UnaryKernel::kCount)> unary_backward;
  std::array<UnaryTangent, static_cast<std::size_t>(UnaryKernel::kCount)> unary_tangent;
  std::array<UnaryCurvature, static_cast<std::size_t>(UnaryKernel::kCount)> unary_curvature;

  void (*add)(In a, In b, Out y);
  void (*sub)(In a, In b, Out y);
  void (*mul)(In a, In b, Out y);
  /// y (+)= a * b.
  void (*mul_into)(In a, In b, Out y, bool accumulate);
  /// y (+)= alpha * x.
  void (*scale_into)(T alpha, In x, Out y, bool accumulate);
  /// y = x + bias, bias broadcast over the rows; y may be x.
  void (*add_bias)(In x, const T* bias, Out y);
  /// out (+)= column sums of x, rows in ascending order; of one column of 16 or more, in lanes.
  void (*column_sum)(In x, T* out, bool accumulate);
  /// out[j] += sum of x(i, j) in double, added in the same order.
  void (*column_sum_double)(In x, double* out);
  /// out(i, 0) (+)= sum of row i.
  void (*row_sum)(In x, Out out, bool accumulate);
  /// y(i, j) (+)= column(i, 0).
  void (*broadcast_column)(In column, Out y, bool accumulate);
  /// y(j, i) = x(i, j).
  void (*transpose)(In x, Out y);

  /// c (+)= a * b, a is c.rows x b.rows, then what `finish` says. Every element is one chain of
  /// fused multiply-adds in ascending order of the inner index (multiply then add where the
  /// architecture has no FMA), so its bits depend on the inner dimension alone. Where c has one
  /// column and a is stored by rows, they are as many chains as a vector has lanes, added then:
  /// another order, of the inner dimension alone as well.
  void (*gemm)(StridedView<T> a, In b, Out c, bool accumulate, const GemmFinish<T>& finish);
  /// That product, of what the operands hold when it is called.
  PreparedCall (*prepare_gemm)(StridedView<T> a, In b, Out c, bool accumulate,
                               const GemmFinish<T>& finish);
  /// How that product is computed.
  GemmForm (*gemm_form)(StridedView<T> a, In b, Out c, const GemmFinish<T>& finish);
  /// c (+)= a b^T of at most most_dot_columns columns, both factors stored by rows, then `finish`.
  /// An element is as many chains as a vector has lanes, added then; of more terms than 2 KiB hold
  /// it is the sum of such blocks.
  PreparedCall (*prepare_dots)(In a, In b, Out c, bool accumulate, const GemmFinish<T>& finish);
  Index most_dot_columns;
  /// Whether that is faster than prepare_gemm for so many columns of c and such an inner dimension;
  /// never of one column, which prepare_gemm takes for dots anyway.
  bool (*prefers_dots)(Index columns, Index inner);

  void (*softmax)(In x, Out y);
  void (*softmax_backward)(In y, In dy, Out dx, bool accumulate);
  void (*log_softmax)(In x, Out y);
  void (*log_softmax_backward)(In y, In dy, Out dx, bool accumulate);

  /// y = (x - mean) * rstd * gamma + beta per row; stats(i, 0) = mean, stats(i, 1) = rstd, not
  /// written when stats.data is null.
  void (*layer_norm)(In x, const T* gamma, const T* beta, double epsilon, Out y, Out stats);
  /// Any of dx.data, dgamma, dbeta may be null. dgamma and dbeta sum over the rows in order.
  void (*layer_norm_backward)(In x, const T* gamma, In stats, In dy, Out dx, bool accumulate_dx,
                              T* dgamma, bool accumulate_dgamma, T* dbeta, bool accumulate_dbeta);

  /// Statistics of the columns, in two passes: stats(0, j) = mean, stats(1, j) = biased variance.
  void (*column_moments)(In x, Out stats);
  /// y = (x - mean) / sqrt(variance + epsilon) * gamma + beta per column.
  void (*batch_norm)(In x, In stats, const T* gamma, const T* beta, double epsilon, Out y);
  /// Through the batch statistics; any of dx.data, dgamma, dbeta may be null.
  void (*batch_norm_backward)(In x, In stats, const T* gamma, double epsilon, In dy, Out dx,
                              bool accumulate_dx, T* dgamma, bool accumulate_dgamma, T* dbeta,
                              bool accumulate_dbeta);

  /// loss(i, 0) = mean over the columns of the loss of x(i, j) against target(i, j).
  using Loss = void (*)(In x, In target, const double* parameters, Out loss);
  /// dx(i, :) (+)= dloss(i, 0) * gradient; a dloss of exactly 0 contributes exactly 0.
  using LossBackward = void (*)(In x, In target, const double* parameters, In dloss, Out dx,
                                bool accumulate);
  /// tloss(i, 0) = mean over the columns of the loss, differentiated as it is written, times tx.
  using LossTangent = void (*)(In x, In target, const double* parameters, In tx, Out tloss);
  /// dx(i, :) (+)= dloss(i, 0) * second derivative * tx(i, :), where 0 contributes 0 as well.
  using LossCurvature = void (*)(In x, In target, const double* parameters, In dloss, In tx, Out dx,
                                 bool accumulate);
  std::array<Loss, static_cast<std::size_t>(LossKernel::kCount)> loss;
  std::array<LossBackward, static_cast<std::size_t>(LossKernel::kCount)> loss_backward;
  std::array<LossTangent, static_cast<std::size_t>(LossKernel::kCount)> loss_tangent;
  std::array<LossCurvature, static_cast<std::size_t>(LossKernel::kCount)> loss_curvature;

  /// Softmax cross-entropy of logits x against labels (n x 1, in [0, classes), checked by the
  /// caller) with label smoothing; `probabilities` = softmax(x), not written when its data is null.
  void (*cross_entropy)(In x, MatrixView<const std::int32_t> labels, double smoothing, Out loss,
                        Out probabilities);
  void (*cross_entropy_backward)(In probabilities, MatrixView<const std::int32_t> labels,
                                 double smoothing, In dloss, Out dx, bool accumulate);
  /// The same against rows of target probabilities.
  void (*soft_cross_entropy)(In x, In target, double smoothing, Out loss, Out probabilities);
  void (*soft_cross_entropy_backward)(In probabilities, In target, double smoothing, In dloss,
                                      Out dx, bool accumulate);

  /// parameter -= step(gradient, state...); null states where the update has fewer.
  using Update = void (*)(Out parameter, In gradient, Out state0, Out state1,
                          const double* scalars);
  std::array<Update, static_cast<std::size_t>(UpdateKernel::kCount)> update;

  /// Runs `iterations` rounds of independent FMAs in registers; returns the flops done, and through
  /// `sink` a number that keeps the compiler from dropping them.
  double (*fma_burst)(Index iterations, T* sink);
  /// Reads x as fast as it can and, through `sink`, returns a sum.
  void (*read_burst)(In x, T* sink);
};

/// True when unary_backward of `kernel` reads y, false when it reads x.
constexpr bool unary_reads_output(UnaryKernel kernel) noexcept {
  switch (kernel) {
    case UnaryKernel::kRelu:
    case UnaryKernel::kElu:
    case UnaryKernel::kSigmoid:
    case UnaryKernel::kTanh:
    case UnaryKernel::kExp:
      return true;
    default:
      return false;
  }
}

/// All kernels of one architecture.
struct KernelTable {
  std::string_view architecture;  ///< "baseline", "avx2", "avx512", "neon"
  Index float_lanes = 0;          ///< float32 elements of one vector register
  Kernels<float> f32;
  Kernels<double> f64;
  DualKernels dual;

  template <class T>
  const Kernels<T>& get() const noexcept {
    if constexpr (sizeof(T) == sizeof(float)) {
      return f32;
    } else {
      return f64;
    }
  }
};

}  // namespace chainrule
