// SPDX-License-Identifier: Apache-2.0
#include "plateau.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace chainrule::internal {
namespace {

// How much of a movement, in units of eps |y|, may be rounding.
constexpr double kFewUnits = 64;
// How exactly an edge is found, relative to its distance, and how much more so if need be.
constexpr double kEdgeWidth = 1e-3;
constexpr double kFiner = 32;
// From how far the function is looked at: so many halvings, and at least the distance 1.
constexpr int kFarthest = 5;
// Movements of a single jump, from both sides.
constexpr double kSingle = 2.5;
constexpr double kSmall = 1e-6;
// A plateau is as many rows that do not move.
constexpr int kRows = 4;

double change_of(const Difference& d) {
  return d.step * std::max(2 * d.terms, std::abs(d.left) + std::abs(d.right));
}

bool is_still(const Difference& d) { return d.finite && d.moved == 0; }

class PlateauSearch {
 public:
  PlateauSearch(Line& line, std::size_t channel, int row)
      : line_(line), channel_(channel), row_(row) {}

  Plateau run() && {
    const int farthest = std::min(-kFarthest, static_cast<int>(std::log2(line_.step(0))));
    while (row_ > farthest && is_still(line_.at(row_ - 1, channel_))) --row_;
    still_ = line_.step(row_);
    if (row_ == farthest) return {.distance = still_};
    moves_ = line_.step(row_ - 1);
    edge_ = line_.at(row_ - 1, channel_);
    approach(kEdgeWidth);
    Plateau result{.distance = still_};
    const double reach = largest_change(farthest);
    if (!edge_.finite) {
      result.quantum = std::numeric_limits<double>::max();
      result.is_fine = true;
    } else if (is_rounding(reach)) {
      result.quantum = change_of(edge_);
      const double fine =
          std::max(kFewUnits * kEpsilon * std::max(1.0, edge_.size), kSmall * reach);
      result.is_fine = result.quantum <= fine;
    }
    return result;
  }

 private:
  // Bisects between a step that does not move and one that does.
  void approach(double width) {
    while (moves_ > still_ * (1 + width)) {
      const double middle = std::sqrt(still_) * std::sqrt(moves_);
      if (middle <= still_ || middle >= moves_) return;
      const Difference look = line_.look(middle, channel_);
      if (is_still(look)) {
        still_ = middle;
      } else {
        moves_ = middle;
        edge_ = look;
      }
    }
  }

  // Infinite where the function is not defined that far.
  double largest_change(int farthest) {
    double reach = 0;
    for (int row = row_ - 1; row >= farthest; --row) {
      const Difference& d = line_.at(row, channel_);
      if (!d.finite) return std::numeric_limits<double>::infinity();
      reach = std::max(reach, change_of(d));
    }
    return reach;
  }

  bool is_rounding(double reach) {
    const double jump = change_of(edge_);
    if (jump <= kFewUnits * kEpsilon * edge_.size) return true;
    // Or nothing else happens as far as one can see.
    return !departs_in_proportion() && reach > kSingle * change_of(edge_);
  }

  // What is steep enough, and kept still by rounding, seems to at first; but not however close one
  // looks, as far as the digits of x go.
  bool departs_in_proportion() {
    if (!grows_beyond(kEdgeWidth)) return false;
    if (still_ < kFiner / kEdgeWidth * line_.step(line_.last_row())) return true;
    approach(kEdgeWidth / kFiner);
    return grows_beyond(kEdgeWidth / kFiner);
  }

  bool grows_beyond(double width) {
    const Difference beyond = line_.look(moves_ * (1 + kFiner * width), channel_);
    return beyond.finite && change_of(beyond) > 10 * change_of(edge_);
  }

  Line& line_;
  std::size_t channel_;
  int row_;
  double still_ = 0, moves_ = 0;
  Difference edge_;
};

}  // namespace

double Plateau::hidden() const {
  constexpr double kMost = std::numeric_limits<double>::max() / 1024;  // finite if multiplied
  return quantum == 0 ? 0 : std::min(quantum / distance, kMost);
}

Plateau plateau_around(Line& line, std::size_t channel, int row) {
  return PlateauSearch(line, channel, row).run();
}

std::optional<Plateau> plateau_of_small_steps(Line& line, std::size_t channel) {
  int still = 0;
  for (int row = 1; row <= line.last_row(); ++row) {
    still = is_still(line.at(row, channel)) ? still + 1 : 0;
    if (still == kRows) return plateau_around(line, channel, row);
  }
  return std::nullopt;
}

}  // namespace chainrule::internal
