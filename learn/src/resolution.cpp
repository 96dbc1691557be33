// SPDX-License-Identifier: Apache-2.0
#include "resolution.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <limits>
#include <numbers>

#include "shallow_network.hpp"

namespace chainrule::internal {
namespace {

constexpr int kDegree = 8;
constexpr int kChecks = 11;
constexpr std::size_t kMaxCells = 4000;
constexpr std::size_t kMaxSingularities = 64;
// Off the middle, so that a kink at a round number falls into a cell and not between two.
constexpr double kSplit = 0.4871;

struct Cell {
  double low;
  double high;
};

// How a polynomial through Chebyshev points of a cell does.
struct CellFit {
  double error = 0;
  double variation = 0;
  double magnitude = 0;

  bool has_structure() const noexcept {
    constexpr double kNoise = 8 * std::numeric_limits<double>::epsilon();
    return error > 0.01 * variation && error > kNoise * magnitude;
  }
};

CellFit fit_cell(const ScalarFunction& f, Cell cell) {
  std::array<double, kDegree + 1> nodes{};
  std::array<double, kChecks> checks{};
  for (int i = 0; i <= kDegree; ++i) {
    nodes[static_cast<std::size_t>(i)] = -std::cos(std::numbers::pi * i / kDegree);
  }
  for (int i = 0; i < kChecks; ++i) {
    checks[static_cast<std::size_t>(i)] = 2 * (i + 0.37) / kChecks - 1;
  }
  std::vector<double> at;
  const auto place = [&](double t) {
    const double x = cell.low + (cell.high - cell.low) * (t + 1) / 2;
    at.push_back(std::clamp(x, cell.low, cell.high));
  };
  std::for_each(nodes.begin(), nodes.end(), place);
  std::for_each(checks.begin(), checks.end(), place);
  const std::vector<double> y = evaluate_function(f, column_of(at));

  CellFit fit;
  const auto [least, most] = std::minmax_element(y.begin(), y.end());
  fit.variation = *most - *least;
  fit.magnitude = std::max(std::abs(*least), std::abs(*most));
  for (std::size_t k = 0; k < checks.size(); ++k) {  // the second barycentric formula
    double above = 0, below = 0;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const bool end = i == 0 || i == kDegree;
      const double weight = (i % 2 == 0 ? 1 : -1) * (end ? 0.5 : 1.0) / (checks[k] - nodes[i]);
      above += weight * y[i];
      below += weight;
    }
    fit.error = std::max(fit.error, std::abs(above / below - y[nodes.size() + k]));
  }
  return fit;
}

std::array<Cell, 2> split(Cell cell) {
  const double middle = cell.low + kSplit * (cell.high - cell.low);
  return {Cell{cell.low, middle}, Cell{middle, cell.high}};
}

// The number of fewest decimals in [low, high].
double simplest_in(double low, double high) {
  const double middle = low + (high - low) / 2;
  double power = 1;
  for (int digits = 0; digits < 17; ++digits, power *= 10) {
    const double rounded = std::round(middle * power) / power;
    if (rounded >= low && rounded <= high) return rounded;
  }
  return middle;
}

// Splits on from cells in which something remains that is no polynomial, to the last bit.
std::vector<double> find_singularities(const ScalarFunction& f, std::vector<Cell> cells,
                                       Interval domain) {
  const double width = domain.high - domain.low;
  std::vector<Cell> found;
  std::size_t budget = kMaxCells;
  while (!cells.empty() && budget-- > 0) {
    const Cell cell = cells.back();
    cells.pop_back();
    const bool smallest = cell.high - cell.low <= 1e-15 * width;
    if (!smallest && fit_cell(f, cell).has_structure()) {
      for (const Cell part : split(cell)) cells.push_back(part);
    } else if (cell.high - cell.low < 1e-10 * width) {
      found.push_back(cell);
    }
  }
  std::sort(found.begin(), found.end(), [](Cell a, Cell b) { return a.low < b.low; });
  std::vector<double> result;
  for (std::size_t i = 0; i < found.size();) {
    Cell smallest = found[i];
    std::size_t next = i + 1;
    for (; next < found.size() && found[next].low - found[next - 1].high < 1e-10 * width; ++next) {
      const Cell cell = found[next];
      if (cell.high - cell.low < smallest.high - smallest.low) smallest = cell;
    }
    const double reach = 1e-15 * width;
    result.push_back(std::clamp(simplest_in(smallest.low - reach, smallest.high + reach),
                                domain.low, domain.high));
    i = next;
  }
  if (result.size() > kMaxSingularities) result.clear();  // noise
  return result;
}

}  // namespace

bool Resolution::graded() const noexcept {
  double least = std::numeric_limits<double>::infinity(), most = 0;
  for (std::size_t i = 1; i < edges.size(); ++i) {
    least = std::min(least, edges[i] - edges[i - 1]);
    most = std::max(most, edges[i] - edges[i - 1]);
  }
  return most > 8 * least;
}

Resolution resolve(const ScalarFunction& f, Interval domain, double tolerance) {
  Resolution result;
  std::deque<Cell> open{{domain.low, domain.high}};
  std::vector<Cell> rough;
  std::size_t budget = kMaxCells;
  result.edges.push_back(domain.high);
  while (!open.empty()) {  // wide cells first, so that the budget is spent evenly
    const Cell cell = open.front();
    open.pop_front();
    const CellFit fit = fit_cell(f, cell);
    result.scale = std::max(result.scale, fit.magnitude);
    const bool smallest = cell.high - cell.low <= 1e-15 * (domain.high - domain.low);
    if (fit.error > tolerance && !smallest && budget > 0) {
      --budget;
      for (const Cell part : split(cell)) open.push_back(part);
      continue;
    }
    result.edges.push_back(cell.low);
    if (fit.has_structure() && budget > 0) rough.push_back(cell);
  }
  std::sort(result.edges.begin(), result.edges.end());
  result.edges.erase(std::unique(result.edges.begin(), result.edges.end()), result.edges.end());
  result.singularities = find_singularities(f, std::move(rough), domain);
  return result;
}

Density::Density(const std::vector<double>& edges, double grading) : edges_(edges) {
  const double length = edges.back() - edges.front();
  const auto cells = static_cast<double>(edges.size() - 1);
  below_.push_back(0);
  for (std::size_t i = 1; i < edges.size(); ++i) {
    const double share = (1 - grading) * ((edges[i] - edges[i - 1]) / length) + grading / cells;
    below_.push_back(below_.back() + share);
  }
  below_.back() = 1;
}

std::size_t Density::cell(double q) const noexcept {
  const auto above = std::upper_bound(below_.begin() + 1, below_.end() - 1, q);
  return static_cast<std::size_t>(above - below_.begin()) - 1;
}

double Density::quantile(double q) const noexcept {
  const std::size_t i = cell(q);
  const double x = edges_[i] + (q - below_[i]) / at(q);
  return q >= 0 && q <= 1 ? std::clamp(x, edges_[i], edges_[i + 1]) : x;
}

double Density::at(double q) const noexcept {
  const std::size_t i = cell(q);
  return (below_[i + 1] - below_[i]) / (edges_[i + 1] - edges_[i]);
}

}  // namespace chainrule::internal
