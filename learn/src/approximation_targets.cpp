// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <numbers>

#include "tanh_search.hpp"

namespace chainrule::internal {
namespace {

// Slopes spread over a factor of two around `slope`.
double spread(double slope, RandomKey key, std::uint64_t i) {
  return slope * std::exp2(random_uniform(key, i) - 0.5);
}

class LineTarget : public ApproximationTarget {
 public:
  LineTarget(const ScalarFunction& f, Interval domain, const Resolution& resolution, RandomKey key)
      : ApproximationTarget({domain}), f_(f), resolution_(resolution), key_(key) {}

  SampleSet training(Index units) override { return samples(training_points(units)); }

  SampleSet selection(Index units) override {
    return samples(selection_points(training_points(units)));
  }

  Certificate certify(const ShallowNetwork& network, Index units, int attempt) override {
    std::vector<double> points = training_points(units);
    const std::vector<double> more = selection_points(points);
    points.insert(points.end(), more.begin(), more.end());
    std::sort(points.begin(), points.end());
    return certify_on_line(f_, domain()[0], network, points, resolution_.singularities,
                           derive(key_, 100 + static_cast<std::uint64_t>(attempt)));
  }

  std::vector<UnitDesign> designs() const override {
    std::vector<double> gradings{0};
    if (resolution_.graded()) gradings = {0, 0.5, 0.9};
    std::vector<UnitDesign> result;
    for (const double grading : gradings) {
      for (const double extension : {0.0, 0.3}) {
        for (const double slope :
             {0.02, 0.04, 0.07, 0.11, 0.16, 0.23, 0.32, 0.45, 0.64, 0.9, 1.3}) {
          result.push_back({.slope = slope, .grading = grading, .extension = extension});
        }
      }
    }
    return result;
  }

  ShallowNetwork draw(Index units, const UnitDesign& design, RandomKey key) const override {
    const Density density(resolution_.edges, design.grading);
    ShallowNetwork network;
    const double reach = 1 + design.extension;  // of quantiles, around 1/2
    const double step = reach / static_cast<double>(units);
    for (Index j = 0; j < units; ++j) {
      const auto i = static_cast<std::uint64_t>(j);
      const double shift = 0.5 + 0.3 * (random_uniform(key, 2 * i) - 0.5);
      const double q = 0.5 - reach / 2 + (static_cast<double>(j) + shift) * step;
      const double slope = spread(design.slope * density.at(q) / step, key, 2 * i + 1);
      network.weights.push_back(slope);
      network.biases.push_back(-slope * density.quantile(q));
    }
    return network;
  }

 private:
  std::vector<double> training_points(Index units) const {
    const Density density(resolution_.edges, resolution_.graded() ? 0.5 : 0);
    const Index count = 8 * units + 100;
    std::vector<double> points;
    for (Index i = 0; i <= count; ++i) {
      const double angle = std::numbers::pi * static_cast<double>(i) / static_cast<double>(count);
      points.push_back(density.quantile((1 - std::cos(angle)) / 2));
    }
    return points;
  }

  static std::vector<double> selection_points(const std::vector<double>& training) {
    std::vector<double> points;
    for (std::size_t i = 1; i < training.size(); ++i) {
      for (const double share : {0.23, 0.5, 0.77}) {
        points.push_back(training[i - 1] + share * (training[i] - training[i - 1]));
      }
    }
    return points;
  }

  SampleSet samples(const std::vector<double>& points) const {
    SampleSet result{.x = column_of(points), .y = {}};
    result.y = evaluate_function(f_, result.x);
    return result;
  }

  const ScalarFunction& f_;
  const Resolution& resolution_;
  RandomKey key_;
};

// Ridge units at random directions; slope, offset and extension relative to a cube of side 2.
ShallowNetwork draw_in_box(const Domain& domain, Index units, const UnitDesign& design,
                           RandomKey key) {
  const std::size_t d = domain.size();
  const LowDiscrepancySequence sequence(2, derive(key, 1));
  ShallowNetwork network;
  network.inputs = static_cast<Index>(d);
  std::vector<double> direction(d);
  for (Index j = 0; j < units; ++j) {
    const auto i = static_cast<std::uint64_t>(j);
    double place[2];
    sequence.point(j, place);
    if (d == 2) {
      direction = {std::cos(std::numbers::pi * place[0]), std::sin(std::numbers::pi * place[0])};
    } else {
      double norm = 0;
      for (std::size_t k = 0; k < d; ++k) {
        direction[k] = random_normal(derive(key, 2), i * d + k);
        norm = std::hypot(norm, direction[k]);
      }
      for (double& part : direction) part /= norm;
    }
    double width = 0;  // half of the cube's, seen along the direction
    for (const double part : direction) width += std::abs(part);
    const double slope = spread(design.slope, derive(key, 3), i);
    double bias = -slope * (2 * place[1] - 1) * width * (1 + design.extension);
    for (std::size_t k = 0; k < d; ++k) {
      const double half = (domain[k].high - domain[k].low) / 2;
      const double weight = slope * direction[k] / half;
      network.weights.push_back(weight);
      bias -= weight * (domain[k].low + half);
    }
    network.biases.push_back(bias);
  }
  return network;
}

std::vector<UnitDesign> box_designs() {
  std::vector<UnitDesign> result;
  for (const double slope : {0.18, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0}) {
    result.push_back({.slope = slope, .grading = 0, .extension = 0.1});
  }
  return result;
}

class BoxTarget : public ApproximationTarget {
 public:
  BoxTarget(const ScalarFunction& f, const Domain& domain, RandomKey key)
      : ApproximationTarget(domain), f_(f), key_(key) {}

  SampleSet training(Index units) override {
    return planar() ? grid(side(units), true) : scattered(points(units), 10);
  }
  SampleSet selection(Index units) override {
    return planar() ? grid(2 * side(units) + 1, false) : scattered(3 * points(units), 11);
  }
  Certificate certify(const ShallowNetwork& network, Index units, int attempt) override {
    return certify_in_box(f_, domain(), network, 10 * side(units), 20 * points(units),
                          derive(key_, 100 + static_cast<std::uint64_t>(attempt)));
  }
  std::vector<UnitDesign> designs() const override { return box_designs(); }
  ShallowNetwork draw(Index units, const UnitDesign& design, RandomKey key) const override {
    return draw_in_box(domain(), units, design, key);
  }

 private:
  bool planar() const noexcept { return domain().size() == 2; }
  static Index side(Index units) {
    return static_cast<Index>(std::ceil(2 * std::sqrt(static_cast<double>(units)))) + 4;
  }
  Index points(Index units) const {
    return (static_cast<Index>(domain().size()) + 3) * units + 100;
  }

  // From [0, 1] to side k; Chebyshev's density if asked for.
  double place(double share, std::size_t k, bool to_ends) const {
    if (to_ends) share = (1 - std::cos(std::numbers::pi * share)) / 2;
    const Interval side = domain()[k];
    return std::clamp(side.low + share * (side.high - side.low), side.low, side.high);
  }

  SampleSet grid(Index side, bool to_ends) const {
    SampleSet result{.x = Tensor({side * side, 2}, DType::kFloat64), .y = {}};
    const auto x = result.x.as<double>();
    for (Index i = 0; i < side * side; ++i) {
      const auto last = static_cast<double>(side - 1);
      x(i, 0) = place(static_cast<double>(i / side) / last, 0, to_ends);
      x(i, 1) = place(static_cast<double>(i % side) / last, 1, to_ends);
    }
    result.y = evaluate_function(f_, result.x);
    return result;
  }

  SampleSet scattered(Index count, std::uint64_t salt) const {
    const LowDiscrepancySequence sequence(domain().size(), derive(key_, salt));
    SampleSet result{.x = Tensor({count, static_cast<Index>(domain().size())}, DType::kFloat64),
                     .y = {}};
    for (Index i = 0; i < count; ++i) {
      const std::span<double> point(result.x.as<double>().row(i), domain().size());
      sequence.point(i, point);
      place_in_box(domain(), point);
    }
    result.y = evaluate_function(f_, result.x);
    return result;
  }

  const ScalarFunction& f_;
  RandomKey key_;
};

class SampleTarget : public ApproximationTarget {
 public:
  SampleTarget(const SampleSet& samples, const Domain& domain) : ApproximationTarget(domain) {
    std::vector<Index> rows[3];
    for (Index i = 0; i < samples.size(); ++i) {
      rows[i % 5 == 2 ? 2 : i % 10 == 6 ? 1 : 0].push_back(i);
    }
    for (int part = 0; part < 3; ++part) {
      const auto count = static_cast<Index>(rows[part].size());
      parts_[part].x = Tensor({count, samples.x.columns()}, DType::kFloat64);
      for (Index i = 0; i < count; ++i) {
        const Index row = rows[part][static_cast<std::size_t>(i)];
        std::copy_n(samples.x.as<double>().row(row), samples.x.columns(),
                    parts_[part].x.as<double>().row(i));
        parts_[part].y.push_back(samples.y[static_cast<std::size_t>(row)]);
      }
    }
  }

  SampleSet training(Index) override { return parts_[0]; }
  SampleSet selection(Index) override { return parts_[1]; }
  Certificate certify(const ShallowNetwork& network, Index, int) override {
    return certify_on_samples(network, parts_[2]);
  }
  int attempts() const override { return 1; }
  Index most_units() const override {
    const auto unknowns = static_cast<Index>(domain().size()) + 2;
    return std::max<Index>(1, (parts_[0].size() - 1) / unknowns);
  }
  std::vector<UnitDesign> designs() const override {
    if (domain().size() > 1) return box_designs();
    std::vector<UnitDesign> result;
    for (const double slope : {0.02, 0.04, 0.07, 0.11, 0.16, 0.23, 0.32, 0.45, 0.64, 0.9, 1.3}) {
      for (const double extension : {0.0, 0.3}) {
        result.push_back({.slope = slope, .grading = 0, .extension = extension});
      }
    }
    return result;
  }
  ShallowNetwork draw(Index units, const UnitDesign& design, RandomKey key) const override {
    if (domain().size() > 1) return draw_in_box(domain(), units, design, key);
    const Resolution even{.edges = {domain()[0].low, domain()[0].high}};
    const ScalarFunction none;
    return LineTarget(none, domain()[0], even, key).draw(units, design, key);
  }

 private:
  SampleSet parts_[3];  // training, selection, certificate
};

}  // namespace

std::unique_ptr<ApproximationTarget> line_target(const ScalarFunction& f, Interval domain,
                                                 const Resolution& resolution, RandomKey key) {
  return std::make_unique<LineTarget>(f, domain, resolution, key);
}

std::unique_ptr<ApproximationTarget> box_target(const ScalarFunction& f, const Domain& domain,
                                                RandomKey key) {
  return std::make_unique<BoxTarget>(f, domain, key);
}

std::unique_ptr<ApproximationTarget> sample_target(const SampleSet& samples, const Domain& domain) {
  return std::make_unique<SampleTarget>(samples, domain);
}

}  // namespace chainrule::internal
