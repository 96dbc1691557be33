// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "forward_probe.hpp"
#include "subject_gradients.hpp"

namespace chainrule::internal {

/// Compares the gradients of a graph with what its ops' jvp give, by <v, J u> = <J^T v, u>.
class ForwardComparer {
 public:
  ForwardComparer(Subject& subject, const std::vector<Gradients>& gradients,
                  const CompareSettings& settings);

  /// Compares nothing where there is no forward mode. `unresolved`: differences could not say
  /// everything of this variable.
  ForwardCheck run(std::size_t variable, bool unresolved);

 private:
  // J^T v for every variable.
  struct Pullback {
    std::vector<double> v;
    std::vector<Tensor> gradients;
  };
  // A direction u of a variable, and J u.
  struct Push {
    std::size_t variable;
    std::vector<double> u;
    std::vector<double> ju;
  };
  // Both sides of one equation, and how large the numbers are that they are added up from.
  struct Sides {
    double forward;
    double backward;
    double terms;
  };

  void compare_products(std::size_t variable, ForwardCheck& check);
  void compare_jacobian(std::size_t variable, ForwardCheck& check);
  Push push(std::size_t variable, std::vector<double> u, DType dtype);
  void judge(const Sides& sides, const Push& along, const std::vector<double>& v, DType dtype,
             ForwardProduct product, ForwardCheck& check);
  // Computed, or the largest so far.
  double hidden_terms(const Push& along, const std::vector<double>& v, bool anew);
  double spread_terms(const Push& along, const std::vector<double>& v, bool anew);

  Subject& subject_;
  const std::vector<Gradients>& gradients_;
  const CompareSettings& settings_;
  std::vector<Pullback> pullbacks_;
  std::unique_ptr<ForwardProbe> probe_;  // of the variable at hand
  bool may_overflow_ = false;
  double largest_hidden_ = 0;
  double largest_spread_ = 0;
};

}  // namespace chainrule::internal
