// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>

#include "case_terms.hpp"
#include "chainrule/ops/gp_nll.hpp"
#include "chainrule/ops/losses.hpp"
#include "op_cases.hpp"

namespace chainrule::internal {
namespace {

constexpr Reduction kNone = Reduction::kNone;

constexpr Fill kLogits{};
constexpr Fill kOddSixteenths{Fill::Kind::kOddSixteenths, -2, 2};
constexpr Fill kEvenSixteenths{Fill::Kind::kEvenSixteenths, -2, 2};
constexpr Fill kProbabilities{Fill::Kind::kUniform, 0, 1};
constexpr Fill kDistributions{Fill::Kind::kRows, 0, 1};
constexpr Fill kCounts{Fill::Kind::kIntegers, 0, 6};
constexpr Fill kPositiveTargets{Fill::Kind::kUniform, 0.25, 3};
constexpr Fill kSigns{Fill::Kind::kSigns, -1, 1};
// Few values, so that x = target or t x = 1 now and then ...
constexpr Fill kCrowded{Fill::Kind::kEvenSixteenths, -0.25, 0.25};
constexpr Fill kAroundOne{Fill::Kind::kEvenSixteenths, -1.25, 1.25};
// ... and where the hinge is active and x is never a target: a single element must have a gradient.
constexpr Fill kActive{Fill::Kind::kOddSixteenths, -0.875, 0.875};

using Terms = decltype(OpCase::terms);
using Loss = std::function<Value(const Value& x, const Value& target)>;

// Hyperparameters and features of Gaussian processes: near enough for covariances that matter, at
// ten times the scale as well.
struct GpInputs {
  explicit GpInputs(CaseBuilder& b, bool column_of_targets)
      : x(b.batch("x", spread_over(b.columns()))),
        targets(b.input("targets", column_of_targets ? Shape{kBatch} : Shape{kBatch, 3})),
        log_variance(b.parameter("log_variance", {1}, {Fill::Kind::kUniform, -0.3, 0.3})),
        log_noise(b.parameter("log_noise", {1}, {Fill::Kind::kUniform, -0.3, 0.3})) {}

  static Fill spread_over(Index columns) {
    return {.scale = 0.4 / std::sqrt(static_cast<double>(std::max<Index>(columns, 1)))};
  }

  Value x, targets, log_variance, log_noise;
};

Value build_rbf(CaseBuilder& b, bool ard, Reduction reduction) {
  const GpInputs in(b, ard);
  const Value log_length_scale =
      b.parameter("log_length_scale", {ard ? b.columns() : 1}, {Fill::Kind::kUniform, -0.1, 0.1});
  if (b.rows() == 1) {  // no distances
    b.expect_zero_gradient(in.x);
    b.expect_zero_gradient(log_length_scale);
  }
  return rbf_gp_nll(in.x, in.targets, in.log_variance, log_length_scale, in.log_noise,
                    {.reduction = reduction});
}

// Work grows with the cube of the rows: these are three blocks of them.
constexpr Index kMostGpRows = 67;

void add_gp_cases(std::vector<OpCase>& cases) {
  const auto add = [&](std::string variant, bool ard, Reduction reduction) {
    cases.push_back({.op = &kRbfGpNllOp,
                     .variant = std::move(variant),
                     .most_rows = kMostGpRows,
                     .build = [=](CaseBuilder& b) { return build_rbf(b, ard, reduction); }});
  };
  add("", true, Reduction::kSum);
  add("one length scale", false, Reduction::kMean);
}

class Rows {
 public:
  explicit Rows(std::vector<OpCase>& cases) : cases_(cases) {}

  void add(const OpDef& op, const Fill& x, const Fill& target, Terms terms, Loss loss) {
    cases_.push_back({.op = &op, .variant = {}, .terms = terms, .build = [=](CaseBuilder& b) {
                        return loss(b.batch("x", x), b.batch("target", target));
                      }});
  }

  void add_kinked(const OpDef& op, const Fill& x, const Fill& x_at_kink, const Fill& target,
                  const Fill& target_at_kink, Loss loss) {
    cases_.push_back({.op = &op, .variant = {}, .build = [=](CaseBuilder& b) {
                        return loss(b.batch("x", is_one_element(b) ? kActive : x),
                                    b.batch("target", target));
                      }});
    cases_.push_back({.op = &op, .variant = "at the kink", .build = [=](CaseBuilder& b) {
                        const Value logits = b.batch("x", is_one_element(b) ? kActive : x_at_kink);
                        b.expect_kinks(logits);
                        return loss(logits, b.batch("target", target_at_kink));
                      }});
  }

  // One class leaves nothing to choose: the loss is constant.
  void add_classes(const OpDef& op, std::string variant, bool labels, double smoothing) {
    cases_.push_back({.op = &op,
                      .variant = std::move(variant),
                      .terms = cross_entropy_terms,
                      .build = [=](CaseBuilder& b) {
                        const Value x = b.batch("x");
                        if (b.columns() == 1) b.expect_zero_gradient(x);
                        const Value target = labels ? b.indices("target", {kBatch}, b.columns())
                                                    : b.batch("target", kDistributions);
                        return softmax_cross_entropy(
                            x, target, {.label_smoothing = smoothing, .reduction = kNone});
                      }});
  }

 private:
  std::vector<OpCase>& cases_;
};

}  // namespace

void add_loss_cases(std::vector<OpCase>& cases) {
  Rows rows(cases);
  rows.add(kMeanSquaredErrorOp, kLogits, kLogits, nullptr, [](const Value& x, const Value& t) {
    return mean_squared_error(x, t, {.reduction = kNone});
  });
  rows.add_kinked(kMeanAbsoluteErrorOp, kOddSixteenths, kCrowded, kEvenSixteenths, kCrowded,
                  [](const Value& x, const Value& t) {
                    return mean_absolute_error(x, t, {.reduction = kNone});
                  });
  rows.add(kHuberOp, kOddSixteenths, kEvenSixteenths, nullptr, [](const Value& x, const Value& t) {
    return huber(x, t, {.delta = 0.75, .reduction = kNone});
  });
  rows.add(kBinaryCrossEntropyOp, kLogits, kProbabilities, binary_cross_entropy_terms,
           [](const Value& x, const Value& t) {
             return binary_cross_entropy(x, t, {.reduction = kNone});
           });
  rows.add_kinked(kHingeOp, kOddSixteenths, kAroundOne, kSigns, kSigns,
                  [](const Value& x, const Value& t) { return hinge(x, t, {.reduction = kNone}); });
  rows.add(kPoissonOp, kLogits, kCounts, poisson_terms,
           [](const Value& x, const Value& t) { return poisson_nll(x, t, {.reduction = kNone}); });
  rows.add(kGammaOp, kLogits, kPositiveTargets, gamma_terms, [](const Value& x, const Value& t) {
    return gamma_nll(x, t, {.shape = 1.5, .reduction = kNone});
  });
  rows.add(kNegativeBinomialOp, kLogits, kCounts, negative_binomial_terms,
           [](const Value& x, const Value& t) {
             return negative_binomial_nll(x, t, {.dispersion = 0.7, .reduction = kNone});
           });
  rows.add_classes(kSoftmaxCrossEntropyOp, "", true, 0);
  rows.add_classes(kSoftmaxCrossEntropyOp, "smoothing", true, 0.1);
  rows.add_classes(kSoftmaxCrossEntropyProbabilitiesOp, "", false, 0);
  rows.add_classes(kSoftmaxCrossEntropyProbabilitiesOp, "smoothing", false, 0.1);
  add_gp_cases(cases);
}

}  // namespace chainrule::internal
