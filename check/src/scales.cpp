// SPDX-License-Identifier: Apache-2.0
#include "scales.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "remainders.hpp"

namespace chainrule::internal {
namespace {

constexpr int kFirstRow = -5;  // steps larger than the first
// Estimates that are needed to refute.
constexpr std::ptrdiff_t kWitnesses = 2;
constexpr double kNoiseBeside = 1e-3;
constexpr double kNoiseUnits = 16;
constexpr std::ptrdiff_t kRippleWitnesses = 4;
constexpr double kRough = 1e-2;
// More than what is computed in float32 is rounded by, beside how far it gets, or beside 1.
constexpr double kCoarse = 1e-6;

using Steps = std::array<double, kRowSteps>;

struct Range {
  double low, high;
  bool contains(double x) const { return x >= low && x <= high; }
};

// Entries [first, kRowSteps) of one column of Richardson's table.
struct Column {
  Steps entries{};
  std::size_t first = 0;

  double last() const { return entries.back(); }
  double spread(std::size_t from) const {
    const auto [low, high] =
        std::minmax_element(entries.begin() + static_cast<std::ptrdiff_t>(from), entries.end());
    return *high - *low;
  }
  // All ratios of successive differences are what the leading term of the error makes of them.
  bool converges(const Range& ratio) const {
    if (first + 2 >= entries.size()) return false;
    for (std::size_t k = first + 2; k < entries.size(); ++k) {
      const double now = entries[k - 1] - entries[k];
      if (now == 0 || !ratio.contains((entries[k - 2] - entries[k - 1]) / now)) return false;
    }
    return true;
  }
  Column next(double base) const {
    Column result{.entries = {}, .first = first + 1};
    for (std::size_t k = result.first; k < entries.size(); ++k) {
      result.entries[k] = entries[k] + (entries[k] - entries[k - 1]) / (base - 1);
    }
    return result;
  }
};

// What four steps, each half the one before, tell.
struct Estimate {
  double value = 0;
  double bar = 0;
  double tolerance = 0;   // what it lets pass
  double support = 0;     // the same if what fades at smaller steps is no noise
  double local = 0;       // the same of the noise that these very steps have
  bool verified = false;  // a smooth function was seen at these steps
  Difference last;        // of the smallest step
  int row = 0;            // of the largest

  bool refutes(double claimed) const { return !(std::abs(claimed - value) <= tolerance); }
  bool supports(double claimed) const { return verified && std::abs(claimed - value) <= support; }
  bool sees(double other) const { return std::abs(other - value) <= local; }
};

Estimate cautious(const Steps& slopes, double noise) {
  Column column{.entries = slopes};
  Estimate result;
  // Without a series the largest step is left out: the spread of the others is more than their
  // distance from the limit of any power of h.
  std::size_t from = 1;
  double base = 4;
  for (const Range& ratio : {Range{3.4, 4.7}, Range{11, 23}}) {
    if (!column.converges(ratio)) break;
    column = column.next(base);
    base *= 4;
    from = column.first;
    result.verified = true;
  }
  const double spread = column.spread(from);
  result.verified = result.verified || spread <= 4 * noise;
  result.value = column.last();
  result.bar = std::max(spread, 2 * noise);
  return result;
}

// Of the slopes from both sides, extrapolated to the point: 0 where that is what they tend to.
double jump_at_point(const Steps& jumps) {
  const auto once = [&](std::size_t k) { return 2 * jumps[k] - jumps[k - 1]; };
  const double before = std::abs(once(2)), last = std::abs(once(3));
  return last <= before / 4 ? 0 : last;
}

double reach_of(Line& line, std::size_t channel) {
  for (int row = kFirstRow; row <= 0; ++row) {
    const Difference& far = line.at(row, channel);
    if (far.finite) return far.step * (std::abs(far.left) + std::abs(far.right));
  }
  return 0;
}

// What rounding may be taken for.
double unit_of(Line& line, std::size_t channel) {
  return kNoiseUnits * kEpsilon * std::max(1.0, line.at(0, channel).size);
}

class Scales {
 public:
  Scales(Line& line, std::size_t channel, double claimed, const NumericDerivative& first,
         const Trust& trust)
      : line_(line), channel_(channel), claimed_(claimed), first_(first), trust_(trust) {}

  NumericDerivative run() && {
    collect();
    if (const Estimate* fine = ripple()) return of_ripple(*fine);
    return agrees(first_) ? reconsider() : confirm();
  }

 private:
  template <class Predicate>
  std::ptrdiff_t count(const Predicate& predicate) const {
    return std::count_if(estimates_.begin(), estimates_.end(), predicate);
  }

  bool agrees(const NumericDerivative& with) const {
    const double tolerance =
        trust_.error_bars * with.error_bar + trust_.roundings * (with.rounding + with.hidden);
    return std::abs(claimed_ - with.value) <= tolerance + trust_.relative * std::abs(with.value);
  }

  template <class Predicate>
  const Estimate* best_of(const Predicate& predicate, double Estimate::*by = &Estimate::bar) const {
    const Estimate* best = nullptr;
    for (const Estimate& estimate : estimates_) {
      if (!predicate(estimate)) continue;
      if (best == nullptr || estimate.*by < best->*by) best = &estimate;
    }
    return best;
  }

  // The first look refutes the claim.
  NumericDerivative confirm() const {
    const double error = std::abs(claimed_ - first_.value);
    if (is_confirmed()) return first_;
    // Far from both, steps are as large as what the function is made of.
    const Estimate* best = best_of([&](const Estimate& e) {
      return std::abs(e.value - first_.value) <= 2 * error + e.tolerance;
    });
    if (best == nullptr) return first_;
    if (is_rough_) return contradiction(*best);
    if (!best->refutes(claimed_)) {
      const bool refuted_closer = count([&](const Estimate& e) {
                                    return e.last.step < best->last.step && e.refutes(claimed_);
                                  }) > 0;
      const bool shown = best->tolerance < std::max(std::abs(claimed_), std::abs(best->value)) &&
                         count([&](const Estimate& e) {
                           return e.tolerance < 4 * best->tolerance && !e.refutes(claimed_);
                         }) >= kWitnesses;
      return refuted_closer || !shown ? contradiction(*best) : derivative(*best);
    }
    const bool supported =
        count([&](const Estimate& e) { return e.support < error / 4 && e.supports(claimed_); }) > 0;
    const bool refuted = count([&](const Estimate& e) {
                           return e.tolerance < error / 4 && e.refutes(claimed_);
                         }) >= kWitnesses;
    const bool doubted = count([&](const Estimate& e) {
                           return e.last.step < best->last.step && prefers_claim(e, best->value);
                         }) > 0;
    return refuted && !supported && !doubted && !is_trend(claimed_) ? first_ : contradiction(*best);
  }

  // True when steps of all digits do not contradict the first look, and
  // - beside a jump of the function, which is noise to larger steps (rounding jumps as well, but
  //   not so far): see the first look's derivative and not the claimed one where they see no noise;
  // - where the first look knew of all the noise there is: one of them refutes the claim. Its own
  //   steps, which have better places than theirs, are then as good as they look.
  bool is_confirmed() const {
    const auto doubting = count([&](const Estimate& e) {
      return prefers_claim(e, first_.value) || (e.supports(claimed_) && !e.supports(first_.value));
    });
    if (is_rough_ || doubting > 0 || is_trend(claimed_)) return false;
    if (jumps_) {
      return count([&](const Estimate& e) { return e.sees(first_.value) && !e.sees(claimed_); }) >=
             kWitnesses;
    }
    return foreseen_ && count([&](const Estimate& e) {
                          return e.refutes(claimed_) && !e.refutes(first_.value);
                        }) > 0;
  }

  // Beside jumps also where only these very steps see no noise.
  bool prefers_claim(const Estimate& e, double to) const {
    return (e.refutes(to) && !e.refutes(claimed_)) || (jumps_ && e.sees(claimed_) && !e.sees(to));
  }

  // True when steps over many treads of a staircase lead there, and not where one tread does: the
  // function is the trend if rounding makes the treads, as in (1 - cos x) / x^2 near 0, and the
  // tread if it is a sawtooth.
  bool is_trend(double claimed) const {
    return count([&](const Estimate& e) {
             return e.row <= tread_row_ && e.verified && std::abs(claimed - e.value) <= e.bar &&
                    std::abs(first_.value - e.value) > 2 * e.bar;
           }) > 0;
  }

  // What the smallest steps see of a function that larger ones take for noise, a ripple on it, each
  // of them the same; null if there is no such thing.
  const Estimate* ripple() const {
    const Estimate* best = best_of(
        [&](const Estimate& e) { return e.row >= smooth_row_ && e.verified; }, &Estimate::local);
    if (best == nullptr || best->local >= std::abs(best->value)) return nullptr;
    const auto alike = count([&](const Estimate& e) {
      return e.row >= smooth_row_ && e.local < std::abs(e.value) && e.sees(best->value);
    });
    return alike >= kRippleWitnesses ? best : nullptr;
  }

  // With a ripple the derivative is its own, and not that of what it lies on.
  NumericDerivative of_ripple(const Estimate& ripple) const {
    if (!ripple.sees(claimed_)) {
      return agrees(first_) || !ripple.sees(first_.value) ? contradiction(ripple) : first_;
    }
    NumericDerivative result = derivative(ripple);
    result.error_bar = ripple.local / trust_.error_bars;
    return result;
  }

  // Larger steps agreed on something else: were the smaller ones on one tread of a staircase? Edges
  // nearby look alike, but not over so many sizes. It is a reason for doubt and no more.
  NumericDerivative reconsider() const {
    if (!steady_noise_ || !first_.contradicted) return first_;
    const Estimate* best = best_of([](const Estimate& e) { return e.verified; });
    if (best == nullptr || !best->refutes(claimed_)) return first_;
    const double error = std::abs(claimed_ - best->value);
    const bool supported = count([&](const Estimate& e) {
                             return e.tolerance < error / 4 && !e.refutes(claimed_);
                           }) > 0;
    return supported ? first_ : contradiction(*best);
  }

  // Rows from here on drown in the rounding of y.
  int last_useful_row() {
    const double error = std::max(std::abs(claimed_ - first_.value), first_.error_bar);
    int row = 0;
    while (row < line_.finest_row()) {
      const Difference& d = line_.at(row, channel_);
      if (d.finite && kEpsilon * (d.size + d.still) > error * d.step) break;
      ++row;
    }
    return row;
  }

  void collect() {
    const int last = last_useful_row();
    const Remainders remainders(line_, channel_, kFirstRow, last);
    const double reach = reach_of(line_, channel_), unit = unit_of(line_, channel_);
    const double small = std::max(kNoiseBeside * reach, unit);
    const double noise = std::max(trust_.noise, remainders.noise(small, unit));
    is_rough_ = remainders.at_the_end() > 8 * noise && is_rough(remainders, last, small, unit);
    steady_noise_ = noise <= 4 * remainders.steady(kNoiseBeside * reach);
    tread_row_ = remainders.row_of_treads();
    smooth_row_ = remainders.row_of_smoothness(4 * kEpsilon * line_.at(0, channel_).size);
    jumps_ = noise > kCoarse * std::max(1.0, reach);
    foreseen_ = noise <= (first_.rounding + first_.hidden) * line_.telling(first_.step);
    double edge = 0;  // what steps that are smaller do not see of the function
    for (int row = kFirstRow; row + kRowSteps - 1 <= last; ++row) {
      // Noise that is seen at smaller steps is there at larger ones, if they are lucky or not.
      edge = std::max(edge, remainders.dropped_at(row));
      const double local = remainders.of_steps(row);
      add_estimate(row, std::max(noise, local), std::max(edge, local), local);
    }
  }

  // True when the smallest steps see something that is nearly all that f does there, and neither
  // its rounding nor a small noise: an edge or a pole inside all steps, or a period between them.
  bool is_rough(const Remainders& remainders, int last, double small, double unit) {
    const double end = remainders.at_the_end();
    if (end <= unit || (end <= small && !remainders.has_trend_at_the_end())) return false;
    const Difference& d = line_.at(last, channel_);
    return d.finite && end > kRough * d.step * (std::abs(d.left) + std::abs(d.right));
  }

  // `here`: the noise at these steps and what they do not see; `local`: what they have themselves.
  void add_estimate(int row, double noise, double here, double local) {
    Steps slopes{}, jumps{};
    for (int k = 0; k < kRowSteps; ++k) {
      const Difference d = at_row(line_, channel_, row, 8 >> k);
      if (!d.finite) return;
      slopes[static_cast<std::size_t>(k)] = d.slope;
      jumps[static_cast<std::size_t>(k)] = d.right - d.left;
    }
    const Difference last = at_row(line_, channel_, row, 1);
    const double step = line_.telling(last.step);
    const double rounding = kEpsilon * (last.size + last.still) / step;
    const auto tolerance = [&](const Estimate& of) {
      return trust_.error_bars * of.bar + trust_.roundings * rounding;
    };
    const auto with_noise = [&](double of) {
      const double all = std::max(of / step, rounding);
      Estimate estimate = cautious(slopes, all);
      const double jump = jump_at_point(jumps);
      if (jump > 64 * all) {
        estimate.bar += jump / 2;
        estimate.verified = false;
      }
      return estimate;
    };
    Estimate estimate = with_noise(noise);
    estimate.tolerance = tolerance(estimate);
    estimate.support = tolerance(with_noise(std::max(trust_.noise, here)));
    estimate.local = tolerance(with_noise(local));
    estimate.last = last;
    estimate.row = row;
    estimates_.push_back(estimate);
  }

  NumericDerivative derivative(const Estimate& of) const {
    NumericDerivative result = first_;
    result.value = of.value;
    result.error_bar = of.bar;
    result.step = of.last.step;
    if (!first_.moved) {
      result.moved = of.last.moved > 0;
      result.reached = of.last.moved;
      result.terms = of.last.terms;
    }
    result.rounding = kEpsilon * of.last.size / line_.telling(of.last.step);
    result.hidden = kEpsilon * of.last.still / line_.telling(of.last.step);
    return result;
  }

  // The bar becomes what the scales disagree by.
  NumericDerivative contradiction(const Estimate& best) const {
    NumericDerivative result = derivative(best);
    result.error_bar += std::abs(claimed_ - best.value) + std::abs(first_.value - best.value);
    result.resolved = false;
    result.doubt = Doubt::kScales;
    return result;
  }

  Line& line_;
  std::size_t channel_;
  double claimed_;
  const NumericDerivative& first_;
  Trust trust_;
  std::vector<Estimate> estimates_;
  bool steady_noise_ = false;
  int tread_row_ = 0;
  int smooth_row_ = 0;
  bool is_rough_ = false;  ///< even at the smallest steps f is not smooth
  bool jumps_ = false;     ///< what is noise to larger steps is too coarse to be rounding
  bool foreseen_ = false;  ///< the noise is no more than the rounding of y
};

}  // namespace

NumericDerivative differentiate_at_all_scales(Line& line, std::size_t channel, double claimed,
                                              const NumericDerivative& first, const Trust& trust) {
  return Scales(line, channel, claimed, first, trust).run();
}

}  // namespace chainrule::internal
