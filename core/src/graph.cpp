// SPDX-License-Identifier: Apache-2.0
#include "chainrule/core/graph.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "chainrule/core/error.hpp"
#include "initializer_rules.hpp"

namespace chainrule {
namespace {

/// "main.cpp:12"; "" when unknown.
std::string to_string(const Where& where) {
  if (!where.is_known()) return "";
  std::string_view file = where.file_name();
  // The base name: a build machine's directories help nobody and would make messages differ.
  if (const auto slash = file.rfind('/'); slash != std::string_view::npos) {
    file.remove_prefix(slash + 1);
  }
  return fmt::format("{}:{}", file, where.line());
}

/// " (at main.cpp:12)"; "" when unknown.
std::string at(const Where& where) {
  return where.is_known() ? fmt::format(" (at {})", to_string(where)) : "";
}

/// `what` with the op's name in front, unless it is there already, and the place at the end.
std::string locate(std::string_view op, std::string_view what, const Where& where) {
  const bool named = what.starts_with(op) && what.substr(op.size()).starts_with(':');
  return fmt::format("{}{}{}{}", named ? "" : op, named ? "" : ": ", what, at(where));
}

std::string join_shapes(std::span<const Value> inputs) {
  std::string text;
  for (const Value& input : inputs) {
    if (!text.empty()) text += ", ";
    text += input ? chainrule::to_string(input.shape()) : "null";
  }
  return text.empty() ? "none" : text;
}

void expect_input_count(const OpDef& op, std::span<const Value> inputs, const Where& where) {
  const OpTraits& traits = op.traits;
  const auto count = static_cast<int>(inputs.size());
  if (count >= traits.min_inputs && count <= std::min(traits.max_inputs, kMaxInputs)) return;
  const std::string expected =
      traits.min_inputs == traits.max_inputs
          ? fmt::format("{}", traits.min_inputs)
          : fmt::format("{} to {}", traits.min_inputs, std::min(traits.max_inputs, kMaxInputs));
  throw ArgumentError(locate(op.name,
                             fmt::format("expected {} input{}, got {} ({})", expected,
                                         expected == "1" ? "" : "s", count, join_shapes(inputs)),
                             where));
}

void expect_element_types(const OpDef& op, std::span<const Value> inputs, const Where& where) {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const bool wants_index = ((op.traits.index_inputs >> i) & 1U) != 0;
    const Node& node = inputs[i].node();
    if (wants_index == (node.kind == NodeKind::kIndexInput)) continue;
    throw ArgumentError(
        locate(op.name,
               fmt::format("input {} must be {}, got {} {}", i,
                           wants_index ? "int32 indices" : "real numbers",
                           wants_index ? "the real numbers" : "the indices", describe(node)),
               where));
  }
}

/// Runs the op's shape rule; what it throws gains the op's name and the user's line.
Shape infer(const OpDef& op, std::span<const Value> inputs, const Attributes& attributes,
            const Where& where) {
  if (op.infer == nullptr) throw ArgumentError(locate(op.name, "the op has no shape rule", where));
  std::vector<Shape> shapes;
  shapes.reserve(inputs.size());
  for (const Value& input : inputs) shapes.push_back(input.shape());
  try {
    return op.infer({.inputs = shapes, .attributes = attributes});
  } catch (const ShapeError& error) {
    throw ShapeError(locate(op.name, error.what(), where));
  } catch (const ArgumentError& error) {
    throw ArgumentError(locate(op.name, error.what(), where));
  } catch (const UnsupportedError& error) {
    throw UnsupportedError(locate(op.name, error.what(), where));
  }
}

Node make_node(NodeKind kind, std::string name, const Shape& shape) {
  Node node;
  node.kind = kind;
  node.name = std::move(name);
  node.shape = shape;
  return node;
}

/// The node of a parameter or a state.
Node make_stored(NodeKind kind, std::string name, const Shape& shape,
                 const Initializer& initializer, const Where& where) {
  const std::string_view what = kind == NodeKind::kParameter ? "parameter" : "state";
  if (shape.rank() > 2 || shape.is_batched()) {
    throw ShapeError(
        fmt::format("{} \"{}\" has shape {}; expected at most two dimensions, none symbolic{}",
                    what, name, chainrule::to_string(shape), at(where)));
  }
  try {
    internal::validate(initializer);
  } catch (const ArgumentError& error) {
    throw ArgumentError(fmt::format("{} \"{}\": {}{}", what, name, error.what(), at(where)));
  }
  Node node = make_node(kind, std::move(name), shape);
  node.initializer = internal::with_fans(initializer, shape);
  return node;
}

}  // namespace

const Node& Value::node() const {
  if (graph_ == nullptr) throw ArgumentError("a null Value has no node; expected one of a graph");
  return graph_->node(id_);
}

Value Graph::input(std::string name, const Shape& shape, Where where) {
  return append(make_node(NodeKind::kInput, std::move(name), shape), where);
}

Value Graph::labels(std::string name, Where where) {
  return indices(std::move(name), {kBatch}, where);
}

Value Graph::indices(std::string name, const Shape& shape, Where where) {
  return append(make_node(NodeKind::kIndexInput, std::move(name), shape), where);
}

Value Graph::parameter(std::string name, const Shape& shape, Where where) {
  const Initializer initializer = shape.rank() == 2 ? glorot_uniform() : zeros();
  return parameter(std::move(name), shape, initializer, where);
}

Value Graph::parameter(std::string name, const Shape& shape, const Initializer& initializer,
                       Where where) {
  return append(make_stored(NodeKind::kParameter, std::move(name), shape, initializer, where),
                where);
}

Value Graph::state(std::string name, const Shape& shape, const Initializer& initializer,
                   Where where) {
  return append(make_stored(NodeKind::kState, std::move(name), shape, initializer, where), where);
}

Value Graph::apply(const OpDef& op, std::span<const Value> inputs, const Attributes& attributes,
                   Where where) {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].graph() == this) continue;
    throw ArgumentError(locate(
        op.name,
        fmt::format("input {} {}", i,
                    inputs[i]
                        ? fmt::format("({}) belongs to another graph", describe(inputs[i].node()))
                        : "is a null Value; expected a value of this graph"),
        where));
  }
  expect_input_count(op, inputs, where);
  expect_element_types(op, inputs, where);
  Node node = make_node(NodeKind::kOp, fmt::format("{}_{}", op.name, size()),
                        infer(op, inputs, attributes, where));
  node.op = &op;
  node.attributes = attributes;
  for (int suffix = 1; contains(node.name); ++suffix) {  // the user may have taken that name
    node.name = fmt::format("{}_{}_{}", op.name, size(), suffix);
  }
  node.inputs.reserve(inputs.size());
  for (const Value& input : inputs) node.inputs.push_back(input.id());
  return append(std::move(node), where);
}

Value Graph::apply(const OpDef& op, std::initializer_list<Value> inputs,
                   const Attributes& attributes, Where where) {
  return apply(op, std::span<const Value>(inputs.begin(), inputs.size()), attributes, where);
}

Value Graph::rename(Value value, std::string name) {
  if (value.graph() != this) {
    throw ArgumentError(fmt::format("cannot rename a value of another graph to \"{}\"", name));
  }
  Node& node = nodes_[static_cast<std::size_t>(value.id())];
  if (name.empty()) {
    throw ArgumentError(fmt::format("cannot rename {} to an empty name", describe(node)));
  }
  if (name != node.name && contains(name)) {
    throw ArgumentError(fmt::format("cannot rename {} to \"{}\": {} has that name", describe(node),
                                    name, describe(find(name).node())));
  }
  node.name = std::move(name);
  return value;
}

Value Graph::find(std::string_view name) {
  const auto found = std::ranges::find(nodes_, name, &Node::name);
  if (found != nodes_.end()) return {this, static_cast<NodeId>(found - nodes_.begin())};
  std::string names;
  for (const Node& node : nodes_) {
    if (!names.empty()) names += ", ";
    names += node.name;
  }
  throw ArgumentError(
      fmt::format("the graph has no node \"{}\"; it has {}", name, names.empty() ? "none" : names));
}

const Node& Graph::node(NodeId id) const {
  if (id < 0 || id >= size()) {
    throw ArgumentError(fmt::format("the graph has no node {}; it has {}", id, size()));
  }
  return nodes_[static_cast<std::size_t>(id)];
}

Value Graph::append(Node node, const Where& where) {
  node.where = to_string(where);
  if (node.name.empty()) {
    throw ArgumentError("a node needs a name" + at(where));
  }
  if (contains(node.name)) {
    throw ArgumentError(fmt::format("the name \"{}\" is taken by {}{}", node.name,
                                    describe(find(node.name).node()), at(where)));
  }
  nodes_.push_back(std::move(node));
  return {this, static_cast<NodeId>(nodes_.size() - 1)};
}

bool Graph::contains(std::string_view name) const noexcept {
  return std::ranges::find(nodes_, name, &Node::name) != nodes_.end();
}

std::string describe(const Node& node) {
  const std::string what = fmt::format("{} {}", node.name, to_string(node.shape));
  return node.where.empty() ? what : fmt::format("{} ({})", what, node.where);
}

}  // namespace chainrule
