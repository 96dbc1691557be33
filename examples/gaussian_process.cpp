// SPDX-License-Identifier: Apache-2.0
#include <chainrule/chainrule.hpp>
#include <cmath>
#include <iostream>
#include <vector>

namespace cr = chainrule;

// y = sin(x) + noise at 40 points; what was learned beyond them is uncertain.
int main() {
  cr::Tensor x({40, 1}, cr::DType::kFloat64), y({40, 1}, cr::DType::kFloat64);
  for (cr::Index i = 0; i < 40; ++i) {
    x.as<double>()(i, 0) = 0.2 * static_cast<double>(i);
    y.as<double>()(i, 0) = std::sin(x.as<double>()(i, 0)) +
                           0.1 * cr::random_normal({.seed = 1}, static_cast<std::uint64_t>(i));
  }
  cr::GaussianProcess gp(cr::scaled(cr::rbf_kernel(), 1), {.noise = 0.1});
  gp.fit(x, y);
  const cr::OptimizeResult optimum = gp.optimize();
  std::cout << "log marginal likelihood " << optimum.log_marginal_likelihood << "\n";
  for (const auto& h : gp.hyperparameters()) std::cout << h.name << " " << h.value << "\n";
  const auto at = gp.predict(cr::Tensor::from<double>({3, 1}, std::vector<double>{1, 5, 12}));
  for (cr::Index i = 0; i < 3; ++i) {
    std::cout << cr::element(at.mean, i, 0) << " +- " << std::sqrt(cr::element(at.variance, i, 0))
              << "\n";
  }
}
