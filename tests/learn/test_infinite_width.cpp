// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/infinite_width.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>

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

}  // namespace
}  // namespace chainrule
