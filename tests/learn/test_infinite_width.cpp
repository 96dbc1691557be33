// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/infinite_width.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <numbers>

#include "chainrule/core/error.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using testing::bits;
using ::testing::HasSubstr;
using testing::matrix;
using testing::message_of;
using testing::noise;

Tensor as_matrix(const nlohmann::json& rows) {
  std::vector<double> values;
  for (const auto& row : rows) {
    for (const double value : row) values.push_back(value);
  }
  return matrix(static_cast<Index>(rows.size()), static_cast<Index>(rows[0].size()), values);
}

const nlohmann::json& nngp_reference() {
  static const nlohmann::json reference = [] {
    std::ifstream stream(testing::data_file("nngp_vectors.json"));
    return nlohmann::json::parse(stream);
  }();
  return reference;
}

// Largest |a_ij - b_ij| / sqrt(b_ii b_jj); 0 / 0 counts as 0.
double worst(const Tensor& a, const Tensor& b) {
  double result = 0;
  for (Index i = 0; i < b.rows(); ++i) {
    for (Index j = 0; j < b.columns(); ++j) {
      const double scale = std::sqrt(element(b, i, i) * element(b, j, j));
      const double error = std::abs(element(a, i, j) - element(b, i, j));
      if (error != 0) result = std::max(result, error / scale);
    }
  }
  return result;
}

// "leaky_relu_0.1" has its slope in the name.
DualActivation reference_activation(const std::string& name) {
  return name == "leaky_relu_0.1" ? DualActivation::leaky_relu(0.1) : DualActivation::named(name);
}

TEST(InfiniteWidth, AgreesWithReference) {
  const Tensor x = as_matrix(nngp_reference().at("inputs"));
  int checked = 0;
  for (const auto& one : nngp_reference().at("cases")) {
    const std::string name = one.at("activation");
    const InfiniteNetwork network(one.at("L"), reference_activation(name),
                                  {.weight = one.at("sw2"), .bias = one.at("sb2")});
    const bool closed = name != "tanh" && name != "sigmoid";
    const double tolerance = closed ? 1e-13 : 1e-12;
    SCOPED_TRACE(name + ", depth " + std::to_string(network.depth()));
    EXPECT_LT(worst(nngp(network, x), as_matrix(one.at("K"))), tolerance);
    EXPECT_LT(worst(ntk(network, x), as_matrix(one.at("Theta"))), tolerance);
    EXPECT_LT(worst(nngp(network, x, x), as_matrix(one.at("K"))), tolerance);
    EXPECT_LT(worst(ntk(network, x, x), as_matrix(one.at("Theta"))), tolerance);
    ++checked;
  }
  EXPECT_EQ(checked, 45);
}

using LongReal = long double;
constexpr LongReal kRealPi = std::numbers::pi_v<long double>;

struct PairMoments {
  LongReal value = 0;
  LongReal slope = 0;
};
/// E[phi(u) phi(v)] and E[phi'(u) phi'(v)] for the variances a and b and the covariance k.
using Formula = PairMoments (*)(LongReal a, LongReal b, LongReal k);

PairMoments relu(LongReal a, LongReal b, LongReal k) {
  const LongReal root = std::sqrt(a * b);
  const LongReal angle = std::acos(std::clamp(k / root, LongReal(-1), LongReal(1)));
  return {root / (2 * kRealPi) * (std::sin(angle) + (kRealPi - angle) * std::cos(angle)),
          (kRealPi - angle) / (2 * kRealPi)};
}
PairMoments erf(LongReal a, LongReal b, LongReal k) {
  const LongReal product = (1 + 2 * a) * (1 + 2 * b);
  return {2 / kRealPi * std::asin(2 * k / std::sqrt(product)),
          4 / kRealPi / std::sqrt(product - 4 * k * k)};
}
PairMoments sin(LongReal a, LongReal b, LongReal k) {
  const LongReal plus = std::exp(k - (a + b) / 2);
  const LongReal minus = std::exp(-k - (a + b) / 2);
  return {(plus - minus) / 2, (plus + minus) / 2};
}
PairMoments gelu(LongReal a, LongReal b, LongReal k) {
  const LongReal determinant = (1 + a) * (1 + b) - k * k;
  const LongReal density = 1 / (2 * kRealPi * std::sqrt(determinant));
  const LongReal both =
      LongReal(0.25) + std::asin(k / std::sqrt((1 + a) * (1 + b))) / (2 * kRealPi);
  return {a * density * (b - k * k / (1 + a)) + k * both + k * k * density / (1 + b),
          both + k * density * (1 / (1 + a) + 1 / (1 + b) + 1 / determinant)};
}

/// The kernels of one pair.
struct RealKernels {
  LongReal k = 0;
  LongReal theta = 0;
};

RealKernels real_kernels(const Tensor& x, Index i, const Tensor& z, Index j,
                         const std::vector<Formula>& hidden, WeightPrior prior) {
  const auto dot = [&](const Tensor& a, Index r, const Tensor& b, Index s) {
    LongReal sum = 0;
    for (Index c = 0; c < x.columns(); ++c) sum += LongReal(element(a, r, c)) * element(b, s, c);
    return prior.bias + prior.weight * sum / static_cast<LongReal>(x.columns());
  };
  LongReal a = dot(x, i, x, i);
  LongReal b = dot(z, j, z, j);
  RealKernels result{.k = dot(x, i, z, j), .theta = dot(x, i, z, j)};
  for (const Formula formula : hidden) {
    const PairMoments m = formula(a, b, result.k);
    result.k = prior.bias + prior.weight * m.value;
    result.theta = result.k + prior.weight * m.slope * result.theta;
    a = prior.bias + prior.weight * formula(a, a, a).value;
    b = prior.bias + prior.weight * formula(b, b, b).value;
  }
  return result;
}

// Noise of 784 columns with rows near others: as they are, opposite, longer, and at angles from
// 1e-2 to 1e-6, which long double resolves.
Tensor crowded_inputs() {
  Tensor x = noise(20, 784, 11);
  const Tensor other = noise(20, 784, 12);
  for (Index i = 10; i < 20; ++i) {
    const double step = std::pow(10.0, -2 - static_cast<double>(i - 10) / 2);
    const double sign = i % 3 == 0 ? -1 : 1;
    const double length = i % 2 == 0 ? 1.0 : 1.7;
    for (Index c = 0; c < x.columns(); ++c) {
      x.as<double>()(i, c) = sign * length * (element(x, i - 10, c) + step * element(other, i, c));
    }
  }
  return x;
}

TEST(InfiniteWidth, ClosedFormsOnManyColumns) {
  const Tensor x = crowded_inputs();
  const std::pair<DualActivation, Formula> cases[] = {{DualActivation::relu(), relu},
                                                      {DualActivation::erf(), erf},
                                                      {DualActivation::sin(), sin},
                                                      {DualActivation::gelu(), gelu}};
  const WeightPrior prior{.weight = 1.8, .bias = 0.2};
  for (const auto& [dual, formula] : cases) {
    for (const Index depth : {0, 1, 3}) {
      const InfiniteNetwork network(depth, dual, prior);
      const std::vector<Formula> hidden(static_cast<std::size_t>(depth), formula);
      Tensor k({x.rows(), x.rows()}, DType::kFloat64);
      Tensor theta = k;
      for (Index i = 0; i < x.rows(); ++i) {
        for (Index j = 0; j < x.rows(); ++j) {
          const RealKernels expected = real_kernels(x, i, x, j, hidden, prior);
          k.as<double>()(i, j) = static_cast<double>(expected.k);
          theta.as<double>()(i, j) = static_cast<double>(expected.theta);
        }
      }
      SCOPED_TRACE(dual.name() + ", depth " + std::to_string(depth));
      EXPECT_LT(worst(nngp(network, x), k), 1e-14);
      EXPECT_LT(worst(ntk(network, x), theta), 3e-13);
      EXPECT_LT(worst(ntk(network, x, x), theta), 3e-13);
    }
  }
}

TEST(InfiniteWidth, SmoothLayersInFrontOfRectifiers) {
  const Tensor x = crowded_inputs();
  const WeightPrior prior{.weight = 1.8, .bias = 0.2};
  const InfiniteNetwork network(
      {prior, prior, prior, prior},
      {DualActivation::erf(), DualActivation::relu(), DualActivation::gelu()});
  for (Index i = 0; i < x.rows(); ++i) {
    const Tensor row = testing::rows_of(x, i, 1);
    const Tensor k = nngp(network, row, x);
    const Tensor theta = ntk(network, row, x);
    for (Index j = 0; j < x.rows(); ++j) {
      const RealKernels expected = real_kernels(x, i, x, j, {erf, relu, gelu}, prior);
      EXPECT_NEAR(element(k, 0, j), static_cast<double>(expected.k), 1e-13);
      EXPECT_NEAR(element(theta, 0, j), static_cast<double>(expected.theta), 1e-11);
    }
  }
}

// Blocks (1, 0) against +-(r, r t): their angle is atan t, or pi minus that. Without biases angles
// alone matter: 1 - cos of the next one by Taylor's series, 1 - (sin a + (pi - a) cos a) / pi.
RealKernels relu_kernels_at_angle(LongReal t, bool opposite, LongReal xx, LongReal zz,
                                  Index depth) {
  LongReal a = std::atan(t);
  LongReal angle = opposite ? kRealPi - a : a;
  const LongReal root = std::sqrt(xx * zz);
  RealKernels result{.k = root * std::cos(angle), .theta = root * std::cos(angle)};
  for (Index l = 0; l < depth; ++l) {
    const LongReal slope = (kRealPi - angle) / kRealPi;
    LongReal distance = 0;
    if (angle < 0.01L) {
      distance = angle * angle / 2 - angle * angle * angle / (3 * kRealPi);
      LongReal power = angle * angle * angle * angle;
      distance += -power / 24 + power * angle / (30 * kRealPi) + power * angle * angle / 720 -
                  power * angle * angle * angle / (840 * kRealPi);
    } else {
      distance = 1 - (std::sin(angle) + (kRealPi - angle) * std::cos(angle)) / kRealPi;
    }
    angle = 2 * std::asin(std::sqrt(distance / 2));
    result.k = root * (1 - distance);
    result.theta = result.k + slope * result.theta;
  }
  return result;
}

TEST(InfiniteWidth, NearlyParallelInputs) {
  const Index columns = 40;
  for (const bool opposite : {false, true}) {
    for (const double t : {1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-10, 1e-13, 1e-17, 0.0}) {
      for (const double r : {1.0, 3.7}) {
        Tensor x({2, columns}, DType::kFloat64);
        for (Index c = 0; c < columns; c += 2) {
          x.as<double>()(0, c) = 1;
          x.as<double>()(1, c) = opposite ? -r : r;
          x.as<double>()(1, c + 1) = (opposite ? -r : r) * t;
        }
        const LongReal zz = LongReal(r) * r * (1 + LongReal(t) * t);
        for (Index depth = 1; depth <= 5; ++depth) {
          const InfiniteNetwork network(depth, DualActivation::relu(), {.weight = 2, .bias = 0});
          const RealKernels expected = relu_kernels_at_angle(t, opposite, 1, zz, depth);
          const double scale = static_cast<double>(std::sqrt(zz));
          EXPECT_NEAR(element(nngp(network, x), 1, 0), static_cast<double>(expected.k),
                      1e-14 * scale);
          EXPECT_NEAR(element(ntk(network, x), 1, 0), static_cast<double>(expected.theta),
                      3e-14 * scale * static_cast<double>(depth + 1))
              << t << " " << depth;
        }
      }
    }
  }
}

// erf as any smooth function against its closed form. Where the variance is large and correlations
// are near 1 its series do not suffice, and the rule in two dimensions takes over.
TEST(InfiniteWidth, QuadratureAgreesWithClosedForms) {
  const Tensor x = crowded_inputs();
  const DualActivation smooth_erf = DualActivation::smooth(
      "erf by quadrature", [](double t) { return std::erf(t); },
      [](double t) { return 2 / std::sqrt(std::numbers::pi) * std::exp(-t * t); });
  for (const double weight : {0.5, 2.0, 40.0}) {
    const WeightPrior prior{.weight = weight, .bias = 0.1};
    const InfiniteNetwork closed(2, DualActivation::erf(), prior);
    const InfiniteNetwork quadrature(2, smooth_erf, prior);
    const Tensor few = testing::rows_of(x, 8, 6);
    EXPECT_LT(worst(nngp(quadrature, few), nngp(closed, few)), 1e-12) << weight;
    EXPECT_LT(worst(ntk(quadrature, few), ntk(closed, few)), 1e-12) << weight;
  }
}

TEST(InfiniteWidth, SameBitsWhoeverComputes) {
  const Tensor x = noise(301, 19, 1);
  const Tensor z = noise(65, 19, 2);
  for (const char* name : {"relu", "gelu", "tanh"}) {
    const InfiniteNetwork network(2, DualActivation::named(name), {.weight = 2, .bias = 0.1});
    const Tensor serial = ntk(network, x, Executor());
    EXPECT_EQ(bits(serial), bits(ntk(network, x, Executor(3))));
    EXPECT_EQ(bits(nngp(network, x, Executor())), bits(nngp(network, x, Executor(2))));
    const Tensor cross = nngp(network, x, z, Executor());
    EXPECT_EQ(bits(cross), bits(nngp(network, x, z, Executor(2))));
    // Rows alone, and in a matrix with others.
    EXPECT_EQ(bits(testing::rows_of(cross, 200, 1)),
              bits(nngp(network, testing::rows_of(x, 200, 1), z)));
    for (Index i = 0; i < x.rows(); i += 17) {
      for (Index j = 0; j < x.rows(); ++j) {
        EXPECT_EQ(element(serial, i, j), element(serial, j, i));
      }
    }
  }
}

TEST(InfiniteWidth, DiagonalsAreThoseOfTheMatrices) {
  const Tensor x = crowded_inputs();
  for (const std::string& name : DualActivation::names()) {
    const InfiniteNetwork network(2, DualActivation::named(name), {.weight = 1.5, .bias = 0.1});
    const Tensor k = nngp(network, x);
    const Tensor theta = ntk(network, x);
    const std::vector<double> k_diagonal = nngp_diagonal(network, x);
    const std::vector<double> theta_diagonal = ntk_diagonal(network, x);
    for (Index i = 0; i < x.rows(); ++i) {
      EXPECT_EQ(k_diagonal[static_cast<std::size_t>(i)], element(k, i, i)) << name;
      EXPECT_EQ(theta_diagonal[static_cast<std::size_t>(i)], element(theta, i, i)) << name;
    }
  }
}

TEST(InfiniteWidth, TakesInputsOfAnyDtypeAndNoRows) {
  const Tensor x = noise(5, 3, 3).to(DType::kFloat32);
  const InfiniteNetwork network(1, DualActivation::relu(), {});
  EXPECT_EQ(bits(nngp(network, x)), bits(nngp(network, x.to(DType::kFloat64))));
  EXPECT_EQ(nngp(network, Tensor({0, 3}), x).shape(), Shape({0, 5}));
  EXPECT_EQ(nngp(network, x, Tensor({0, 3})).shape(), Shape({5, 0}));
}

// On a line without biases all inputs are parallel: K^L = sqrt(xx zz) or what opposite ones become.
TEST(InfiniteWidth, OneColumn) {
  const Tensor x = matrix(3, 1, std::vector<double>{0.3, -2, 0});
  const InfiniteNetwork network(2, DualActivation::relu(), {.weight = 2, .bias = 0});
  const Tensor k = nngp(network, x);
  EXPECT_NEAR(element(k, 0, 0), 2 * 0.09, 1e-16);
  // cos pi / 2 after one layer, 1 / pi after two.
  EXPECT_NEAR(element(k, 0, 1), 2 * 0.6 / std::numbers::pi, 1e-15);
  for (Index i = 0; i < 3; ++i) EXPECT_EQ(element(k, i, 2), 0);
}

TEST(InfiniteWidth, WithoutVarianceNothingIsLeft) {
  const Tensor x = noise(4, 3, 2);
  for (const std::string& name : DualActivation::names()) {
    const InfiniteNetwork network(2, DualActivation::named(name), {.weight = 0, .bias = 0});
    const Tensor theta = ntk(network, x);
    for (Index i = 0; i < 4; ++i) {
      for (Index j = 0; j < 4; ++j) EXPECT_EQ(element(theta, i, j), 0) << name;
    }
  }
}

TEST(InfiniteWidth, TakesTheLayersOfAModel) {
  const Model model{Linear{3, 8}, Relu{},       Linear{8, 8, false}, Linear{8, 8}, Identity{},
                    Tanh{},       Linear{8, 9}, LeakyRelu{0.3},      Linear{9, 1}, Gaussian{}};
  const InfiniteNetwork network = infinite_network(model, {.weight = 1.6, .bias = 0.1});
  std::vector<std::string> names;
  for (const DualActivation& dual : network.hidden) names.push_back(dual.name());
  EXPECT_EQ(names, (std::vector<std::string>{"relu", "identity", "tanh", "leaky_relu"}));
  const WeightPrior with{.weight = 1.6, .bias = 0.1};
  const WeightPrior without{.weight = 1.6, .bias = 0};
  EXPECT_EQ(network.dense, (std::vector<WeightPrior>{with, without, with, with, with}));
  EXPECT_EQ(network.depth(), 4);

  const Tensor x = noise(6, 3, 7);
  const InfiniteNetwork by_hand({with, without, with, with, with},
                                {DualActivation::relu(), DualActivation::identity(),
                                 DualActivation::tanh(), DualActivation::leaky_relu(0.3)});
  EXPECT_EQ(bits(ntk(network, x)), bits(ntk(by_hand, x)));
}

TEST(InfiniteWidth, RefusesLayersWithoutALimitByName) {
  const auto message = [](const std::vector<Layer>& layers) {
    return message_of<UnsupportedError>(
        [&] { static_cast<void>(infinite_network(layers, WeightPrior{})); });
  };
  const Linear first{3, 8};
  const Linear last{8, 1};
  EXPECT_THAT(message({first, Relu{}, Dropout{}, last}), HasSubstr("layer 2 (dropout)"));
  EXPECT_THAT(message({first, BatchNorm{}, Relu{}, last}), HasSubstr("layer 1 (batch_norm)"));
  EXPECT_THAT(message({first, LayerNorm{}, Relu{}, last}), HasSubstr("layer 1 (layer_norm)"));
  EXPECT_THAT(message({first, Elu{}, last}), HasSubstr("layer 1 (elu)"));
  EXPECT_THAT(message({Relu{}, first, Relu{}, last}), HasSubstr("layer 0 (relu) stands before"));
  EXPECT_THAT(message({first, Relu{}, Tanh{}, last}), HasSubstr("layer 2 (tanh) follows"));
  EXPECT_THAT(message({first, Relu{}, last, Sigmoid{}}), HasSubstr("layer 3 (sigmoid) has no"));
  EXPECT_THAT(message({}), HasSubstr("no linear layer"));
}

TEST(InfiniteWidth, RefusesBadInput) {
  const InfiniteNetwork network(1, DualActivation::relu(), {});
  Tensor x = noise(4, 3, 1);
  EXPECT_THAT(message_of<ShapeError>([&] { nngp(network, x, noise(4, 2, 1)); }),
              HasSubstr("x has 3 columns and z has 2"));
  x.as<double>()(2, 1) = std::numeric_limits<double>::infinity();
  EXPECT_THAT(message_of<ArgumentError>([&] { ntk(network, x); }), HasSubstr("x(2, 1) is inf"));
  EXPECT_THAT(message_of<ArgumentError>([&] { ntk(network, noise(4, 3, 1), x); }),
              HasSubstr("z(2, 1) is inf"));
  x.as<double>()(2, 1) = 1e100;
  EXPECT_THAT(message_of<ArgumentError>([&] { ntk(network, x); }),
              HasSubstr("row 2 of x has variance"));
  EXPECT_THROW(InfiniteNetwork(-1, DualActivation::relu(), {}), ArgumentError);
  EXPECT_THROW(InfiniteNetwork(1, DualActivation::relu(), {.weight = -1}), ArgumentError);
  EXPECT_THROW(InfiniteNetwork(1, DualActivation::relu(), {.weight = 1, .bias = NAN}),
               ArgumentError);
  EXPECT_THROW(InfiniteNetwork({WeightPrior{}}, {DualActivation::relu()}), ArgumentError);
}

}  // namespace
}  // namespace chainrule
