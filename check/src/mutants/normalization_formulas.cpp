// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "chainrule/ops/batch_norm.hpp"
#include "chainrule/ops/layer_norm.hpp"
#include "formula_support.hpp"

namespace chainrule::internal {
namespace {

using Matrix = MatrixView<const double>;

// The textbook formula, line by line (rows of layer_norm, columns of batch_norm), with everything
// that can be wrong about it:
//   dx = rstd (e - mean(e) - h mean(e h)), dgamma = sum dy h, h = (x - mean) rstd, e = dy gamma.
struct NormVariation {
  bool epsilon_outside = false;  // rstd = 1 / (sqrt(variance) + epsilon)
  bool epsilon = true;
  Index variance_freedom = 0;  // variance = sum / (n - this)
  Index mean_freedom = 0;      // means in dx = sum / (n - this)
  bool center = true;          // h = (x - mean) rstd
  bool mean_term = true;
  bool product_term = true;
  bool gamma = true;        // e = dy gamma
  bool gamma_first = true;  // else dx = gamma rstd (dy - ...)
  bool rstd = true;         // in front of dx
  bool root = true;         // rstd = 1 / sqrt(...), else 1 / (...)
  bool running = false;     // the running statistics of batch_norm
};

class Normalization {
 public:
  Normalization(const Call& call, const NormVariation& variation)
      : call_(call),
        v_(variation),
        by_row_(call.context().input_count == 3),
        x_(call.in(0)),
        dy_(call.dy()),
        n_(by_row_ ? x_.columns : x_.rows),
        lines_(by_row_ ? x_.rows : x_.columns) {}

  void input_gradient() const {
    const MatrixView<double> dx = call_.gradient(0);
    if (dx.data == nullptr) return;
    for (Index line = 0; line < lines_; ++line) {
      const Statistics s = statistics(line);
      const double e_mean = mean(line, [&](Index i, Index j) { return e(i, j); });
      const double product = mean(line, [&](Index i, Index j) { return e(i, j) * h(s, i, j); });
      for_line(line, [&](Index i, Index j) {
        double d = e(i, j);
        if (v_.mean_term) d -= e_mean;
        if (v_.product_term) d -= h(s, i, j) * product;
        if (!v_.gamma_first && v_.gamma) d *= gamma(j);
        dx(i, j) = v_.rstd ? s.rstd * d : d;
      });
    }
  }

  void gamma_gradient() const {
    const MatrixView<double> dgamma = call_.gradient(1);
    if (dgamma.data == nullptr) return;
    for (Index line = 0; line < lines_; ++line) {
      const Statistics s = statistics(line);
      for_line(line, [&](Index i, Index j) { dgamma(0, j) += dy_(i, j) * h(s, i, j); });
    }
  }

 private:
  struct Statistics {
    double mean = 0;
    double rstd = 0;
  };

  template <class Body>
  void for_line(Index line, const Body& body) const {
    for (Index k = 0; k < n_; ++k) by_row_ ? body(line, k) : body(k, line);
  }

  template <class Term>
  double sum(Index line, const Term& term) const {
    double result = 0;
    for_line(line, [&](Index i, Index j) { result += term(i, j); });
    return result;
  }

  template <class Term>
  double mean(Index line, const Term& term) const {
    return sum(line, term) / as_real(n_ - v_.mean_freedom);
  }

  Statistics statistics(Index line) const {
    Statistics s;
    s.mean = sum(line, [&](Index i, Index j) { return x_(i, j); }) / as_real(n_);
    const auto square = [&](Index i, Index j) { return (x_(i, j) - s.mean) * (x_(i, j) - s.mean); };
    double variance = sum(line, square) / as_real(n_ - v_.variance_freedom);
    if (v_.running) {
      s.mean = call_.in(3)(0, line);
      variance = call_.in(4)(0, line);
    }
    const double epsilon = v_.epsilon ? call_.real()[by_row_ ? 0 : 1] : 0;
    const double inside = v_.epsilon_outside ? variance : variance + epsilon;
    s.rstd = 1 / ((v_.root ? std::sqrt(inside) : inside) + (v_.epsilon_outside ? epsilon : 0));
    return s;
  }

  double gamma(Index j) const { return call_.in(1)(0, j); }
  double e(Index i, Index j) const {
    return v_.gamma && v_.gamma_first ? dy_(i, j) * gamma(j) : dy_(i, j);
  }
  double h(const Statistics& s, Index i, Index j) const {
    return (x_(i, j) - (v_.center ? s.mean : 0)) * s.rstd;
  }

  const Call& call_;
  const NormVariation v_;
  bool by_row_;
  Matrix x_;
  Matrix dy_;
  Index n_;
  Index lines_;
};

constexpr NormVariation kRight{};
constexpr NormVariation kEpsilonOutside{.epsilon_outside = true};
constexpr NormVariation kNoEpsilon{.epsilon = false};
constexpr NormVariation kUnbiased{.variance_freedom = 1};
constexpr NormVariation kMeansOfOneLess{.mean_freedom = 1};
constexpr NormVariation kNotCentered{.center = false};
constexpr NormVariation kNoMeanTerm{.mean_term = false};
constexpr NormVariation kNoProductTerm{.product_term = false};
constexpr NormVariation kConstantStatistics{.mean_term = false, .product_term = false};
constexpr NormVariation kNoGamma{.gamma = false};
constexpr NormVariation kGammaLast{.gamma_first = false};
constexpr NormVariation kNoRstd{.rstd = false};
constexpr NormVariation kNoRoot{.root = false};
constexpr NormVariation kRunning{.running = true};
constexpr NormVariation kRunningConstant{
    .mean_term = false, .product_term = false, .running = true};
constexpr NormVariation kRunningNoEpsilon{
    .epsilon = false, .mean_term = false, .product_term = false, .running = true};
constexpr NormVariation kRunningOutside{
    .epsilon_outside = true, .mean_term = false, .product_term = false, .running = true};
constexpr NormVariation kRunningNoRoot{
    .mean_term = false, .product_term = false, .root = false, .running = true};
constexpr NormVariation kRunningNotCentered{.center = false, .running = true};

template <const NormVariation& kNormVariation>
void dx_with(const Call& call) {
  call.run_original();
  Normalization(call, kNormVariation).input_gradient();
}

template <const NormVariation& kNormVariation>
void dgamma_with(const Call& call) {
  call.run_original();
  set_elements(call.gradient(1), [](Index, Index) { return 0.0; });
  Normalization(call, kNormVariation).gamma_gradient();
}

// dgamma or dbeta from `term(i, j)`, summed over the rows of this call.
template <class Term>
void parameter_gradient(const Call& call, int input, const Term& term) {
  call.run_original();
  set_elements(call.gradient(input), [&](Index, Index j) {
    double sum = 0;
    for (Index i = 0; i < call.dy().rows; ++i) sum += term(i, j);
    return sum;
  });
}

// The op itself, with statistics that are not what forward saved.
template <class Change>
void with_saved(const Call& call, const Change& change) {
  ChangedOperand saved(call.saved());
  change(saved);
  OpContext changed = call.context();
  changed.saved = saved.view();
  call.run_original(changed);
}

// What layer_norm and batch_norm in training share.
void add_shared_norm_formulas(const FormulaAdder& dx) {
  using enum MutantClass;
  const FormulaAdder dgamma = dx.of(1), dbeta = dx.of(2);
  dx.control(dx_with<kRight>);
  dgamma.control(dgamma_with<kRight>);
  dbeta.control([](const Call& call) {
    parameter_gradient(call, 2, [&](Index i, Index j) { return call.dy()(i, j); });
  });
  dx(kEpsilon, "epsilon outside the root", dx_with<kEpsilonOutside>);
  dx(kEpsilon, "epsilon is missing", dx_with<kNoEpsilon>);
  dx(kCount, "the variance with n - 1", dx_with<kUnbiased>);
  dx(kCount, "the means of e and e h with n - 1", dx_with<kMeansOfOneLess>);
  dx(kDroppedTerm, "mean(e) is missing", dx_with<kNoMeanTerm>);
  dx(kDroppedTerm, "h mean(e h) is missing", dx_with<kNoProductTerm>);
  dx(kDroppedTerm, "the statistics taken for constants", dx_with<kConstantStatistics>);
  dx(kDroppedTerm, "gamma is missing", dx_with<kNoGamma>);
  dx(kDroppedTerm, "rstd is missing in front", dx_with<kNoRstd>);
  dx(kSavedValue, "the saved mean is 0", dx_with<kNotCentered>);
  dx(kSavedValue, "variance read for its root", dx_with<kNoRoot>);
  dgamma(kEpsilon, "epsilon outside the root", dgamma_with<kEpsilonOutside>);
  dgamma(kEpsilon, "epsilon is missing", dgamma_with<kNoEpsilon>);
  dgamma(kCount, "the variance with n - 1", dgamma_with<kUnbiased>);
  dgamma(kSavedValue, "the saved mean is 0", dgamma_with<kNotCentered>);
  dgamma(kDroppedTerm, "h is missing", [](const Call& call) {
    parameter_gradient(call, 1, [&](Index i, Index j) { return call.dy()(i, j); });
  });
  dgamma(kSavedValue, "x read for h", [](const Call& call) {
    parameter_gradient(call, 1,
                       [&](Index i, Index j) { return call.dy()(i, j) * call.in(0)(i, j); });
  });
  dgamma(kWrongTerm, "y for h", [](const Call& call) {
    parameter_gradient(call, 1,
                       [&](Index i, Index j) { return call.dy()(i, j) * call.out()(i, j); });
  });
  dbeta(kWrongTerm, "times gamma", [](const Call& call) {
    parameter_gradient(call, 2,
                       [&](Index i, Index j) { return call.dy()(i, j) * call.in(1)(0, j); });
  });
  dbeta(kLastRow, "the last row of the batch is left out", [](const Call& call) {
    parameter_gradient(call, 2,
                       [&](Index i, Index j) { return call.is_last_row(i) ? 0 : call.dy()(i, j); });
  });
  dbeta(kCount, "the mean over the batch for the sum", [](const Call& call) {
    parameter_gradient(call, 2, [&](Index i, Index j) {
      return call.dy()(i, j) / as_real(call.context().batch_rows);
    });
  });
}

void add_layer_norm_formulas(const FormulaAdder& dx) {
  using enum MutantClass;
  add_shared_norm_formulas(dx);
  dx(kWrongTerm, "gamma after the means", dx_with<kGammaLast>);
  dx(kSavedValue, "the statistics of the next row", [](const Call& call) {
    with_saved(call, [&](ChangedOperand& saved) {
      for (Index i = 0; i < saved.rows(); ++i) {
        for (const Index j : {0, 1}) saved(i, j) = call.saved()((i + 1) % saved.rows(), j);
      }
    });
  });
}

void add_batch_norm_formulas(const FormulaAdder& dx) {
  using enum MutantClass;
  add_shared_norm_formulas(dx);
  dx(kSavedValue, "the running statistics", dx_with<kRunning>);
  dx(kSavedValue, "the running statistics, as constants", dx_with<kRunningConstant>);
  dx.of(1)(kSavedValue, "the running statistics", dgamma_with<kRunning>);
  dx(kSavedValue, "the statistics of the next column", [](const Call& call) {
    with_saved(call, [&](ChangedOperand& saved) {
      for (Index j = 0; j < saved.columns(); ++j) {
        for (const Index i : {0, 1}) saved(i, j) = call.saved()(i, (j + 1) % saved.columns());
      }
    });
  });
}

void add_batch_norm_inference_formulas(const FormulaAdder& dx) {
  using enum MutantClass;
  const FormulaAdder dgamma = dx.of(1);
  dx.control(dx_with<kRunningConstant>);
  dgamma.control(dgamma_with<kRunningConstant>);
  dx(kSavedValue, "the statistics of the batch", dx_with<kConstantStatistics>);
  dx(kWrongTerm, "the terms of training", dx_with<kRunning>);
  dx(kEpsilon, "epsilon outside the root", dx_with<kRunningOutside>);
  dx(kEpsilon, "epsilon is missing", dx_with<kRunningNoEpsilon>);
  dx(kSavedValue, "variance read for its root", dx_with<kRunningNoRoot>);
  dgamma(kSavedValue, "the statistics of the batch", dgamma_with<kConstantStatistics>);
  dgamma(kSavedValue, "the running mean is 0", dgamma_with<kRunningNotCentered>);
  dgamma(kEpsilon, "epsilon outside the root", dgamma_with<kRunningOutside>);
}

}  // namespace

void add_normalization_formulas(std::vector<WrongFormula>& formulas) {
  add_layer_norm_formulas(FormulaAdder(formulas, kLayerNormOp));
  add_batch_norm_formulas(FormulaAdder(formulas, kBatchNormOp, 0, is_training));
  add_batch_norm_inference_formulas(FormulaAdder(formulas, kBatchNormOp, 0, is_inference));
}

}  // namespace chainrule::internal
