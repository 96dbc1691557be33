// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/core/graph.hpp"
#include "chainrule/core/tensor.hpp"

namespace chainrule {

/// Where each parameter and state of a graph lies in a slab; a function of the graph and dtype.
struct CHAINRULE_API ParameterLayout {
  struct Entry {
    NodeId node = -1;
    std::string name;
    Shape shape;
    bool learned = true;  ///< false: a state (running statistics)
    Index ld = 0;
    Index offset = 0;  ///< bytes from the slab's start

    bool operator==(const Entry&) const = default;
  };

  ParameterLayout() = default;
  ParameterLayout(const Graph& graph, DType dtype);

  DType dtype = DType::kFloat32;
  std::vector<Entry> entries;  ///< in the order of the graph's nodes
  Index bytes = 0;

  /// Position in `entries`; -1 when the node is no parameter or state.
  Index index_of(NodeId node) const noexcept;
  bool operator==(const ParameterLayout&) const = default;
};

/// The values of a graph's parameters and states: one 64-byte aligned slab, padded leading
/// dimensions, padding always zero. Copying copies the values.
class CHAINRULE_API Parameters {
 public:
  Parameters() = default;
  /// Draws the initial values: entry i uses stream i of `seed`.
  explicit Parameters(const Graph& graph, DType dtype = DType::kFloat32, std::uint64_t seed = 0);

  Parameters(const Parameters& other);
  Parameters& operator=(const Parameters& other);
  Parameters(Parameters&&) noexcept = default;
  Parameters& operator=(Parameters&&) noexcept = default;
  ~Parameters() = default;

  DType dtype() const noexcept { return layout_.dtype; }
  const ParameterLayout& layout() const noexcept { return layout_; }
  Index size() const noexcept { return static_cast<Index>(layout_.entries.size()); }
  /// Number of learned scalars.
  Index learned_elements() const noexcept;

  /// By position, node or name; ArgumentError when there is no such entry, also for a value of a
  /// graph in which that node has another name.
  ConstTensorView view(Index i) const;
  ConstTensorView view(Value value) const;
  ConstTensorView view(std::string_view name) const;
  /// A window to write through. Asking for one tells workspaces that derived data (transposed
  /// mirrors) is stale, so ask again after each run.
  TensorView mutable_view(Index i);
  TensorView mutable_view(Value value);
  TensorView mutable_view(std::string_view name);

  /// The same values in another dtype.
  Parameters to(DType dtype) const;
  /// Copies the values of another set with the same entries; ShapeError otherwise.
  void assign(const Parameters& other);

  /// Unique to this state of the values across the process.
  std::uint64_t version() const noexcept { return version_; }
  /// Marks the values as changed; run() calls it after an update.
  void touch() noexcept;
  std::byte* slab() noexcept { return static_cast<std::byte*>(slab_.data()); }
  const std::byte* slab() const noexcept { return static_cast<const std::byte*>(slab_.data()); }

 private:
  const ParameterLayout::Entry& entry(Index i) const;
  Index find(std::string_view name) const;
  Index find(Value value) const;

  ParameterLayout layout_;
  Tensor slab_;
  std::uint64_t version_ = 0;
};

/// What an optimizer remembers of each parameter: `slots` slabs laid out as the parameters, zero at
/// first.
class CHAINRULE_API OptimizerState {
 public:
  OptimizerState() = default;
  OptimizerState(const ParameterLayout& layout, int slots);

  int slots() const noexcept { return static_cast<int>(slabs_.size()); }
  const ParameterLayout& layout() const noexcept { return layout_; }
  TensorView view(int slot, Index entry);
  ConstTensorView view(int slot, Index entry) const;
  std::byte* slab(int slot) noexcept {
    return static_cast<std::byte*>(slabs_[static_cast<std::size_t>(slot)].data());
  }

 private:
  ParameterLayout layout_;
  std::vector<Tensor> slabs_;
};

}  // namespace chainrule
