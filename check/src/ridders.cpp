// SPDX-License-Identifier: Apache-2.0
#include "ridders.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

namespace chainrule::internal {
namespace {

constexpr double kEpsilon = std::numeric_limits<double>::epsilon();
// Kernels are good to a few units in the last place.
constexpr double kRoundings = 8;
constexpr int kRows = 6;           // steps h, h / 2, ..., of one table
constexpr double kNextTable = 32;  // ratio of the starting steps of two tables
constexpr int kTables = 14;
// Tables agree within this part of the terms, whatever their own estimates say.
constexpr double kAgreement = 1e-7;
// Second differences over h shrink with h where f is smooth and stay where it has a kink.
constexpr double kKinkDecay = 0.75;
constexpr double kKinkJump = 1e-6;

// What one step h tells.
struct Difference {
  double slope = 0;  // (f(h) - f(-h)) / 2h
  double jump = 0;   // right minus left slope: (f(h) - 2 f(0) + f(-h)) / h
  double noise = 0;
  double terms = 0;
  bool moved = false;
};

struct Table {
  double value = 0;
  double error = std::numeric_limits<double>::infinity();
  double noise = 0;
  double step = 0;
  std::array<Difference, kRows> rows;
  int count = 0;

  double uncertainty() const { return error + noise; }
  const Difference& last() const { return rows[static_cast<std::size_t>(count - 1)]; }
};

class Line {
 public:
  Line(const LineFunction& function, std::span<const double> weights, std::span<const double> y0)
      : function_(function), weights_(weights), y0_(y0), above_(y0.size()), below_(y0.size()) {}

  // Nothing where y is not finite: the step leaves the domain.
  std::optional<Difference> difference(double h) {
    function_(h, above_);
    function_(-h, below_);
    // Differences are taken before they are summed: what does not move adds no rounding.
    long double slope = 0, jump = 0, noise = 0, blind = 0, terms = 0;
    Difference result;
    for (std::size_t i = 0; i < y0_.size(); ++i) {
      const double up = above_[i], down = below_[i], size = std::max(std::abs(up), std::abs(down));
      if (!std::isfinite(size) || std::isnan(up) || std::isnan(down)) return std::nullopt;
      const long double v = weights_[i];
      const double magnitude = std::abs(weights_[i]) * size;
      blind += magnitude;
      if (up == down && up == y0_[i]) continue;
      result.moved = true;
      const long double moved = static_cast<long double>(up) - down;
      slope += v * moved;
      terms += std::abs(v * moved);
      jump += v * (static_cast<long double>(up) - 2 * static_cast<long double>(y0_[i]) + down);
      noise += magnitude;
    }
    result.slope = static_cast<double>(slope / (2 * h));
    result.jump = static_cast<double>(jump / h);
    result.terms = static_cast<double>(terms / (2 * h));
    result.noise = static_cast<double>((result.moved ? noise : blind) * kRoundings * kEpsilon / h);
    return result;
  }

 private:
  const LineFunction& function_;
  std::span<const double> weights_;
  std::span<const double> y0_;
  std::vector<double> above_;
  std::vector<double> below_;
};

std::optional<Table> make_table(Line& line, double first_step) {
  Table table;
  std::array<double, kRows> previous{}, current{};
  for (int k = 0; k < kRows; ++k) {
    const double h = std::ldexp(first_step, -k);
    const std::optional<Difference> difference = line.difference(h);
    if (!difference) return std::nullopt;
    table.rows[static_cast<std::size_t>(k)] = *difference;
    table.count = k + 1;
    current[0] = difference->slope;
    double factor = 1;
    for (std::size_t m = 1; m <= static_cast<std::size_t>(k); ++m) {
      factor *= 4;
      current[m] = (factor * current[m - 1] - previous[m - 1]) / (factor - 1);
      const double error =
          std::max(std::abs(current[m] - current[m - 1]), std::abs(current[m] - previous[m - 1]));
      if (error + difference->noise > table.uncertainty()) continue;
      table.error = error;
      table.noise = difference->noise;
      table.value = current[m];
      table.step = h;
    }
    // Rounding has taken over: smaller steps only make it worse (Ridders' stopping rule).
    const auto last = static_cast<std::size_t>(k);
    if (k >= 3 && std::abs(current[last] - previous[last - 1]) > 2 * table.uncertainty()) break;
    previous = current;
  }
  return table;
}

bool agree(const Table& a, const Table& b) {
  const double terms = std::max(a.last().terms, b.last().terms);
  const double allowed = std::max(10 * std::min(a.error, b.error), kAgreement * terms);
  return std::abs(a.value - b.value) <= allowed + a.noise + b.noise;
}

void find_kink(const Table& table, NumericDerivative& result) {
  const Difference& first = table.rows[0];
  const Difference& last = table.last();
  const double threshold = 4 * last.noise + kKinkJump * last.terms;
  if (std::abs(last.jump) <= threshold) return;
  if (std::abs(last.jump) < kKinkDecay * std::abs(first.jump)) return;
  result.kink = true;
  const Difference& before = table.rows[static_cast<std::size_t>(table.count - 2)];
  const double right = last.slope + last.jump / 2, left = last.slope - last.jump / 2;
  const double right_change = right - (before.slope + before.jump / 2);
  const double left_change = left - (before.slope - before.jump / 2);
  // One-sided slopes are off by a multiple of h: one step of extrapolation.
  result.right_slope = right + right_change;
  result.left_slope = left + left_change;
  result.slope_error = std::max(std::abs(right_change), std::abs(left_change)) + 4 * last.noise;
}

NumericDerivative result_of(const Table& table, double apart) {
  NumericDerivative result;
  result.value = table.value;
  result.error_bar = table.error + apart;
  result.noise = table.noise;
  result.step = table.step;
  result.moved = table.last().moved;
  return result;
}

}  // namespace

NumericDerivative differentiate(const LineFunction& function, std::span<const double> weights,
                                std::span<const double> y0, double first_step) {
  Line line(function, weights, y0);
  std::optional<Table> before;
  NumericDerivative result;
  result.error_bar = std::numeric_limits<double>::infinity();
  double step = std::exp2(std::floor(std::log2(first_step)));
  for (int k = 0; k < kTables; ++k, step /= kNextTable) {
    const std::optional<Table> table = make_table(line, step);
    if (table && before) {
      // Agreement within a rounding that is larger than an earlier disagreement proves nothing.
      if (table->noise > result.error_bar) break;
      const bool resolved = agree(*before, *table);
      const bool take_before = resolved && before->uncertainty() <= table->uncertainty();
      const double apart = resolved ? 0 : std::abs(before->value - table->value);
      NumericDerivative found = result_of(take_before ? *before : *table, apart);
      found.resolved = resolved;
      found.terms = table->last().terms;
      if (resolved) find_kink(*table, found);
      if (resolved || found.error_bar < result.error_bar) result = found;
      if (resolved) break;
    }
    before = table;
  }
  return result;
}

}  // namespace chainrule::internal
