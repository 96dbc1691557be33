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
// When the budget ends: floating-point operations, some 10^9 or 10^10 a second.
constexpr double kWorkOfSize = 1e8;
constexpr double kMostWork = 3e10;  // of drawing, and of refining

struct Trial {
  ShallowNetwork network;
  double error = std::numeric_limits<double>::infinity();
  std::size_t design = 0;
  bool refined = false;
};

// What networks are fitted to and chosen by.
struct SearchSamples {
  SampleSet training;
  SampleSet selection;
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
  TanhSearch(ApproximationTarget& target, double epsilon, RandomKey key, bool thorough)
      : target_(target),
        epsilon_(epsilon),
        key_(key),
        thorough_(thorough),
        designs_(target.designs()) {}

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
    if (thorough_) refine_small(best, rungs.back(), goal);
    return certified(best);
  }

 private:
  Trial fit(Index units, double goal) {
    const SearchSamples samples{target_.training(units), target_.selection(units)};
    Trial best = std::move(draw_all(units, samples).front());
    last_design_ = best.design;
    const bool near = best.error <= kRefineWithin * epsilon_ || units <= kAlwaysRefined;
    if (best.error > goal && near && unknowns(units) <= kMostUnknowns) {
      Trial refined = refine(best, samples, goal);
      if (refined.error < best.error) best = std::move(refined);
    }
    return best;
  }

  // Of each design one, the best one first.
  std::vector<Trial> draw_all(Index units, const SearchSamples& samples) const {
    std::vector<Trial> trials;
    for (std::size_t i = 0; i < designs_.size(); ++i) {
      if (!worth_trying(units, i)) continue;
      Trial trial{.network = target_.draw(units, designs_[i], derive(key_, i)), .design = i};
      fit_output_layer(trial.network, samples.training);
      trial.error = error_of(trial.network, samples);
      trials.push_back(std::move(trial));
    }
    std::stable_sort(trials.begin(), trials.end(),
                     [](const Trial& a, const Trial& b) { return a.error < b.error; });
    return trials;
  }

  Trial refine(const Trial& trial, const SearchSamples& samples, double goal) const {
    Trial refined = trial;
    refine_hidden_layer(refined.network, samples.training, target_.domain(), 0.8 * goal, kSteps);
    refined.error = error_of(refined.network, samples);
    refined.refined = true;
    return refined;
  }

  // Out of budget: looks at networks of every small size, and refines them from several draws and
  // from the last size's best. What it does for a size is the same for every budget, so that more
  // units do not end with a larger error.
  void refine_small(Trial& best, Index most, double goal) const {
    Trial last;
    double drawing = 0, refining = 0;
    for (Index units = 1; units <= most && unknowns(units) <= kMostUnknowns; ++units) {
      const SearchSamples samples{target_.training(units), target_.selection(units)};
      drawing += static_cast<double>(designs_.size()) * work_of_qr(units + 1, samples);
      if (drawing > kMostWork) return;
      std::vector<Trial> starts = draw_all(units, samples);
      if (starts.front().error < best.error) best = starts.front();
      const double each = kSteps * work_of_qr(unknowns(units) + 1, samples);
      const double affordable = std::max(1.0, kWorkOfSize / each);
      if (affordable < static_cast<double>(starts.size())) {
        starts.resize(static_cast<std::size_t>(affordable));
      }
      if (last.network.units() > 0) starts.push_back(grown(last, starts.front(), samples));
      for (const Trial& start : starts) {
        refining += each;
        if (refining > kMostWork) break;
        Trial refined = refine(start, samples, goal);
        if (refined.error < best.error) best = refined;
        if (refined.error < last.error) last = std::move(refined);
      }
      if (best.error <= goal) return;
    }
  }

  // The trial with units of another one added, as many as that has.
  static Trial grown(Trial trial, const Trial& other, const SearchSamples& samples) {
    ShallowNetwork& network = trial.network;
    const auto inputs = static_cast<std::size_t>(network.inputs);
    const auto many = static_cast<std::size_t>(other.network.units());
    const std::size_t missing = many - static_cast<std::size_t>(network.units());
    for (std::size_t k = 0; k < missing; ++k) {
      const std::size_t j = (2 * k + 1) * many / (2 * missing);  // spread over them
      const auto weights = other.network.weights.begin() + static_cast<std::ptrdiff_t>(j * inputs);
      network.weights.insert(network.weights.end(), weights,
                             weights + static_cast<std::ptrdiff_t>(inputs));
      network.biases.push_back(other.network.biases[j]);
    }
    fit_output_layer(network, samples.training);
    trial.error = error_of(network, samples);
    return trial;
  }

  // Floating-point operations; a step of the refinement has rows for its damping too.
  static double work_of_qr(Index columns, const SearchSamples& samples) {
    const auto n = static_cast<double>(columns);
    return 2 * n * n * (static_cast<double>(samples.training.size()) + n);
  }

  Index unknowns(Index units) const {
    return units * (static_cast<Index>(target_.domain().size()) + 2);
  }

  static double error_of(const ShallowNetwork& network, const SearchSamples& samples) {
    // With its own share of rounding, so that other machines come as near.
    const double error =
        std::max(sup_error(network, samples.training), sup_error(network, samples.selection)) +
        rounding_floor(network);
    return std::isfinite(error) ? error : std::numeric_limits<double>::infinity();
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
  bool thorough_;
  std::vector<UnitDesign> designs_;
  std::vector<std::pair<Index, double>> history_;  // units and error of each rung
  std::size_t last_design_ = 0;
  int attempts_ = 0;
};

}  // namespace

CertifiedNetwork search_tanh(ApproximationTarget& target, double epsilon, Index max_units,
                             RandomKey key, bool thorough) {
  return TanhSearch(target, epsilon, key, thorough).run(max_units);
}

}  // namespace chainrule::internal
