// SPDX-License-Identifier: Apache-2.0
//
// A GoogleTest matcher for gradients. Optional: the one header of chainrule that needs GoogleMock
// (target GTest::gmock), and therefore not part of <chainrule/chainrule.hpp>.
#pragma once

#include <gmock/gmock.h>

#include <ostream>
#include <string>
#include <utility>

#include "chainrule/check/check_gradients.hpp"
#include "chainrule/check/failure_text.hpp"
#include "chainrule/check/random_feed.hpp"
#include "chainrule/core/graph.hpp"
#include "chainrule/runtime/differentiate.hpp"

namespace chainrule {

/// A value and the numbers to check its gradients at.
struct GradientSubject {
  Value output;
  Feed feed;
};

namespace internal {

// The last node of a graph that is an op's; empty when there is none. A graph's values point at it
// without const; checking changes nothing.
inline Value last_op(const Graph& graph) {
  for (NodeId id = static_cast<NodeId>(graph.size()); id-- > 0;) {
    if (graph.node(id).kind == NodeKind::kOp) return {const_cast<Graph*>(&graph), id};
  }
  return {};
}

}  // namespace internal

/// How GoogleTest shows what was checked.
inline void PrintTo(const Value& value, std::ostream* out) {
  *out << (value ? describe(value.node()) : std::string("an empty value"));
}
inline void PrintTo(const Graph& graph, std::ostream* out) {
  *out << "a graph of " << graph.size() << " nodes";
  if (graph.size() == 0) return;
  const auto last = static_cast<NodeId>(graph.size() - 1);
  const Value op = internal::last_op(graph);
  const bool is_last = !op || op.id() == last;
  *out << (is_last ? ", the last " : ", the last op ") << describe(graph.node(op ? op.id() : last));
}
inline void PrintTo(const GradientSubject& subject, std::ostream* out) {
  PrintTo(subject.output, out);
}
inline void PrintTo(const GradientReport& report, std::ostream* out) {
  *out << "the check of " << report.comparisons() << " gradients";
}

namespace internal {

/// See HasCorrectGradients().
class CorrectGradientsMatcher {
 public:
  using is_gtest_matcher = void;

  CorrectGradientsMatcher(Feed feed, bool has_feed, GradientCheckOptions options)
      : feed_(std::move(feed)), has_feed_(has_feed), options_(std::move(options)) {}

  bool MatchAndExplain(const Graph& graph, std::ostream* out) const {
    const Value output = last_op(graph);
    if (!output) return explain("the graph has no op whose gradient could be checked\n", out);
    return MatchAndExplain(output, out);
  }
  bool MatchAndExplain(const Value& output, std::ostream* out) const {
    if (!output) return explain("there is no value\n", out);
    if (has_feed_) return check(output, feed_, out);
    return check(output, RandomFeed(output, {.seed = options_.seed}).feed(), out);
  }
  bool MatchAndExplain(const GradientSubject& subject, std::ostream* out) const {
    if (!subject.output) return explain("there is no value\n", out);
    return check(subject.output, has_feed_ ? feed_ : subject.feed, out);
  }
  bool MatchAndExplain(const GradientReport& report, std::ostream* out) const {
    return report.ok() ? explain(report.to_text(), out, true) : explain(failure_text(report), out);
  }

  void DescribeTo(std::ostream* out) const {
    *out << "has gradients that agree with finite differences";
  }
  void DescribeNegationTo(std::ostream* out) const {
    *out << "has a gradient that does not agree with finite differences";
  }

 private:
  static bool explain(const std::string& text, std::ostream* out, bool matches = false) {
    if (out != nullptr) *out << '\n' << text;
    return matches;
  }
  bool check(const Value& output, const Feed& feed, std::ostream* out) const {
    return MatchAndExplain(check_gradients(*output.graph(), output, feed, options_), out);
  }

  Feed feed_;
  bool has_feed_ = false;
  GradientCheckOptions options_;
};

}  // namespace internal

/// Matches what check_gradients() finds no fault with; a failing assertion shows failure_text().
///
///     EXPECT_THAT(graph, HasCorrectGradients());                        // its last op
///     EXPECT_THAT(loss, HasCorrectGradients());                         // any Value
///     EXPECT_THAT(GradientSubject({loss, feed}), HasCorrectGradients());
///     EXPECT_THAT(loss, HasCorrectGradients(feed, options));
///     EXPECT_THAT(report, HasCorrectGradients());                       // any GradientReport
///
/// Without a feed the numbers are drawn by RandomFeed, with the seed of the options. Exceptions of
/// check_gradients() and RandomFeed pass through.
inline internal::CorrectGradientsMatcher HasCorrectGradients() { return {{}, false, {}}; }
inline internal::CorrectGradientsMatcher HasCorrectGradients(GradientCheckOptions options) {
  return {{}, false, std::move(options)};
}
inline internal::CorrectGradientsMatcher HasCorrectGradients(Feed feed,
                                                             GradientCheckOptions options = {}) {
  return {std::move(feed), true, std::move(options)};
}

}  // namespace chainrule
