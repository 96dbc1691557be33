// SPDX-License-Identifier: Apache-2.0
#include "chainrule/core/graph.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "chainrule/core/error.hpp"

namespace chainrule {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using ::testing::ThrowsMessage;

/// What the ops of these tests have in common.
struct NothingToCompute {
  static constexpr bool kNoGradient = true;
  template <class T>
  static void forward(const OpContext&) {}
};

struct Negate : NothingToCompute {
  static constexpr std::string_view kName = "negate";
  static constexpr OpTraits kTraits{};
  static Shape infer(const InferContext& context) { return context.inputs[0]; }
};

/// Names itself in its message, as the library's ops do.
struct Join : NothingToCompute {
  static constexpr std::string_view kName = "join";
  static constexpr OpTraits kTraits{.min_inputs = 2, .max_inputs = 3};
  static Shape infer(const InferContext& context) {
    const Index scale = context.attributes.integer[0];
    if (scale < 0) throw ArgumentError("join: scale must be >= 0");
    if (scale > 100) throw UnsupportedError("a scale above 100");
    for (const Shape& shape : context.inputs) {
      if (shape.rank() != 2) throw ShapeError("join: " + to_string(shape) + " is no matrix");
    }
    return {kBatch, scale};
  }
};

/// Forgets to.
struct Strict : NothingToCompute {
  static constexpr std::string_view kName = "strict";
  static constexpr OpTraits kTraits{};
  static Shape infer(const InferContext&) { throw ShapeError("strictly nothing fits"); }
};

/// Real numbers and, as input 1, indices.
struct Pick : NothingToCompute {
  static constexpr std::string_view kName = "pick";
  static constexpr OpTraits kTraits{.min_inputs = 2, .max_inputs = 2, .index_inputs = 0b10};
  static Shape infer(const InferContext&) { return {kBatch, 1}; }
};

constexpr OpDef kNegate = define_op<Negate>();
constexpr OpDef kJoin = define_op<Join>();
constexpr OpDef kStrict = define_op<Strict>();
constexpr OpDef kPick = define_op<Pick>();

std::string here(int line) { return "test_graph.cpp:" + std::to_string(line); }

TEST(Graph, KeepsWhatItIsGiven) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 4});
  const Value y = graph.labels("y");
  const Value rows = graph.indices("rows", {kBatch, 3});
  const Value w = graph.parameter("w", {4, 2}, normal(0.5));
  const Value mean = graph.state("mean", {4}, ones());
  EXPECT_EQ(graph.size(), 5);
  EXPECT_EQ(x.node().kind, NodeKind::kInput);
  EXPECT_EQ(x.shape(), (Shape{kBatch, 4}));
  EXPECT_EQ(y.node().kind, NodeKind::kIndexInput);
  EXPECT_EQ(y.shape(), Shape{kBatch});
  EXPECT_EQ(rows.node().kind, NodeKind::kIndexInput);
  EXPECT_EQ(rows.shape(), (Shape{kBatch, 3}));
  EXPECT_EQ(w.node().kind, NodeKind::kParameter);
  EXPECT_EQ(w.node().initializer, normal(0.5));
  EXPECT_EQ(mean.node().kind, NodeKind::kState);
  EXPECT_EQ(mean.node().initializer, ones());
  EXPECT_EQ(&graph.node(w.id()), &w.node());
}

TEST(Graph, AppendsAnOp) {
  Graph graph;
  const Value a = graph.input("a", {kBatch, 4});
  const Value b = graph.input("b", {kBatch, 3});
  Attributes attributes;
  attributes.integer[0] = 7;
  const Value joined = graph.apply(kJoin, {b, a, b}, attributes);
  const int line = __LINE__ - 1;
  const Node& node = joined.node();
  EXPECT_EQ(node.kind, NodeKind::kOp);
  EXPECT_EQ(node.op, &kJoin);
  EXPECT_THAT(node.inputs, ElementsAre(b.id(), a.id(), b.id()));
  EXPECT_EQ(node.shape, (Shape{kBatch, 7}));
  EXPECT_EQ(node.attributes, attributes);
  EXPECT_EQ(node.name, "join_2");
  EXPECT_EQ(node.where, here(line));
  EXPECT_EQ(describe(node), "join_2 [batch, 7] (" + here(line) + ")");
  const Node* const address = &node;
  for (int k = 0; k < 1000; ++k) graph.apply(kNegate, {joined});
  EXPECT_EQ(&joined.node(), address) << "nodes stay where they are";
}

TEST(Graph, ChoosesAnInitializerByShape) {
  Graph graph;
  const Initializer matrix = graph.parameter("w", {6, 2}).node().initializer;
  EXPECT_EQ(matrix.distribution, glorot_uniform().distribution);
  EXPECT_EQ(matrix.scale, glorot_uniform().scale);
  EXPECT_EQ(matrix.value, glorot_uniform().value);
  EXPECT_EQ(graph.parameter("b", {6}).node().initializer, zeros());
  EXPECT_EQ(graph.parameter("s", {}).node().initializer, zeros());
}

TEST(Graph, TakesTheFansFromTheShape) {
  Graph graph;
  const auto fans = [](const Value& value) {
    const Initializer& initializer = value.node().initializer;
    return std::vector<Index>{initializer.fan_in, initializer.fan_out};
  };
  EXPECT_THAT(fans(graph.parameter("w", {6, 2})), ElementsAre(6, 2));
  EXPECT_THAT(fans(graph.parameter("row", {1, 5})), ElementsAre(1, 5));
  EXPECT_THAT(fans(graph.parameter("vector", {5}, he_normal())), ElementsAre(5, 5));
  Initializer own = he_normal();
  own.fan_in = 99;
  EXPECT_THAT(fans(graph.parameter("own", {6, 2}, own)), ElementsAre(99, 2));
  EXPECT_EQ(graph.parameter("plain", {6, 2}, uniform(1)).node().initializer, uniform(1));
}

TEST(Graph, KeepsNamesUnique) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 4});
  const auto again = [&] { graph.parameter("x", {4}); };
  const int line = __LINE__ - 1;
  EXPECT_THAT(again, ThrowsMessage<ArgumentError>("the name \"x\" is taken by x [batch, 4] (" +
                                                  here(line - 1) + ") (at " + here(line) + ")"));
  EXPECT_THROW(graph.input("", {4}), ArgumentError);
  EXPECT_EQ(graph.size(), 1);

  graph.input("negate_2", {kBatch, 4});
  EXPECT_EQ(graph.apply(kNegate, {x}).node().name, "negate_2_1");
  EXPECT_EQ(graph.apply(kNegate, {x}).node().name, "negate_3");
}

TEST(Graph, RenamesAndFinds) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 4});
  const Value negated = graph.apply(kNegate, {x});
  EXPECT_EQ(graph.rename(negated, "minus_x"), negated);
  EXPECT_EQ(graph.find("minus_x"), negated);
  EXPECT_EQ(graph.find("x"), x);
  EXPECT_EQ(graph.rename(negated, "minus_x"), negated);
  EXPECT_THAT(
      [&] { graph.find("negate_1"); },
      ThrowsMessage<ArgumentError>(AllOf(HasSubstr("\"negate_1\""), HasSubstr("x, minus_x"))));
  EXPECT_THAT([&] { graph.rename(negated, "x"); },
              ThrowsMessage<ArgumentError>(
                  AllOf(HasSubstr("minus_x [batch, 4]"), HasSubstr("x [batch, 4]"))));
  EXPECT_THROW(graph.rename(negated, ""), ArgumentError);
  EXPECT_EQ(negated.node().name, "minus_x");
  Graph other;
  EXPECT_THROW(other.rename(negated, "z"), ArgumentError);
  EXPECT_THROW(graph.rename(Value(), "z"), ArgumentError);
  EXPECT_THAT([&] { other.find("x"); }, ThrowsMessage<ArgumentError>(HasSubstr("none")));
}

TEST(Graph, RefusesStoredShapesThatAreNoMatrix) {
  Graph graph;
  const auto deep = [&] { graph.parameter("w", {2, 3, 4}); };
  const auto negative = [&] { graph.parameter("w", {2, 3}, normal(-1)); };
  const int line = __LINE__ - 1;
  EXPECT_THAT(deep,
              ThrowsMessage<ShapeError>(AllOf(HasSubstr("parameter \"w\""), HasSubstr("[2, 3, 4]"),
                                              EndsWith("(at " + here(line - 1) + ")"))));
  EXPECT_THAT(negative,
              ThrowsMessage<ArgumentError>(AllOf(HasSubstr("parameter \"w\""), HasSubstr("got -1"),
                                                 EndsWith("(at " + here(line) + ")"))));
  EXPECT_THROW(graph.parameter("w", {kBatch, 3}), ShapeError);
  EXPECT_THAT([&] { graph.state("s", {kBatch}, zeros()); },
              ThrowsMessage<ShapeError>(AllOf(HasSubstr("state \"s\""), HasSubstr("[batch]"))));
  EXPECT_EQ(graph.size(), 0);
}

TEST(Graph, CountsAnOpsInputs) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 4});
  const Value b = graph.parameter("b", {3});
  const auto two = [&] { graph.apply(kNegate, {x, b}); };
  const int line = __LINE__ - 1;
  EXPECT_THAT(
      two, ThrowsMessage<ArgumentError>("negate: expected 1 input, got 2 ([batch, 4], [3]) (at " +
                                        here(line) + ")"));
  EXPECT_THAT([&] { graph.apply(kJoin, {x}); },
              ThrowsMessage<ArgumentError>(HasSubstr("join: expected 2 to 3 inputs, got 1")));
  EXPECT_THAT([&] { graph.apply(kNegate, std::vector<Value>{}); },
              ThrowsMessage<ArgumentError>(HasSubstr("got 0 (none)")));
  EXPECT_EQ(graph.size(), 2);
}

TEST(Graph, RefusesValuesThatAreNotItsOwn) {
  Graph graph;
  Graph other;
  const Value x = graph.input("x", {kBatch, 4});
  const Value stranger = other.input("stranger", {kBatch, 4});
  const auto mix = [&] { graph.apply(kJoin, {x, stranger}); };
  const int line = __LINE__ - 1;
  EXPECT_THAT(mix, ThrowsMessage<ArgumentError>(
                       AllOf(StartsWith("join: input 1"), HasSubstr("stranger [batch, 4]"),
                             HasSubstr("another graph"), EndsWith("(at " + here(line) + ")"))));
  EXPECT_THAT([&] { graph.apply(kNegate, {Value()}); },
              ThrowsMessage<ArgumentError>(HasSubstr("negate: input 0 is a null Value")));
  EXPECT_THROW(graph.apply(kNegate, {Value(&graph, 5)}), ArgumentError);
  EXPECT_THROW(Value().node(), ArgumentError);
  EXPECT_THROW(graph.node(1), ArgumentError);
  EXPECT_THROW(graph.node(-1), ArgumentError);
  EXPECT_FALSE(Value());
  EXPECT_TRUE(x);
}

TEST(Graph, TellsIndicesFromNumbers) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 4});
  const Value y = graph.labels("y");
  EXPECT_EQ(graph.apply(kPick, {x, y}).shape(), (Shape{kBatch, 1}));
  EXPECT_THAT(
      [&] {
        graph.apply(kPick, {x, x});
      },
      ThrowsMessage<ArgumentError>(
          AllOf(StartsWith("pick: input 1 must be int32 indices"), HasSubstr("x [batch, 4]"))));
  EXPECT_THAT(
      [&] {
        graph.apply(kPick, {y, y});
      },
      ThrowsMessage<ArgumentError>(
          AllOf(StartsWith("pick: input 0 must be real numbers"), HasSubstr("y [batch]"))));
}

TEST(Graph, SaysWhereAnOpRefusedItsInputs) {
  Graph graph;
  const Value x = graph.input("x", {kBatch, 4});
  const Value b = graph.parameter("b", {3});
  Attributes attributes;
  attributes.integer[0] = -1;
  const auto vector = [&] { graph.apply(kJoin, {x, b}); };
  const auto strict = [&] { graph.apply(kStrict, {x}); };
  const auto negative = [&] { graph.apply(kJoin, {x, x}, attributes); };
  const int line = __LINE__ - 1;
  EXPECT_THAT(vector,
              ThrowsMessage<ShapeError>("join: [3] is no matrix (at " + here(line - 2) + ")"));
  EXPECT_THAT(strict, ThrowsMessage<ShapeError>("strict: strictly nothing fits (at " +
                                                here(line - 1) + ")"));
  EXPECT_THAT(negative,
              ThrowsMessage<ArgumentError>("join: scale must be >= 0 (at " + here(line) + ")"));
  attributes.integer[0] = 101;
  EXPECT_THAT(
      [&] {
        graph.apply(kJoin, {x, x}, attributes);
      },
      ThrowsMessage<UnsupportedError>(StartsWith("join: a scale above 100 (at ")));
  EXPECT_EQ(graph.size(), 2) << "a refused op leaves the graph as it was";
}

/// A builder as ops/ has them: it passes the caller's place on.
Value negate(const Value& x, Where where = Where::current()) {
  return x.graph()->apply(kNegate, {x}, {}, where);
}

TEST(Where, IsTheCallersLineEvenThroughABuilder) {
  Graph graph;
  const int line = __LINE__;
  const Value x = graph.input("x", {kBatch, 4});
  const Value y = negate(negate(x));
  const Value labels = graph.labels("labels");
  const Value parameter = graph.parameter("w", {2});
  const Value state = graph.state("s", {2}, zeros());
  EXPECT_EQ(x.node().where, here(line + 1));
  EXPECT_EQ(y.node().where, here(line + 2));
  EXPECT_EQ(labels.node().where, here(line + 3));
  EXPECT_EQ(parameter.node().where, here(line + 4));
  EXPECT_EQ(state.node().where, here(line + 5));
}

}  // namespace
}  // namespace chainrule
