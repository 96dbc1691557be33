// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "judge.hpp"
#include "subject.hpp"

namespace chainrule::internal {

/// How a subject is compared with differences; see GradientCheckOptions for what is named as there.
struct CompareSettings {
  DType dtype = DType::kFloat64;
  Tolerances tolerances;
  double first_step = 0.2;
  Index max_jacobian = 4096;
  Index max_elements = 256;
  Index samples = 48;
  Index directions = 6;
  std::uint64_t seed = 1;
  Index max_failures = 10;
  bool forward_mode = false;             ///< compare with it as well
  Index batch_rows = 0;                  ///< of the batch; 0 where there is none
  std::string what = "gradient";         ///< how failures speak of it ...
  std::string given = "backward gives";  ///< ... and of who gave it

  /// Of each variable of the subject.
  struct Expectation {
    bool zero = false;    ///< its gradient is identically zero
    bool kinks = true;    ///< it may sit at kinks
    bool waived = false;  ///< unresolved elements are no failure
  };
  std::vector<Expectation> expected;
};

/// The v_i of the objective sum_i v_i y_i, rounded to `dtype`; 1 for a single output.
std::vector<double> output_weights(std::size_t count, DType dtype, std::uint64_t seed);

/// Throws ArgumentError, in the name of `who`, for a first step that is not positive and finite, a
/// tolerance that is negative or not finite, and a negative number of anything.
void require_valid(const CompareSettings& settings, std::string_view who);

/// Compares the gradients of every variable with differences and adds what it found, and each
/// failure, to the report.
void compare_gradients(Subject& subject, const CompareSettings& settings, GradientReport& report);

}  // namespace chainrule::internal
