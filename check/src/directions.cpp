// SPDX-License-Identifier: Apache-2.0
// The part of Differencer that is about random directions. One that does not agree is divided:
// a wrong gradient stays wrong in one of the halves, down to a single element, which then is
// compared by itself; the edges that many elements have inside the steps do not, and fewer elements
// have fewer of them. Elements at a kink are found in the same way, and left out.
#include <algorithm>
#include <cmath>

#include "differencer.hpp"

namespace chainrule::internal {
namespace {

constexpr std::uint64_t kDirectionStream = 3;
// How many lines one direction may be divided into: more than twice the bits of a size.
constexpr Index kMostLines = 96;

}  // namespace

bool Differencer::compare_directions() {
  std::vector<bool> at_kink(result_.has_element.size());
  std::size_t known = 0;
  const Index columns = subject_.point(variable_).columns;
  for (Index d = 0; d < settings_.directions && !left_out_; ++d) {
    for (; known < result_.elements.size(); ++known) {
      const Comparison& one = result_.elements[known];
      if (one.numeric.kink)
        at_kink[static_cast<std::size_t>(one.row * columns + one.column)] = true;
    }
    direction_ = random_signs(
        derive({.seed = settings_.seed, .stream = kDirectionStream}, static_cast<std::uint64_t>(d)),
        at_kink.size());
    for (std::size_t k = 0; k < at_kink.size(); ++k) {
      if (at_kink[k]) direction_[k] = 0;
    }
    lines_left_ = kMostLines;
    const Piece all{0, at_kink.size()};
    settle(all, along(all));
  }
  return !left_out_;
}

// The derivative along the direction, all elements outside the piece standing still.
Comparison Differencer::along(Piece piece) {
  --lines_left_;
  std::vector<double> direction(direction_.size());
  const ConstTensorView gradient = gradients_.sum.view();
  long double analytic = 0;
  for (std::size_t k = piece.begin; k < piece.end; ++k) {
    direction[k] = direction_[k];
    const auto at = static_cast<Index>(k);
    if (direction[k] == 0) continue;
    analytic += static_cast<long double>(direction[k]) *
                element(gradient, at / gradient.columns, at % gradient.columns);
  }
  const Subject::Move move{variable_, direction};
  Line line(
      [&](double t, std::span<double> y) {
        subject_.move({&move, 1}, t, y);
        return t;
      },
      weights_, subject_.outputs(),
      {.first = settings_.first_step * mean_,
       .smallest = std::ldexp(largest_magnitude(subject_.point(variable_)), -44),
       .natural = settings_.first_step * std::min(mean_, 1.0)});
  Comparison comparison;
  comparison.analytic = static_cast<double>(analytic);
  differentiate(line, 0, comparison);
  subject_.restore();
  return comparison;
}

ElementCheck Differencer::judge_alone(const Comparison& comparison) const {
  Comparison float64 = comparison;
  float64.has_float32 = false;
  return judge(float64,
               {.gradient = largest_sum_,
                .zero = settings_.expected[variable_].zero,
                .value = subject_.variables()[variable_].value},
               settings_.tolerances);
}

void Differencer::settle(Piece piece, const Comparison& comparison) {
  const ElementCheck check = judge_alone(comparison);
  const bool kink = comparison.numeric.kink;
  // Rounding does not get less in a part; what several edges do within the steps does.
  const bool edges = check.verdict == Verdict::kUnresolved &&
                     settings_.tolerances.error_bars * check.error_bar > check.tolerance / 2;
  const bool disagrees = check.verdict == Verdict::kDisagree;
  if (!kink && !disagrees && !edges) {
    result_.directions.push_back(comparison);
  } else if (piece.is_element()) {
    compare_element(piece.begin);
  } else if (!kink && disagrees && knows_a_mistake()) {
    result_.directions.push_back(comparison);
  } else if (lines_left_ < 2) {
    give_up(comparison);
  } else if (!kink && disagrees) {
    pursue(piece);
  } else {
    const Comparison first = along(piece.first_half()), second = along(piece.second_half());
    settle(piece.first_half(), first);
    settle(piece.second_half(), second);
  }
}

// Into the half that disagrees too, if there is one.
void Differencer::pursue(Piece piece) {
  const Comparison first = along(piece.first_half());
  const auto disagrees = [&](const Comparison& half) {
    return !half.numeric.kink && judge_alone(half).verdict == Verdict::kDisagree;
  };
  if (disagrees(first)) return settle(piece.first_half(), first);
  const Comparison second = along(piece.second_half());
  settle(piece.second_half(), second);
  if (!disagrees(second)) settle(piece.first_half(), first);
}

void Differencer::compare_element(std::size_t element) {
  const auto index = static_cast<std::uint32_t>(element);
  compare_elements({&index, 1});
}

// Of many kinks at once the slopes say nothing; the rest is for want of sparser directions.
void Differencer::give_up(Comparison comparison) {
  if (comparison.numeric.kink) {
    left_out_ = true;
    return;
  }
  comparison.numeric.resolved = false;
  comparison.numeric.doubt = Doubt::kScales;
  result_.directions.push_back(comparison);
}

bool Differencer::knows_a_mistake() const {
  return std::any_of(result_.elements.begin(), result_.elements.end(), [&](const Comparison& one) {
    return judge_alone(one).verdict == Verdict::kDisagree;
  });
}

}  // namespace chainrule::internal
