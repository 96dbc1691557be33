// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "chainrule/kernels/kernel_table.hpp"
#include "loop.hpp"
#include "math.hpp"

// E[phi(u) phi(v)] and E[phi'(u) phi'(v)] on batches of pairs, with the same bits when u and v
// change places.

namespace chainrule::simd {

/// (asin(sqrt(z)) / sqrt(z) - 1) / z on 0 <= z <= 1/4, Chebyshev interpolation (error 1.5e-17).
inline constexpr double kArcSineTail[] = {
    0.16666666666666669, 0.07499999999998433,  0.04464285714635543,  0.030381944138531247,
    0.02237217294214989, 0.017352392720869973, 0.013971212973552933, 0.011479177415184906,
    0.01032281435018578, 0.005457506718640358, 0.01740087944269402,  -0.014851887071247204,
    0.028757851367421566};

/// What the closed forms need of t in [-1, 1].
template <class B>
struct ArcSine {
  B magnitude;  ///< |t|
  B angle;      ///< asin |t|
  B cosine;     ///< sqrt(1 - t^2)

  explicit ArcSine(B t) : magnitude(at_most(abs(t), B(1.0))) {
    const B one(1.0);
    const auto large = magnitude > B(0.5);
    const B rest = one - magnitude;
    cosine = sqrt(rest * (one + magnitude));
    // Where |t| > 1/2, asin t = pi / 2 - 2 asin sqrt((1 - t) / 2).
    const B z = select(large, rest * B(0.5), magnitude * magnitude);
    const B root = select(large, sqrt(z), magnitude);
    const B partial = fma(root * z, polynomial(z, kArcSineTail), root);
    angle = select(large, fnma(partial, B(2.0), B(1.5707963267948966)), partial);
  }
};

inline constexpr double kTwoOverPi = 0.63661977236758134308;
inline constexpr double kOneOverTwoPi = 0.15915494309189533577;

/// A layer's numbers on all lanes.
template <class B>
struct DualWeights {
  B bias;
  B odd;
  B even;

  explicit DualWeights(const DualLayer& layer)
      : bias(layer.bias), odd(layer.odd), even(layer.even) {}
};

/// What a body knows of one vector of pairs.
template <class B>
struct DualPairs {
  B k;
  B first_x, first_z;
  B second_x, second_z;
  B t;  ///< k second_x second_z
};

/// Each body has a static `value` and `slope`, set by its constructor.
template <class B>
struct RectifierDual {
  B value;
  B slope;

  // |u| |v| has the mean 2/pi sqrt(Kx Kz) (sqrt(1 - t^2) + t asin t), u v the mean k.
  RectifierDual(const DualPairs<B>& p, const DualWeights<B>& w) {
    const ArcSine<B> arc(p.t);
    const B even = w.even * B(kTwoOverPi);
    const B absolute = fma(arc.magnitude, arc.angle, arc.cosine);
    value = fma(even * (p.first_x * p.first_z), absolute, fma(w.odd, p.k, w.bias));
    slope = fma(even, with_sign(arc.angle, p.t), w.odd);
  }
};

template <class B>
struct ErfDual {
  B value;
  B slope;

  ErfDual(const DualPairs<B>& p, const DualWeights<B>& w) {
    const ArcSine<B> arc(p.t);
    const B scale = w.odd * B(kTwoOverPi);
    value = fma(scale, with_sign(arc.angle, p.t), w.bias);
    slope = scale * (p.second_x * p.second_z) / arc.cosine;
  }
};

template <class B>
struct SinDual {
  B value;
  B slope;

  // e^-(a + b) sinh k and e^-(a + b) cosh k, a and b the halves of the variances.
  SinDual(const DualPairs<B>& p, const DualWeights<B>& w) {
    const B m = abs(p.k);
    const B scale = w.odd * B(0.5) * vexp(m - (p.first_x + p.first_z));
    const B excess = expm1_nonpositive(B(-2.0) * m);
    value = fma(scale, with_sign(excess, p.k), w.bias);
    slope = scale * (B(2.0) + excess);
  }
};

template <class B>
struct GeluDual {
  B value;
  B slope;

  GeluDual(const DualPairs<B>& p, const DualWeights<B>& w) {
    const ArcSine<B> arc(p.t);
    const B one(1.0);
    const B r = p.second_x * p.second_z;
    const B inverse = one / arc.cosine;
    const B density = B(kOneOverTwoPi) * r * inverse;                          // E[pdf(u) pdf(v)]
    const B both = fma(B(kOneOverTwoPi), with_sign(arc.angle, p.t), B(0.25));  // E[cdf(u) cdf(v)]
    const B product = p.first_x * p.first_z;
    value = fma(w.odd, fma(density, fma(p.t * p.t, one - product, product), p.k * both), w.bias);
    const B s = r * inverse;
    const B sum = fma(s, s, p.second_x * p.second_x + p.second_z * p.second_z);
    slope = w.odd * fma(p.k * density, sum, both);
  }
};

/// The loop over the pairs of a row: step(pairs) gives a body.
template <class B, class Step>
double for_each_pair(const DualFactors& factors, Index count, double* k, double* theta, Step step) {
  B largest(0.0);
  for_each_vector<B>(count, [&](Index j, auto lanes) {
    DualPairs<B> p{.k = lanes.load(k + j),
                   .first_x = B(factors.first),
                   .first_z = lanes.load(factors.column_first + j),
                   .second_x = B(factors.second),
                   .second_z = lanes.load(factors.column_second + j),
                   .t = B(0.0)};
    p.t = p.k * (p.second_x * p.second_z);
    largest = larger(lanes.keep(abs(p.t), B(0.0)), largest);
    const auto body = step(p);
    lanes.store(k + j, body.value);
    if (theta != nullptr) {
      lanes.store(theta + j, fma(body.slope, lanes.load(theta + j), body.value));
    }
  });
  return reduce_max(largest);
}

template <class B, template <class> class Body>
double dual_layer(const DualLayer& layer, const DualFactors& factors, Index count, double* k,
                  double* theta) {
  const DualWeights<B> weights(layer);
  return for_each_pair<B>(factors, count, k, theta,
                          [&](const DualPairs<B>& p) { return Body<B>(p, weights); });
}

/// sum a_k(x) a_k(z) c^k by Horner's rule, of N vectors from column j on: one alone would wait for
/// each of its additions.
template <class B, int N, class Lanes>
void hermite_sums(const DualSeries& series, Index j, const B (&c)[N], Lanes lanes, B (&sum)[N]) {
  unrolled<N>([&](auto v) { sum[v] = B(0.0); });
  for (Index k = series.columns.rows; k-- > 0;) {
    const double* const column = series.columns.row(k) + j;
    const B factor(series.row[k]);
    if (series.row[k] == 0) {  // every other one of an odd or even function
      unrolled<N>([&](auto v) { sum[v] = sum[v] * c[v]; });
    } else {
      unrolled<N>(
          [&](auto v) { sum[v] = fma(sum[v], c[v], factor * lanes.load(column + v * kLanes<B>)); });
    }
  }
}

/// One call of dual_series().
template <class B>
struct SeriesCall {
  DualWeights<B> weights;
  const DualFactors& factors;
  const DualSeries& values;
  const DualSeries& slopes;
  double* k;
  double* theta;
  B largest = B(0.0);

  template <int N, class Lanes>
  void apply(Index j, Lanes lanes) {
    B c[N];
    unrolled<N>([&](auto v) {
      const Index at = j + v * kLanes<B>;
      const B scale = B(factors.second) * lanes.load(factors.column_second + at);
      const B t = lanes.load(k + at) * scale;
      largest = larger(lanes.keep(abs(t), B(0.0)), largest);
      c[v] = at_most(at_least(t, B(-1.0)), B(1.0));
    });
    B sum[N];
    hermite_sums<B, N>(values, j, c, lanes, sum);
    B value[N];
    unrolled<N>([&](auto v) {
      value[v] = fma(weights.odd, sum[v], weights.bias);
      lanes.store(k + j + v * kLanes<B>, value[v]);
    });
    if (theta == nullptr) return;
    hermite_sums<B, N>(slopes, j, c, lanes, sum);
    unrolled<N>([&](auto v) {
      double* const to = theta + j + v * kLanes<B>;
      lanes.store(to, fma(weights.odd * sum[v], lanes.load(to), value[v]));
    });
  }
};

template <class B>
double dual_series(const DualLayer& layer, const DualFactors& factors, const DualSeries& values,
                   const DualSeries& slopes, Index count, double* k, double* theta) {
  constexpr int kVectors = 4;
  SeriesCall<B> call{DualWeights<B>(layer), factors, values, slopes, k, theta};
  Index j = 0;
  for (; j + kVectors * kLanes<B> <= count; j += kVectors * kLanes<B>) {
    call.template apply<kVectors>(j, Whole<B>{});
  }
  for_each_vector<B>(count - j,
                     [&](Index at, auto lanes) { call.template apply<1>(j + at, lanes); });
  return reduce_max(call.largest);
}

template <class B>
constexpr DualKernels make_dual_kernels() {
  DualKernels k{};
  k.layer[static_cast<std::size_t>(DualKernel::kRectifier)] = &dual_layer<B, RectifierDual>;
  k.layer[static_cast<std::size_t>(DualKernel::kErf)] = &dual_layer<B, ErfDual>;
  k.layer[static_cast<std::size_t>(DualKernel::kSin)] = &dual_layer<B, SinDual>;
  k.layer[static_cast<std::size_t>(DualKernel::kGelu)] = &dual_layer<B, GeluDual>;
  k.series = &dual_series<B>;
  return k;
}

}  // namespace chainrule::simd
