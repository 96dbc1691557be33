// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include "chainrule/check/gtest.hpp"
#include "chainrule/ops/ops.hpp"

namespace chainrule {
namespace {

using ::testing::AllOf;
using ::testing::ExplainMatchResult;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::PrintToString;
using ::testing::StringMatchResultListener;

template <class T>
void doubled_backward(const OpContext& context) {
  kTanhOp.backward[dtype_index(kDTypeOf<T>)](context);
  const MatrixView<T> g = context.in_gradient<T>(0);
  for (Index i = 0; i < g.rows; ++i) {
    for (Index j = 0; j < g.columns; ++j) g(i, j) *= 2;
  }
}

const OpDef& doubled_tanh() {
  static const OpDef def = [] {
    OpDef result = kTanhOp;
    result.backward = {&doubled_backward<float>, &doubled_backward<double>};
    return result;
  }();
  return def;
}

class Matcher : public ::testing::Test {
 protected:
  Value right() { return tanh(x_); }
  Value wrong() { return graph_.apply(doubled_tanh(), {x_}); }

  Graph graph_;
  Value x_ = graph_.input("x", {kBatch, 4});
};

TEST_F(Matcher, TakesGraphsValuesSubjectsAndReports) {
  const Value y = right();
  const RandomFeed random(y, {.rows = 3});
  EXPECT_THAT(graph_, HasCorrectGradients());
  EXPECT_THAT(y, HasCorrectGradients());
  EXPECT_THAT(y, HasCorrectGradients(random.feed()));
  EXPECT_THAT(y, HasCorrectGradients(random.feed(), {.dtype = DType::kFloat32}));
  EXPECT_THAT((GradientSubject{y, random.feed()}), HasCorrectGradients());
  EXPECT_THAT(check_gradients(graph_, y, random.feed()), HasCorrectGradients());
}

TEST_F(Matcher, FindsWrongOnesInAll) {
  const Value y = wrong();
  const RandomFeed random(y, {.rows = 3});
  EXPECT_THAT(graph_, Not(HasCorrectGradients()));
  EXPECT_THAT(y, Not(HasCorrectGradients()));
  EXPECT_THAT(y, Not(HasCorrectGradients(GradientCheckOptions{.dtype = DType::kFloat32})));
  EXPECT_THAT(y, Not(HasCorrectGradients(random.feed())));
  EXPECT_THAT((GradientSubject{y, random.feed()}), Not(HasCorrectGradients()));
  EXPECT_THAT(check_gradients(graph_, y, random.feed()), Not(HasCorrectGradients()));
}

TEST_F(Matcher, OptionsReachTheCheck) {
  const Value y = right();
  EXPECT_THAT(y, Not(HasCorrectGradients(
                     GradientCheckOptions{.with_respect_to = {x_}, .zero_gradients = {x_}})));
}

TEST_F(Matcher, ExplainsWhatIsWrong) {
  wrong();
  StringMatchResultListener listener;
  EXPECT_FALSE(ExplainMatchResult(HasCorrectGradients(), graph_, &listener));
  EXPECT_THAT(listener.str(), AllOf(HasSubstr("gradient of x [5, 4]: 40 of 420 disagree"),
                                    HasSubstr("hint: backward is 2 x too large")));
  StringMatchResultListener of_right;
  EXPECT_TRUE(ExplainMatchResult(HasCorrectGradients(), right(), &of_right));
  EXPECT_THAT(of_right.str(), HasSubstr("20 elements"));
}

TEST_F(Matcher, AGraphWithoutAnOpHasNoCorrectGradients) {
  StringMatchResultListener listener;
  EXPECT_FALSE(ExplainMatchResult(HasCorrectGradients(), graph_, &listener));
  EXPECT_THAT(listener.str(), HasSubstr("no op"));
  EXPECT_THAT(Graph(), Not(HasCorrectGradients()));
  EXPECT_THAT(Value(), Not(HasCorrectGradients()));
  EXPECT_THAT(GradientReport(), Not(HasCorrectGradients()));
}

TEST_F(Matcher, TheLastOpOfAGraphIsCheckedWhateverComesBehindIt) {
  wrong();
  graph_.parameter("unused", {2});
  StringMatchResultListener listener;
  EXPECT_FALSE(ExplainMatchResult(HasCorrectGradients(), graph_, &listener));
  EXPECT_THAT(listener.str(), HasSubstr("hint: backward is 2 x too large"));
  EXPECT_THAT(PrintToString(graph_), HasSubstr("3 nodes, the last op tanh_1 "));
  Graph right;
  tanh(right.input("x", {kBatch, 4}));
  right.parameter("unused", {2});
  EXPECT_THAT(right, HasCorrectGradients());
}

TEST_F(Matcher, PrintsWhatItLooksAt) {
  const Value y = right();
  EXPECT_THAT(PrintToString(y), HasSubstr("[batch, 4]"));
  EXPECT_THAT(PrintToString(graph_), AllOf(HasSubstr("2 nodes"), HasSubstr("[batch, 4]")));
  EXPECT_EQ(PrintToString(Value()), "an empty value");
}

}  // namespace
}  // namespace chainrule
