// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <numbers>

#include "chainrule/ops/activations.hpp"
#include "formula_support.hpp"

namespace chainrule::internal {
namespace {

double sigma_slope(double x) { return sigma(x) * sigma(-x); }
double normal_density(double x) {
  return std::exp(-x * x / 2) * std::numbers::inv_sqrtpi / std::numbers::sqrt2;
}
double normal_below(double x) { return std::erfc(-x / std::numbers::sqrt2) / 2; }

// gelu_tanh is x sigma(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).
constexpr double kCubic = 0.044715;
const double kScale = 2 * std::numbers::sqrt2 * std::numbers::inv_sqrtpi;
double two_u(double x) { return kScale * (x + kCubic * x * x * x); }
double two_u_slope(double x) { return kScale * (1 + 3 * kCubic * x * x); }
double gelu_slope(double x) { return normal_below(x) + x * normal_density(x); }
double gelu_tanh_slope(double x) {
  return sigma(two_u(x)) + x * two_u_slope(x) * sigma_slope(two_u(x));
}

// Right everywhere but at the kink, where f' is taken to be `value`.
template <class Value>
void replace_at_zero(const Call& call, const Value& value) {
  call.run_original();
  const MatrixView<double> dx = call.gradient(0);
  const MatrixView<const double> x = call.in(0);
  set_elements(dx, [&](Index i, Index j) {
    return x(i, j) == 0 ? value(call.real()[0]) * call.dy()(i, j) : dx(i, j);
  });
}

void add_kinked_formulas(std::vector<WrongFormula>& formulas) {
  using enum MutantClass;
  const FormulaAdder relu(formulas, kReluOp);
  relu.control([](double x, double, const double*) { return x > 0 ? 1.0 : 0.0; });
  relu(kBoundary, "x >= 0 for x > 0: f'(0) = 1",
       [](const Call& call) { replace_at_zero(call, [](double) { return 1.0; }); });
  relu(kBoundary, "f'(0) = 1/2",
       [](const Call& call) { replace_at_zero(call, [](double) { return 0.5; }); });
  relu(kDroppedTerm, "the negative side is not masked",
       [](double, double, const double*) { return 1.0; });
  relu(kWrongTerm, "leaks 0.01 on the negative side",
       [](double x, double, const double*) { return x > 0 ? 1.0 : 0.01; });
  relu(kWrongTerm, "the mask of the other side",
       [](double x, double, const double*) { return x < 0 ? 1.0 : 0.0; });

  const FormulaAdder leaky_relu(formulas, kLeakyReluOp);
  leaky_relu.control([](double x, double, const double* p) { return x > 0 ? 1.0 : p[0]; });
  leaky_relu(kBoundary, "f'(0) = 1 for slope",
             [](const Call& call) { replace_at_zero(call, [](double) { return 1.0; }); });
  leaky_relu(kBoundary, "f'(0) = 0 as for relu",
             [](const Call& call) { replace_at_zero(call, [](double) { return 0.0; }); });
  leaky_relu(kWrongTerm, "the slope on the positive side",
             [](double x, double, const double* p) { return x > 0 ? p[0] : 1.0; });
  leaky_relu(kWrongTerm, "the default slope, whatever the attribute",
             [](double x, double, const double*) { return x > 0 ? 1.0 : 0.01; });
  leaky_relu(kDroppedTerm, "no slope on the negative side",
             [](double x, double, const double*) { return x > 0 ? 1.0 : 0.0; });
  leaky_relu(kWrongTerm, "1 - slope on the negative side",
             [](double x, double, const double* p) { return x > 0 ? 1.0 : 1 - p[0]; });

  const FormulaAdder elu(formulas, kEluOp);
  elu.control([](double x, double, const double* p) { return x > 0 ? 1.0 : p[0] * std::exp(x); });
  elu(kBoundary, "f'(0) = 1 for alpha",
      [](const Call& call) { replace_at_zero(call, [](double) { return 1.0; }); });
  elu(kBoundary, "f'(0) = 0",
      [](const Call& call) { replace_at_zero(call, [](double) { return 0.0; }); });
  elu(kDroppedTerm, "alpha is missing: e^x",
      [](double x, double, const double*) { return x > 0 ? 1.0 : std::exp(x); });
  elu(kWrongTerm, "y + 1 for y + alpha",
      [](double x, double y, const double*) { return x > 0 ? 1.0 : y + 1; });
  elu(kDroppedTerm, "y for y + alpha",
      [](double x, double y, const double*) { return x > 0 ? 1.0 : y; });
  elu.where([](const Specimen& specimen) { return variant_is(specimen, ""); })(
      kSavedValue, "x read for y: x + alpha",
      [](double x, double, const double* p) { return x > 0 ? 1.0 : x + p[0]; });
}

void add_sigmoid_formulas(std::vector<WrongFormula>& formulas) {
  using enum MutantClass;
  const FormulaAdder identity(formulas, kIdentityOp);
  identity.control([](double, double, const double*) { return 1.0; });
  identity(kWrongTerm, "twice", [](double, double, const double*) { return 2.0; });

  const FormulaAdder sigmoid(formulas, kSigmoidOp);
  sigmoid.control([](double x, double, const double*) { return sigma_slope(x); });
  sigmoid(kDroppedTerm, "y for y (1 - y)", [](double, double y, const double*) { return y; });
  sigmoid(kDroppedTerm, "1 - y for y (1 - y)",
          [](double, double y, const double*) { return 1 - y; });
  sigmoid(kSavedValue, "x read for y: x (1 - x)",
          [](double x, double, const double*) { return x * (1 - x); });
  sigmoid(kSavedValue, "y taken for x: sigma(y) (1 - sigma(y))",
          [](double, double y, const double*) { return sigma_slope(y); });
  sigmoid(kWrongTerm, "1 - y^2, of tanh",
          [](double, double y, const double*) { return 1 - y * y; });

  const FormulaAdder tanh(formulas, kTanhOp);
  tanh.control([](double x, double, const double*) { return std::pow(std::cosh(x), -2); });
  tanh(kWrongTerm, "1 - y for 1 - y^2", [](double, double y, const double*) { return 1 - y; });
  tanh(kWrongTerm, "1 + y^2 for 1 - y^2",
       [](double, double y, const double*) { return 1 + y * y; });
  tanh(kDroppedTerm, "1 for 1 - y^2", [](double, double, const double*) { return 1.0; });
  tanh(kSavedValue, "x read for y: 1 - x^2",
       [](double x, double, const double*) { return 1 - x * x; });
  tanh(kSavedValue, "y taken for x: 1 - tanh(y)^2",
       [](double, double y, const double*) { return 1 - std::tanh(y) * std::tanh(y); });
  tanh(kWrongTerm, "y (1 - y), of sigmoid",
       [](double, double y, const double*) { return y * (1 - y); });

  const FormulaAdder softplus(formulas, kSoftplusOp);
  softplus.control([](double x, double, const double*) { return sigma(x); });
  softplus(kWrongTerm, "sigma(-x)", [](double x, double, const double*) { return sigma(-x); });
  softplus(kSavedValue, "y read for x: sigma(y)",
           [](double, double y, const double*) { return sigma(y); });
  softplus(kWrongTerm, "e^x / (1 + y)",
           [](double x, double y, const double*) { return std::exp(x) / (1 + y); });
  softplus(kDroppedTerm, "e^x for e^x / (1 + e^x)",
           [](double x, double, const double*) { return std::exp(x); });
}

void add_gated_formulas(std::vector<WrongFormula>& formulas) {
  using enum MutantClass;
  const FormulaAdder silu(formulas, kSiluOp);
  silu.control([](double x, double, const double*) { return sigma(x) + x * sigma_slope(x); });
  silu(kDroppedTerm, "x sigma' is missing",
       [](double x, double, const double*) { return sigma(x); });
  silu(kDroppedTerm, "sigma is missing",
       [](double x, double, const double*) { return x * sigma_slope(x); });
  silu(kDroppedTerm, "sigma + sigma': x is missing",
       [](double x, double, const double*) { return sigma(x) + sigma_slope(x); });
  silu(kWrongTerm, "sigma + x sigma: sigma for sigma'",
       [](double x, double, const double*) { return sigma(x) + x * sigma(x); });
  silu(kSavedValue, "y read for x",
       [](double, double y, const double*) { return sigma(y) + y * sigma_slope(y); });

  const FormulaAdder gelu(formulas, kGeluOp);
  gelu.control([](double x, double, const double*) { return gelu_slope(x); });
  gelu(kWrongTerm, "the derivative of gelu_tanh",
       [](double x, double, const double*) { return gelu_tanh_slope(x); });
  gelu(kDroppedTerm, "x phi is missing",
       [](double x, double, const double*) { return normal_below(x); });
  gelu(kDroppedTerm, "Phi is missing",
       [](double x, double, const double*) { return x * normal_density(x); });
  gelu(kDroppedTerm, "e^-x^2 for e^(-x^2 / 2)", [](double x, double, const double*) {
    return normal_below(x) + x * normal_density(x) * std::exp(-x * x / 2);
  });
  gelu(kDroppedTerm, "phi without 1 / sqrt 2", [](double x, double, const double*) {
    return normal_below(x) + x * std::numbers::sqrt2 * normal_density(x);
  });
  gelu(kWrongTerm, "Phi - x phi",
       [](double x, double, const double*) { return normal_below(x) - x * normal_density(x); });
  gelu(kSavedValue, "y read for x", [](double, double y, const double*) { return gelu_slope(y); });

  const FormulaAdder gelu_tanh(formulas, kGeluTanhOp);
  gelu_tanh.control([](double x, double, const double*) { return gelu_tanh_slope(x); });
  gelu_tanh(kWrongTerm, "the derivative of gelu",
            [](double x, double, const double*) { return gelu_slope(x); });
  gelu_tanh(kDroppedTerm, "u' without the factor 3", [](double x, double, const double*) {
    return sigma(two_u(x)) + x * kScale * (1 + kCubic * x * x) * sigma_slope(two_u(x));
  });
  gelu_tanh(kDroppedTerm, "u' without the cubic term", [](double x, double, const double*) {
    return sigma(two_u(x)) + x * kScale * sigma_slope(two_u(x));
  });
  gelu_tanh(kDroppedTerm, "the term with u' is missing",
            [](double x, double, const double*) { return sigma(two_u(x)); });
}

void add_exponential_formulas(std::vector<WrongFormula>& formulas) {
  using enum MutantClass;
  const FormulaAdder exp(formulas, kExpOp);
  exp.control([](double x, double, const double*) { return std::exp(x); });
  exp(kSavedValue, "x read for y", [](double x, double, const double*) { return x; });
  exp(kDroppedTerm, "1 for y", [](double, double, const double*) { return 1.0; });
  exp(kWrongTerm, "e^-x", [](double x, double, const double*) { return std::exp(-x); });

  const FormulaAdder log(formulas, kLogOp);
  log.control([](double x, double, const double*) { return 1 / x; });
  log(kSavedValue, "y read for x: 1 / y", [](double, double y, const double*) { return 1 / y; });
  log(kWrongTerm, "1 / x^2", [](double x, double, const double*) { return 1 / (x * x); });
  log(kDroppedTerm, "x for 1 / x", [](double x, double, const double*) { return x; });
}

}  // namespace

void add_activation_formulas(std::vector<WrongFormula>& formulas) {
  add_kinked_formulas(formulas);
  add_sigmoid_formulas(formulas);
  add_gated_formulas(formulas);
  add_exponential_formulas(formulas);
}

}  // namespace chainrule::internal
