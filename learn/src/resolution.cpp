// SPDX-License-Identifier: Apache-2.0
#include "resolution.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <deque>
#include <limits>
#include <numbers>
#include <utility>

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

// A cell on which a polynomial is near enough, or which is too small to split.
struct Leaf {
  Cell cell;
  bool rough;  ///< the polynomial is nevertheless no good description
};

// How a polynomial through Chebyshev points of a cell does.
struct CellFit {
  double error = 0;
  double bend = 0;  ///< the largest distance from the chord
  double magnitude = 0;
  double noise = 0;  ///< the error that rounding of x and f may cause

  bool has_structure() const noexcept { return error > 0.01 * bend && error > noise; }
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
  fit.magnitude = std::max(std::abs(*least), std::abs(*most));
  const double width = cell.high - cell.low;
  const double farthest = std::max(std::abs(cell.low), std::abs(cell.high));
  constexpr double kUnit = std::numeric_limits<double>::epsilon();
  fit.noise = kUnit * (8 * fit.magnitude + (*most - *least) * (farthest / width));
  const double slope = (y[kDegree] - y[0]) / width;
  for (std::size_t i = 0; i < y.size(); ++i) {
    fit.bend = std::max(fit.bend, std::abs(y[i] - y[0] - slope * (at[i] - at[0])));
  }
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

std::array<Cell, 2> parts_of(Cell cell) {
  const double middle = cell.low + kSplit * (cell.high - cell.low);
  return {Cell{cell.low, middle}, Cell{middle, cell.high}};
}

// The domain as node 1 of a binary tree, the parts of node i at 2 i and 2 i + 1. The leaves are
// looked at in any case, so that little is missed that happens between two points of a wide cell.
std::vector<Cell> coarse_cells(Cell domain) {
  constexpr std::size_t kNodes = 64;
  std::vector<Cell> tree(kNodes, domain);
  for (std::size_t node = 1; 2 * node < kNodes; ++node) {
    const auto [left, right] = parts_of(tree[node]);
    tree[2 * node] = left;
    tree[2 * node + 1] = right;
  }
  return tree;
}

// The number of fewest decimals in [low, high].
double simplest_in(double low, double high) {
  if (low <= 0 && high >= 0) return 0;
  const double middle = low + (high - low) / 2;
  double power = 1;
  for (int digits = 0; digits < 17; ++digits, power *= 10) {
    const double rounded = std::round(middle * power) / power;
    if (rounded >= low && rounded <= high) return rounded;
  }
  return middle;
}

// Follows what is no polynomial into ever smaller cells, which overlap, so that it stays away from
// their ends; the last one that still has it. least_distance() is the least width: halves of what
// is wider are narrower, which a few numbers of float64 apart need not be.
Cell zoom(const ScalarFunction& f, Cell cell, double least_width) {
  while (cell.high - cell.low > least_width) {
    const double quarter = (cell.high - cell.low) / 4;
    Cell worst = cell;
    CellFit worst_fit;
    for (int part = 0; part < 3; ++part) {
      const Cell half{cell.low + part * quarter, cell.high - (2 - part) * quarter};
      const CellFit fit = fit_cell(f, half);
      if (part > 0 && fit.error <= worst_fit.error) continue;
      worst = half;
      worst_fit = fit;
    }
    if (!worst_fit.has_structure()) break;
    cell = worst;
  }
  return cell;
}

// Starts from the smallest of each run of narrow cells, and from cells that a polynomial fits
// badly.
std::vector<double> find_singularities(const ScalarFunction& f, const std::vector<Leaf>& leaves,
                                       Interval domain) {
  const double width = domain.high - domain.low;
  const double least = least_distance(domain), apart = std::max(1e-9 * width, 16 * least);
  const auto width_of = [](const Leaf& leaf) { return leaf.cell.high - leaf.cell.low; };
  std::vector<double> result;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    Leaf start = leaves[i];
    const bool narrow = width_of(start) < 1e-4 * width;
    if (!narrow && !start.rough) continue;
    while (narrow && i + 1 < leaves.size() && width_of(leaves[i + 1]) < 1e-4 * width) {
      ++i;
      if (width_of(leaves[i]) < width_of(start)) start = leaves[i];
    }
    const double reach = width_of(start);
    const Cell around{std::max(start.cell.low - reach, domain.low),
                      std::min(start.cell.high + reach, domain.high)};
    const Cell found = zoom(f, around, least);
    if (found.high - found.low > apart) continue;
    const double slack = std::max(found.high - found.low, least);
    const double x =
        std::clamp(simplest_in(found.low - slack, found.high + slack), domain.low, domain.high);
    if (result.empty() || x - result.back() > apart) result.push_back(x);
    if (result.size() > kMaxSingularities) return {};  // noise
  }
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

double least_distance(Interval domain) noexcept {
  const double farthest = std::max(std::abs(domain.low), std::abs(domain.high));
  return std::max(1e-15 * (domain.high - domain.low),
                  8 * std::numeric_limits<double>::epsilon() * farthest);
}

Resolution resolve(const ScalarFunction& f, Interval domain, double tolerance) {
  const std::vector<Cell> tree = coarse_cells({domain.low, domain.high});
  const std::size_t half = tree.size() / 2;
  std::vector<bool> whole(tree.size(), true);  // one leaf
  std::deque<std::pair<Cell, std::size_t>> open;
  for (std::size_t node = half; node < tree.size(); ++node) open.emplace_back(tree[node], node);

  Resolution result;
  std::vector<Leaf> leaves;
  std::size_t budget = kMaxCells;
  const double least = least_distance(domain);
  const auto fits = [&](const CellFit& fit) { return fit.error <= std::max(tolerance, fit.noise); };
  while (!open.empty()) {  // wide cells first, so that the budget is spent evenly
    const auto [cell, node] = open.front();
    open.pop_front();
    const CellFit fit = fit_cell(f, cell);
    result.scale = std::max(result.scale, fit.magnitude);
    const bool smallest = cell.high - cell.low <= least;
    if (!fits(fit) && !smallest && budget > 0) {
      --budget;
      whole[node] = false;
      for (const Cell part : parts_of(cell)) open.emplace_back(part, node);
      continue;
    }
    // What is far below the tolerance may be noise.
    leaves.push_back({cell, fit.error > tolerance / 100 && fit.has_structure()});
  }
  std::sort(leaves.begin(), leaves.end(),
            [](const Leaf& a, const Leaf& b) { return a.cell.low < b.cell.low; });
  if (budget > 0) result.singularities = find_singularities(f, leaves, domain);

  for (const Leaf& leaf : leaves) result.edges.push_back(leaf.cell.low);
  result.edges.push_back(domain.high);
  for (std::size_t node = half; node-- > 1;) {  // joins what one polynomial describes after all
    whole[node] = whole[2 * node] && whole[2 * node + 1] && fits(fit_cell(f, tree[node]));
    if (whole[node]) std::erase(result.edges, tree[2 * node].high);
  }
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
