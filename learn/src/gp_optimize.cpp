// SPDX-License-Identifier: Apache-2.0
#include <LBFGS.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>

#include "chainrule/core/error.hpp"
#include "chainrule/core/random.hpp"
#include "gp_posterior.hpp"

namespace chainrule::internal {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Coordinates further out than this are as good as infinite, and their exponentials soon are.
constexpr double kFarthest = 100;

using Evaluate = std::function<LogMarginalLikelihood(std::span<const double>)>;

// Thrown through the solver, which has no other way to be stopped.
struct Stopped {};

// One start; remembers the best point, as the solver's last need not be it.
class Ascent {
 public:
  /// `report` is called with each evaluation's number and the best value; false stops.
  using Report = std::function<bool(int, double)>;

  Ascent(const Evaluate& evaluate, const Report& report, std::vector<double> start)
      : evaluate_(evaluate), report_(report), best_theta_(std::move(start)) {}

  bool stopped() const noexcept { return stopped_; }

  void run(const OptimizeOptions& options) {
    LBFGSpp::LBFGSParam<double> parameters;
    parameters.m = 10;
    parameters.epsilon = options.tolerance;
    parameters.epsilon_rel = 0;
    parameters.linesearch = LBFGSpp::LBFGS_LINESEARCH_BACKTRACKING_STRONG_WOLFE;
    parameters.max_linesearch = 40;
    parameters.max_iterations = options.max_iterations;
    Eigen::VectorXd x = Eigen::Map<const Eigen::VectorXd>(
        best_theta_.data(), static_cast<Eigen::Index>(best_theta_.size()));
    double value = 0;
    Eigen::VectorXd gradient(x.size());
    try {
      if (!std::isfinite((*this)(x, gradient)) || options.max_iterations == 0) return;
      LBFGSpp::LBFGSSolver<double>(parameters).minimize(*this, x, value);
    } catch (const Stopped&) {
      stopped_ = true;
    } catch (const std::runtime_error&) {  // of the line search: rounding hides the rest
    } catch (const std::logic_error&) {
    }
  }

  // Minus the likelihood, infinite where there is none.
  double operator()(const Eigen::VectorXd& x, Eigen::VectorXd& gradient) {
    const std::vector<double> theta(x.data(), x.data() + x.size());
    gradient.setZero();
    if (!(x.lpNorm<Eigen::Infinity>() <= kFarthest)) return kInfinity;
    const double value = evaluate(theta, gradient);
    if (!report_(++evaluations_, best_.value)) throw Stopped();
    return -value;
  }

  const LogMarginalLikelihood& best() const noexcept { return best_; }
  const std::vector<double>& best_theta() const noexcept { return best_theta_; }
  int evaluations() const noexcept { return evaluations_; }

 private:
  double evaluate(const std::vector<double>& theta, Eigen::VectorXd& gradient) {
    try {
      const LogMarginalLikelihood at = evaluate_(theta);
      if (!std::isfinite(at.value)) return -kInfinity;
      std::ranges::transform(at.gradient, gradient.data(), std::negate());
      if (at.value > best_.value) {
        best_ = at;
        best_theta_ = theta;
      }
      return at.value;
    } catch (const Error&) {  // not positive definite, or out of the kernel's domain
      return -kInfinity;
    }
  }

  const Evaluate& evaluate_;
  const Report& report_;
  LogMarginalLikelihood best_{.value = -kInfinity};
  std::vector<double> best_theta_;
  int evaluations_ = 0;
  bool stopped_ = false;
};

void check_options(const OptimizeOptions& options) {
  if (options.restarts >= 0 && options.spread >= 0 && std::isfinite(options.spread) &&
      options.max_iterations >= 0 && options.tolerance >= 0) {
    return;
  }
  throw ArgumentError(
      "optimize: expected restarts, spread, max_iterations and tolerance >= 0, got " +
      std::to_string(options.restarts) + ", " + std::to_string(options.spread) + ", " +
      std::to_string(options.max_iterations) + " and " + std::to_string(options.tolerance));
}

}  // namespace

OptimizeResult maximize(const Evaluate& evaluate, std::vector<double>& theta,
                        const OptimizeOptions& options) {
  check_options(options);
  const std::vector<double> start = theta;
  OptimizeResult result{.log_marginal_likelihood = -kInfinity};
  for (int i = 0; i <= options.restarts; ++i) {
    std::vector<double> from = start;
    if (i > 0) {
      const RandomKey key{.seed = options.seed, .stream = static_cast<std::uint64_t>(i)};
      std::vector<double> moves(from.size());
      fill_random_uniform(key, 0, moves);
      for (std::size_t j = 0; j < from.size(); ++j) from[j] += options.spread * (2 * moves[j] - 1);
    }
    const Ascent::Report report = [&](int evaluations, double best) {
      return !options.progress ||
             options.progress({.start = i,
                               .starts = options.restarts + 1,
                               .evaluations = result.evaluations + evaluations,
                               .best = std::max(best, result.log_marginal_likelihood)});
    };
    Ascent ascent(evaluate, report, std::move(from));
    ascent.run(options);
    result.evaluations += ascent.evaluations();
    result.values.push_back(ascent.best().value);
    if (ascent.best().value > result.log_marginal_likelihood) {
      theta = ascent.best_theta();
      result.log_marginal_likelihood = ascent.best().value;
      result.best_start = i;
      double square = 0;
      result.max_gradient = 0;
      for (double g : ascent.best().gradient) {
        square += g * g;
        result.max_gradient = std::max(result.max_gradient, std::abs(g));
      }
      result.converged = std::sqrt(square) <= options.tolerance;
    }
    result.stopped = ascent.stopped();
    if (result.stopped) break;
  }
  return result;
}

}  // namespace chainrule::internal
