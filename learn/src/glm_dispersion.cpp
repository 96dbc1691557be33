// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/evaluate.hpp"
#include "chainrule/learn/glm.hpp"
#include "glm_statistics.hpp"

namespace chainrule {
namespace {

constexpr double kLargestLogSize = 20;  // of log 1 / a, either way
constexpr int kMaxRounds = 200;
constexpr double kTolerance = 1e-10;

// d log p / dr of a negative binomial with r = 1 / a, mean mu and count t.
double score(double r, double mu, double t) {
  using internal::digamma_less_log;
  return digamma_less_log(t + r).value - digamma_less_log(r).value +
         std::log1p((t - mu) / (r + mu)) - (t - mu) / (r + mu);
}

// The best a for given means, by bisection over log r.
double best_dispersion(const Tensor& means, const Dataset& data) {
  double low = -kLargestLogSize, high = kLargestLogSize;
  while (true) {
    const double middle = low + (high - low) / 2;
    if (middle <= low || middle >= high) return std::exp(-middle);
    const double r = std::exp(middle);
    double sum = 0;
    for (Index i = 0; i < means.rows(); ++i) {
      const double w = data.weights.shape().rank() == 0 ? 1 : element(data.weights, i, 0);
      if (w != 0) sum += w * score(r, element(means, i, 0), element(data.y, i, 0));
    }
    (sum > 0 ? low : high) = middle;
  }
}

}  // namespace

double negative_binomial_dispersion(const Model& model, const Dataset& data,
                                    const GlmOptions& options) {
  const auto* head = std::get_if<Linear>(&model.layers().back());
  if (head == nullptr || head->out != 1) {
    throw ArgumentError(
        fmt::format("negative_binomial_dispersion: got a model of {} outputs with '{}' at the end, "
                    "expected a Linear layer with one",
                    model.outputs(), name_of(model.layers().back())));
  }
  const Model wide = model.to(DType::kFloat64);
  GlmOptions quick = options;
  quick.covariance = false;
  double dispersion = 1;
  for (int round = 0; round < kMaxRounds; ++round) {
    Model current = wide.with_head(1, NegativeBinomial{.dispersion = dispersion}, head->bias);
    fit_glm(current, data, quick);
    const Dataset ready = current.prepare_view(data);
    Predictor predictor(current);
    const Tensor means = data.offset.shape().rank() == 0 ? predictor.predict(data.x)
                                                         : predictor.predict(data.x, data.offset);
    const double next = best_dispersion(means, ready);
    const bool same = std::abs(next - dispersion) <= kTolerance * dispersion;
    dispersion = next;
    if (same) break;
  }
  return dispersion;
}

}  // namespace chainrule
