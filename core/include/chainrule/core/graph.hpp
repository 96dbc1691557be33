// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/core/initializer.hpp"
#include "chainrule/core/op_def.hpp"
#include "chainrule/core/shape.hpp"
#include "chainrule/core/where.hpp"

namespace chainrule {

class Graph;
using NodeId = std::int32_t;

enum class NodeKind : std::uint8_t {
  kInput,       ///< real numbers bound at each run
  kIndexInput,  ///< int32 indices bound at each run (class labels, table rows)
  kParameter,   ///< learned
  kState,       ///< kept with the parameters but not learned (running statistics)
  kOp,
};

/// One node of a graph; see Graph for who makes them.
struct Node {
  NodeKind kind = NodeKind::kOp;
  const OpDef* op = nullptr;
  std::vector<NodeId> inputs;
  Shape shape;
  Attributes attributes;
  Initializer initializer;
  std::string name;
  std::string where;  ///< "file.cpp:12"
};

/// A handle on one node. Copies freely; valid as long as its graph lives.
class Value {
 public:
  Value() = default;
  Value(Graph* graph, NodeId id) : graph_(graph), id_(id) {}

  Graph* graph() const noexcept { return graph_; }
  NodeId id() const noexcept { return id_; }
  explicit operator bool() const noexcept { return graph_ != nullptr; }
  /// Throws ArgumentError for a null value.
  CHAINRULE_API const Node& node() const;
  const Shape& shape() const { return node().shape; }

  bool operator==(const Value&) const = default;

 private:
  Graph* graph_ = nullptr;
  NodeId id_ = -1;
};

/// A computation as data: nodes are appended and never change, the batch dimension is symbolic, and
/// there is no dtype (compile() picks it). Every function validates at once, so that an error comes
/// from the caller's own line. The builders of ops (`matmul(x, w)`) live in ops/.
class CHAINRULE_API Graph {
 public:
  Graph() = default;
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  /// Real numbers bound at each run. Names are unique in a graph; ArgumentError otherwise.
  Value input(std::string name, const Shape& shape, Where where = Where::current());
  /// Class labels, shape [batch].
  Value labels(std::string name, Where where = Where::current());
  /// int32 indices bound at each run.
  Value indices(std::string name, const Shape& shape, Where where = Where::current());
  /// Something to learn; at most two dimensions, none symbolic. By default a matrix starts
  /// Glorot-uniform and a vector at zero.
  Value parameter(std::string name, const Shape& shape, Where where = Where::current());
  Value parameter(std::string name, const Shape& shape, const Initializer& initializer,
                  Where where = Where::current());
  /// Kept and saved with the parameters but not learned.
  Value state(std::string name, const Shape& shape, const Initializer& initializer,
              Where where = Where::current());

  /// Appends an op. Throws ArgumentError on a wrong number of inputs, an input of another graph, or
  /// an index where real numbers are needed (and the other way round); ShapeError from the op.
  Value apply(const OpDef& op, std::span<const Value> inputs, const Attributes& attributes = {},
              Where where = Where::current());
  Value apply(const OpDef& op, std::initializer_list<Value> inputs,
              const Attributes& attributes = {}, Where where = Where::current());
  Value apply(const OpDef&&, std::span<const Value>, const Attributes& = {},
              Where = Where::current()) = delete;  // the graph keeps a pointer to the OpDef
  Value apply(const OpDef&&, std::initializer_list<Value>, const Attributes& = {},
              Where = Where::current()) = delete;

  /// Gives a node another (unique) name, for printing and for NonFiniteError.
  Value rename(Value value, std::string name);
  /// The node of that name; ArgumentError, listing what there is, when there is none.
  Value find(std::string_view name);

  Index size() const noexcept { return static_cast<Index>(nodes_.size()); }
  const Node& node(NodeId id) const;

 private:
  Value append(Node node, const Where& where);
  bool contains(std::string_view name) const noexcept;

  std::deque<Node> nodes_;
};

/// "matmul_3 [batch, 10] (net.cpp:12)": how errors speak of a node.
CHAINRULE_API std::string describe(const Node& node);

}  // namespace chainrule
