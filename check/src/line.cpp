// SPDX-License-Identifier: Apache-2.0
#include "line.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace chainrule::internal {
namespace {

// Few bits, so that x0 + h is exact for an x0 of few bits; not a power of two, so that no period of
// the function divides every step.
double short_number(double x) {
  int exponent = 0;
  const double mantissa = std::frexp(x, &exponent);
  return std::ldexp(std::round(mantissa * 16) / 16, exponent);
}

// 2 / pi: a number of all bits. Functions have their edges at 0 more often than elsewhere, and the
// first step is a fifth of |x0|; of the steps that are so many times 2^-k of it none has an edge
// there that is just inside.
constexpr double kManyBits = 0.63661977236758134;

// More halvings than any double has bits beside 1.
constexpr int kMostRows = 70;

int rows_between(double first_step, double smallest_step) {
  if (!(smallest_step > 0)) return kMostRows;
  const double halvings = std::log2(first_step) - std::log2(smallest_step);
  return static_cast<int>(std::clamp(halvings, 0.0, static_cast<double>(kMostRows)));
}

}  // namespace

Line::Line(LineFunction function, std::span<const double> weights, std::span<const double> y0,
           const LineSteps& steps, bool each)
    : function_(std::move(function)),
      weights_(weights),
      y0_(y0),
      first_step_(short_number(steps.first)),
      steps_(steps),
      last_row_(rows_between(steps.first, steps.smallest)),
      finest_row_(steps.grid > 0 ? rows_between(steps.first, steps.grid) : last_row_),
      channels_(each ? 1 + y0.size() : 1),
      above_(y0.size()),
      below_(y0.size()) {
  for (std::size_t i = 0; i < y0.size(); ++i) still_ += std::abs(weights[i] * y0[i]);
}

double Line::step(int row) const { return std::ldexp(first_step_, -row); }

double Line::unaligned_step(int row) const {
  const double step = kManyBits * this->step(row);
  const double multiple = std::round(step / steps_.grid);
  return multiple < 1 / kEpsilon ? multiple * steps_.grid : step;
}

const Difference& Line::at_step(double step, std::size_t channel) {
  auto [place, is_new] = seen_.try_emplace(step);
  if (is_new) {
    place->second.resize(channels_);
    sample(step, place->second);
  }
  return place->second[channel];
}

Difference Line::look(double step, std::size_t channel) {
  std::vector<Difference> channels(channels_);
  sample(step, channels);
  return channels[channel];
}

Difference Line::moved_output(std::size_t i, double up, double down) const {
  Difference result;
  if (!std::isfinite(above_[i]) || !std::isfinite(below_[i])) return result;
  result.finite = true;
  result.moved = 1;
  result.step = (up - down) / 2;
  result.size = std::max(std::abs(above_[i]), std::abs(below_[i]));
  // In long double, where the difference of two doubles neither rounds much nor overflows.
  const auto above = static_cast<long double>(above_[i]),
             below = static_cast<long double>(below_[i]);
  const auto middle = static_cast<long double>(y0_[i]);
  const auto h_up = static_cast<long double>(up), h_down = static_cast<long double>(down);
  result.slope = static_cast<double>((above - below) / (h_up - h_down));
  result.right = static_cast<double>((above - middle) / h_up);
  result.left = static_cast<double>((below - middle) / h_down);
  result.terms = std::abs(result.slope);
  return result;
}

void Line::sample(double step, std::span<Difference> channels) {
  const double up = function_(step, above_), down = function_(-step, below_);
  const bool apart = up > 0 && down < 0;
  long double slope = 0, left = 0, right = 0, terms = 0, size = 0, still = still_;
  Difference& sum = channels[0];
  sum.finite = apart;
  sum.step = (up - down) / 2;
  for (std::size_t i = 0; i < y0_.size(); ++i) {
    if (above_[i] == y0_[i] && below_[i] == y0_[i]) {
      if (channels.size() > 1) {
        channels[1 + i] = {.finite = apart, .step = sum.step, .still = std::abs(y0_[i])};
      }
      continue;
    }
    const Difference one = apart ? moved_output(i, up, down) : Difference{};
    if (channels.size() > 1) channels[1 + i] = one;
    sum.finite = sum.finite && one.finite;
    sum.moved += one.moved;
    // Differences are taken before they are summed: what does not move adds no rounding.
    const long double v = weights_[i], magnitude = std::abs(v);
    slope += v * one.slope;
    left += v * one.left;
    right += v * one.right;
    terms += magnitude * one.terms;
    size += magnitude * one.size;
    still -= magnitude * std::abs(y0_[i]);
  }
  sum.slope = static_cast<double>(slope);
  sum.left = static_cast<double>(left);
  sum.right = static_cast<double>(right);
  sum.terms = static_cast<double>(terms);
  sum.size = static_cast<double>(size);
  sum.still = std::max(0.0, static_cast<double>(still));
}

}  // namespace chainrule::internal
