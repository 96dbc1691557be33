// SPDX-License-Identifier: Apache-2.0
//
// Data for which there is no fit_glm().
#include <gmock/gmock.h>

#include <cmath>
#include <utility>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/glm.hpp"
#include "learn_support.hpp"

namespace chainrule {
namespace {

using ::testing::HasSubstr;
using testing::matrix;
using testing::message_of;
using testing::noise;

Model plain_glm(Index inputs, const Likelihood& likelihood) {
  return Model({Linear{inputs, 1}}, likelihood, DType::kFloat64);
}

class SeparableGlm : public ::testing::TestWithParam<GlmSolver> {};
INSTANTIATE_TEST_SUITE_P(Both, SeparableGlm,
                         ::testing::Values(GlmSolver::kNewton, GlmSolver::kLbfgs),
                         [](const auto& info) {
                           return info.param == GlmSolver::kNewton ? "Newton" : "Lbfgs";
                         });

TEST_P(SeparableGlm, HasNoMaximum) {
  const std::vector<double> x{-3, -2, -1, 1, 2, 3};
  const auto fitted = [&](const Dataset& data, const Likelihood& likelihood, double l2) {
    Model model({Linear{1, std::holds_alternative<Categorical>(likelihood) ? 3 : 1}}, likelihood,
                DType::kFloat64);
    return fit_glm(model, data, {.l2 = l2, .solver = GetParam()});
  };
  Dataset separable{.x = matrix(6, 1, x), .labels = {0, 0, 0, 1, 1, 1}};
  Dataset quasi{.x = matrix(6, 1, std::vector<double>{-3, -2, 0, 0, 2, 3}),
                .labels = {0, 0, 0, 1, 1, 1}};
  Dataset one_class{.x = matrix(6, 1, x), .labels = {1, 1, 1, 1, 1, 1}};
  Dataset three{.x = matrix(6, 1, x), .labels = {0, 0, 1, 1, 2, 2}};
  Dataset empty_group{.x = matrix(6, 1, std::vector<double>{0, 0, 0, 1, 1, 1}),
                      .y = matrix(6, 1, std::vector<double>{0, 0, 0, 2, 5, 1})};
  Dataset mixed{.x = matrix(6, 1, x), .labels = {0, 1, 0, 1, 0, 1}};
  for (const auto& [data, likelihood] : {std::pair<Dataset, Likelihood>(separable, Bernoulli{}),
                                         {quasi, Bernoulli{}},
                                         {one_class, Bernoulli{}},
                                         {three, Categorical{}},
                                         {empty_group, Poisson{}},
                                         {empty_group, NegativeBinomial{}}}) {
    const GlmFit fit = fitted(data, likelihood, 0);
    EXPECT_TRUE(fit.no_maximum) << name_of(likelihood);
    EXPECT_FALSE(fit.converged);
    EXPECT_EQ(fit.covariance.shape().rank(), 0);
    const bool bias_alone = data.labels == one_class.labels;
    EXPECT_EQ(fitted(data, likelihood, 0.1).no_maximum, bias_alone);
  }
  EXPECT_FALSE(fitted(mixed, Bernoulli{}, 0).no_maximum);
}

TEST(Glm, NamesDependentFeatures) {
  Dataset data{.x = noise(20, 3, 2), .y = noise(20, 1, 3), .feature_names = {"a", "b", "c"}};
  const auto x = data.x.as<double>();
  for (Index i = 0; i < 20; ++i) x(i, 2) = 3 * x(i, 0) - x(i, 1) + 1e6;
  Model model = plain_glm(3, Gaussian{});
  EXPECT_THAT(message_of<ArgumentError>([&] { fit_glm(model, data); }),
              HasSubstr("feature 'c' is constant or a linear combination of the bias and"));
  EXPECT_TRUE(fit_glm(model, data, {.l2 = 1e-3}).converged);
  for (Index i = 0; i < 20; ++i) x(i, 1) = 0.1;
  EXPECT_THAT(message_of<ArgumentError>([&] { fit_glm(model, data); }), HasSubstr("feature 'b'"));
  Dataset few = data.subset(std::vector<std::uint32_t>{0, 1});
  few.feature_names = {};
  EXPECT_THAT(message_of<ArgumentError>([&] { fit_glm(model, few); }),
              HasSubstr("feature 1 (from 0)"));
}

TEST(Glm, RefusesImpossibleNumbers) {
  Dataset data{.x = noise(5, 1, 2), .y = matrix(5, 1, std::vector<double>{1, 2, 0, 4, 5})};
  Model gamma_model = plain_glm(1, Gamma{}), gaussian = plain_glm(1, Gaussian{});
  EXPECT_THAT(message_of<ArgumentError>([&] { fit_glm(gamma_model, data); }),
              HasSubstr("row 3: 0, expected a number > 0"));
  Dataset infinite = data;
  infinite.y.as<double>()(3, 0) = HUGE_VAL;
  EXPECT_THAT(message_of<ArgumentError>([&] { fit_glm(gaussian, infinite); }),
              HasSubstr("target, row 4, column 1 is inf"));
  infinite = data;
  infinite.x.as<double>()(1, 0) = std::nan("");
  EXPECT_THAT(message_of<ArgumentError>([&] { fit_glm(gaussian, infinite); }),
              HasSubstr("features, row 2, column 1 is nan"));
  data.weights = Tensor({5, 1}, DType::kFloat64);
  EXPECT_THAT(message_of<ArgumentError>([&] { fit_glm(gaussian, data); }), HasSubstr("all 0"));
}

}  // namespace
}  // namespace chainrule
