// SPDX-License-Identifier: Apache-2.0
#include "op_cases.hpp"

#include <algorithm>
#include <utility>

#include "case_terms.hpp"
#include "chainrule/ops/ops.hpp"

namespace chainrule {
namespace internal {
namespace {

constexpr Fill kAnything{};
// Mostly positive, so that relu does not kill a small case as a whole.
constexpr Fill kOffKinks{Fill::Kind::kOddSixteenths, -1, 3};
constexpr Fill kOnKinks{Fill::Kind::kEvenSixteenths, 0, 0.5};
constexpr Fill kPositive{Fill::Kind::kUniform, 0.25, 2};
constexpr Fill kPositiveSixteenths{Fill::Kind::kOddSixteenths, 0.25, 2};

using Unary = Value (*)(const Value&);
using Terms = decltype(OpCase::terms);

template <Value (*kFunction)(const Value&, Where)>
Value unary(const Value& x) {
  return kFunction(x, Where::current());
}

OpCase smooth(const OpDef& op, Unary function, Terms terms = nullptr,
              const Fill& fill = kAnything) {
  return {.op = &op, .variant = {}, .terms = terms, .build = [=](CaseBuilder& b) {
            return function(b.batch("x", fill));
          }};
}

OpCase without_batch(const OpDef& op, Unary function, Terms terms) {
  return {.op = &op, .variant = "no batch", .terms = terms, .build = [=](CaseBuilder& b) {
            return function(b.input("x", {b.rows(), b.columns()}, kOffKinks));
          }};
}

// Two rows: beside the kink at 0 and on it.
void add_kinked(std::vector<OpCase>& cases, const OpDef& op, Unary function,
                Terms terms = nullptr) {
  cases.push_back({.op = &op, .variant = {}, .terms = terms, .build = [=](CaseBuilder& b) {
                     const bool one = is_one_element(b);
                     return function(b.batch("x", one ? kPositiveSixteenths : kOffKinks));
                   }});
  cases.push_back(
      {.op = &op, .variant = "at the kink", .terms = terms, .build = [=](CaseBuilder& b) {
         const Value x = b.batch("x", is_one_element(b) ? kPositive : kOnKinks);
         b.expect_kinks(x);
         return function(x);
       }});
}

Value matmul_case(CaseBuilder& b, Index outputs) {
  return matmul(b.batch("x"), b.parameter("w", {b.columns(), outputs}));
}

}  // namespace

void add_arithmetic_cases(std::vector<OpCase>& cases) {
  const auto add_case = [&](const OpDef& op, std::string variant, auto build) {
    cases.push_back({.op = &op, .variant = std::move(variant), .build = build});
  };
  add_case(kMatmulOp, "", [](CaseBuilder& b) { return matmul_case(b, 4); });
  add_case(kMatmulOp, "one output", [](CaseBuilder& b) { return matmul_case(b, 1); });
  add_case(kMatmulOp, "many outputs", [](CaseBuilder& b) { return matmul_case(b, 37); });
  add_case(kMatmulOp, "no batch", [](CaseBuilder& b) {
    return matmul(b.input("x", {b.rows(), b.columns()}), b.parameter("w", {b.columns(), 3}));
  });
  add_case(kAddBiasOp, "",
           [](CaseBuilder& b) { return add_bias(b.batch("z"), b.parameter("b", {b.columns()})); });
  add_case(kAddBiasOp, "no batch", [](CaseBuilder& b) {
    return add_bias(b.input("z", {b.rows(), b.columns()}), b.parameter("b", {b.columns()}));
  });
  add_case(kAddOp, "", [](CaseBuilder& b) { return add(b.batch("a"), b.batch("b")); });
  add_case(kAddOp, "to itself", [](CaseBuilder& b) {
    const Value a = b.batch("a");
    return add(a, a);
  });
  add_case(kSubOp, "", [](CaseBuilder& b) { return sub(b.batch("a"), b.batch("b")); });
  add_case(kMulOp, "", [](CaseBuilder& b) { return mul(b.batch("a"), b.batch("b")); });
  add_case(kMulOp, "by itself", [](CaseBuilder& b) {
    const Value a = b.batch("a");
    return mul(a, a);
  });
  add_case(kMulOp, "no batch", [](CaseBuilder& b) {
    return mul(b.parameter("a", {b.columns()}), b.parameter("b", {b.columns()}));
  });
  add_case(kScaleOp, "", [](CaseBuilder& b) { return scale(b.batch("x"), -1.7); });
  add_case(kConcatOp, "", [](CaseBuilder& b) {
    return concat({b.batch("x"), b.input("y", {kBatch, 3}), b.input("z", {kBatch})});
  });
  add_case(kConcatOp, "twice the same", [](CaseBuilder& b) {
    const Value x = b.batch("x");
    return concat({x, x});
  });
  add_case(kSliceOp, "", [](CaseBuilder& b) {
    const Index first = b.columns() > 2 ? 1 : 0;
    return slice(b.batch("x"), first, std::max<Index>(1, b.columns() / 2));
  });
  add_case(kEmbeddingOp, "", [](CaseBuilder& b) {
    const Value rows = b.indices("rows", {kBatch, 2}, 5);
    return embedding(rows, b.parameter("table", {5, b.columns()}));
  });
  add_case(kEmbeddingOp, "one index", [](CaseBuilder& b) {
    const Value rows = b.indices("rows", {kBatch}, 9);
    return embedding(rows, b.parameter("table", {9, b.columns()}));
  });
}

void add_activation_cases(std::vector<OpCase>& cases) {
  cases.push_back(smooth(kIdentityOp, unary<identity>));
  add_kinked(cases, kReluOp, unary<relu>);
  add_kinked(cases, kLeakyReluOp, [](const Value& x) { return leaky_relu(x, 0.2); });
  add_kinked(
      cases, kEluOp, [](const Value& x) { return elu(x, 1.5); }, elu_terms);
  cases.push_back(smooth(kSigmoidOp, unary<sigmoid>, sigmoid_terms));
  cases.push_back(smooth(kTanhOp, unary<tanh>, tanh_terms));
  cases.push_back(without_batch(kTanhOp, unary<tanh>, tanh_terms));
  cases.push_back(smooth(kSoftplusOp, unary<softplus>));
  cases.push_back(smooth(kSiluOp, unary<silu>, silu_terms));
  cases.push_back(smooth(kGeluOp, unary<gelu>, gelu_terms));
  cases.push_back(without_batch(kGeluOp, unary<gelu>, gelu_terms));
  cases.push_back(smooth(kGeluTanhOp, unary<gelu_tanh>, gelu_tanh_terms));
  cases.push_back(smooth(kExpOp, unary<exp>));
  cases.push_back(smooth(kLogOp, unary<log>, nullptr, kPositive));
}

void add_normalization_cases(std::vector<OpCase>& cases) {
  const auto add_rows = [&](const OpDef& op, Unary function, Terms terms) {
    cases.push_back({.op = &op, .variant = {}, .terms = terms, .build = [=](CaseBuilder& b) {
                       const Value x = b.batch("x");
                       if (b.columns() == 1) b.expect_zero_gradient(x);
                       return function(x);
                     }});
  };
  add_rows(kSoftmaxOp, unary<softmax>, softmax_terms);
  add_rows(kLogSoftmaxOp, unary<log_softmax>, log_softmax_terms);
  const auto dropout_case = [](CaseBuilder& b) {
    return dropout(b.batch("x"), is_one_element(b) ? 0.0 : 0.25);
  };
  cases.push_back({.op = &kDropoutOp, .variant = {}, .build = dropout_case});
  cases.push_back(
      {.op = &kDropoutOp, .variant = "inference", .mode = Mode::kInference, .build = dropout_case});
  cases.push_back(
      {.op = &kLayerNormOp, .variant = {}, .terms = layer_norm_terms, .build = [](CaseBuilder& b) {
         const Value x = b.batch("x");
         const Value gamma = b.parameter("gamma", {b.columns()}, kPositive);
         const Value beta = b.parameter("beta", {b.columns()});
         if (b.columns() == 1) {
           b.expect_zero_gradient(x);
           b.expect_zero_gradient(gamma);
         }
         return layer_norm(x, gamma, beta);
       }});
  const auto batch_norm_case = [](bool statistics_of_batch) {
    return [=](CaseBuilder& b) {
      const Value x = b.batch("x");
      const Value gamma = b.parameter("gamma", {b.columns()}, kPositive);
      const Value beta = b.parameter("beta", {b.columns()});
      const Value mean = b.state("running_mean", {b.columns()});
      const Value variance = b.state("running_variance", {b.columns()}, kPositive);
      if (statistics_of_batch && b.rows() == 1) {
        b.expect_zero_gradient(x);
        b.expect_zero_gradient(gamma);
      }
      return batch_norm(x, gamma, beta, mean, variance);
    };
  };
  cases.push_back({.op = &kBatchNormOp,
                   .variant = {},
                   .terms = batch_norm_terms,
                   .build = batch_norm_case(true)});
  cases.push_back({.op = &kBatchNormOp,
                   .variant = "inference",
                   .mode = Mode::kInference,
                   .build = batch_norm_case(false)});
}

void add_reduction_cases(std::vector<OpCase>& cases) {
  const auto add_both = [&](const OpDef& sum, const OpDef& mean, Axis axis, std::string variant,
                            auto input) {
    cases.push_back({.op = &sum, .variant = variant, .build = [=](CaseBuilder& b) {
                       return reduce_sum(input(b), axis);
                     }});
    cases.push_back({.op = &mean, .variant = variant, .build = [=](CaseBuilder& b) {
                       return reduce_mean(input(b), axis);
                     }});
  };
  const auto batch = [](CaseBuilder& b) { return b.batch("x"); };
  const auto column = [](CaseBuilder& b) { return b.input("x", {kBatch}); };
  const auto matrix = [](CaseBuilder& b) { return b.input("x", {b.rows(), b.columns()}); };
  const auto vector = [](CaseBuilder& b) { return b.parameter("x", {b.columns()}); };
  add_both(kBatchSumOp, kBatchMeanOp, Axis::kBatch, "", batch);
  add_both(kBatchSumOp, kBatchMeanOp, Axis::kAll, "to a scalar", column);
  add_both(kFeatureSumOp, kFeatureMeanOp, Axis::kFeatures, "", batch);
  add_both(kFeatureSumOp, kFeatureMeanOp, Axis::kFeatures, "no batch", matrix);
  add_both(kTotalSumOp, kTotalMeanOp, Axis::kAll, "", matrix);
  add_both(kTotalSumOp, kTotalMeanOp, Axis::kAll, "vector", vector);
  for (const Reduction reduction : {Reduction::kSum, Reduction::kMean}) {
    cases.push_back({.op = reduction == Reduction::kSum ? &kBatchSumOp : &kBatchMeanOp,
                     .variant = "weights",
                     .build = [=](CaseBuilder& b) {
                       const Value x = b.input("x", {kBatch, 1});
                       // Some rows weigh nothing.
                       const Fill fill{Fill::Kind::kIntegers, b.rows() == 1 ? 1.0 : 0.0, 4};
                       const Value weights = b.input("weights", {kBatch}, fill);
                       return reduce_loss(x, {.weights = weights, .reduction = reduction});
                     }});
  }
}

}  // namespace internal

std::span<const OpCase> op_cases() {
  static const std::vector<OpCase> cases = [] {
    std::vector<OpCase> result;
    internal::add_arithmetic_cases(result);
    internal::add_activation_cases(result);
    internal::add_normalization_cases(result);
    internal::add_reduction_cases(result);
    internal::add_loss_cases(result);
    return result;
  }();
  return cases;
}

}  // namespace chainrule
