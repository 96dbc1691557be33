// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

namespace chainrule {

/// Part of the contract of every op: how far its float32 backward may be from the exact gradient at
/// the same inputs, element by element of each gradient:
///
///   |dx32 - dx| <= factor n (u S + 2^-126),   u = 2^-24,
///
/// S the sum of the magnitudes of the `terms` that backward adds up (at least sum_i |dy_i
/// dy_i/dx|), each times 1 plus how much a relative error in what it is computed from is multiplied
/// by (an exponential's argument, say); n their number: the outputs that the element reaches, or
/// the columns if there are more and `over_columns`. A factor of 0 says that the gradient is exact.
struct BackwardAccuracy {
  std::string_view op;
  double factor = 4;
  bool over_columns = false;
  /// Of dx (and dgamma) for |dy| <= 1, where they may be larger than their sum.
  std::string_view terms{};
};

/// The table, by family; the case table of chainrule/check asserts it on every architecture that
/// runs.
inline constexpr BackwardAccuracy kBackwardAccuracy[] = {
    {"matmul", 1},
    {"add_bias", 1},
    {"add", 0},
    {"sub", 0},
    {"mul", 1},
    {"scale", 2},
    {"concat", 1},
    {"slice", 0},
    {"embedding", 1},

    {"identity", 0},
    {"relu", 0},
    {"leaky_relu", 2},
    {"elu", 4, false, "|y|, alpha"},
    {"sigmoid", 4, false, "y, y^2"},
    {"tanh", 4, false, "1, y^2"},
    {"softplus", 5},
    {"silu", 5, false, "s, |x| s (1 - s), s = sigmoid(x)"},
    {"gelu", 6, false, "Phi(x), |x| phi(x)"},
    {"gelu_tanh", 6, false,
     "(s, |x| s (1 - s) u') (1 + |u|), s = sigmoid(u), u = 2 sqrt(2 / pi) (x + 0.044715 x^3)"},
    {"exp", 3},
    {"log", 1},

    {"softmax", 2, false, "y, y (1 + max x - x), y sum_k y_k (max x - x_k)"},
    {"log_softmax", 2, false, "1, e^y (1 + max x - x)"},
    {"dropout", 2},
    {"layer_norm", 2, true, "of a row |gamma| rstd (1 + max|x| rstd); of rows max|x| rstd"},
    {"batch_norm", 4, false, "of a column |gamma| rstd (1 + max|x| rstd); rows max|x| rstd"},

    {"batch_sum", 1},
    {"batch_mean", 1},
    {"feature_sum", 0},
    {"feature_mean", 2},
    {"total_sum", 0},
    {"total_mean", 2},

    {"mean_squared_error", 3},
    {"mean_absolute_error", 1},
    {"huber", 3},
    {"binary_cross_entropy", 4, false, "(sigmoid(x), t) / columns"},
    {"hinge", 2},
    {"poisson_nll", 4, false, "(e^x, t) / columns"},
    {"gamma_nll", 4, false, "k (1, t e^-x) / columns"},
    {"negative_binomial_nll", 4, false, "(e^x, t) / (1 + a e^x) (1 + |x + log a|) / columns"},
    {"softmax_cross_entropy", 2, true,
     "p, s (1 + max x - x), s sum_k s_k (max x - x_k), s = softmax(x)"},
    {"softmax_cross_entropy_probabilities", 2, true,
     "p, s (1 + max x - x), s sum_k s_k (max x - x_k), s = softmax(x)"},
    {"rbf_gp_nll", 1},
};

/// The row of that name; a factor of 4 and unknown terms for an op that the table does not have.
constexpr BackwardAccuracy backward_accuracy(std::string_view op) noexcept {
  for (const BackwardAccuracy& row : kBackwardAccuracy) {
    if (row.op == op) return row;
  }
  return {.op = op, .terms = "unknown"};
}

}  // namespace chainrule
