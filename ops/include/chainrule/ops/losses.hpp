// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "chainrule/core/graph.hpp"

namespace chainrule {

/// How the losses of the rows become the value of a loss.
enum class Reduction : std::uint8_t {
  kMean,  ///< [], sum_i w_i l_i / sum_i w_i; 0, with zero gradient, when the weights sum to 0
  kSum,   ///< [], sum_i w_i l_i
  kNone,  ///< [batch, 1], the l_i themselves; takes no weights
};

// Every loss below is two nodes: a row loss, l(i) = the mean over the n columns of the formula
// given, and a batch reduction (see kBatchMeanOp) that weighs the rows.
//
// Shapes: x [batch, n] or [batch]; target as x, where [batch] and [batch, 1] are the same.
// `weights`, when given, is [batch] or [batch, 1]; without it every w_i is 1. A weight of 0
// selects: it never multiplies an infinite loss. ShapeError for other shapes, ArgumentError for an
// option outside its domain or for weights with Reduction::kNone. Backward: dx(i, j) += dl(i)
// f'(x(i, j)) / n, exactly 0 where dl(i) is 0. Targets and weights are data: no gradient reaches
// them. Reads x and target; saves nothing. jvp: tl(i) = sum_j f'(x(i, j)) tx(i, j) / n. Second
// order: tdx += (tdl f' + dl f'' tx) / n. Aliasing: none. Losses "from logits" never form log(0):
// finite x of any size gives no NaN, and inf only beyond the range of e^x. Accuracy: 2 (4 + n) ULP
// of max |l|, at least of 1; the batch reduction adds its own. float32 backward: see
// backward_accuracy.hpp.

struct LossOptions {
  Value weights{};
  Reduction reduction = Reduction::kMean;
};

/// f = (x - t)^2; f' = 2 (x - t); f'' = 2.
CHAINRULE_API Value mean_squared_error(const Value& x, const Value& target,
                                       const LossOptions& options = {},
                                       Where where = Where::current());

/// f = |x - t|; f' = sign(x - t), 0 at x = t; f'' = 0.
CHAINRULE_API Value mean_absolute_error(const Value& x, const Value& target,
                                        const LossOptions& options = {},
                                        Where where = Where::current());

struct HuberOptions {
  double delta = 1;  ///< finite, > 0; attribute real[0]
  Value weights{};
  Reduction reduction = Reduction::kMean;
};

/// With d = x - t: f = d^2 / 2 for |d| <= delta, else delta (|d| - delta / 2); f' = d clamped to
/// [-delta, delta]; f'' = 1 for |d| <= delta, else 0. (Huber 1964.)
CHAINRULE_API Value huber(const Value& x, const Value& target, const HuberOptions& options = {},
                          Where where = Where::current());

/// From logits, t in [0, 1]: f = log(1 + e^x) - t x = -t log s - (1 - t) log(1 - s), s =
/// sigmoid(x); f' = s - t; f'' = s (1 - s).
CHAINRULE_API Value binary_cross_entropy(const Value& logits, const Value& target,
                                         const LossOptions& options = {},
                                         Where where = Where::current());

/// t in {-1, 1}: f = max(0, 1 - t x); f' = -t where t x < 1, else 0 (so 0 at the kink); f'' = 0.
CHAINRULE_API Value hinge(const Value& x, const Value& target, const LossOptions& options = {},
                          Where where = Where::current());

struct CrossEntropyOptions {
  double label_smoothing = 0;  ///< s in [0, 1); attribute real[0]
  Value weights{};
  Reduction reduction = Reduction::kMean;
};

/// l(i) = -sum_k p_k log softmax(x(i, :))_k, where p = (1 - s) q + s / C and q is the row of target
/// probabilities, or 1 at the label and 0 elsewhere.
///
/// Shapes: logits [batch, C]; target either labels [batch] (or indices [batch, 1]) or real
/// probabilities [batch, C]. Running it with a label outside [0, C) throws ArgumentError that names
/// the row of the batch, the label and C. Rows of probabilities need not sum to 1.
/// Backward: dx = dl (softmax(x) sum_k p_k - p). Reads the target; saves softmax(x), [batch, C].
/// jvp: tl = sum_k p_k (sum_m q_m tx_m - tx_k), q = softmax(x). Second order:
/// tdx += tdl (q sum_k p_k - p) + dl sum_k p_k (diag(q) - q q^T) tx.
CHAINRULE_API Value softmax_cross_entropy(const Value& logits, const Value& target,
                                          const CrossEntropyOptions& options = {},
                                          Where where = Where::current());

// Generalized linear models with log link: the mean is mu = e^eta with eta = x + offset +
// log(exposure); offset and exposure (> 0) have the shape of x and are ordinary nodes, added and
// differentiated as such. Terms of the likelihood that do not depend on x are left out.

struct PoissonOptions {
  Value offset{};
  Value exposure{};
  Value weights{};
  Reduction reduction = Reduction::kMean;
};

/// Counts t >= 0, variance mu: f = e^eta - t eta; f' = e^eta - t; f'' = e^eta.
CHAINRULE_API Value poisson_nll(const Value& x, const Value& target,
                                const PoissonOptions& options = {}, Where where = Where::current());

struct GammaOptions {
  double shape = 1;  ///< k, finite, > 0; attribute real[0]
  Value offset{};
  Value exposure{};
  Value weights{};
  Reduction reduction = Reduction::kMean;
};

/// Positive t, variance mu^2 / k: f = k (eta + t e^-eta); f' = k (1 - t e^-eta); f'' = k t e^-eta.
CHAINRULE_API Value gamma_nll(const Value& x, const Value& target, const GammaOptions& options = {},
                              Where where = Where::current());

struct NegativeBinomialOptions {
  double dispersion = 1;  ///< a, finite, > 0; attribute real[0]
  Value offset{};
  Value exposure{};
  Value weights{};
  Reduction reduction = Reduction::kMean;
};

/// Counts t >= 0, variance mu + a mu^2: f = (t + 1 / a) log(1 + a e^eta) - t eta;
/// f' = (e^eta - t) / (1 + a e^eta); f'' = e^eta (1 + a t) / (1 + a e^eta)^2.
CHAINRULE_API Value negative_binomial_nll(const Value& x, const Value& target,
                                          const NegativeBinomialOptions& options = {},
                                          Where where = Where::current());

/// The batch reduction alone, for a row loss of your own: row_losses is [batch] or [batch, 1].
CHAINRULE_API Value reduce_loss(const Value& row_losses, const LossOptions& options = {},
                                Where where = Where::current());

extern CHAINRULE_API const OpDef kMeanSquaredErrorOp;
extern CHAINRULE_API const OpDef kMeanAbsoluteErrorOp;
extern CHAINRULE_API const OpDef kHuberOp;
extern CHAINRULE_API const OpDef kBinaryCrossEntropyOp;
extern CHAINRULE_API const OpDef kHingeOp;
extern CHAINRULE_API const OpDef kPoissonOp;
extern CHAINRULE_API const OpDef kGammaOp;
extern CHAINRULE_API const OpDef kNegativeBinomialOp;
extern CHAINRULE_API const OpDef kSoftmaxCrossEntropyOp;               ///< against labels
extern CHAINRULE_API const OpDef kSoftmaxCrossEntropyProbabilitiesOp;  ///< against probabilities

}  // namespace chainrule
