// SPDX-License-Identifier: Apache-2.0
// Ops whose gradients are right and that break one of their other promises.
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <cmath>

#include "chainrule/check/check_case.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/ops/ops.hpp"
#include "chainrule/runtime/executor.hpp"

namespace chainrule {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

constexpr CaseSize kSmall{"small", 5, 6};
constexpr CaseSize kTall{"tall", 301, 6};

CaseReport check(const OpDef& op, const CaseSize& size = kSmall) {
  const OpCase row{.op = &op, .variant = {}, .build = [&op](CaseBuilder& b) {
                     return b.graph().apply(op, {b.batch("x")});
                   }};
  return check_case(row, size, DType::kFloat64);
}

// A copy of tanh with another forward or backward in float64.
OpDef tanh_with(OpFunction forward, OpFunction backward) {
  OpDef def = kTanhOp;
  if (forward != nullptr) def.forward[1] = forward;
  if (backward != nullptr) def.backward[1] = backward;
  return def;
}

TEST(OpProperties, AllAreCheckedWhereTheyApply) {
  const CaseReport report = check(kTanhOp, kTall);
  EXPECT_TRUE(report.ok()) << report.gradients.to_text();
  EXPECT_THAT(report.properties,
              UnorderedElementsAre("forward mode", "accumulation", "determinism", "strides",
                                   "aliasing", "threads", "second order"));
  EXPECT_THAT(check(kSoftmaxOp).properties,
              UnorderedElementsAre("forward mode", "accumulation", "determinism", "strides"));
}

TEST(OpProperties, WritingIntoThePaddingIsCaught) {
  static const OpDef def = tanh_with(
      [](const OpContext& context) {
        kTanhOp.forward[1](context);
        const MatrixView<double> y = context.out<double>();
        if (y.ld > y.columns) y.row(0)[y.columns] = 1;
      },
      nullptr);
  EXPECT_THAT(check(def).gradients.failures, Contains(HasSubstr("outside the elements")));
}

TEST(OpProperties, ReadingThePaddingIsCaught) {
  // Right where the padding is zero, as the library's own is.
  static const OpDef def = tanh_with(nullptr, [](const OpContext& context) {
    kTanhOp.backward[1](context);
    const MatrixView<const double> dy = context.out_gradient<double>();
    const MatrixView<double> dx = context.in_gradient<double>(0);
    if (dy.ld > dy.columns) dx(0, 0) += 0 * dy.row(0)[dy.columns];
  });
  const CaseReport report = check(def);
  EXPECT_EQ(report.gradients.verdict(), Verdict::kAgree);
  EXPECT_THAT(report.gradients.failures, Contains(HasSubstr("leading dimensions")));
}

TEST(OpProperties, AssumingAnAlignmentIsCaught) {
  // Sums in another order where the rows are not aligned.
  static const OpDef def = tanh_with(
      [](const OpContext& context) {
        kTanhOp.forward[1](context);
        if (reinterpret_cast<std::uintptr_t>(context.inputs[0].data) % 64 == 0) return;
        context.out<double>()(0, 0) *= 1 + 1e-15;
      },
      nullptr);
  EXPECT_THAT(check(def).gradients.failures, Contains(HasSubstr("alignments")));
}

TEST(OpProperties, ChangingAnInputIsCaught) {
  static const OpDef def = tanh_with(nullptr, [](const OpContext& context) {
    kTanhOp.backward[1](context);
    const void* const x = context.inputs[0].data;  // the planner keeps none for tanh
    if (x != nullptr) *static_cast<double*>(const_cast<void*>(x)) = 0;
  });
  EXPECT_THAT(check(def).gradients.failures, Contains(HasSubstr("changes an input")));
}

TEST(OpProperties, AFalsePromiseOfAliasingIsCaught) {
  static const OpDef forward = [] {
    OpDef def = kSoftmaxOp;
    def.traits.output_may_alias_input = true;
    // Softmax by the definition, which reads x again after it wrote y.
    def.forward[1] = [](const OpContext& context) {
      const MatrixView<const double> x = context.input<double>(0);
      const MatrixView<double> y = context.out<double>();
      for (Index i = 0; i < x.rows; ++i) {
        for (Index j = 0; j < x.columns; ++j) {
          double sum = 0;
          for (Index k = 0; k < x.columns; ++k) sum += std::exp(x(i, k) - x(i, j));
          y(i, j) = 1 / sum;
        }
      }
    };
    return def;
  }();
  EXPECT_THAT(check(forward).gradients.failures,
              ElementsAre(HasSubstr("forward in the memory of input 0")));
  static const OpDef backward = [] {
    OpDef def = kLogSoftmaxOp;
    def.traits.gradient_may_alias = true;
    def.backward[1] = [](const OpContext& context) {
      const MatrixView<const double> y = context.out<double>();
      const MatrixView<const double> dy = context.out_gradient<double>();
      const MatrixView<double> dx = context.in_gradient<double>(0);
      for (Index i = 0; i < y.rows; ++i) {
        for (Index j = 0; j < y.columns; ++j) {
          double sum = 0;
          for (Index k = 0; k < y.columns; ++k) sum += dy(i, k);
          const double d = dy(i, j) - std::exp(y(i, j)) * sum;
          dx(i, j) = context.accumulates(0) ? dx(i, j) + d : d;
        }
      }
    };
    return def;
  }();
  EXPECT_THAT(check(backward).gradients.failures,
              Contains(HasSubstr("backward in the memory of dY")));
}

TEST(OpProperties, AnOpThatCountsItsCallsIsCaught) {
  static std::atomic<int> calls{0};
  static const OpDef def = tanh_with(nullptr, [](const OpContext& context) {
    kTanhOp.backward[1](context);
    context.in_gradient<double>(0)(0, 0) *= 1 + 1e-15 * (1 + calls++ % 7);
  });
  EXPECT_THAT(check(def).gradients.failures,
              Contains(HasSubstr("running the op twice gives different bits")));
}

TEST(OpProperties, AResultThatDependsOnTheThreadIsCaught) {
  static const OpDef def = tanh_with(
      [](const OpContext& context) {
        kTanhOp.forward[1](context);
        static thread_local int blocks = 0;
        // As an op would that keeps a running number on its thread.
        context.out<double>()(0, 0) *= 1 + 1e-15 * (blocks++ % 1000);
      },
      nullptr);
  const ScopedThreadLimit two(2);
  EXPECT_THAT(check(def, kTall).gradients.failures, Not(IsEmpty()));
}

// The table itself, on two threads whatever the machine has, is part of test_check_op.cpp. Here:
// that its shape classes reach every op.
TEST(Coverage, EveryOpMeetsEveryShapeClass) {
  for (const OpDef* op : all_ops()) {
    for (const CaseSize& size : case_sizes()) {
      bool found = false;
      for (const OpCase& row : op_cases()) {
        if (row.op != op || found) continue;
        const CaseInstance instance(row, size, DType::kFloat64);
        const Node& node = instance.output().node();
        const auto fits = [&](const Shape& shape) {
          const Index rows = shape.is_batched() ? instance.rows() : shape.rows();
          return rows == std::min(size.rows, row.most_rows) && shape.columns() > 0 &&
                 shape.columns() % size.columns == 0;
        };
        for (const NodeId id : node.inputs) {
          found = found || fits(instance.graph().node(id).shape);
        }
        found = found || fits(node.shape);
      }
      EXPECT_TRUE(found) << op->name << " has no case of the class " << size.name;
    }
  }
}

}  // namespace
}  // namespace chainrule
