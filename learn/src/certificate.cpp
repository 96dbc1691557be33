// SPDX-License-Identifier: Apache-2.0
#include "certificate.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace chainrule::internal {
namespace {

constexpr Index kBatch = 4096;
constexpr std::size_t kSuspects = 24;

// Evaluates network and function where asked and keeps the worst.
class Inspector {
 public:
  Inspector(const ScalarFunction& f, const Domain& domain, const ShallowNetwork& network)
      : f_(f), domain_(domain), evaluate_(network) {}

  std::vector<double> errors(const Tensor& x) {
    const std::vector<double> y = evaluate_function(f_, x);
    std::vector<double> result = evaluate_(x);
    for (std::size_t i = 0; i < result.size(); ++i) {
      result[i] = std::abs(result[i] - y[i]);
      if (!std::isfinite(result[i])) result[i] = std::numeric_limits<double>::infinity();
      if (found_.worst_point.empty() || result[i] > found_.sup_error) {
        found_.sup_error = result[i];
        const double* const row = x.as<double>().row(static_cast<Index>(i));
        found_.worst_point.assign(row, row + x.columns());
      }
    }
    found_.points += x.rows();
    return result;
  }

  // Looks at boxes of half-width `reach` around `center`, ever smaller.
  void search(std::vector<double> center, std::vector<double> reach) {
    const auto d = static_cast<Index>(center.size());
    const Index side = d == 1 ? 17 : d == 2 ? 5 : 3;
    Index count = 1;
    for (Index k = 0; k < std::min<Index>(d, 6); ++k) count *= side;
    for (int round = 0; round < 14; ++round) {
      Tensor x({count, d}, DType::kFloat64);
      const auto points = x.as<double>();
      for (Index i = 0; i < count; ++i) {
        Index digits = i;
        for (Index k = 0; k < d; ++k, digits /= side) {
          const auto at = static_cast<std::size_t>(k);
          const double step =
              2 * static_cast<double>(digits % side) / static_cast<double>(side - 1);
          points(i, k) =
              std::clamp(center[at] + reach[at] * (step - 1), domain_[at].low, domain_[at].high);
        }
      }
      const std::vector<double> found = errors(x);
      const auto best = std::max_element(found.begin(), found.end()) - found.begin();
      center.assign(points.row(best), points.row(best) + d);
      for (double& r : reach) r *= d == 1 ? 0.15 : 0.5;
    }
  }

  const Certificate& found() const noexcept { return found_; }

 private:
  const ScalarFunction& f_;
  const Domain& domain_;
  NetworkEvaluator evaluate_;
  Certificate found_;
};

// Both sides of x, from a tenth of the width down to 1e-14 of it, or to the numbers next to x if
// they are farther away.
void add_graded(std::vector<double>& points, double x, Interval domain) {
  const double width = domain.high - domain.low;
  points.push_back(x);
  const double below = std::nextafter(x, domain.low), above = std::nextafter(x, domain.high);
  for (int i = 4; i <= 56; ++i) {
    const double distance = width * std::pow(10, -i / 4.0);
    if (distance < std::max(x - below, above - x)) {
      points.insert(points.end(), {below, above});
      break;
    }
    points.push_back(x - distance);
    points.push_back(x + distance);
  }
}

std::vector<double> knots_of(const ShallowNetwork& network, Interval domain) {
  std::vector<double> knots{domain.low, domain.high};
  for (std::size_t j = 0; j < network.biases.size(); ++j) {
    const double knot = -network.biases[j] / network.weights[j];
    if (knot > domain.low && knot < domain.high) knots.push_back(knot);
  }
  std::sort(knots.begin(), knots.end());
  return knots;
}

std::vector<double> line_points(Interval domain, const ShallowNetwork& network,
                                std::span<const double> fitted,
                                std::span<const double> singularities, RandomKey key) {
  constexpr int kPerGap = 11, kEverywhere = 20'000;
  std::vector<double> points;
  std::uint64_t drawn = 0;
  for (int i = 0; i < kEverywhere; ++i) {
    const double share = (i + random_uniform(key, drawn++)) / kEverywhere;
    points.push_back(domain.low + (domain.high - domain.low) * share);
  }
  for (std::size_t i = 1; i < fitted.size(); ++i) {
    const double gap = fitted[i] - fitted[i - 1];
    for (int part = 0; part < kPerGap; ++part) {
      points.push_back(fitted[i - 1] + gap * (part + random_uniform(key, drawn++)) / kPerGap);
    }
  }
  const std::vector<double> knots = knots_of(network, domain);
  for (std::size_t i = 0; i < knots.size(); ++i) {
    add_graded(points, knots[i], domain);
    if (i > 0) points.push_back(knots[i - 1] + (knots[i] - knots[i - 1]) / 2);
  }
  for (const double x : singularities) add_graded(points, x, domain);
  std::erase_if(points, [&](double x) { return !(x >= domain.low && x <= domain.high); });
  std::sort(points.begin(), points.end());
  points.erase(std::unique(points.begin(), points.end()), points.end());
  return points;
}

// Positions of the largest local maxima.
std::vector<std::size_t> peaks_of(std::span<const double> errors) {
  std::vector<std::size_t> peaks;
  for (std::size_t i = 0; i < errors.size(); ++i) {
    const bool left = i == 0 || errors[i] >= errors[i - 1];
    const bool right = i + 1 == errors.size() || errors[i] >= errors[i + 1];
    if (left && right) peaks.push_back(i);
  }
  std::stable_sort(peaks.begin(), peaks.end(),
                   [&](std::size_t a, std::size_t b) { return errors[a] > errors[b]; });
  if (peaks.size() > kSuspects) peaks.resize(kSuspects);
  return peaks;
}

// One point in each cell of a grid and on the faces; `at` counts to (cells + 2)^d.
void grid_point(const Domain& domain, Index cells, Index at, RandomKey key,
                std::span<double> point) {
  const auto d = static_cast<std::uint64_t>(domain.size());
  Index digits = at;
  for (std::size_t k = 0; k < domain.size(); ++k, digits /= cells + 2) {
    const Index cell = digits % (cells + 2) - 1;
    const Interval side = domain[k];
    if (cell < 0 || cell == cells) {
      point[k] = cell < 0 ? side.low : side.high;
      continue;
    }
    const double shift = random_uniform(key, static_cast<std::uint64_t>(at) * d + k);
    const double share = (static_cast<double>(cell) + shift) / static_cast<double>(cells);
    point[k] = std::clamp(side.low + (side.high - side.low) * share, side.low, side.high);
  }
}

void check_corners(const Domain& domain, Inspector& inspector) {
  const auto d = static_cast<Index>(domain.size());
  const Index count = Index{1} << std::min<Index>(d, 10);
  Tensor x({count, d}, DType::kFloat64);
  for (Index i = 0; i < count; ++i) {
    for (Index k = 0; k < d; ++k) {
      const Interval side = domain[static_cast<std::size_t>(k)];
      x.as<double>()(i, k) = (i >> std::min<Index>(k, 10)) % 2 == 0 ? side.low : side.high;
    }
  }
  inspector.errors(x);
}

}  // namespace

void place_in_box(const Domain& domain, std::span<double> point) noexcept {
  constexpr double kBeyond = 0.12;  // this share of each coordinate falls on either face
  for (std::size_t k = 0; k < domain.size(); ++k) {
    const double share = std::clamp(point[k] * (1 + 2 * kBeyond) - kBeyond, 0.0, 1.0);
    const Interval side = domain[k];
    point[k] = std::clamp(side.low + (side.high - side.low) * share, side.low, side.high);
  }
}

Certificate certify_on_line(const ScalarFunction& f, Interval domain, const ShallowNetwork& network,
                            std::span<const double> fitted, std::span<const double> singularities,
                            RandomKey key) {
  const std::vector<double> points = line_points(domain, network, fitted, singularities, key);
  const Domain box{domain};
  Inspector inspector(f, box, network);
  std::vector<double> errors;
  for (std::size_t first = 0; first < points.size(); first += kBatch) {
    const std::size_t count = std::min<std::size_t>(kBatch, points.size() - first);
    const auto part = inspector.errors(column_of({points.data() + first, count}));
    errors.insert(errors.end(), part.begin(), part.end());
  }
  for (const std::size_t peak : peaks_of(errors)) {
    const double left = points[peak] - points[peak == 0 ? 0 : peak - 1];
    const double right = points[std::min(peak + 1, points.size() - 1)] - points[peak];
    inspector.search({points[peak]}, {std::max(left, right)});
  }
  return inspector.found();
}

Certificate certify_in_box(const ScalarFunction& f, const Domain& domain,
                           const ShallowNetwork& network, Index per_direction, Index total,
                           RandomKey key) {
  const auto d = static_cast<Index>(domain.size());
  const bool grid = d <= 2;
  const Index count = grid ? (per_direction + 2) * (d == 2 ? per_direction + 2 : 1) : total;
  Inspector inspector(f, domain, network);
  const LowDiscrepancySequence sequence(domain.size(), key);
  // The worst point of each batch is a suspect.
  std::vector<std::pair<double, std::vector<double>>> suspects;
  for (Index first = 0; first < count; first += kBatch) {
    const Index rows = std::min(kBatch, count - first);
    Tensor x({rows, d}, DType::kFloat64);
    for (Index i = 0; i < rows; ++i) {
      const std::span<double> point(x.as<double>().row(i), domain.size());
      if (grid) {
        grid_point(domain, per_direction, first + i, key, point);
        continue;
      }
      sequence.point(first + i, point);
      place_in_box(domain, point);
    }
    const std::vector<double> errors = inspector.errors(x);
    const auto best = std::max_element(errors.begin(), errors.end()) - errors.begin();
    const double* const row = x.as<double>().row(best);
    suspects.emplace_back(errors[static_cast<std::size_t>(best)],
                          std::vector<double>(row, row + d));
  }
  std::stable_sort(suspects.begin(), suspects.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  if (suspects.size() > kSuspects) suspects.resize(kSuspects);
  const double cells = std::pow(static_cast<double>(count), 1 / static_cast<double>(d));
  std::vector<double> reach;
  for (const Interval& side : domain) reach.push_back((side.high - side.low) / cells);
  if (!grid) check_corners(domain, inspector);
  for (const auto& suspect : suspects) inspector.search(suspect.second, reach);
  return inspector.found();
}

Certificate certify_on_samples(const ShallowNetwork& network, const SampleSet& samples) {
  Certificate result;
  result.points = samples.size();
  const std::vector<double> values = NetworkEvaluator(network)(samples.x);
  for (std::size_t i = 0; i < values.size(); ++i) {
    double error = std::abs(values[i] - samples.y[i]);
    if (!std::isfinite(error)) error = std::numeric_limits<double>::infinity();
    if (!result.worst_point.empty() && error <= result.sup_error) continue;
    result.sup_error = error;
    const double* const row = samples.x.as<double>().row(static_cast<Index>(i));
    result.worst_point.assign(row, row + samples.x.columns());
  }
  return result;
}

LowDiscrepancySequence::LowDiscrepancySequence(std::size_t dimension, RandomKey key) {
  double root = 1.5;
  const double power = 1 / (static_cast<double>(dimension) + 1);
  for (int step = 0; step < 60; ++step) root = std::pow(1 + root, power);
  double increment = 1;
  for (std::size_t k = 0; k < dimension; ++k) {
    increment /= root;
    increments_.push_back(increment);
    shifts_.push_back(random_uniform(key, k));
  }
}

void LowDiscrepancySequence::point(Index i, std::span<double> out) const noexcept {
  for (std::size_t k = 0; k < out.size(); ++k) {
    const double value = shifts_[k] + static_cast<double>(i) * increments_[k];
    out[k] = value - std::floor(value);
  }
}

}  // namespace chainrule::internal
