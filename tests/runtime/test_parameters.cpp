// SPDX-License-Identifier: Apache-2.0
#include "chainrule/runtime/parameters.hpp"

#include <gmock/gmock.h>

#include <cstdint>

#include "chainrule/core/error.hpp"
#include "runtime_support.hpp"

namespace chainrule {
namespace {

using ::testing::AllOf;
using testing::bytes;
using ::testing::Each;
using testing::elements;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class Slab : public ::testing::Test {
 protected:
  Slab() {
    x = graph.input("x", {kBatch, 5});
    w = graph.parameter("w", {5, 7});
    b = graph.parameter("b", {7}, constant(0.1));
    mean = graph.state("mean", {3}, ones());
  }

  Graph graph;
  Value x, w, b, mean;
};

TEST_F(Slab, LaysEntriesOutInTheOrderOfNodesAlignedAndPadded) {
  for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
    const ParameterLayout layout(graph, dtype);
    ASSERT_EQ(layout.entries.size(), 3U);
    Index end = 0;
    for (const auto& entry : layout.entries) {
      EXPECT_EQ(entry.offset % kAlignment, 0) << entry.name;
      EXPECT_GE(entry.offset, end) << entry.name;
      EXPECT_EQ(entry.ld, padded_leading_dimension(entry.shape.columns(), dtype));
      end = entry.offset + entry.shape.rows() * entry.ld * size_of(dtype);
    }
    EXPECT_LE(end, layout.bytes);
    EXPECT_EQ(layout.entries[0].name, "w");
    EXPECT_TRUE(layout.entries[1].learned);
    EXPECT_FALSE(layout.entries[2].learned);
    EXPECT_EQ(layout.index_of(mean.id()), 2);
    EXPECT_EQ(layout.index_of(x.id()), -1);
    EXPECT_EQ(layout, ParameterLayout(graph, dtype));
  }
  EXPECT_NE(ParameterLayout(graph, DType::kFloat32), ParameterLayout(graph, DType::kFloat64));
}

TEST_F(Slab, StartsAsTheInitializersSayWithZeroPadding) {
  const Parameters p(graph, DType::kFloat32, 11);
  EXPECT_EQ(p.learned_elements(), 42);
  EXPECT_THAT(elements(p.view(b)), Each(static_cast<double>(0.1F)));
  EXPECT_THAT(elements(p.view("mean")), ElementsAre(1, 1, 1));
  Tensor expected(Shape{5, 7}, DType::kFloat32);  // entry i draws from stream i of the seed
  initialize(w.node().initializer, {.seed = 11, .stream = 0}, expected);
  EXPECT_EQ(bytes(p.view(w)), bytes(expected));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(p.slab()) % kAlignment, 0U);
  const auto view = p.view(w).as<float>();
  ASSERT_GT(view.ld, view.columns);
  for (Index i = 0; i < view.rows; ++i) {
    for (Index j = view.columns; j < view.ld; ++j) EXPECT_EQ(view.row(i)[j], 0);
  }
  EXPECT_EQ(bytes(Parameters(graph, DType::kFloat32, 11)), bytes(p));
  EXPECT_NE(bytes(Parameters(graph, DType::kFloat32, 12)), bytes(p));
}

TEST_F(Slab, CopiesAreIndependent) {
  const Parameters original(graph);
  Parameters copy = original;
  EXPECT_NE(copy.version(), original.version());
  copy.mutable_view(b).as<float>()(0, 3) = 9;
  EXPECT_EQ(element(original.view(b), 0, 3), static_cast<double>(0.1F));
  EXPECT_EQ(element(copy.view(b), 0, 3), 9);
  copy = original;
  EXPECT_EQ(bytes(copy), bytes(original));
}

TEST_F(Slab, VersionsNameOneStateOfTheValues) {
  Parameters p(graph);
  const auto start = p.version();
  static_cast<void>(p.view(w));
  EXPECT_EQ(p.version(), start);
  static_cast<void>(p.mutable_view(w));
  const auto touched = p.version();
  EXPECT_NE(touched, start);
  p.touch();
  EXPECT_NE(p.version(), touched);
  EXPECT_NE(Parameters(graph).version(), p.version());
}

TEST_F(Slab, ConvertsAndAssigns) {
  const Parameters single(graph, DType::kFloat32, 3);
  const Parameters wide = single.to(DType::kFloat64);
  EXPECT_EQ(wide.layout(), ParameterLayout(graph, DType::kFloat64));
  for (Index i = 0; i < single.size(); ++i) {
    EXPECT_EQ(elements(wide.view(i)), elements(single.view(i)));
  }
  EXPECT_EQ(bytes(wide.to(DType::kFloat32)), bytes(single));

  Parameters target(graph, DType::kFloat32, 4);
  const auto before = target.version();
  target.assign(wide);
  EXPECT_EQ(bytes(target), bytes(single));
  EXPECT_NE(target.version(), before);

  Graph renamed;
  renamed.parameter("w", {5, 7});
  renamed.parameter("bias", {7});
  renamed.state("mean", {3}, ones());
  EXPECT_THAT([&] { target.assign(Parameters(renamed)); },
              ThrowsMessage<ShapeError>(AllOf(HasSubstr("b [7]"), HasSubstr("bias [7]"))));
  Graph fewer;
  fewer.parameter("w", {5, 7});
  EXPECT_THAT([&] { target.assign(Parameters(fewer)); },
              ThrowsMessage<ShapeError>(AllOf(HasSubstr("expected 3"), HasSubstr("got 1"))));
  EXPECT_EQ(bytes(target), bytes(single));
}

TEST_F(Slab, RefusesWhatItDoesNotHold) {
  Parameters p(graph);
  EXPECT_THAT([&] { p.view("bias"); },
              ThrowsMessage<ArgumentError>(AllOf(HasSubstr("'bias'"), HasSubstr("w, b, mean"))));
  EXPECT_THAT([&] { p.view(x); }, ThrowsMessage<ArgumentError>(HasSubstr("x [batch, 5]")));
  EXPECT_THAT([&] { p.mutable_view(Value{}); }, ThrowsMessage<ArgumentError>(HasSubstr("empty")));
  EXPECT_THROW(p.view(Index{3}), ArgumentError);
  EXPECT_THROW(p.mutable_view(Index{-1}), ArgumentError);

  Graph other;
  other.input("x", {kBatch, 5});
  const Value foreign = other.parameter("weights", {5, 7});
  ASSERT_EQ(foreign.id(), w.id());
  EXPECT_THAT([&] { p.view(foreign); },
              ThrowsMessage<ArgumentError>(AllOf(HasSubstr("weights"), HasSubstr("'w'"))));
}

TEST_F(Slab, OptimizerStateIsLaidOutAlikeAndStartsAtZero) {
  const Parameters p(graph, DType::kFloat64);
  OptimizerState state(p.layout(), 2);
  EXPECT_EQ(state.slots(), 2);
  for (int slot = 0; slot < 2; ++slot) {
    EXPECT_THAT(elements(state.view(slot, 0)), Each(0));
    EXPECT_EQ(state.view(slot, 0).ld, p.view(0).ld);
  }
  state.view(1, 0).as<double>()(4, 6) = 2;
  const OptimizerState copy = state;
  EXPECT_EQ(element(copy.view(1, 0), 4, 6), 2);
  EXPECT_EQ(element(copy.view(0, 0), 4, 6), 0);
}

}  // namespace
}  // namespace chainrule
