// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chainrule/core/export.hpp"

namespace chainrule {

/// The covariance of a centred pair (u, v): the preactivations of one unit for two inputs. The
/// correlation c is held as its distances from 1 and -1, of which the small one keeps its digits:
/// of unit vectors u and v they are |u - v|^2 / 2 and |u + v|^2 / 2.
struct CHAINRULE_API PairCovariance {
  double xx = 0;       ///< variance of u
  double zz = 0;       ///< variance of v
  double below_1 = 1;  ///< 1 - c; c counts as 0 where a variance is 0
  double above_1 = 1;  ///< 1 + c

  /// ArgumentError unless xx, zz >= 0, all are finite and xz^2 <= xx zz up to rounding.
  static PairCovariance from(double xx, double zz, double xz);

  double correlation() const noexcept;
  double xz() const noexcept;
  /// The angle between u and v as vectors, acos(c) = 2 atan2(sqrt(1 - c), sqrt(1 + c)).
  double angle() const noexcept;

  bool operator==(const PairCovariance&) const = default;
};

/// E[phi(u) phi(v)] and E[phi'(u) phi'(v)].
struct DualMoments {
  double value = 0;
  double derivative = 0;
};

/// The dual of an activation phi: its second moments, and its derivative's, under a bivariate
/// normal. They make the kernels of infinitely wide networks (infinite_width.hpp).
///
/// With K = xx, zz, xz, c the correlation and theta the angle:
///
/// - Rectifiers phi(t) = t for t > 0, slope t otherwise (slope 1 is the identity, 0 relu, -1 abs)
///   (Cho & Saul 2009, eq. 3-6; phi is (1 + slope) / 2 t plus (1 - slope) / 2 |t|):
///     ((1 + slope) / 2)^2 xz + ((1 - slope) / 2)^2 2/pi sqrt(xx zz) (sin theta + c asin c),
///     ((1 + slope) / 2)^2 + ((1 - slope) / 2)^2 2/pi asin c.
/// - erf (Williams 1997, eq. 11), D = (1 + 2 xx)(1 + 2 zz) - 4 xz^2:
///     2/pi atan2(2 xz, sqrt D),   4/pi / sqrt D.
/// - sin: e^(-(xx + zz) / 2) sinh xz, and with cosh.
/// - gelu, t Phi(t) (Tsuchida et al. 2021), D = (1 + xx)(1 + zz) - xz^2,
///   P = (1 + xx)(1 + zz), G = 1 / (2 pi sqrt D), A = 1/4 + atan2(xz, sqrt D) / (2 pi):
///     G (xx zz + xz^2 (1 - xx zz) / P) + xz A,
///     A + xz G (1 / (1 + xx) + 1 / (1 + zz) + 1 / D).
/// - Any other smooth phi: the trapezoidal rule, whose error falls exponentially where phi is
///   analytic around the real line. Its step is halved until nothing moves by 1e-14.
///
/// Accuracy relative to sqrt(E[phi(u)^2] E[phi(v)^2]): 1e-14 in closed form, 1e-12 by quadrature.
class CHAINRULE_API DualActivation {
 public:
  using Function = std::function<double(double)>;

  static DualActivation identity();
  static DualActivation relu();
  static DualActivation leaky_relu(double slope);  ///< ArgumentError unless it is finite
  static DualActivation abs();
  static DualActivation erf();
  static DualActivation sin();
  static DualActivation gelu();
  static DualActivation tanh();
  static DualActivation sigmoid();
  static DualActivation softplus();
  static DualActivation silu();
  static DualActivation gelu_tanh();
  /// Any other, from phi and phi', which may be called by several threads at once. UnsupportedError
  /// when its moments do not converge, as with a kink; ArgumentError when phi' is not the
  /// derivative or either is not finite.
  static DualActivation smooth(std::string name, Function phi, Function derivative);
  /// By its name above ("leaky_relu" takes the slope); ArgumentError, listing the names.
  static DualActivation named(std::string_view name, double slope = 0.01);
  static std::vector<std::string> names();

  const std::string& name() const noexcept;

  DualMoments operator()(const PairCovariance& pair) const;
  /// Of u with itself.
  DualMoments operator()(double variance) const;
  /// E[phi(u)^2], E[phi(v)^2] and the cosine between phi(u) and phi(v), without losing the digits
  /// of a cosine near 1 or -1.
  PairCovariance outputs(const PairCovariance& pair) const;

  struct Form;
  const Form& form() const noexcept { return *form_; }

 private:
  explicit DualActivation(std::shared_ptr<const Form> form);

  std::shared_ptr<const Form> form_;
};

}  // namespace chainrule
