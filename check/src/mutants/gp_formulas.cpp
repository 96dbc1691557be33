// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <vector>

#include "chainrule/ops/gp_nll.hpp"
#include "formula_support.hpp"

namespace chainrule::internal {
namespace {

// The textbook formulas of gp_nll.hpp with plain loops, and everything that can be wrong with them.
struct GpVariation {
  double half = 0.5;               // W = half (k A^-1 - alpha alpha^T)
  bool complexity = true;          // k A^-1
  bool data_fit = true;            // alpha alpha^T
  bool columns = true;             // else 1 for k
  double data_sign = -1;           // in front of alpha alpha^T
  bool mean = true;                // 1 / (n k)
  bool covariance = true;          // S = W o K, else W
  double pairs = 2;                // a pair's both places
  double power = 2;                // of the length scale in front of phi
  bool own_row = true;             // phi(j) - phi(i), else phi(j)
  double distance_sign = 1;        // of phi(j) - phi(i)
  bool by_logarithm = true;        // else by the number itself
  bool diagonal_only = false;      // of the sum over S
  bool all_of_noise = false;       // sum W for tr W
  bool first_column_only = false;  // of a length scale for all
};

constexpr GpVariation kRightGp{};
constexpr GpVariation kNoHalf{.half = 1};
constexpr GpVariation kNoComplexity{.complexity = false};
constexpr GpVariation kNoDataFit{.data_fit = false};
constexpr GpVariation kOneColumn{.columns = false};
constexpr GpVariation kDataSign{.data_sign = 1};
constexpr GpVariation kNoMean{.mean = false};
constexpr GpVariation kNoCovariance{.covariance = false};
constexpr GpVariation kOnePlace{.pairs = 1};
constexpr GpVariation kNotSquared{.power = 1};
constexpr GpVariation kNoLengthScale{.power = 0};
constexpr GpVariation kNoOwnRow{.own_row = false};
constexpr GpVariation kDistanceSign{.distance_sign = -1};
constexpr GpVariation kByNumber{.by_logarithm = false};
constexpr GpVariation kDiagonalOnly{.diagonal_only = true};
constexpr GpVariation kAllOfNoise{.all_of_noise = true};
constexpr GpVariation kFirstColumnOnly{.first_column_only = true};

class GpFormula {
 public:
  GpFormula(const Call& call, const GpVariation& variation)
      : call_(call),
        v_(variation),
        x_(call.in(0)),
        y_(call.in(1)),
        variance_(std::exp(call.in(2)(0, 0))),
        noise_(std::exp(call.in(3)(0, 0))),
        inverse_(static_cast<std::size_t>(n() * n())) {
    invert();
    scale_ = call.dy()(0, 0);
    if (v_.mean && call.integer(0) != 0) scale_ /= as_real(n() * y_.columns);
  }

  void features() const {
    set_elements(call_.gradient(0), [&](Index i, Index c) {
      double sum = 0;
      for (Index j = 0; j < n(); ++j) {
        const double away = v_.own_row ? x_(j, c) - x_(i, c) : x_(j, c);
        sum += s(i, j) * v_.distance_sign * away;
      }
      return scale_ * v_.pairs * sum / std::pow(length(c), v_.power);
    });
  }

  void targets() const {
    set_elements(call_.gradient(1), [&](Index i, Index c) { return scale_ * alpha(i, c); });
  }

  void log_variance() const {
    double sum = 0;
    for_pairs([&](Index i, Index j) {
      if (i == j || !v_.diagonal_only) sum += s(i, j);
    });
    call_.gradient(2)(0, 0) = scale_ * sum / (v_.by_logarithm ? 1 : variance_);
  }

  void log_noise() const {
    double sum = 0;
    for_pairs([&](Index i, Index j) {
      if (i == j || v_.all_of_noise) sum += w(i, j);
    });
    call_.gradient(3)(0, 0) = scale_ * sum * (v_.by_logarithm ? noise_ : 1);
  }

  void log_length_scales() const {
    const MatrixView<double> gradient = call_.gradient(4);
    const bool shared = gradient.columns == 1;
    set_elements(gradient, [&](Index, Index c) {
      double sum = 0;
      const Index last = shared && !v_.first_column_only ? x_.columns - 1 : c;
      for (Index column = c; column <= last; ++column) {
        for_pairs([&](Index i, Index j) {
          const double away = x_(i, column) - x_(j, column);
          sum += s(i, j) * away * away / std::pow(length(column), v_.power);
        });
      }
      return scale_ * sum / (v_.by_logarithm ? 1 : length(c));
    });
  }

 private:
  Index n() const { return x_.rows; }

  double length(Index c) const {
    const MatrixView<const double> log = call_.in(4);
    return std::exp(log(0, log.columns == 1 ? 0 : c));
  }

  double k(Index i, Index j) const {
    double distance = 0;
    for (Index c = 0; c < x_.columns; ++c) {
      distance += std::pow((x_(i, c) - x_(j, c)) / length(c), 2);
    }
    return variance_ * std::exp(-distance / 2);
  }

  // Gauss and Jordan; A needs no pivots.
  void invert() {
    std::vector<double> a(inverse_.size());
    for_pairs([&](Index i, Index j) {
      a[at(i, j)] = k(i, j) + (i == j ? noise_ : 0);
      inverse_[at(i, j)] = i == j ? 1 : 0;
    });
    for (Index p = 0; p < n(); ++p) {
      const double pivot = a[at(p, p)];
      for (Index j = 0; j < n(); ++j) {
        a[at(p, j)] /= pivot;
        inverse_[at(p, j)] /= pivot;
      }
      for (Index i = 0; i < n(); ++i) {
        const double factor = a[at(i, p)];
        if (i == p) continue;
        for (Index j = 0; j < n(); ++j) {
          a[at(i, j)] -= factor * a[at(p, j)];
          inverse_[at(i, j)] -= factor * inverse_[at(p, j)];
        }
      }
    }
  }

  double alpha(Index i, Index c) const {
    double sum = 0;
    for (Index j = 0; j < n(); ++j) sum += inverse_[at(i, j)] * y_(j, c);
    return sum;
  }

  double w(Index i, Index j) const {
    double sum = 0;
    if (v_.complexity) sum += (v_.columns ? as_real(y_.columns) : 1) * inverse_[at(i, j)];
    for (Index c = 0; v_.data_fit && c < y_.columns; ++c) {
      sum += v_.data_sign * alpha(i, c) * alpha(j, c);
    }
    return v_.half * sum;
  }

  double s(Index i, Index j) const { return v_.covariance ? w(i, j) * k(i, j) : w(i, j); }

  template <class Body>
  void for_pairs(const Body& body) const {
    for (Index i = 0; i < n(); ++i) {
      for (Index j = 0; j < n(); ++j) body(i, j);
    }
  }

  std::size_t at(Index i, Index j) const { return static_cast<std::size_t>(i * n() + j); }

  const Call& call_;
  const GpVariation v_;
  MatrixView<const double> x_;
  MatrixView<const double> y_;
  double variance_;
  double noise_;
  double scale_ = 1;
  std::vector<double> inverse_;
};

template <void (GpFormula::*kGradient)() const, int kInput, const GpVariation& kVariation>
void gp_gradient(const Call& call) {
  call.run_original();
  if (call.gradient(kInput).data != nullptr) (GpFormula(call, kVariation).*kGradient)();
}

template <const GpVariation& kVariation>
constexpr WrongBackward kFeatures = gp_gradient<&GpFormula::features, 0, kVariation>;
template <const GpVariation& kVariation>
constexpr WrongBackward kTargets = gp_gradient<&GpFormula::targets, 1, kVariation>;
template <const GpVariation& kVariation>
constexpr WrongBackward kLogVariance = gp_gradient<&GpFormula::log_variance, 2, kVariation>;
template <const GpVariation& kVariation>
constexpr WrongBackward kLogNoise = gp_gradient<&GpFormula::log_noise, 3, kVariation>;
template <const GpVariation& kVariation>
constexpr WrongBackward kLengthScales = gp_gradient<&GpFormula::log_length_scales, 4, kVariation>;

bool has_one_length_scale(const Specimen& specimen) {
  return variant_is(specimen, "one length scale");
}

}  // namespace

void add_gp_formulas(std::vector<WrongFormula>& formulas) {
  using enum MutantClass;
  const FormulaAdder features(formulas, kRbfGpNllOp);
  features.control(kFeatures<kRightGp>);
  features(kDroppedTerm, "the half is missing in W", kFeatures<kNoHalf>);
  features(kDroppedTerm, "no A^-1: of the data fit alone", kFeatures<kNoComplexity>);
  features(kDroppedTerm, "no alpha alpha^T: of the complexity alone", kFeatures<kNoDataFit>);
  features(kSign, "A^-1 + alpha alpha^T", kFeatures<kDataSign>);
  features(kDroppedTerm, "W for W o K", kFeatures<kNoCovariance>);
  features(kDroppedTerm, "of one place of a pair in K", kFeatures<kOnePlace>);
  features(kWrongTerm, "over the length scale, not its square", kFeatures<kNotSquared>);
  features(kDroppedTerm, "the length scale is missing", kFeatures<kNoLengthScale>);
  features(kDroppedTerm, "S phi: the row's own part is missing", kFeatures<kNoOwnRow>);
  features(kSign, "phi_i - phi_j", kFeatures<kDistanceSign>);
  // With one length scale there are several columns of targets, and a mean.
  features.where(has_one_length_scale)(kCount, "A^-1 once for k columns", kFeatures<kOneColumn>);
  features.where(has_one_length_scale)(kCount, "1 / (n k) is missing", kFeatures<kNoMean>);

  const FormulaAdder targets = features.of(1);
  targets.control(kTargets<kRightGp>);
  targets.where(has_one_length_scale)(kCount, "1 / (n k) is missing", kTargets<kNoMean>);

  const FormulaAdder log_variance = features.of(2);
  log_variance.control(kLogVariance<kRightGp>);
  log_variance(kDroppedTerm, "by the variance, not its logarithm", kLogVariance<kByNumber>);
  log_variance(kDroppedTerm, "of K's diagonal alone", kLogVariance<kDiagonalOnly>);
  log_variance(kDroppedTerm, "sum W: K is missing", kLogVariance<kNoCovariance>);

  const FormulaAdder log_noise = features.of(3);
  log_noise.control(kLogNoise<kRightGp>);
  log_noise(kDroppedTerm, "by the noise, not its logarithm", kLogNoise<kByNumber>);
  log_noise(kWrongTerm, "sum W for tr W", kLogNoise<kAllOfNoise>);
  log_noise(kDroppedTerm, "no alpha alpha^T: of the complexity alone", kLogNoise<kNoDataFit>);

  const FormulaAdder length_scales = features.of(4);
  length_scales.control(kLengthScales<kRightGp>);
  length_scales(kDroppedTerm, "by the length scale, not its logarithm", kLengthScales<kByNumber>);
  length_scales(kWrongTerm, "over the length scale, not its square", kLengthScales<kNotSquared>);
  length_scales(kDroppedTerm, "W for W o K", kLengthScales<kNoCovariance>);
  length_scales.where(has_one_length_scale)(kDroppedTerm, "of the first column alone",
                                            kLengthScales<kFirstColumnOnly>);
}

}  // namespace chainrule::internal
