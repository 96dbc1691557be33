// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/learn/dataset.hpp"
#include "chainrule/learn/model.hpp"

namespace chainrule {

/// A closed interval, low < high, both finite, and high - low too, with a thousand numbers of
/// float64 at least.
struct Interval {
  double low = -1;
  double high = 1;

  bool operator==(const Interval&) const = default;
};

/// A box: an interval for each variable.
using Domain = std::vector<Interval>;

/// y = f(x), x with one number for each variable.
using ScalarFunction = std::function<double(std::span<const double>)>;

/// The activation of the hidden layer.
enum class ApproximationUnits : std::uint8_t {
  kAuto,  ///< whichever needs fewer units
  kTanh,
  kRelu,  ///< functions of one variable only
};

struct ApproximateOptions {
  ApproximationUnits units = ApproximationUnits::kAuto;
  /// At most so many hidden units; 0: 512 tanh units (1,600 for more than one variable), 10,000
  /// ReLU units.
  Index max_units = 0;
  std::uint64_t seed = 0;  ///< of the random features and the certificate's points
};

/// What approximate() found.
struct Approximation {
  /// Linear{d, units}, Tanh{} or Relu{}, Linear{units, 1}, Gaussian{}, in float64.
  Model model;
  Index units = 0;
  double epsilon = 0;                 ///< what was asked for
  bool reached = false;               ///< sup_error <= epsilon
  double sup_error = 0;               ///< largest |model(x) - f(x)| on the certificate's points
  std::vector<double> worst_point{};  ///< where that is
  /// 2^-52 |c|_1, c the weights and the bias of the output layer: what rounding alone may do. Above
  /// epsilon, `reached` is true of this evaluation, and need not be of sums in another order.
  double rounding_floor = 0;
  Index certificate_points = 0;
  /// Kinks, jumps and the like of f that matter at this epsilon, as far as they were seen,
  /// ascending; of functions of one variable.
  std::vector<double> singularities{};
  std::string method{};  ///< in words
};

/// A network with ONE hidden layer within epsilon of f everywhere on the domain, with as few units
/// as the method finds, and a certificate of how near it is.
///
/// Hidden units. tanh: directions, centres and slopes are drawn (counter-based, seeded), over a
/// ladder of numbers of units and of slope scales; in one variable centres and slopes follow the
/// scale on which f changes, so that they cluster geometrically at kinks. The output layer is the
/// solution of a linear least-squares problem by QR with column pivoting
/// (solve_least_squares()); where the error is near epsilon, for few units, and of networks of
/// some dozens of units when the units allowed do not suffice, the Levenberg-Marquardt method moves
/// the hidden units as well, the output layer solved anew at each step (variable projection: Golub
/// & Pereyra 1973). ReLU: the fewest pieces of a continuous piecewise linear function in the tube f
/// +- 0.98 epsilon, a minimum-link path (Imai & Iri 1986; Suri 1986), and of those nearly the
/// nearest to f; one unit a piece.
///
/// The certificate evaluates the model that is returned, by its Predictor, on random points on
/// which nothing was chosen, at least ten times denser (in each variable, up to two variables) than
/// those that were fitted, and searches around the worst of them. In one variable it has the knots,
/// the middles between them, and both sides of every knot and singularity down to 1e-14 of the
/// domain's width (far from 0 down to the next number of float64); in more, the faces of the box.
/// It is dense sampling, not a proof: what happens between its points stays unseen.
///
/// The result is the same for the same arguments. Not reaching epsilon is reported, not thrown; the
/// model is then the best one found. ArgumentError for a domain or epsilon that is none, and where
/// f is not finite, naming the point; UnsupportedError for ReLU units in more than one variable;
/// what f throws is passed on.
CHAINRULE_API Approximation approximate(const ScalarFunction& f, const Domain& domain,
                                        double epsilon, const ApproximateOptions& options = {});

/// The same from samples: x [n, d] and y [n, 1] of the data, n >= 20. Row i is held out when
/// i % 5 == 2, and the certificate is the error on those rows alone: it says nothing of what lies
/// between samples. Rows with i % 10 == 6 choose, the others are fitted, by tanh units or, in one
/// variable, by ReLU units on the straight lines between samples. ShapeError or ArgumentError when
/// the data are not such samples.
CHAINRULE_API Approximation approximate(const Dataset& samples, double epsilon,
                                        const ApproximateOptions& options = {});

}  // namespace chainrule
