// SPDX-License-Identifier: Apache-2.0
#include "kinks.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "case_terms.hpp"
#include "chainrule/ops/activations.hpp"
#include "chainrule/ops/losses.hpp"

namespace chainrule::internal {
namespace {

// The contracts of ops/activations.hpp and ops/losses.hpp, word by word.
struct Contract {
  const OpDef* op;
  bool (*at_kink)(double x, double target, double attribute);
  double (*derivative)(double x, double target, double attribute);
};

constexpr auto kContracts = std::to_array<Contract>({
    // "f'(0) = 0"
    {&kReluOp, [](double x, double, double) { return x == 0; },
     [](double, double, double) { return 0.0; }},
    // "f'(0) = slope"
    {&kLeakyReluOp, [](double x, double, double) { return x == 0; },
     [](double, double, double slope) { return slope; }},
    // "f'(0) = alpha"
    {&kEluOp, [](double x, double, double) { return x == 0; },
     [](double, double, double alpha) { return alpha; }},
    // "f' = sign(x - t), 0 at x = t"
    {&kMeanAbsoluteErrorOp, [](double x, double t, double) { return x == t; },
     [](double, double, double) { return 0.0; }},
    // "f' = d clamped to [-delta, delta]"
    {&kHuberOp, [](double x, double t, double delta) { return std::abs(x - t) == delta; },
     [](double x, double t, double delta) { return x > t ? delta : -delta; }},
    // "f' = -t where t x < 1, else 0 (so 0 at the kink)"
    {&kHingeOp, [](double x, double t, double) { return t * x == 1; },
     [](double, double, double) { return 0.0; }},
});

const Contract* contract_of(const OpDef& op) {
  const auto at = std::find_if(kContracts.begin(), kContracts.end(),
                               [&](const Contract& contract) { return contract.op == &op; });
  return at == kContracts.end() ? nullptr : &*at;
}

}  // namespace

std::vector<KinkElement> kink_elements(const OpDef& op, const CaseInstance& instance) {
  std::vector<KinkElement> result;
  const Contract* const contract = contract_of(op);
  if (contract == nullptr) return result;
  const Node& node = instance.output().node();
  Graph* const graph = instance.output().graph();
  const ConstTensorView x = instance.data({graph, node.inputs[0]});
  const bool loss = node.inputs.size() == 2;
  const ConstTensorView target = loss ? instance.data({graph, node.inputs[1]}) : x;
  const double columns = loss ? static_cast<double>(x.columns) : 1;
  for (Index i = 0; i < x.rows; ++i) {
    for (Index j = 0; j < x.columns; ++j) {
      const double u = element(x, i, j), t = element(target, i, j);
      const double attribute = node.attributes.real[0];
      if (!contract->at_kink(u, t, attribute)) continue;
      result.push_back({i, j, contract->derivative(u, t, attribute) / columns});
    }
  }
  return result;
}

std::span<const OpCase> cases_for_mutants() {
  static const std::vector<OpCase> cases = [] {
    std::vector<OpCase> result;
    // |x - target| is 0, delta or 2 delta.
    result.push_back({.op = &kHuberOp, .variant = "at delta", .build = [](CaseBuilder& b) {
                        const Fill multiples{Fill::Kind::kIntegers, 0, 3, 0.75};
                        const Value x = b.batch("x", multiples);
                        b.expect_kinks(x);
                        return huber(x, b.batch("target", multiples),
                                     {.delta = 0.75, .reduction = Reduction::kNone});
                      }});
    // With targets that sum to 1, a backward that takes that for granted would go unnoticed.
    result.push_back({.op = &kSoftmaxCrossEntropyProbabilitiesOp,
                      .variant = "weights as target",
                      .terms = cross_entropy_terms,
                      .build = [](CaseBuilder& b) {
                        return softmax_cross_entropy(
                            b.batch("x"), b.batch("target", {Fill::Kind::kUniform, 0.25, 2}),
                            {.label_smoothing = 0.1, .reduction = Reduction::kNone});
                      }});
    return result;
  }();
  return cases;
}

}  // namespace chainrule::internal
