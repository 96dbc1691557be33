// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "compare.hpp"
#include "subject_gradients.hpp"

namespace chainrule::internal {

/// What was compared of one variable.
struct Comparisons {
  std::vector<Comparison> elements;
  std::vector<Comparison> directions;
  std::vector<Comparison> jacobian;
  std::vector<bool> has_element;
};

/// Differentiates along the elements of one variable and along random directions.
class Differencer {
 public:
  Differencer(Subject& subject, std::size_t variable, const std::vector<double>& weights,
              const Gradients& gradients, const CompareSettings& settings);

  Comparisons run() &&;

 private:
  /// The elements [begin, end), row-major.
  struct Piece {
    std::size_t begin;
    std::size_t end;

    bool is_element() const { return end - begin == 1; }
    Piece first_half() const { return {begin, begin + (end - begin) / 2}; }
    Piece second_half() const { return {begin + (end - begin) / 2, end}; }
  };

  void compare_elements(std::span<const std::uint32_t> elements);
  void differentiate(Line& line, std::size_t channel, Comparison& comparison) const;
  void ask_why_still(Line& line, std::size_t channel, Comparison& comparison) const;
  bool finer_steps_contradict(Line& line, std::size_t channel,
                              const NumericDerivative& numeric) const;
  bool refuted(const Comparison& comparison) const;

  /// False where there are so many kinks that not every element got into a direction.
  bool compare_directions();
  Comparison along(Piece piece);
  ElementCheck judge_alone(const Comparison& comparison) const;
  void settle(Piece piece, const Comparison& comparison);
  void pursue(Piece piece);
  void compare_element(std::size_t element);
  void give_up(Comparison comparison);
  bool knows_a_mistake() const;

  Subject& subject_;
  std::size_t variable_;
  const std::vector<double>& weights_;
  const Gradients& gradients_;
  const CompareSettings& settings_;
  double mean_;  // magnitude of the elements
  double largest_sum_;
  double largest_each_;
  Comparisons result_;

  std::vector<double> direction_;  // random signs; 0 for elements at a kink
  Index lines_left_ = 0;           // that this direction may still be divided into
  bool left_out_ = false;
};

}  // namespace chainrule::internal
