// SPDX-License-Identifier: Apache-2.0
// Hessian-vector products against Hessians derived by hand in long double; of every op that has
// second derivatives, whether they are symmetric.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <string>

#include "chainrule/check/case_table.hpp"
#include "chainrule/core/error.hpp"
#include "chainrule/ops/ops.hpp"
#include "chainrule/runtime/differentiate.hpp"
#include "chainrule/runtime/executor.hpp"
#include "long_matrix.hpp"

namespace chainrule {
namespace {

using testing::distance;
using testing::from_tensor;
using testing::Matrix;
using testing::Real;

Tensor to_tensor(const Matrix& matrix) {
  Tensor result(Shape{matrix.rows(), matrix.columns()}, DType::kFloat64);
  for (Index i = 0; i < matrix.rows(); ++i) {
    for (Index j = 0; j < matrix.columns(); ++j) {
      result.as<double>()(i, j) = static_cast<double>(matrix(i, j));
    }
  }
  return result;
}

Matrix random_matrix(Index rows, Index columns, std::uint64_t stream) {
  Tensor result(Shape{rows, columns}, DType::kFloat64);
  initialize(uniform(1), {.seed = 91, .stream = stream}, result);
  return from_tensor(result);
}

/// The matrix with the columns H e_k, e_k the k-th unit vector in the shape of `value`.
Matrix hessian(const Graph& graph, Value loss, Value value, const Feed& feed, Index rows) {
  const Shape shape = value.shape().with_batch(rows);
  const Index n = shape.elements();
  Tensor unit(Shape{shape.rows(), shape.columns()}, DType::kFloat64);
  Matrix result(n, n);
  for (Index k = 0; k < n; ++k) {
    double& one = unit.as<double>()(k / shape.columns(), k % shape.columns());
    one = 1;
    const Matrix column = from_tensor(hessian_vector_product(graph, loss, value, unit, feed));
    one = 0;
    for (Index i = 0; i < n; ++i) {
      result(i, k) = column(i / shape.columns(), i % shape.columns());
    }
  }
  return result;
}

Matrix scaled(const Matrix& matrix, Real factor) {
  return matrix.map([factor](Real value) { return factor * value; });
}

/// x w of 7 rows, 3 inputs and `outputs` outputs, with everything that a loss needs.
struct Regression {
  Regression(Index outputs, const Matrix& targets) : target(to_tensor(targets)) {
    x = graph.input("x", {kBatch, 3});
    w = graph.parameter("w", {3, outputs});
    t = graph.input("t", {kBatch, targets.columns()});
    z = matmul(x, w);
    parameters = Parameters(graph, DType::kFloat64, 9);
    feed = {.inputs = {{x, in}, {t, target}}, .parameters = &parameters};
  }
  Regression(const Regression&) = delete;
  Regression& operator=(const Regression&) = delete;

  Matrix rows() const { return from_tensor(in); }
  Matrix weights() const { return from_tensor(parameters.view(w)); }

  static constexpr Index kRows = 7;
  Graph graph;
  Value x, w, t, z;
  Tensor in = to_tensor(random_matrix(kRows, 3, 1));
  Tensor target;
  Parameters parameters;
  Feed feed;
};

constexpr double kTolerance = 1e-14;

// H = X^T diag(p (1 - p)) X / B.
TEST(Hessians, OfLogisticRegression) {
  Regression r(1, random_matrix(Regression::kRows, 1, 2).map([](Real v) { return v > 0 ? 1 : 0; }));
  const Value loss = binary_cross_entropy(r.z, r.t);
  const Matrix p = (r.rows() * r.weights()).map([](Real z) { return 1 / (1 + std::exp(-z)); });
  const Matrix weight = p.map([](Real v) { return v * (1 - v) / Regression::kRows; });
  const Matrix expected = r.rows().transposed() * diagonal(weight.transposed()) * r.rows();
  EXPECT_LT(distance(hessian(r.graph, loss, r.w, r.feed, Regression::kRows), expected), kTolerance);
}

// H = 2 X^T X / (B m) for each of the m outputs, nothing between them.
TEST(Hessians, OfLinearRegression) {
  constexpr Index kOutputs = 2;
  Regression r(kOutputs, random_matrix(Regression::kRows, kOutputs, 3));
  const Value loss = mean_squared_error(r.z, r.t);
  const Matrix block = scaled(r.rows().transposed() * r.rows(), Real{2} / (7 * kOutputs));
  Matrix expected(3 * kOutputs, 3 * kOutputs);
  for (Index a = 0; a < 3; ++a) {
    for (Index b = 0; b < 3; ++b) {
      for (Index k = 0; k < kOutputs; ++k) {
        expected(a * kOutputs + k, b * kOutputs + k) = block(a, b);
      }
    }
  }
  EXPECT_LT(distance(hessian(r.graph, loss, r.w, r.feed, Regression::kRows), expected), kTolerance);
}

// H((a, k), (b, l)) = sum_i x_ia x_ib s_i (p_ik [k = l] - p_ik p_il) / B, s_i the sum of the
// target.
TEST(Hessians, OfSoftmaxRegression) {
  constexpr Index kClasses = 4;
  const Matrix targets =
      random_matrix(Regression::kRows, kClasses, 4).map([](Real v) { return std::abs(v); });
  Regression r(kClasses, targets);
  const Value loss = softmax_cross_entropy(r.z, r.t, {.label_smoothing = 0.2});
  const Matrix x = r.rows(), z = x * r.weights();
  Matrix expected(3 * kClasses, 3 * kClasses);
  for (Index i = 0; i < Regression::kRows; ++i) {
    Real total = 0, mass = 0.2L;
    for (Index k = 0; k < kClasses; ++k) {
      total += std::exp(z(i, k));
      mass += 0.8L * targets(i, k);
    }
    for (Index k = 0; k < kClasses; ++k) {
      for (Index l = 0; l < kClasses; ++l) {
        const Real p = std::exp(z(i, k)) / total, q = std::exp(z(i, l)) / total;
        for (Index a = 0; a < 3; ++a) {
          for (Index b = 0; b < 3; ++b) {
            expected(a * kClasses + k, b * kClasses + l) +=
                mass * ((k == l ? p : 0) - p * q) * x(i, a) * x(i, b) / Regression::kRows;
          }
        }
      }
    }
  }
  EXPECT_LT(distance(hessian(r.graph, loss, r.w, r.feed, Regression::kRows), expected), kTolerance);
}

// The same with labels is the case that targets sum to 1; with respect to the logits themselves it
// is diag(p) - p p^T.
TEST(Hessians, OfCrossEntropyByItsLogits) {
  Graph graph;
  const Value z = graph.input("z", {kBatch, 3});
  const Value loss = softmax_cross_entropy(z, graph.labels("y"), {.reduction = Reduction::kSum});
  const Tensor logits = to_tensor(random_matrix(1, 3, 5));
  const Tensor label({1, 1}, DType::kInt32);
  const Feed feed{.inputs = {{z, logits}, {graph.find("y"), label}}};
  Matrix p = from_tensor(logits).map([](Real v) { return std::exp(v); });
  const Real total = p(0, 0) + p(0, 1) + p(0, 2);
  p = scaled(p, 1 / total);
  const Matrix expected = diagonal(p) + scaled(p.transposed() * p, -1);
  EXPECT_LT(distance(hessian(graph, loss, z, feed, 1), expected), kTolerance);
}

// Poisson, Gamma and negative binomial regression: X^T diag(f'') X with the f'' of their headers.
TEST(Hessians, OfGeneralizedLinearModels) {
  const Matrix counts =
      random_matrix(Regression::kRows, 1, 6).map([](Real v) { return 1 + std::floor(2 * v * v); });
  const auto check = [&](auto loss_of, auto second) {
    Regression r(1, counts);
    const Matrix z = r.rows() * r.weights();
    Matrix weight(1, Regression::kRows);
    for (Index i = 0; i < Regression::kRows; ++i) weight(0, i) = second(z(i, 0), counts(i, 0));
    const Matrix expected = r.rows().transposed() * diagonal(weight) * r.rows();
    const Value loss = loss_of(r.z, r.t);
    EXPECT_LT(distance(hessian(r.graph, loss, r.w, r.feed, Regression::kRows), expected),
              kTolerance);
  };
  constexpr Reduction kSum = Reduction::kSum;
  check([](Value z, Value t) { return poisson_nll(z, t, {.reduction = kSum}); },
        [](Real z, Real) { return std::exp(z); });
  check([](Value z, Value t) { return gamma_nll(z, t, {.shape = 1.5, .reduction = kSum}); },
        [](Real z, Real t) { return 1.5L * t * std::exp(-z); });
  check([](Value z,
           Value t) { return negative_binomial_nll(z, t, {.dispersion = 0.5, .reduction = kSum}); },
        [](Real z, Real t) {
          const Real mu = std::exp(z);
          return mu * (1 + 0.5L * t) / ((1 + 0.5L * mu) * (1 + 0.5L * mu));
        });
}

// A value with several consumers, of which some are linear: x sigmoid(x) + x / 2 - e^x, read twice.
TEST(Hessians, OfAValueWithSeveralConsumers) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 3});
  const Value h = scale(x, 2);
  const Value sum = add(mul(h, sigmoid(h)), sub(scale(h, 0.5), exp(h)));
  const Value loss = add(reduce_sum(sum, Axis::kAll), reduce_sum(add(sum, h), Axis::kAll));
  const Tensor in = to_tensor(random_matrix(2, 3, 7));
  const Feed feed{.inputs = {{x, in}}};
  Matrix curvature(1, 6);
  for (Index k = 0; k < 6; ++k) {
    const Real z = 2 * from_tensor(in)(k / 3, k % 3);
    const Real s = 1 / (1 + std::exp(-z));
    curvature(0, k) = 8 * (s * (1 - s) * (2 + z * (1 - 2 * s)) - std::exp(z));
  }
  EXPECT_LT(distance(hessian(graph, loss, x, feed, 2), diagonal(curvature)), kTolerance);
}

// ---- a network of two layers: tanh(x w1 + b1) w2 against t

class TwoLayers : public ::testing::Test {
 protected:
  struct Point {
    Matrix x, w1, b1, w2;
  };

  TwoLayers() {
    x = graph.input("x", {kBatch, 3});
    t = graph.input("t", {kBatch, 2});
    w1 = graph.parameter("w1", {3, 4});
    b1 = graph.parameter("b1", {4}, uniform(1));
    w2 = graph.parameter("w2", {4, 2});
    loss = mean_squared_error(matmul(tanh(add_bias(matmul(x, w1), b1)), w2), t);
    parameters = Parameters(graph, DType::kFloat64, 10);
    feed = {.inputs = {{x, in}, {t, target}}, .parameters = &parameters};
    at = {from_tensor(in), from_tensor(parameters.view(w1)), from_tensor(parameters.view(b1)),
          from_tensor(parameters.view(w2))};
  }

  /// The gradients of the loss, by the chain rule written out.
  Point gradients(const Point& p) const {
    const Index rows = p.x.rows();
    Matrix z = p.x * p.w1;
    for (Index i = 0; i < rows; ++i) {
      for (Index j = 0; j < z.columns(); ++j) z(i, j) += p.b1(0, j);
    }
    const Matrix a = z.map([](Real v) { return std::tanh(v); });
    Matrix delta = a * p.w2 + scaled(from_tensor(target), -1);
    delta = scaled(delta, Real{2} / (rows * delta.columns()));
    Matrix hidden = delta * p.w2.transposed();
    Point g{.x = {}, .w1 = {}, .b1 = Matrix(1, z.columns()), .w2 = a.transposed() * delta};
    for (Index i = 0; i < rows; ++i) {
      for (Index j = 0; j < z.columns(); ++j) {
        hidden(i, j) *= 1 - a(i, j) * a(i, j);
        g.b1(0, j) += hidden(i, j);
      }
    }
    g.w1 = p.x.transposed() * hidden;
    g.x = hidden * p.w1.transposed();
    return g;
  }

  /// d/dh of the gradients at p + h u, from a difference of order 4 whose error is below 1e-15.
  Matrix difference(const Point& u, Matrix Point::*of) const {
    constexpr Real kStep = 1e-4L;
    const auto shifted = [&](Real h) {
      return gradients({at.x + scaled(u.x, h), at.w1 + scaled(u.w1, h), at.b1 + scaled(u.b1, h),
                        at.w2 + scaled(u.w2, h)}).*
             of;
    };
    const Matrix near = shifted(kStep) + scaled(shifted(-kStep), -1);
    const Matrix far = shifted(2 * kStep) + scaled(shifted(-2 * kStep), -1);
    return scaled(scaled(near, 8) + scaled(far, -1), 1 / (12 * kStep));
  }

  Graph graph;
  Value x, t, w1, b1, w2, loss;
  Tensor in = to_tensor(random_matrix(6, 3, 11));
  Tensor target = to_tensor(random_matrix(6, 2, 12));
  Parameters parameters;
  Feed feed;
  Point at;
};

TEST_F(TwoLayers, TheReferenceIsTheGradient) {
  const Point g = gradients(at);
  EXPECT_LT(distance(from_tensor(gradient(graph, loss, x, feed)), g.x), kTolerance);
  EXPECT_LT(distance(from_tensor(gradient(graph, loss, w1, feed)), g.w1), kTolerance);
  EXPECT_LT(distance(from_tensor(gradient(graph, loss, b1, feed)), g.b1), kTolerance);
  EXPECT_LT(distance(from_tensor(gradient(graph, loss, w2, feed)), g.w2), kTolerance);
}

// Every block of the Hessian: what moves, against whose gradient moves.
TEST_F(TwoLayers, EveryBlockOfTheHessian) {
  struct Part {
    Value value;
    Matrix Point::*matrix;
  };
  const std::vector<Part> parts = {
      {x, &Point::x}, {w1, &Point::w1}, {b1, &Point::b1}, {w2, &Point::w2}};
  const Point zero{scaled(at.x, 0), scaled(at.w1, 0), scaled(at.b1, 0), scaled(at.w2, 0)};
  for (const Part& moving : parts) {
    for (const Part& of : parts) {
      Point u = zero;
      const Matrix& shape = u.*moving.matrix;
      u.*moving.matrix = random_matrix(shape.rows(), shape.columns(), 13);
      const Tensor direction = to_tensor(u.*moving.matrix);
      const Plan plan = compile(graph, {.dtype = DType::kFloat64,
                                        .loss = loss,
                                        .gradients = {of.value},
                                        .tangents = {moving.value},
                                        .gradient_tangents = {of.value}});
      Workspace workspace(plan, 6);
      Bindings bindings(plan);
      bindings.input(x, in).input(t, target).parameters(std::as_const(parameters));
      bindings.tangent(moving.value, direction);
      Executor().run(workspace, bindings);
      const Matrix expected = difference(u, of.matrix);
      EXPECT_LT(distance(from_tensor(workspace.gradient_tangent(of.value)), expected), kTolerance)
          << moving.value.node().name << " moves the gradient of " << of.value.node().name;
      EXPECT_GT(distance(expected, scaled(expected, 0)), 1e-3) << "zeros prove nothing";
    }
  }
}

TEST_F(TwoLayers, HessiansAreSymmetric) {
  for (const Value& value : {x, w1, b1, w2}) {
    const Matrix h = hessian(graph, loss, value, feed, 6);
    EXPECT_LT(distance(h, h.transposed()), kTolerance) << value.node().name;
    EXPECT_GT(distance(h, scaled(h, 0)), 1e-3);
  }
}

// ---- every op: y = op(leaves) in the loss sum y^2 / 2, whose gradient is J^T y

class SecondOrderCase {
 public:
  SecondOrderCase(const OpCase& row, const CaseSize& size)
      : instance_(row, size, DType::kFloat64), rows_(size.rows) {
    Graph& graph = instance_.graph();
    const Value y = instance_.output();
    loss_ = scale(reduce_sum(mul(y, y), Axis::kAll), 0.5);
    for (const NodeId id : y.node().inputs) {
      const Node& node = graph.node(id);
      const auto i = static_cast<std::size_t>(
          std::find(y.node().inputs.begin(), y.node().inputs.end(), id) - y.node().inputs.begin());
      const bool differentiable = ((y.node().op->traits.differentiable_inputs >> i) & 1U) != 0;
      const Value leaf(&graph, id);
      if (node.op != nullptr || !differentiable ||
          std::find(leaves_.begin(), leaves_.end(), leaf) != leaves_.end()) {
        continue;
      }
      leaves_.push_back(leaf);
      at_.push_back(from_tensor(instance_.data(leaf)));
    }
  }

  const std::vector<Value>& leaves() const { return leaves_; }
  Value output() const { return instance_.output(); }

  std::vector<Matrix> directions(std::uint64_t stream) const {
    std::vector<Matrix> result;
    for (const Matrix& matrix : at_) {
      result.push_back(random_matrix(matrix.rows(), matrix.columns(), stream++));
    }
    return result;
  }

  /// H u, where all leaves move at once.
  std::vector<Matrix> hessian_times(const std::vector<Matrix>& u) const {
    const Feed feed = instance_.feed();
    CompileOptions options{.dtype = DType::kFloat64, .mode = feed.mode};
    options.loss = loss_;
    options.gradients = options.tangents = options.gradient_tangents = leaves_;
    const Plan plan = compile(instance_.graph(), options);
    Workspace workspace(plan, rows_);
    Bindings bindings(plan);
    std::vector<Tensor> tangents;
    for (const auto& [value, view] : feed.inputs) bindings.input(value, view);
    for (const Matrix& matrix : u) tangents.push_back(to_tensor(matrix));
    for (std::size_t k = 0; k < tangents.size(); ++k) bindings.tangent(leaves_[k], tangents[k]);
    bindings.parameters(*feed.parameters).random(feed.random);
    Executor().run(workspace, bindings);
    std::vector<Matrix> result;
    for (const Value& leaf : leaves_) {
      result.push_back(from_tensor(workspace.gradient_tangent(leaf)));
    }
    return result;
  }

 private:
  CaseInstance instance_;
  Index rows_;
  Value loss_;
  std::vector<Value> leaves_;
  std::vector<Matrix> at_;
};

Real dot(const std::vector<Matrix>& a, const std::vector<Matrix>& b) {
  Real sum = 0;
  for (std::size_t k = 0; k < a.size(); ++k) {
    for (Index i = 0; i < a[k].rows(); ++i) {
      for (Index j = 0; j < a[k].columns(); ++j) sum += a[k](i, j) * b[k](i, j);
    }
  }
  return sum;
}

// check_case() compares H u with differences of the gradient (test_check_op.cpp); this needs none.
TEST(SecondOrder, HessiansOfEveryOpThatHasItAreSymmetric) {
  std::set<const OpDef*> covered;
  for (const OpCase& row : op_cases()) {
    if (!row.op->has_second_order()) continue;
    Real size_of_all = 0;
    for (const CaseSize& size : case_sizes()) {
      SCOPED_TRACE(row.name() + ", " + std::string(size.name));
      const SecondOrderCase c(row, size);
      const std::vector<Matrix> u = c.directions(21), v = c.directions(31);
      const std::vector<Matrix> hu = c.hessian_times(u);
      const Real forth = dot(v, hu), back = dot(u, c.hessian_times(v));
      const Real tolerance = 1e-13L * (1 + std::sqrt(dot(v, v) * dot(hu, hu)));
      EXPECT_LT(std::abs(forth - back), tolerance);
      size_of_all += dot(hu, hu);
    }
    EXPECT_GT(size_of_all, 1e-3) << row.name() << ": zeros prove nothing";
    covered.insert(row.op);
  }
  for (const OpDef* op : all_ops()) EXPECT_EQ(covered.contains(op), op->has_second_order());
}

TEST(SecondOrder, OpsWithoutItAreRefusedByName) {
  std::set<std::string> refused;
  for (const OpCase& row : op_cases()) {
    if (row.op->has_second_order()) continue;
    const SecondOrderCase c(row, case_sizes().front());
    try {
      c.hessian_times(c.directions(41));
      ADD_FAILURE() << row.name() << " was not refused";
    } catch (const UnsupportedError& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr(c.output().node().name));
      refused.emplace(row.op->name);
    }
  }
  EXPECT_THAT(refused, ::testing::ElementsAre("batch_norm", "layer_norm", "log_softmax",
                                              "rbf_gp_nll", "softmax"));
}

// At a kink the convention of the header holds twice over: f'' of relu, hinge and the like is 0.
TEST(SecondOrder, AtAKinkHasTheDocumentedValue) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 3});
  const Tensor in = to_tensor(Matrix(1, 3, {0, -1, 2}));
  const Tensor u = to_tensor(Matrix(1, 3, {1, 1, 1}));
  const Feed feed{.inputs = {{x, in}}};
  const auto second = [&](Value y) {
    const Value loss = reduce_sum(y, Axis::kAll);
    return from_tensor(hessian_vector_product(graph, loss, x, u, feed));
  };
  EXPECT_EQ(distance(second(relu(x)), Matrix(1, 3, {0, 0, 0})), 0);
  EXPECT_EQ(distance(second(leaky_relu(x, 0.5)), Matrix(1, 3, {0, 0, 0})), 0);
  EXPECT_LT(distance(second(elu(x, 1.5)), Matrix(1, 3, {1.5L, 1.5L * std::exp(-1.0L), 0})), 1e-15);
}

}  // namespace
}  // namespace chainrule
