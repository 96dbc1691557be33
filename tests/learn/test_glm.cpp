// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/glm.hpp"

#include <gmock/gmock.h>

#include <cmath>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/evaluate.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using ::testing::HasSubstr;
using testing::matrix;
using testing::message_of;
using testing::noise;

Model glm(Index inputs, Index outputs, const Likelihood& likelihood, bool bias = true) {
  return Model({Linear{.in = inputs, .out = outputs, .bias = bias}}, likelihood, DType::kFloat64);
}

double weight(const Model& model, Index i, Index j) {
  return element(model.parameters().view("0.weight"), i, j);
}

double bias(const Model& model, Index j) {
  return element(model.parameters().view("0.bias"), 0, j);
}

// Counts or real targets, sample weights and offsets.
Dataset synthetic(Index rows, Index features, Index outputs, bool counts) {
  Dataset data;
  data.x = noise(rows, features, 11);
  data.y = noise(rows, outputs, 12);
  data.weights = noise(rows, 1, 13);
  for (Index i = 0; i < rows; ++i) {
    for (Index k = 0; k < outputs; ++k) {
      double& y = data.y.as<double>()(i, k);
      if (counts) y = std::floor(2 * std::abs(y));
    }
    double& w = data.weights.as<double>()(i, 0);
    w = i % 7 == 0 ? 0 : std::abs(w);
  }
  return data;
}

class GlmSolvers : public ::testing::TestWithParam<GlmSolver> {};
INSTANTIATE_TEST_SUITE_P(Both, GlmSolvers, ::testing::Values(GlmSolver::kNewton, GlmSolver::kLbfgs),
                         [](const auto& info) {
                           return info.param == GlmSolver::kNewton ? "Newton" : "Lbfgs";
                         });

TEST_P(GlmSolvers, FindTheLogisticOptimumOfBreastCancer) {
  const auto& reference =
      testing::sklearn_reference().at("A_logistic_breast_cancer").at("results").at("C=1");
  const Split data = testing::reference_split("breast_cancer");
  ASSERT_EQ(data.train.rows(), 455);
  Model model = glm(30, 1, Bernoulli{});
  model.schema().standardizer = Standardizer::fit(data.train.x);
  const GlmFit fit = fit_glm(model, data.train, {.l2 = 1, .solver = GetParam()});
  EXPECT_TRUE(fit.converged) << fit.max_gradient;
  const double tolerance = GetParam() == GlmSolver::kNewton ? 1e-9 : 1e-6;
  for (Index i = 0; i < 30; ++i) {
    EXPECT_NEAR(weight(model, i, 0),
                reference.at("coef")[static_cast<std::size_t>(i)].get<double>(), tolerance);
  }
  EXPECT_NEAR(bias(model, 0), reference.at("intercept").get<double>(), tolerance);
  EXPECT_NEAR(fit.objective, reference.at("objective").get<double>(), 1e-10);
  const Evaluation test = evaluate(model, data.test);
  EXPECT_NEAR(test.loss, reference.at("test_logloss").get<double>(), 1e-6);
  EXPECT_EQ(test.accuracy, reference.at("test_acc").get<double>());
}

TEST_P(GlmSolvers, FindTheSoftmaxOptimumOfIris) {
  const auto& reference =
      testing::sklearn_reference().at("B_softmax_regression").at("results").at("iris");
  const Split data = testing::reference_split("iris");
  Model model = glm(4, 3, Categorical{});
  model.schema().standardizer = Standardizer::fit(data.train.x);
  const GlmFit fit = fit_glm(model, data.train, {.l2 = 1, .solver = GetParam()});
  EXPECT_TRUE(fit.converged) << fit.max_gradient;
  EXPECT_NEAR(fit.objective, reference.at("objective").get<double>(), 1e-8);
  for (Index i = 0; i < 4; ++i) {
    EXPECT_NEAR(weight(model, i, 0),
                reference.at("W_first_row")[static_cast<std::size_t>(i)].get<double>(), 1e-7);
  }
  for (Index k = 0; k < 3; ++k) {
    EXPECT_NEAR(bias(model, k),
                reference.at("b_centered")[static_cast<std::size_t>(k)].get<double>(), 1e-7);
  }
  EXPECT_NEAR(evaluate(model, data.train).loss, reference.at("train_logloss").get<double>(), 1e-8);
  EXPECT_NEAR(evaluate(model, data.test).loss, reference.at("test_logloss").get<double>(), 1e-7);
}

// With Gaussian noise the optimum solves (X^T D X + R) theta = X^T D y, X with a column of ones,
// D the weights and R the penalty: by elimination in long double.
TEST_P(GlmSolvers, AgreeWithTheRidgeEquations) {
  constexpr Index kRows = 25;
  constexpr Index kWidth = 4;
  const double l2 = 1 / 0.7;
  Dataset data = synthetic(kRows, kWidth - 1, 2, false);
  Model model = glm(kWidth - 1, 2, Gaussian{});
  const GlmFit fit = fit_glm(model, data, {.l2 = l2, .solver = GetParam()});
  EXPECT_TRUE(fit.converged);
  for (Index k = 0; k < 2; ++k) {
    long double system[kWidth][kWidth + 1] = {};
    const auto x = [&](Index i, Index j) {
      return j < kWidth - 1 ? static_cast<long double>(element(data.x, i, j)) : 1.0L;
    };
    for (Index i = 0; i < kRows; ++i) {
      const long double d = element(data.weights, i, 0);
      for (Index a = 0; a < kWidth; ++a) {
        for (Index b = 0; b < kWidth; ++b) system[a][b] += d * x(i, a) * x(i, b);
        system[a][kWidth] += d * x(i, a) * element(data.y, i, k);
      }
    }
    for (Index a = 0; a < kWidth - 1; ++a) system[a][a] += l2;
    for (Index p = 0; p < kWidth; ++p) {  // Gauss-Jordan, the matrix is positive definite
      for (Index a = 0; a < kWidth; ++a) {
        if (a == p) continue;
        const long double factor = system[a][p] / system[p][p];
        for (Index b = p; b <= kWidth; ++b) system[a][b] -= factor * system[p][b];
      }
    }
    for (Index a = 0; a < kWidth; ++a) {
      const double expected = static_cast<double>(system[a][kWidth] / system[a][a]);
      EXPECT_NEAR(a < kWidth - 1 ? weight(model, a, k) : bias(model, k), expected, 1e-10);
    }
  }
}

TEST_P(GlmSolvers, MakeThePoissonGradientVanish) {
  const double l2 = 0.5;
  Dataset data = synthetic(40, 3, 1, true);
  data.offset = noise(40, 1, 14);
  Model model = glm(3, 1, Poisson{});
  const GlmFit fit = fit_glm(model, data, {.l2 = l2, .solver = GetParam()});
  EXPECT_TRUE(fit.converged);
  long double objective = 0;
  long double gradient[4] = {};
  for (Index i = 0; i < 40; ++i) {
    long double eta = static_cast<long double>(bias(model, 0)) + element(data.offset, i, 0);
    for (Index j = 0; j < 3; ++j) {
      eta += static_cast<long double>(weight(model, j, 0)) * element(data.x, i, j);
    }
    const long double w = element(data.weights, i, 0);
    objective += w * (std::exp(eta) - element(data.y, i, 0) * eta);
    const long double delta = w * (std::exp(eta) - element(data.y, i, 0));
    for (Index j = 0; j < 3; ++j) gradient[j] += delta * element(data.x, i, j);
    gradient[3] += delta;
  }
  for (Index j = 0; j < 3; ++j) {
    const long double penalized = weight(model, j, 0);
    gradient[j] += l2 * penalized;
    objective += l2 * penalized * penalized / 2;
  }
  for (const long double g : gradient) EXPECT_NEAR(static_cast<double>(g), 0, 1e-10);
  EXPECT_NEAR(fit.objective, static_cast<double>(objective), 1e-10);
}

TEST(Glm, SolversAgreeOnWineWithSmoothedLabels) {
  const Dataset wine = testing::reference_split("wine").train;
  std::vector<double> objectives;
  for (const GlmSolver solver : {GlmSolver::kNewton, GlmSolver::kLbfgs}) {
    Model model = glm(13, 3, Categorical{.label_smoothing = 0.1});
    model.schema().standardizer = Standardizer::fit(wine.x);
    const GlmFit fit = fit_glm(model, wine, {.l2 = 1, .solver = solver});
    EXPECT_TRUE(fit.converged);
    EXPECT_NEAR(bias(model, 0) + bias(model, 1) + bias(model, 2), 0, 1e-12);
    objectives.push_back(fit.objective);
  }
  EXPECT_NEAR(objectives[0], objectives[1], 1e-8);
}

TEST(Glm, NewtonStepsAreFewAndExact) {
  const Dataset iris = testing::reference_split("iris").train;
  Model model = glm(4, 3, Categorical{}, false);
  const GlmFit fit = fit_glm(model, iris, {.l2 = 1});
  EXPECT_TRUE(fit.converged);
  EXPECT_LE(fit.iterations, 15);  // quadratic convergence: a wrong Hessian takes far more
}

TEST(Glm, ASampleWeightIsARepetition) {
  Dataset data = synthetic(20, 3, 2, true);
  std::vector<std::uint32_t> rows;
  for (Index i = 0; i < 20; ++i) {
    data.weights.as<double>()(i, 0) = static_cast<double>(i % 3);
    for (Index k = 0; k < i % 3; ++k) rows.push_back(static_cast<std::uint32_t>(i));
  }
  Dataset repeated = data.subset(rows);
  repeated.weights = {};
  Model weighted = glm(3, 2, Poisson{});
  Model plain = glm(3, 2, Poisson{});
  const GlmOptions options{.l2 = 1};
  EXPECT_NEAR(fit_glm(weighted, data, options).objective,
              fit_glm(plain, repeated, options).objective, 1e-11);
  for (Index i = 0; i < 3; ++i) {
    for (Index k = 0; k < 2; ++k) EXPECT_NEAR(weight(weighted, i, k), weight(plain, i, k), 1e-11);
  }
}

TEST(Glm, DoesNotDependOnTheStartAndRoundsToTheModelsType) {
  const Dataset iris = testing::reference_split("iris").train;
  Model model = glm(4, 3, Categorical{});
  fit_glm(model, iris, {.l2 = 1});
  Model narrow({Linear{4, 3}}, Categorical{}, DType::kFloat32, 9);
  const GlmFit fit = fit_glm(narrow, iris, {.l2 = 1});
  EXPECT_TRUE(fit.converged);
  EXPECT_EQ(narrow.dtype(), DType::kFloat32);
  EXPECT_EQ(element(narrow.parameters().view(0), 2, 1),
            static_cast<double>(static_cast<float>(weight(model, 2, 1))));
}

TEST(Glm, ReportsThatItDidNotConverge) {
  const Dataset iris = testing::reference_split("iris").train;
  for (const GlmSolver solver : {GlmSolver::kNewton, GlmSolver::kLbfgs}) {
    for (const Index iterations : {0, 2}) {
      Model model = glm(4, 3, Categorical{});
      const GlmFit fit =
          fit_glm(model, iris, {.l2 = 1, .solver = solver, .max_iterations = iterations});
      EXPECT_FALSE(fit.converged);
      EXPECT_GT(fit.max_gradient, 1e-3);
      const double start = 120 * std::log(3.0);
      if (iterations == 0) {
        EXPECT_NEAR(fit.objective, start, 1e-10);
      } else {
        EXPECT_LT(fit.objective, start);
      }
    }
  }
}

TEST(Glm, RefusesWhatIsNoGlm) {
  const Dataset data = synthetic(10, 3, 1, false);
  Model bent({Linear{3, 1}, Tanh{}}, Gaussian{}, DType::kFloat64);
  EXPECT_THAT(message_of<ArgumentError>([&] { fit_glm(bent, data); }),
              HasSubstr("2 layers, the last 'tanh'"));
  Model robust = glm(3, 1, Laplace{});
  EXPECT_THAT(message_of<ArgumentError>([&] { fit_glm(robust, data); }), HasSubstr("'mae'"));
  Model model = glm(3, 1, Gaussian{});
  for (const double l2 : {-1.0, std::nan(""), HUGE_VAL}) {
    EXPECT_THROW(fit_glm(model, data, {.l2 = l2}), ArgumentError);
  }
  EXPECT_THROW(fit_glm(model, data, {.tolerance = -1}), ArgumentError);
  EXPECT_THROW(fit_glm(model, data, {.max_iterations = -1}), ArgumentError);
  Model wide = glm(4, 1, Gaussian{});
  EXPECT_THROW(fit_glm(wide, data), ShapeError);
}

}  // namespace
}  // namespace chainrule
