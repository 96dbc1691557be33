// SPDX-License-Identifier: Apache-2.0
#include "chainrule/runtime/parameters.hpp"

#include <fmt/format.h>

#include <atomic>
#include <cstring>
#include <utility>

#include "chainrule/core/error.hpp"
#include "floating_point.hpp"

namespace chainrule {
namespace {

// Versions are drawn in runs, of which each object has its own: an atomic in every step would hold
// up all memory accesses around it.
constexpr std::uint64_t kVersionRun = 1 << 16;

std::uint64_t next_version() noexcept {
  static constinit std::atomic<std::uint64_t> counter{0};
  return 1 + counter.fetch_add(kVersionRun, std::memory_order_relaxed);
}

Index round_up(Index bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

ParameterLayout::ParameterLayout(const Graph& graph, DType dtype_) : dtype(dtype_) {
  for (NodeId id = 0; id < static_cast<NodeId>(graph.size()); ++id) {
    const Node& node = graph.node(id);
    if (node.kind != NodeKind::kParameter && node.kind != NodeKind::kState) continue;
    Entry entry{.node = id,
                .name = node.name,
                .shape = node.shape,
                .learned = node.kind == NodeKind::kParameter,
                .ld = padded_leading_dimension(node.shape.columns(), dtype),
                .offset = bytes};
    bytes += round_up(node.shape.rows() * entry.ld * size_of(dtype));
    entries.push_back(std::move(entry));
  }
}

Index ParameterLayout::index_of(NodeId node) const noexcept {
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].node == node) return static_cast<Index>(i);
  }
  return -1;
}

Parameters::Parameters(const Graph& graph, DType dtype, std::uint64_t seed)
    : layout_(graph, dtype),
      slab_(Shape{layout_.bytes / size_of(dtype)}, dtype, Layout::kDense),
      version_(next_version()) {
  const internal::ScopedFloatingPointMode mode;
  for (Index i = 0; i < size(); ++i) {
    const NodeId node = layout_.entries[static_cast<std::size_t>(i)].node;
    initialize(graph.node(node).initializer,
               RandomKey{.seed = seed, .stream = static_cast<std::uint64_t>(i)}, mutable_view(i));
  }
}

Parameters::Parameters(const Parameters& other)
    : layout_(other.layout_), slab_(other.slab_), version_(next_version()) {}

Parameters& Parameters::operator=(const Parameters& other) {
  if (this != &other) *this = Parameters(other);
  return *this;
}

Index Parameters::learned_elements() const noexcept {
  Index total = 0;
  for (const auto& entry : layout_.entries) {
    if (entry.learned) total += entry.shape.elements();
  }
  return total;
}

const ParameterLayout::Entry& Parameters::entry(Index i) const {
  if (i < 0 || i >= size()) {
    throw ArgumentError(fmt::format("Parameters: no entry {}, there are {}", i, size()));
  }
  return layout_.entries[static_cast<std::size_t>(i)];
}

ConstTensorView Parameters::view(Index i) const {
  const auto& e = entry(i);
  return {slab() + e.offset, layout_.dtype, e.shape.rows(), e.shape.columns(), e.ld};
}

ConstTensorView Parameters::view(Value value) const { return view(find(value)); }
ConstTensorView Parameters::view(std::string_view name) const { return view(find(name)); }

TensorView Parameters::mutable_view(Index i) {
  const auto& e = entry(i);
  touch();
  return {slab() + e.offset, layout_.dtype, e.shape.rows(), e.shape.columns(), e.ld};
}

TensorView Parameters::mutable_view(Value value) { return mutable_view(find(value)); }
TensorView Parameters::mutable_view(std::string_view name) { return mutable_view(find(name)); }

Parameters Parameters::to(DType dtype) const {
  const internal::ScopedFloatingPointMode mode;
  Parameters result;
  result.layout_.dtype = dtype;
  for (auto entry : layout_.entries) {
    entry.ld = padded_leading_dimension(entry.shape.columns(), dtype);
    entry.offset = result.layout_.bytes;
    result.layout_.bytes += round_up(entry.shape.rows() * entry.ld * size_of(dtype));
    result.layout_.entries.push_back(std::move(entry));
  }
  result.slab_ = Tensor(Shape{result.layout_.bytes / size_of(dtype)}, dtype, Layout::kDense);
  for (Index i = 0; i < size(); ++i) copy_values(view(i), result.mutable_view(i));
  return result;
}

void Parameters::assign(const Parameters& other) {
  if (size() != other.size()) {
    throw ShapeError(
        fmt::format("Parameters::assign: expected {} entries, got {}", size(), other.size()));
  }
  for (std::size_t i = 0; i < layout_.entries.size(); ++i) {
    const auto& mine = layout_.entries[i];
    const auto& theirs = other.layout_.entries[i];
    if (mine.name != theirs.name || mine.shape != theirs.shape) {
      throw ShapeError(fmt::format("Parameters::assign: entry {} is {} {}, got {} {}", i, mine.name,
                                   to_string(mine.shape), theirs.name, to_string(theirs.shape)));
    }
  }
  const internal::ScopedFloatingPointMode mode;
  for (Index i = 0; i < size(); ++i) copy_values(other.view(i), mutable_view(i));
}

void Parameters::touch() noexcept {
  if (version_ == 0 || ++version_ % kVersionRun == 0) version_ = next_version();
}

Index Parameters::find(std::string_view name) const {
  std::string names;
  for (std::size_t i = 0; i < layout_.entries.size(); ++i) {
    if (layout_.entries[i].name == name) return static_cast<Index>(i);
    names += (i == 0 ? "" : ", ") + layout_.entries[i].name;
  }
  throw ArgumentError(fmt::format("no parameter is called '{}'; there are: {}", name, names));
}

Index Parameters::find(Value value) const {
  const Index i = layout_.index_of(value.id());
  if (i < 0) {
    throw ArgumentError(
        fmt::format("expected a parameter or state, got {}",
                    value ? describe(value.node()) : std::string("an empty value")));
  }
  if (value.node().name != entry(i).name) {
    throw ArgumentError(fmt::format("{} is of another graph: here that node is '{}'",
                                    describe(value.node()), entry(i).name));
  }
  return i;
}

OptimizerState::OptimizerState(const ParameterLayout& layout, int slots) : layout_(layout) {
  for (int i = 0; i < slots; ++i) {
    slabs_.emplace_back(Shape{layout.bytes / size_of(layout.dtype)}, layout.dtype, Layout::kDense);
  }
}

TensorView OptimizerState::view(int slot, Index entry) {
  const auto& e = layout_.entries.at(static_cast<std::size_t>(entry));
  auto* base = static_cast<std::byte*>(slabs_.at(static_cast<std::size_t>(slot)).data());
  return {base + e.offset, layout_.dtype, e.shape.rows(), e.shape.columns(), e.ld};
}

ConstTensorView OptimizerState::view(int slot, Index entry) const {
  return const_cast<OptimizerState*>(this)->view(slot, entry);
}

}  // namespace chainrule
