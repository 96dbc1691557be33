// SPDX-License-Identifier: Apache-2.0
#include "relu_path.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace chainrule::internal {
namespace {

constexpr double kUnbounded = std::numeric_limits<double>::infinity();

struct Point {
  double x;
  double y;
};

struct Line {
  Point at;
  double slope;

  double operator()(double x) const noexcept {
    return std::isinf(slope) ? slope : at.y + slope * (x - at.x);
  }
};

double slope_between(Point a, Point b) noexcept { return (b.y - a.y) / (b.x - a.x); }

// The convex hull of points given in the order of x, on one side: from below for sign 1, from above
// for sign -1.
class HullChain {
 public:
  explicit HullChain(int sign) : sign_(sign) {}

  void add(Point p) {
    if (!chain_.empty() && !(chain_.back().x < p.x)) {  // of two above each other the nearer one
      if (sign_ * p.y >= sign_ * chain_.back().y) return;
      chain_.pop_back();
    }
    while (chain_.size() > 1 && sign_ * slope_between(chain_[chain_.size() - 2], chain_.back()) >=
                                    sign_ * slope_between(chain_.back(), p)) {
      chain_.pop_back();
    }
    chain_.push_back(p);
  }
  // Of the lines from points of the chain to p, behind all of them, the one that passes on the far
  // side of the others; -inf or inf without points before p.
  double tangent_slope(Point p) const noexcept {
    const auto slope_from = [&](Point a) {
      return a.x < p.x ? slope_between(a, p) : -sign_ * kUnbounded;
    };
    if (chain_.empty()) return -sign_ * kUnbounded;
    std::size_t low = 0, high = chain_.size() - 1;
    while (low < high) {
      const std::size_t middle = (low + high) / 2;
      const double here = slope_from(chain_[middle]);
      const double next = slope_from(chain_[middle + 1]);
      if (sign_ * next > sign_ * here) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return slope_from(chain_[low]);
  }

 private:
  int sign_;
  std::vector<Point> chain_;
};

// The lines above some points (floors) and below others (ceilings), given in the order of x. The
// extreme ones touch one of each; `at` is the later of the two.
class Stabber {
 public:
  const Line& steepest() const noexcept { return steepest_; }
  const Line& flattest() const noexcept { return flattest_; }

  void add_floor(Point p) {
    if (p.y > flattest_(p.x)) flattest_ = {p, ceilings_.tangent_slope(p)};
    floors_.add(p);
  }
  void add_ceiling(Point p) {
    if (p.y < steepest_(p.x)) steepest_ = {p, floors_.tangent_slope(p)};
    ceilings_.add(p);
  }
  void add_gate(double x, double floor, double ceiling) {
    const bool rises = floor > flattest_(x), falls = ceiling < steepest_(x);
    if (rises) flattest_ = {{x, floor}, ceilings_.tangent_slope({x, floor})};
    if (falls) steepest_ = {{x, ceiling}, floors_.tangent_slope({x, ceiling})};
    floors_.add({x, floor});
    ceilings_.add({x, ceiling});
  }
  // A line of the middle: the set of lines is convex.
  Line between() const noexcept {
    const double x = flattest_.at.x;
    return {{x, (flattest_(x) + steepest_(x)) / 2}, (flattest_.slope + steepest_.slope) / 2};
  }

 private:
  HullChain floors_{-1};
  HullChain ceilings_{1};
  Line steepest_{{0, 0}, kUnbounded};
  Line flattest_{{0, 0}, -kUnbounded};
};

// A piece of the path, and until where the next one has to leave it.
struct Link {
  Line line;
  double window_low = 0;
  double window_high = 0;
};

class LinkFinder {
 public:
  LinkFinder(const Polyline& points, double tube) : points_(points), tube_(tube) {}

  std::vector<Link> run() {
    std::vector<Link> links;
    Stabber stabber;
    for (std::size_t k = 0; k < points_.size(); ++k) {
      const double x = points_.x[k];
      if (floor(k) > stabber.steepest()(x)) {
        links.push_back(leave_through_floor(stabber, k));
      } else if (ceiling(k) < stabber.flattest()(x)) {
        links.push_back(leave_through_ceiling(stabber, k));
      }
      stabber.add_gate(x, floor(k), ceiling(k));
    }
    links.push_back({stabber.between()});
    return links;
  }

 private:
  double floor(std::size_t k) const noexcept { return points_.y[k] - tube_; }
  double ceiling(std::size_t k) const noexcept { return points_.y[k] + tube_; }

  // The steepest line is too low at point k: the next one leaves it upwards, below the ceilings.
  Link leave_through_floor(Stabber& stabber, std::size_t k) const {
    const Line line = stabber.steepest();
    const double exit = crossing(line, k, -tube_);
    stabber = Stabber();
    stabber.add_ceiling(line.at);
    for (std::size_t i = first_behind(line.at.x, k); i < k; ++i) {
      stabber.add_ceiling({points_.x[i], ceiling(i)});
    }
    stabber.add_floor({exit, line(exit)});
    return {line, line.at.x, exit};
  }

  Link leave_through_ceiling(Stabber& stabber, std::size_t k) const {
    const Line line = stabber.flattest();
    const double exit = crossing(line, k, tube_);
    stabber = Stabber();
    stabber.add_floor(line.at);
    for (std::size_t i = first_behind(line.at.x, k); i < k; ++i) {
      stabber.add_floor({points_.x[i], floor(i)});
    }
    stabber.add_ceiling({exit, line(exit)});
    return {line, line.at.x, exit};
  }

  std::size_t first_behind(double x, std::size_t k) const noexcept {
    while (k > 0 && points_.x[k - 1] > x) --k;
    return k;
  }

  // Where the line meets the wall between points k - 1 and k.
  double crossing(const Line& line, std::size_t k, double wall) const noexcept {
    const double before = std::abs(line(points_.x[k - 1]) - (points_.y[k - 1] + wall));
    const double after = std::abs(line(points_.x[k]) - (points_.y[k] + wall));
    const double share = before + after > 0 ? before / (before + after) : 0;
    const double x = points_.x[k - 1] + share * (points_.x[k] - points_.x[k - 1]);
    return std::max(x, line.at.x);
  }

  const Polyline& points_;
  double tube_;
};

double largest_distance(const Polyline& path, const Polyline& points) {
  double largest = 0;
  std::size_t piece = 0;
  for (std::size_t i = 0; i < points.size(); ++i) {
    while (piece + 2 < path.size() && path.x[piece + 1] < points.x[i]) ++piece;
    const double slope = (path.y[piece + 1] - path.y[piece]) / (path.x[piece + 1] - path.x[piece]);
    const double y = path.y[piece] + slope * (points.x[i] - path.x[piece]);
    largest = std::max(largest, std::abs(y - points.y[i]));
  }
  return largest;
}

// The path with its knots and ends moved onto points nearby, those of `kinks` (ascending) before
// others; nothing when there are none for each.
std::optional<Polyline> moved_onto(const Polyline& points, const Polyline& path,
                                   std::span<const double> kinks) {
  const double reach = 1e-9 * (points.x.back() - points.x.front());
  Polyline moved;
  for (double x : path.x) {
    const auto kink = std::lower_bound(kinks.begin(), kinks.end(), x - reach);
    if (kink != kinks.end() && *kink <= x + reach) x = *kink;
    const auto above = std::lower_bound(points.x.begin(), points.x.end(), x);
    auto i = static_cast<std::size_t>(above - points.x.begin());
    if (i == points.size() || (i > 0 && x - points.x[i - 1] < points.x[i] - x)) --i;
    if (std::abs(points.x[i] - x) > reach) return std::nullopt;
    if (!moved.x.empty() && points.x[i] <= moved.x.back()) return std::nullopt;
    moved.x.push_back(points.x[i]);
    moved.y.push_back(points.y[i]);
  }
  return moved;
}

// Moved where that is no farther off: exact for functions that are piecewise linear themselves.
Polyline snapped(const Polyline& path, const Polyline& points, std::span<const double> kinks) {
  Polyline best = path;
  for (const auto& onto : {std::span<const double>(), kinks}) {
    const std::optional<Polyline> moved = moved_onto(points, path, onto);
    if (moved && largest_distance(*moved, points) <= largest_distance(best, points)) best = *moved;
  }
  return best;
}

double magnitude_of(const Polyline& points) {
  double largest = 0;
  for (const double y : points.y) largest = std::max(largest, std::abs(y));
  return largest;
}

// Steep pieces, as at a jump, cost more in rounding than they gain.
bool is_fit(const ShallowNetwork& network, double tube, Index max_units) {
  return network.units() <= max_units && rounding_floor(network) <= tube / 10;
}

ReluFit fit_of(const Polyline& path, const Polyline& points) {
  ReluFit fit;
  fit.network = to_relu_network(path, 1e-13 * magnitude_of(points));
  fit.fitted = points.x;
  fit.error = largest_distance(path, points);
  return fit;
}

// The smallest tube, from `low` (too small) to `high` (large enough) by bisection of its logarithm,
// in which a network of at most `units` units fits.
ReluFit narrowest(const Polyline& points, double low, double high, Index units, int steps) {
  ReluFit best = fit_of(fewest_pieces(points, high), points);
  for (int i = 0; i < steps; ++i) {
    const double middle = std::sqrt(low) * std::sqrt(high);
    ReluFit trial = fit_of(fewest_pieces(points, middle), points);
    if (is_fit(trial.network, middle, units)) {
      best = std::move(trial);
      high = middle;
    } else {
      low = middle;
    }
  }
  return best;
}

// In the tube if the units suffice, else in a wider one.
ReluFit fit_in_tube(const Polyline& points, double tube, double least_tube, Index max_units) {
  ReluFit fit = fit_of(fewest_pieces(points, tube), points);
  if (!is_fit(fit.network, tube, max_units)) {
    return narrowest(points, tube, std::max(2 * magnitude_of(points), 2 * tube), max_units, 24);
  }
  const double low = std::max(least_tube, tube / 16);
  if (low < tube) fit = narrowest(points, low, tube, fit.network.units(), 6);
  fit.within = true;
  return fit;
}

// Of functions that are piecewise linear to rounding: the network of at most `units` units, if that
// can be.
std::optional<ReluFit> fit_exactly(const Polyline& points, std::span<const double> kinks,
                                   Index units) {
  const double magnitude = magnitude_of(points);
  const double tube = std::max(4e-14 * magnitude, 1e-300);
  const Polyline path = snapped(fewest_pieces(points, tube), points, kinks);
  ReluFit fit = fit_of(path, points);
  fit.within = true;
  if (fit.network.units() > units) return std::nullopt;
  return fit;
}

// Points of a function, straight lines between them within a tolerance of it.
struct SampledLine {
  Polyline points;
  double tolerance;
};

// So many of them that a tube of epsilon has room for what they miss; nothing when they are too
// many, or would follow the function's rounding.
std::optional<SampledLine> sample_for(const ScalarFunction& f, const Resolution& resolution,
                                      double epsilon, double rounding) {
  constexpr std::size_t kMostPoints = 400'000;
  for (const double tolerance : {epsilon / 100, epsilon / 25}) {
    if (tolerance < rounding) continue;
    if (auto points = sample_polyline(f, resolution, tolerance, kMostPoints)) {
      return SampledLine{std::move(*points), tolerance};
    }
  }
  return std::nullopt;
}

// For an epsilon out of reach: several points for each of the pieces that there may be. From coarse
// to fine, where each try costs more than the last.
SampledLine sample_for_pieces(const ScalarFunction& f, const Resolution& resolution, double epsilon,
                              Index pieces) {
  const std::size_t most = 16 * static_cast<std::size_t>(std::clamp<Index>(pieces, 2000, 25'000));
  double tolerance = std::max(resolution.scale / 1000, epsilon);
  std::optional<Polyline> points;
  while (!(points = sample_polyline(f, resolution, tolerance, most))) tolerance *= 4;
  while (tolerance > epsilon / 25) {
    auto finer = sample_polyline(f, resolution, tolerance / 2, most);
    if (!finer) break;
    points = std::move(finer);
    tolerance /= 2;
  }
  return {std::move(*points), tolerance};
}

// Of functions that are piecewise linear to rounding; its error is the network's.
std::optional<ReluFit> fit_straight(const ScalarFunction& f, const Resolution& resolution,
                                    double rounding, double epsilon, Index max_units) {
  constexpr std::size_t kMostPoints = 4000;
  const auto points = sample_polyline(f, resolution, rounding, kMostPoints);
  if (!points) return std::nullopt;
  std::optional<ReluFit> fit = fit_exactly(*points, resolution.singularities, max_units);
  if (!fit) return std::nullopt;
  fit->error = sup_error(fit->network, {column_of(points->x), points->y});
  fit->within = fit->error <= epsilon;
  return fit;
}

}  // namespace

Polyline fewest_pieces(const Polyline& points, double tube) {
  const std::vector<Link> links = LinkFinder(points, tube).run();
  Polyline path;
  path.x.push_back(points.x.front());
  path.y.push_back(links.front().line(points.x.front()));
  for (std::size_t i = 0; i + 1 < links.size(); ++i) {
    const auto& [line, low, high] = links[i];
    const Line& next = links[i + 1].line;
    const double cross = high - (line(high) - next(high)) / (line.slope - next.slope);
    const double x = std::isfinite(cross) ? std::clamp(cross, low, high) : high;
    if (!(x > path.x.back() && x < points.x.back())) continue;
    path.x.push_back(x);
    path.y.push_back(line(x));
  }
  path.x.push_back(points.x.back());
  path.y.push_back(links.back().line(points.x.back()));
  return path;
}

std::optional<Polyline> sample_polyline(const ScalarFunction& f, const Resolution& resolution,
                                        double tolerance, std::size_t most) {
  std::vector<double> starts = resolution.edges;
  starts.insert(starts.end(), resolution.singularities.begin(), resolution.singularities.end());
  const double low = resolution.edges.front(), width = resolution.edges.back() - low;
  for (int i = 1; i < 32; ++i) starts.push_back(low + width * i / 32);
  std::sort(starts.begin(), starts.end());
  starts.erase(std::unique(starts.begin(), starts.end()), starts.end());

  const auto value = [&](double x) { return evaluate_at(f, {&x, 1}); };
  Polyline result{{starts[0]}, {value(starts[0])}};
  std::vector<Point> ahead;  // ends of intervals to come, the next one last
  for (std::size_t i = starts.size(); i-- > 1;) ahead.push_back({starts[i], value(starts[i])});
  while (!ahead.empty()) {
    if (result.size() > most) return std::nullopt;
    const Point from{result.x.back(), result.y.back()}, to = ahead.back();
    bool straight = true;
    Point middle{};
    for (const double share : {0.5, 0.25, 0.75}) {
      const double x = from.x + share * (to.x - from.x);
      const double y = value(x);
      const double chord = from.y + (x - from.x) / (to.x - from.x) * (to.y - from.y);
      if (share == 0.5) middle = {x, y};
      straight = straight && std::abs(y - chord) <= tolerance;
      if (!straight) break;
    }
    const bool splits = middle.x > from.x && middle.x < to.x && to.x - from.x > 1e-17 * width;
    if (!straight && splits) {
      // At the middle wherever the doubt arose.
      ahead.push_back(middle);
      continue;
    }
    result.x.push_back(to.x);
    result.y.push_back(to.y);
    ahead.pop_back();
  }
  return result;
}

ShallowNetwork to_relu_network(const Polyline& path, double negligible) {
  ShallowNetwork network;
  network.relu = true;
  network.constant = path.y.front();
  double slope = 0;
  for (std::size_t i = 0; i + 1 < path.size(); ++i) {
    const double next = (path.y[i + 1] - path.y[i]) / (path.x[i + 1] - path.x[i]);
    const double change = next - slope;
    if (std::abs(change) * (path.x.back() - path.x[i]) <= negligible) continue;
    network.weights.push_back(1);
    network.biases.push_back(-path.x[i]);
    network.coefficients.push_back(change);
    slope = next;
  }
  if (network.units() == 0) {  // a constant
    network.weights = {1};
    network.biases = {-path.x.front()};
    network.coefficients = {0};
  }
  return network;
}

ReluFit fit_relu(const ScalarFunction& f, const Resolution& resolution, double epsilon,
                 Index max_units) {
  const double rounding = 1e-14 * std::max(resolution.scale, 1e-290);
  const std::optional<ReluFit> straight = fit_straight(f, resolution, rounding, epsilon, max_units);
  const bool exact = straight && straight->within;
  if (const auto samples = sample_for(f, resolution, epsilon, rounding)) {
    ReluFit fit = fit_in_tube(samples->points, 0.99 * epsilon - samples->tolerance,
                              4 * samples->tolerance, max_units);
    if (!exact) return fit;
    return fit.within && fit.network.units() < straight->network.units() ? fit : *straight;
  }
  if (exact) return *straight;
  const SampledLine samples = sample_for_pieces(f, resolution, epsilon, max_units);
  const double tube = 4 * samples.tolerance, widest = 2 * magnitude_of(samples.points);
  const ReluFit fit = narrowest(samples.points, tube, std::max(widest, 2 * tube), max_units, 24);
  return straight && straight->error <= fit.error ? *straight : fit;
}

ReluFit fit_relu(const Polyline& points, double epsilon, Index max_units) {
  const double tube = 0.99 * epsilon;
  ReluFit fit = fit_in_tube(points, tube, tube / 16, max_units);
  if (!fit.within) return fit;
  return fit_exactly(points, {}, fit.network.units()).value_or(fit);
}

}  // namespace chainrule::internal
