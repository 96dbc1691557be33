// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "arithmetic.hpp"
#include "chainrule/kernels/kernel_table.hpp"
#include "gemm_tile.hpp"
#include "loop.hpp"
#include "unary.hpp"
#include "updates.hpp"

namespace chainrule::simd {

/// The finish of one call, moved from tile to tile.
template <class B>
class GemmEnding {
  using T = Value<B>;

 public:
  explicit GemmEnding(const GemmFinish<T>& finish)
      : finish_(finish),
        gradient_(finish.source.data != nullptr),
        relu_(finish.function == UnaryKernel::kRelu),
        at_once_(relu_ || finish.function == UnaryKernel::kCount) {}

  /// Nothing has to be done to a tile that left the registers.
  bool at_once() const { return at_once_; }
  /// It begins with what needs nothing but the sums: a bias, and relu. complete() does the rest.
  bool on_sums() const { return !gradient_ && finish_.descending.data == nullptr; }
  bool is_relu() const { return relu_; }

  /// What the tile at (i, j) does itself.
  void prepare(GemmTile<T>& tile, Index i, Index j) const {
    if (finish_.bias != nullptr) tile.bias = finish_.bias + j;
    tile.relu = relu_ && !gradient_;
    if (relu_ && gradient_) {
      tile.relu_output = finish_.source.row(i) + j;
      tile.relu_output_ld = finish_.source.ld;
    }
    if (finish_.descending.data != nullptr && at_once_) {
      tile.descending = finish_.descending.row(i) + j;
      tile.descending_ld = finish_.descending.ld;
      tile.sgd = finish_.sgd;
    }
  }

  /// What is left to do to a stored tile.
  void complete(Out<B> tile, Index i, Index j) const {
    if (at_once_) return;
    apply_function(tile, i, j);
    descend(tile, i, j);
  }

  /// All of it, to rows from i of c that were stored without prepare().
  void apply(Out<B> c, Index i) const {
    if (finish_.bias != nullptr) add_bias<B>(c, finish_.bias, c);
    apply_function(c, i, 0);
    descend(c, i, 0);
  }

 private:
  void apply_function(Out<B> tile, Index i, Index j) const {
    if (finish_.function == UnaryKernel::kCount) return;
    const auto f = static_cast<std::size_t>(finish_.function);
    if (gradient_) {
      const In<B> source{finish_.source.row(i) + j, tile.rows, tile.columns, finish_.source.ld};
      kFunctions.unary_backward[f](source, tile, tile, finish_.parameters, false);
    } else {
      kFunctions.unary[f](tile, tile, finish_.parameters);
    }
  }

  void descend(Out<B> tile, Index i, Index j) const {
    if (finish_.descending.data == nullptr) return;
    const Out<B> p{finish_.descending.row(i) + j, tile.rows, tile.columns, finish_.descending.ld};
    sgd_update<B>(p, tile, {}, {}, finish_.sgd);
  }

  static constexpr Kernels<T> kFunctions = [] {
    Kernels<T> kernels{};
    set_all_unary<B>(kernels);
    return kernels;
  }();

  const GemmFinish<T>& finish_;
  bool gradient_;
  bool relu_;
  bool at_once_;
};

}  // namespace chainrule::simd
