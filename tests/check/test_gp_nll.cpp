// SPDX-License-Identifier: Apache-2.0
// The Gaussian-process likelihood behind a network: its gradients against Jacobians written out in
// long double, and what happens where there is no likelihood.
#include <gmock/gmock.h>

#include <bit>
#include <cmath>
#include <string>
#include <vector>

#include "chainrule/core/error.hpp"
#include "chainrule/core/random.hpp"
#include "chainrule/ops/ops.hpp"
#include "chainrule/runtime/executor.hpp"
#include "long_matrix.hpp"

namespace chainrule {
namespace {

using testing::from_tensor;
using ::testing::HasSubstr;
using testing::Matrix;
using testing::Real;

constexpr Index kIn = 3, kHidden = 5, kFeatures = 2, kTargets = 2;

Tensor random_matrix(Index rows, Index columns, std::uint64_t stream, double scale) {
  Tensor tensor(Shape{rows, columns}, DType::kFloat64);
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < columns; ++j) {
      tensor.as<double>()(i, j) =
          scale * (2 * random_uniform({.seed = 3, .stream = stream},
                                      static_cast<std::uint64_t>(i * columns + j)) -
                   1);
    }
  }
  return tensor;
}

// x -> tanh(x V + b) W = phi, and the likelihood of y.
struct Network {
  explicit Network(Index rows, const GpNllOptions& options = {}, double log_noise_value = -2)
      : x_data(random_matrix(rows, kIn, 1, 2)), y_data(random_matrix(rows, kTargets, 2, 1)) {
    loss = rbf_gp_nll(phi, y, log_variance, log_length_scale, log_noise, options);
    parameters = Parameters(graph, DType::kFloat64, 7);
    set(log_variance, {0.3});
    set(log_length_scale, {-0.2, 0.4});
    set(log_noise, {log_noise_value});
  }

  void set(Value value, const std::vector<double>& numbers) {
    const MatrixView<double> to = parameters.mutable_view(value).as<double>();
    for (std::size_t j = 0; j < numbers.size(); ++j) to(0, static_cast<Index>(j)) = numbers[j];
  }
  Matrix at(Value value) const { return from_tensor(parameters.view(value)); }

  std::vector<Value> values() const {
    return {x, y, v, b, w, log_variance, log_length_scale, log_noise};
  }

  /// The loss, then the gradients by values().
  std::vector<Matrix> run(int threads = 1) const {
    const Plan plan = compile(
        graph, {.dtype = DType::kFloat64, .loss = loss, .gradients = values(), .outputs = {phi}});
    const Executor executor(threads);
    Workspace workspace = executor.make_workspace(plan, x_data.rows());
    Bindings bindings(plan);
    bindings.input(x, x_data).input(y, y_data).parameters(parameters);
    executor.run(workspace, bindings);
    std::vector<Matrix> results{Matrix(1, 1, {workspace.loss()})};
    for (const Value& value : values()) results.push_back(from_tensor(workspace.gradient(value)));
    return results;
  }

  Graph graph;
  Value x = graph.input("x", {kBatch, kIn});
  Value y = graph.input("y", {kBatch, kTargets});
  Value v = graph.parameter("v", {kIn, kHidden});
  Value b = graph.parameter("b", {kHidden});
  Value w = graph.parameter("w", {kHidden, kFeatures});
  Value phi = matmul(tanh(add_bias(matmul(x, v), b)), w);
  Value log_variance = graph.parameter("log_variance", {1});
  Value log_length_scale = graph.parameter("log_length_scale", {kFeatures});
  Value log_noise = graph.parameter("log_noise", {1});
  Value loss;
  Parameters parameters;
  Tensor x_data;
  Tensor y_data;
};

// (A^-1, log |A|) by Gauss's and Jordan's elimination.
std::pair<Matrix, Real> inverse_of(Matrix a) {
  const Index n = a.rows();
  Matrix inverse(n, n);
  Real log_determinant = 0;
  for (Index i = 0; i < n; ++i) inverse(i, i) = 1;
  for (Index p = 0; p < n; ++p) {
    const Real pivot = a(p, p);
    log_determinant += std::log(pivot);
    for (Index j = 0; j < n; ++j) {
      a(p, j) /= pivot;
      inverse(p, j) /= pivot;
    }
    for (Index i = 0; i < n; ++i) {
      const Real factor = a(i, p);
      if (i == p) continue;
      for (Index j = 0; j < n; ++j) {
        a(i, j) -= factor * a(p, j);
        inverse(i, j) -= factor * inverse(p, j);
      }
    }
  }
  return {inverse, log_determinant};
}

// The same as Network::run(): W = d nll / dA, then dA / dtheta pair by pair, then the layers.
std::vector<Matrix> written_out(const Network& net) {
  const Matrix x = from_tensor(net.x_data), y = from_tensor(net.y_data);
  const Index n = x.rows();
  Matrix z = x * net.at(net.v);
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < kHidden; ++j) z(i, j) += net.at(net.b)(0, j);
  }
  const Matrix h = z.map([](Real t) { return std::tanh(t); });
  const Matrix phi = h * net.at(net.w);
  const Real s2 = std::exp(net.at(net.log_variance)(0, 0));
  const Real noise = std::exp(net.at(net.log_noise)(0, 0));
  const auto l2 = [&](Index c) { return std::exp(2 * net.at(net.log_length_scale)(0, c)); };
  Matrix k(n, n);
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) {
      Real q = 0;
      for (Index c = 0; c < kFeatures; ++c) {
        q += (phi(i, c) - phi(j, c)) * (phi(i, c) - phi(j, c)) / l2(c);
      }
      k(i, j) = s2 * std::exp(-q / 2);
    }
  }
  Matrix a = k;
  for (Index i = 0; i < n; ++i) a(i, i) += noise;
  const auto [inverse, log_determinant] = inverse_of(a);
  const Matrix alpha = inverse * y;
  const Real count = static_cast<Real>(n * kTargets);
  Matrix loss(1, 1), dy = alpha, dphi(n, kFeatures);
  Matrix dvariance(1, 1), dlength(1, kFeatures), dnoise(1, 1);
  for (Index i = 0; i < n; ++i) {
    for (Index t = 0; t < kTargets; ++t) {
      loss(0, 0) += y(i, t) * alpha(i, t) / (2 * count);
      dy(i, t) /= count;
    }
  }
  loss(0, 0) += kTargets * log_determinant / (2 * count) + std::log(2 * std::acos(Real{-1})) / 2;
  const Matrix products = alpha * alpha.transposed();
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) {
      const Real weight = (kTargets * inverse(i, j) - products(i, j)) / (2 * count);
      dvariance(0, 0) += weight * k(i, j);
      if (i == j) dnoise(0, 0) += weight * noise;
      for (Index c = 0; c < kFeatures; ++c) {
        const Real away = phi(i, c) - phi(j, c);
        dphi(i, c) -= weight * k(i, j) * away / l2(c);
        dphi(j, c) += weight * k(i, j) * away / l2(c);
        dlength(0, c) += weight * k(i, j) * away * away / l2(c);
      }
    }
  }
  Matrix dz = dphi * net.at(net.w).transposed();
  Matrix db(1, kHidden);
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < kHidden; ++j) {
      dz(i, j) *= 1 - h(i, j) * h(i, j);
      db(0, j) += dz(i, j);
    }
  }
  return {loss,  dz * net.at(net.v).transposed(), dy,        x.transposed() * dz,
          db,    h.transposed() * dphi,           dvariance, dlength,
          dnoise};
}

class DeepGradients : public ::testing::TestWithParam<Index> {};

TEST_P(DeepGradients, AreThoseOfTheJacobiansTo1e9) {
  const Network net(GetParam());
  const std::vector<Matrix> got = net.run(), expected = written_out(net);
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t k = 0; k < got.size(); ++k) {
    ASSERT_EQ(got[k].rows(), expected[k].rows()) << k;
    ASSERT_EQ(got[k].columns(), expected[k].columns()) << k;
    for (Index i = 0; i < got[k].rows(); ++i) {
      for (Index j = 0; j < got[k].columns(); ++j) {
        const Real right = expected[k](i, j);
        ASSERT_LE(std::abs(got[k](i, j) - right), 1e-9L * std::abs(right))
            << (k == 0 ? "the loss" : net.values()[k - 1].node().name) << " (" << i << ", " << j
            << "): " << static_cast<double>(got[k](i, j)) << ", not " << static_cast<double>(right);
      }
    }
  }
}

// One tile of Cholesky's factorization, and several.
INSTANTIATE_TEST_SUITE_P(Rows, DeepGradients, ::testing::Values(2, 9, 150));

TEST(GpNll, HasTheSameBitsOnAnyNumberOfThreads) {
  const Network net(301);
  const std::vector<Matrix> one = net.run(1);
  for (const int threads : {2, 3}) {
    const ScopedThreadLimit limit(threads);
    const std::vector<Matrix> more = net.run(threads);
    for (std::size_t k = 0; k < one.size(); ++k) {
      for (Index i = 0; i < one[k].rows(); ++i) {
        for (Index j = 0; j < one[k].columns(); ++j) {
          ASSERT_EQ(std::bit_cast<std::uint64_t>(static_cast<double>(one[k](i, j))),
                    std::bit_cast<std::uint64_t>(static_cast<double>(more[k](i, j))));
        }
      }
    }
  }
}

TEST(GpNll, MemoryAndWorkGrowWithTheBatch) {
  const Network net(4);
  const Plan plan =
      compile(net.graph, {.dtype = DType::kFloat64, .loss = net.loss, .gradients = {net.w}});
  // Two matrices [n, n], whatever the rest.
  EXPECT_GT(plan.workspace_bytes(2000, 1), 2 * 2000 * 2000 * 8);
  EXPECT_LT(plan.workspace_bytes(2000, 1), 3 * 2000 * 2000 * 8);
  EXPECT_GT(plan.flops(2000), 2000.0 * 2000 * 2000);
  EXPECT_LT(plan.flops(20), 1e6);
}

std::string error_of(const Network& net) {
  try {
    net.run();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// Two rows are the same, and the noise rounds to nothing beside the variance.
struct Degenerate : Network {
  explicit Degenerate(const GpNllOptions& options) : Network(6, options, -80) {
    for (Index j = 0; j < kIn; ++j) x_data.as<double>()(4, j) = x_data.as<double>()(2, j);
  }
};

TEST(GpNll, NamesThePivotThatIsNotPositive) {
  const std::string error = error_of(Degenerate({}));
  EXPECT_THAT(error, HasSubstr("rbf_gp_nll: a [6, 6] matrix is not positive definite"));
  EXPECT_THAT(error, HasSubstr("the pivot of row 4 (from 0)"));
}

TEST(GpNll, AddsJitterWhereThatIsAllowed) {
  const Degenerate net({.max_jitter = 1e-6});
  const std::vector<Matrix> got = net.run();
  for (const Matrix& matrix : got) EXPECT_LT(std::abs(matrix(0, 0)), HUGE_VALL);
  // As with noise of 1e-10 of the mean diagonal.
  Degenerate noisy({});
  noisy.set(noisy.log_noise, {std::log(1e-10) + 0.3});
  EXPECT_NEAR(static_cast<double>(got[0](0, 0)), static_cast<double>(noisy.run()[0](0, 0)),
              1e-4 * std::abs(static_cast<double>(got[0](0, 0))));
}

TEST(GpNll, OfWhatIsNotFiniteIsNan) {
  Network net(5);
  net.set(net.w, {std::nan("")});
  for (const Matrix& matrix : net.run()) EXPECT_TRUE(std::isnan(matrix(0, 0)));
  Network overflowing(5);
  overflowing.set(overflowing.log_variance, {1000});
  EXPECT_TRUE(std::isnan(overflowing.run()[0](0, 0)));
}

TEST(GpNll, ShapesAndOptionsAreChecked) {
  Graph g;
  const Value phi = g.input("phi", {kBatch, 3}), y = g.input("y", {kBatch});
  const Value one = g.parameter("one", {1}), two = g.parameter("two", {2});
  EXPECT_THROW(rbf_gp_nll(phi, y, two, one, one), ShapeError);
  EXPECT_THROW(rbf_gp_nll(phi, y, one, two, one), ShapeError);
  EXPECT_THROW(rbf_gp_nll(phi, y, one, one, phi), ShapeError);
  EXPECT_THROW(rbf_gp_nll(phi, g.parameter("z", {4, 1}), one, one, one), ShapeError);
  EXPECT_THROW(rbf_gp_nll(phi, y, one, one, one, {.max_jitter = -1}), ArgumentError);
  EXPECT_THROW(rbf_gp_nll(phi, y, one, one, one, {.reduction = Reduction::kNone}), ArgumentError);
  EXPECT_EQ(rbf_gp_nll(phi, y, one, g.parameter("each", {3}), one).shape(), Shape{});
}

}  // namespace
}  // namespace chainrule
