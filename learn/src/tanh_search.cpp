// SPDX-License-Identifier: Apache-2.0
#include "tanh_search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace chainrule::internal {
namespace {

// Fits within this factor of epsilon are refined; small networks always.
constexpr double kRefineWithin = 300;
constexpr Index kAlwaysRefined = 4;
constexpr Index kMostUnknowns = 260;  // a step solves for them all
constexpr int kSteps = 60;
constexpr Index kCostly = 500;  // units

struct Trial {
  ShallowNetwork network;
  double error = std::numeric_limits<double>::infinity();
  std::size_t design = 0;
  bool refined = false;
};

// 1, 2, 3, 4, 5, 6, 8, 10, ..., about a quarter more each, up to `most`.
std::vector<Index> ladder(Index most) {
  std::vector<Index> rungs;
  for (Index units = 1; units < most;) {
    rungs.push_back(units);
    const Index step = units < 6 ? 1 : units < 24 ? 2 : units < 40 ? 4 : units < 80 ? 8 : units / 6;
    units += step;
    if (units > 80) units -= units % 8;
  }
  rungs.push_back(most);
  return rungs;
}

class TanhSearch {
 public:
  TanhSearch(ApproximationTarget& target, double epsilon, RandomKey key)
      : target_(target), epsilon_(epsilon), key_(key), designs_(target.designs()) {}

  CertifiedNetwork run(Index max_units) {
    Trial best;
    double goal = 0.8 * epsilon_;
    const std::vector<Index> rungs = ladder(std::min(max_units, target_.most_units()));
    for (std::size_t rung = 0; rung < rungs.size(); ++rung) {
      const Trial trial = fit(rungs[rung], goal);
      history_.push_back({rungs[rung], trial.error});
      if (trial.error < best.error || best.network.units() == 0) best = trial;
      if (trial.error > goal) {
        if (is_hopeless(rungs.back(), goal)) rung = std::max(rung, rungs.size() - 2);
        continue;
      }
      CertifiedNetwork result = certified(trial);
      if (result.certificate.sup_error <= epsilon_ || ++attempts_ == target_.attempts())
        return result;
      goal /= 2;  // that certificate has been seen, the next is a new one
    }
    return certified(best);
  }

 private:
  Trial fit(Index units, double goal) {
    const SampleSet training = target_.training(units);
    const SampleSet selection = target_.selection(units);
    Trial best;
    for (std::size_t i = 0; i < designs_.size(); ++i) {
      if (!worth_trying(units, i)) continue;
      Trial trial{.network = target_.draw(units, designs_[i], derive(key_, i))};
      trial.design = i;
      fit_output_layer(trial.network, training);
      trial.error = error_of(trial.network, training, selection);
      if (trial.error < best.error || best.network.units() == 0) best = std::move(trial);
    }
    last_design_ = best.design;
    const Index unknowns = units * (training.x.columns() + 2);
    const bool near = best.error <= kRefineWithin * epsilon_ || units <= kAlwaysRefined;
    if (best.error > goal && near && unknowns <= kMostUnknowns) {
      Trial refined = best;
      refine_hidden_layer(refined.network, training, target_.domain(), 0.8 * goal, kSteps);
      refined.error = error_of(refined.network, training, selection);
      refined.refined = true;
      if (refined.error < best.error) best = std::move(refined);
    }
    return best;
  }

  static double error_of(const ShallowNetwork& network, const SampleSet& training,
                         const SampleSet& selection) {
    // With its own share of rounding, so that other machines come as near.
    return std::max(sup_error(network, training), sup_error(network, selection)) +
           rounding_floor(network);
  }

  // True when the error of large networks falls too slowly: by the power of the number of units
  // seen over the last factor of two, not even sixteen times the most units would do.
  bool is_hopeless(Index most, double goal) const {
    const Index units = history_.back().first;
    const double error = history_.back().second;
    if (units < kCostly) return false;
    const auto before = std::find_if(history_.rbegin(), history_.rend(),
                                     [&](const auto& old) { return 2 * old.first <= units; });
    const double ratio = static_cast<double>(units) / static_cast<double>(before->first);
    const double power = std::max(0.0, std::log(before->second / error) / std::log(ratio));
    const double growth = 16 * static_cast<double>(most) / static_cast<double>(units);
    return error * std::pow(growth, -power) > goal;
  }

  // Large networks are costly: only designs near the last one's.
  bool worth_trying(Index units, std::size_t design) const {
    if (units <= 128) return true;
    const std::size_t distance =
        design > last_design_ ? design - last_design_ : last_design_ - design;
    return distance <= (units < kCostly ? 2U : 1U);
  }

  CertifiedNetwork certified(const Trial& trial) {
    CertifiedNetwork result;
    result.network = trial.network;
    result.chosen_by = trial.error;
    result.certificate = target_.certify(trial.network, trial.network.units(), attempts_);
    const UnitDesign& design = designs_[trial.design];
    result.method =
        fmt::format("random tanh features (slope scale {}{}), least squares by QR{}", design.slope,
                    design.grading > 0 ? ", clustered where f changes fast" : "",
                    trial.refined ? ", refined by Levenberg-Marquardt" : "");
    return result;
  }

  ApproximationTarget& target_;
  double epsilon_;
  RandomKey key_;
  std::vector<UnitDesign> designs_;
  std::vector<std::pair<Index, double>> history_;  // units and error of each rung
  std::size_t last_design_ = 0;
  int attempts_ = 0;
};

}  // namespace

CertifiedNetwork search_tanh(ApproximationTarget& target, double epsilon, Index max_units,
                             RandomKey key) {
  return TanhSearch(target, epsilon, key).run(max_units);
}

}  // namespace chainrule::internal
