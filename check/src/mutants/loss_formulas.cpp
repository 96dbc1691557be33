// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <functional>

#include "chainrule/ops/losses.hpp"
#include "formula_support.hpp"

namespace chainrule::internal {
namespace {

// dl of another row, or none at all.
template <class Gradient>
void with_dy(const Call& call, const Gradient& gradient) {
  ChangedOperand dy(call.dy());
  for (Index i = 0; i < dy.rows(); ++i) dy(i, 0) = gradient(i);
  OpContext changed = call.context();
  changed.output_gradient = dy.view();
  call.run_original(changed);
}

// What every loss can get wrong.
void add_row_loss_formulas(std::vector<WrongFormula>& formulas) {
  using enum MutantClass;
  for (const OpDef* op :
       {&kMeanSquaredErrorOp, &kMeanAbsoluteErrorOp, &kHuberOp, &kBinaryCrossEntropyOp, &kHingeOp,
        &kPoissonOp, &kGammaOp, &kNegativeBinomialOp}) {
    const FormulaAdder add(formulas, *op);
    add(kCount, "1 / n is missing", [](const Call& call) {
      call.run_original();
      multiply(call.gradient(0), as_real(call.gradient(0).columns));
    });
    add(kCount, "1 / (n - 1) for 1 / n", [](const Call& call) {
      call.run_original();
      const double n = as_real(call.gradient(0).columns);
      multiply(call.gradient(0), n / (n - 1));
    });
    add(kCount, "1 / B, too, that the reduction divides by", [](const Call& call) {
      call.run_original();
      multiply(call.gradient(0), 1 / as_real(call.context().batch_rows));
    });
    add(kDroppedTerm, "dl taken for 1",
        [](const Call& call) { with_dy(call, [](Index) { return 1.0; }); });
    add(kWrongTerm, "dl of the next row", [](const Call& call) {
      with_dy(call, [&](Index i) { return call.dy()((i + 1) % call.dy().rows, 0); });
    });
  }
}

double sign(double d) { return d > 0 ? 1 : d < 0 ? -1 : 0; }

// Right everywhere but at the kink, where f' is taken to be `value`.
template <class AtKink, class Value>
void replace_at(const Call& call, const AtKink& at_kink, const Value& value) {
  call.run_original();
  const MatrixView<double> dx = call.gradient(0);
  set_elements(dx, [&](Index i, Index j) {
    const double x = call.in(0)(i, j), t = call.in(1)(i, j);
    if (!at_kink(x, t)) return dx(i, j);
    return call.dy()(i, 0) / as_real(dx.columns) * value(t);
  });
}

void add_regression_formulas(std::vector<WrongFormula>& formulas) {
  using enum MutantClass;
  const FormulaAdder squared(formulas, kMeanSquaredErrorOp);
  squared.control([](double x, double t, const double*) { return 2 * (x - t); });
  squared(kDroppedTerm, "the factor 2 is missing",
          [](double x, double t, const double*) { return x - t; });
  squared(kDroppedTerm, "2 x: the target is missing",
          [](double x, double, const double*) { return 2 * x; });
  squared(kSign, "2 (t - x)", [](double x, double t, const double*) { return 2 * (t - x); });
  squared(kSign, "2 (x + t)", [](double x, double t, const double*) { return 2 * (x + t); });

  const FormulaAdder absolute(formulas, kMeanAbsoluteErrorOp);
  absolute.control([](double x, double t, const double*) { return sign(x - t); });
  absolute(kBoundary, "x >= t for x > t: 1 at x = t", [](const Call& call) {
    replace_at(call, std::equal_to<>(), [](double) { return 1.0; });
  });
  absolute(kBoundary, "-1 at x = t", [](const Call& call) {
    replace_at(call, std::equal_to<>(), [](double) { return -1.0; });
  });
  absolute(kDroppedTerm, "x - t: not its sign",
           [](double x, double t, const double*) { return x - t; });
  absolute(kWrongTerm, "the sign of x", [](double x, double, const double*) { return sign(x); });
  absolute(kDroppedTerm, "0 below the target",
           [](double x, double t, const double*) { return x > t ? 1.0 : 0.0; });

  const FormulaAdder huber(formulas, kHuberOp);
  huber.control([](double x, double t, const double* p) { return std::clamp(x - t, -p[0], p[0]); });
  huber(kBoundary, "0 at |d| = delta: neither < nor >", [](const Call& call) {
    const double delta = call.real()[0];
    replace_at(
        call, [=](double x, double t) { return std::abs(x - t) == delta; },
        [](double) { return 0.0; });
  });
  huber(kDroppedTerm, "d: not clamped", [](double x, double t, const double*) { return x - t; });
  huber(kDroppedTerm, "sign(d) beyond delta: delta is missing",
        [](double x, double t, const double* p) {
          return std::abs(x - t) <= p[0] ? x - t : sign(x - t);
        });
  huber(kDroppedTerm, "clamped above only",
        [](double x, double t, const double* p) { return std::min(x - t, p[0]); });
  huber(kDroppedTerm, "clamped to 1 for delta",
        [](double x, double t, const double*) { return std::clamp(x - t, -1.0, 1.0); });
  huber(kWrongTerm, "2 d within delta", [](double x, double t, const double* p) {
    return std::abs(x - t) <= p[0] ? 2 * (x - t) : std::clamp(x - t, -p[0], p[0]);
  });
  huber(kSign, "delta beyond it on either side",
        [](double x, double t, const double* p) { return std::abs(x - t) <= p[0] ? x - t : p[0]; });
}

void add_classifier_formulas(std::vector<WrongFormula>& formulas) {
  using enum MutantClass;
  const FormulaAdder entropy(formulas, kBinaryCrossEntropyOp);
  entropy.control([](double x, double t, const double*) { return sigma(x) - t; });
  entropy(kSign, "t - s", [](double x, double t, const double*) { return t - sigma(x); });
  entropy(kDroppedTerm, "x - t: sigma is missing",
          [](double x, double t, const double*) { return x - t; });
  entropy(kDroppedTerm, "s: the target is missing",
          [](double x, double, const double*) { return sigma(x); });
  entropy(kWrongTerm, "1 - t for t",
          [](double x, double t, const double*) { return sigma(x) - (1 - t); });
  entropy(kWrongTerm, "x and t swapped: sigma(t) - x",
          [](double x, double t, const double*) { return sigma(t) - x; });
  entropy(kWrongTerm, "(s - t) s (1 - s), of the squared error",
          [](double x, double t, const double*) { return (sigma(x) - t) * sigma(x) * sigma(-x); });

  const FormulaAdder hinge(formulas, kHingeOp);
  hinge.control([](double x, double t, const double*) { return t * x < 1 ? -t : 0.0; });
  hinge(kBoundary, "t x <= 1 for t x < 1: -t at t x = 1", [](const Call& call) {
    replace_at(
        call, [](double x, double t) { return t * x == 1; }, [](double t) { return -t; });
  });
  hinge(kBoundary, "-t / 2 at t x = 1", [](const Call& call) {
    replace_at(
        call, [](double x, double t) { return t * x == 1; }, [](double t) { return -t / 2; });
  });
  hinge(kDroppedTerm, "-t beyond the margin, too",
        [](double, double t, const double*) { return -t; });
  hinge(kWrongTerm, "the margin at 0, of the perceptron",
        [](double x, double t, const double*) { return t * x < 0 ? -t : 0.0; });
  hinge(kDroppedTerm, "-1 for -t",
        [](double x, double t, const double*) { return t * x < 1 ? -1.0 : 0.0; });
  hinge(kWrongTerm, "x < 1 for t x < 1",
        [](double x, double t, const double*) { return x < 1 ? -t : 0.0; });
  hinge(kWrongTerm, "-2 t (1 - t x), of the squared hinge",
        [](double x, double t, const double*) { return t * x < 1 ? -2 * t * (1 - t * x) : 0.0; });
}

void add_log_link_formulas(std::vector<WrongFormula>& formulas) {
  using enum MutantClass;
  const FormulaAdder poisson(formulas, kPoissonOp);
  poisson.control([](double x, double t, const double*) { return std::exp(x) - t; });
  poisson(kDroppedTerm, "x - t: e^ is missing",
          [](double x, double t, const double*) { return x - t; });
  poisson(kDroppedTerm, "e^x: the target is missing",
          [](double x, double, const double*) { return std::exp(x); });
  poisson(kWrongTerm, "1 - t e^-x, of gamma_nll",
          [](double x, double t, const double*) { return 1 - t * std::exp(-x); });
  poisson(kWrongTerm, "e^x (x - t)",
          [](double x, double t, const double*) { return std::exp(x) * (x - t); });

  const FormulaAdder gamma(formulas, kGammaOp);
  gamma.control([](double x, double t, const double* p) { return p[0] * (1 - t * std::exp(-x)); });
  gamma(kDroppedTerm, "the shape is missing",
        [](double x, double t, const double*) { return 1 - t * std::exp(-x); });
  gamma(kDroppedTerm, "the shape is missing in front of the target",
        [](double x, double t, const double* p) { return p[0] - t * std::exp(-x); });
  gamma(kWrongTerm, "e^x for e^-x",
        [](double x, double t, const double* p) { return p[0] * (1 - t * std::exp(x)); });
  gamma(kSign, "1 + t e^-x",
        [](double x, double t, const double* p) { return p[0] * (1 + t * std::exp(-x)); });
  gamma(kDroppedTerm, "1 is missing",
        [](double x, double t, const double* p) { return -p[0] * t * std::exp(-x); });

  const FormulaAdder binomial(formulas, kNegativeBinomialOp);
  binomial.control([](double x, double t, const double* p) {
    return (std::exp(x) - t) / (1 + p[0] * std::exp(x));
  });
  binomial(kDroppedTerm, "the dispersion taken for 1",
           [](double x, double t, const double*) { return (std::exp(x) - t) / (1 + std::exp(x)); });
  binomial(kWrongTerm, "the dispersion's reciprocal", [](double x, double t, const double* p) {
    return (std::exp(x) - t) / (1 + std::exp(x) / p[0]);
  });
  binomial(kDroppedTerm, "e^x - t, of poisson_nll",
           [](double x, double t, const double*) { return std::exp(x) - t; });
  binomial(
      kDroppedTerm, "(e^x - t) / (a e^x): 1 is missing",
      [](double x, double t, const double* p) { return (std::exp(x) - t) / (p[0] * std::exp(x)); });
  binomial(kDroppedTerm, "the target's part of the denominator is missing",
           [](double x, double t, const double* p) {
             return std::exp(x) / (1 + p[0] * std::exp(x)) - t;
           });
}

}  // namespace

void add_loss_formulas(std::vector<WrongFormula>& formulas) {
  add_row_loss_formulas(formulas);
  add_regression_formulas(formulas);
  add_classifier_formulas(formulas);
  add_log_link_formulas(formulas);
}

}  // namespace chainrule::internal
