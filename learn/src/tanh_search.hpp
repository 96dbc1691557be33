// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "certificate.hpp"
#include "resolution.hpp"
#include "shallow_network.hpp"

namespace chainrule::internal {

/// How hidden units are drawn.
struct UnitDesign {
  double slope = 1;      ///< in one variable times the distance of centres, else times half a side
  double grading = 0;    ///< share of the centres that follow the function's scale
  double extension = 0;  ///< how far centres go beyond the domain, in half-widths
};

/// What is approximated, as the search over networks sees it.
class ApproximationTarget {
 public:
  explicit ApproximationTarget(Domain domain) : domain_(std::move(domain)) {}
  ApproximationTarget(const ApproximationTarget&) = delete;
  ApproximationTarget& operator=(const ApproximationTarget&) = delete;
  virtual ~ApproximationTarget() = default;

  const Domain& domain() const noexcept { return domain_; }
  /// Networks of up to `units` units are fitted to these ...
  virtual SampleSet training(Index units) = 0;
  /// ... and chosen by these and the former.
  virtual SampleSet selection(Index units) = 0;
  /// On points that neither of them has, and no other attempt.
  virtual Certificate certify(const ShallowNetwork& network, Index units, int attempt) = 0;
  /// How many certificates there are.
  virtual int attempts() const { return 3; }
  /// The most units that there are samples for.
  virtual Index most_units() const { return 1 << 20; }
  virtual std::vector<UnitDesign> designs() const = 0;
  virtual ShallowNetwork draw(Index units, const UnitDesign& design, RandomKey key) const = 0;

 private:
  Domain domain_;
};

std::unique_ptr<ApproximationTarget> line_target(const ScalarFunction& f, Interval domain,
                                                 const Resolution& resolution, RandomKey key);
std::unique_ptr<ApproximationTarget> box_target(const ScalarFunction& f, const Domain& domain,
                                                RandomKey key);
/// Rows with i % 5 == 2 certify, those with i % 10 == 6 select.
std::unique_ptr<ApproximationTarget> sample_target(const SampleSet& samples, const Domain& domain);

struct CertifiedNetwork {
  ShallowNetwork network;
  Certificate certificate;
  double chosen_by = 0;  ///< the error that it was chosen by
  std::string method;
};

/// The tanh network of fewest units, of a ladder up to `max_units`, whose certificate is <=
/// epsilon; without one the network of the smallest error, after small ones are refined if
/// `thorough`.
CertifiedNetwork search_tanh(ApproximationTarget& target, double epsilon, Index max_units,
                             RandomKey key, bool thorough);

Approximation to_approximation(const CertifiedNetwork& found, double epsilon);

/// How many units to try at most: `budget`, or the usual number if it is 0.
inline Index units_allowed(Index budget, Index usual) noexcept {
  return budget > 0 ? budget : usual;
}
inline constexpr Index kReluUnits = 10'000;
inline constexpr Index kTanhUnits = 512;
inline constexpr Index kTanhUnitsInBox = 1600;

/// ArgumentError unless epsilon is finite and > 0 and max_units >= 0.
void check_options(double epsilon, const ApproximateOptions& options);
/// UnsupportedError for ReLU units in more than one variable.
void check_activation(std::size_t variables, const ApproximateOptions& options);

}  // namespace chainrule::internal
