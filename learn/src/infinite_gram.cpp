// SPDX-License-Identifier: Apache-2.0
#include "infinite_gram.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <utility>

#include "chainrule/kernels/dispatch.hpp"
#include "dual_form.hpp"

namespace chainrule::internal {
namespace {

using Family = DualActivation::Form::Family;

constexpr Index kTileRows = 128;
constexpr Index kTileColumns = 256;

// Pairs whose 1 - |c| is below are computed again. An error e of c is one of e / sqrt(1 - |c|) of
// the angle. The product that gives the first c has an error that grows with the columns, and the
// first rectifier is the first to mind it.
constexpr double kNearInputs = 1e-5;
constexpr double kNearLater = 1e-7;
// A series may lack this much of sqrt(E[phi(u)^2] E[phi(v)^2]).
constexpr double kSeriesTolerance = 1e-14;

DualKernel kernel_of(Family family) {
  switch (family) {
    case Family::kErf:
      return DualKernel::kErf;
    case Family::kSin:
      return DualKernel::kSin;
    case Family::kGelu:
      return DualKernel::kGelu;
    default:
      return DualKernel::kRectifier;
  }
}

/// Memory of one worker.
struct Scratch {
  Tensor k{{kTileRows, kTileColumns}, DType::kFloat64};
  std::vector<double> input = std::vector<double>(kTileColumns);
  std::vector<double> theta = std::vector<double>(kTileColumns);
  std::vector<double> value_series;
  std::vector<double> slope_series;
  std::vector<unsigned char> again = std::vector<unsigned char>(kTileColumns);
};

/// Rows from `row` against columns from `column`, of the result; a single row is one of x.
struct Tile {
  Index row = 0;
  Index rows = 0;
  Index column = 0;
  Index columns = 0;
};

class Gram {
 public:
  Gram(const InfiniteNetwork& network, const InfiniteSamples& x, Index first,
       const InfiniteSamples& z, InfiniteKernel kernel, MatrixView<double> result)
      : network_(network),
        x_(x),
        first_(first),
        z_(z),
        kernel_(kernel),
        same_(&x == &z),
        symmetric_(same_ && result.rows == x.rows() && result.columns == x.rows()),
        kernels_(default_kernels()),
        input_bias_(static_cast<std::size_t>(kTileColumns), network.dense[0].bias),
        result_(result) {
    bool any_rectifier = false;
    for (std::size_t l = 0; l < network.hidden.size(); ++l) {
      const auto& form = network.hidden[l].form();
      const WeightPrior& prior = network.dense[l + 1];
      const bool rectifier = form.family == Family::kRectifier;
      layers_.push_back({.bias = prior.bias,
                         .odd = prior.weight * (rectifier ? form.odd() : 1),
                         .even = prior.weight * (rectifier ? form.even() : 0)});
      near_.push_back(l == 0 || (rectifier && !any_rectifier) ? kNearInputs : kNearLater);
      any_rectifier |= rectifier;
      DualMoments& largest = largest_tails_.emplace_back();
      for (const double tail : z.layer(l).value_tail) largest.value = std::max(largest.value, tail);
      for (const double tail : z.layer(l).slope_tail) {
        largest.derivative = std::max(largest.derivative, tail);
      }
    }
  }

  void compute(const Executor& executor) {
    transpose_columns(executor);
    const std::vector<Tile> tiles = all_tiles();
    std::vector<Scratch> scratch(static_cast<std::size_t>(executor.threads()));
    const double pairs = static_cast<double>(result_.rows * result_.columns) / (symmetric_ ? 2 : 1);
    const double flops =
        pairs * (2 * static_cast<double>(x_.columns()) + 50 * static_cast<double>(layers_.size()));
    executor.for_each(static_cast<Index>(tiles.size()), flops, [&](Index item, int worker) {
      compute_tile(tiles[static_cast<std::size_t>(item)],
                   scratch[static_cast<std::size_t>(worker)]);
    });
  }

 private:
  // Panels of kTileColumns columns of Z^T, one behind the other in memory.
  void transpose_columns(const Executor& executor) {
    const Index columns = result_.columns;
    const Index count = (columns + kTileColumns - 1) / kTileColumns;
    panels_.resize(static_cast<std::size_t>(count));
    executor.for_each(count, 4.0 * static_cast<double>(columns * z_.columns()), [&](Index p, int) {
      MatrixView<const double> from = z_.scaled();
      from.data = from.row(p * kTileColumns);
      from.rows = std::min(kTileColumns, columns - p * kTileColumns);
      // A product with one column adds in another order.
      Tensor panel({z_.columns(), std::max(from.rows, Index{2})}, DType::kFloat64);
      MatrixView<double> to = panel.as<double>();
      to.columns = from.rows;
      kernels_.f64.transpose(from, to);
      panels_[static_cast<std::size_t>(p)] = std::move(panel);
    });
  }

  std::vector<Tile> all_tiles() const {
    std::vector<Tile> tiles;
    for (Index j = 0; j < result_.columns; j += kTileColumns) {
      for (Index i = 0; i < result_.rows; i += kTileRows) {
        const Tile tile{.row = i,
                        .rows = std::min(kTileRows, result_.rows - i),
                        .column = j,
                        .columns = std::min(kTileColumns, result_.columns - j)};
        if (!symmetric_ || j < i + tile.rows) tiles.push_back(tile);
      }
    }
    return tiles;
  }

  void compute_tile(const Tile& tile, Scratch& scratch) {
    const Tensor& panel = panels_[static_cast<std::size_t>(tile.column / kTileColumns)];
    MatrixView<double> k = scratch.k.as<double>();
    k.rows = tile.rows;
    k.columns = panel.columns();
    const MatrixView<const double> x = x_.scaled();
    kernels_.f64.gemm({.data = x.row(first_ + tile.row), .row_stride = x.ld, .column_stride = 1},
                      panel.as<double>(), k, false, {.bias = input_bias_.data()});
    for (Index r = 0; r < tile.rows; ++r) {
      const Index i = tile.row + r;
      const Index columns = symmetric_ ? std::min(tile.columns, i + 1 - tile.column) : tile.columns;
      if (columns <= 0) continue;
      compute_row({.row = first_ + i, .rows = 1, .column = tile.column, .columns = columns},
                  k.row(r), scratch);
      const double* const from = kernel_ == InfiniteKernel::kNngp ? k.row(r) : scratch.theta.data();
      std::copy_n(from, columns, result_.row(i) + tile.column);
    }
    if (symmetric_) mirror(tile);
  }

  void mirror(const Tile& tile) {
    if (tile.column + tile.columns <= tile.row) {
      kernels_.f64.transpose(
          {result_.row(tile.row) + tile.column, tile.rows, tile.columns, result_.ld},
          {result_.row(tile.column) + tile.row, tile.columns, tile.rows, result_.ld});
      return;
    }
    for (Index i = tile.row; i < tile.row + tile.rows; ++i) {
      for (Index j = tile.column; j < std::min(i, tile.column + tile.columns); ++j) {
        result_(j, i) = result_(i, j);
      }
    }
  }

  // Takes a row of K^0 through the layers, to its end in k and scratch.theta.
  void compute_row(const Tile& row, double* k, Scratch& scratch) {
    const auto count = static_cast<std::size_t>(row.columns);
    std::copy_n(k, count, scratch.input.data());
    std::copy_n(k, count, scratch.theta.data());
    bool again = false;
    for (std::size_t l = 0; l < layers_.size(); ++l) {
      const double largest = apply_layer(l, row, k, scratch);
      again |= largest > largest_allowed(l, row.row);
    }
    std::fill_n(scratch.again.begin(), count, static_cast<unsigned char>(0));
    if (again) find_inexact(row, scratch);
    if (same_ && row.row >= row.column && row.row < row.column + row.columns) {
      scratch.again[static_cast<std::size_t>(row.row - row.column)] = 1;
      again = true;
    }
    if (!again) return;
    for (Index j = 0; j < row.columns; ++j) {
      if (scratch.again[static_cast<std::size_t>(j)] == 0) continue;
      const double value = pair_kernel(network_, x_, row.row, z_, row.column + j, kernel_);
      k[j] = value;
      scratch.theta[static_cast<std::size_t>(j)] = value;
    }
  }

  double* theta_of(Scratch& scratch) const {
    return kernel_ == InfiniteKernel::kNtk ? scratch.theta.data() : nullptr;
  }

  DualFactors factors(std::size_t l, const Tile& row) const {
    const auto& x = x_.layer(l);
    const auto& z = z_.layer(l);
    return {.first = x.first[static_cast<std::size_t>(row.row)],
            .second = x.second[static_cast<std::size_t>(row.row)],
            .column_first = z.first.data() + row.column,
            .column_second = z.second.data() + row.column};
  }

  // Coefficients of a row, and those of its columns as far as they go.
  static DualSeries series(const Tensor& x, const Tensor& z, const Tile& row,
                           std::vector<double>& coefficients) {
    const MatrixView<const double> from = x.as<double>();
    coefficients.clear();
    Index terms = 0;
    for (Index k = 0; k < from.rows; ++k) {
      coefficients.push_back(from(k, row.row));
      if (from(k, row.row) != 0) terms = k + 1;
    }
    MatrixView<const double> columns = z.as<double>();
    columns.data += row.column;
    columns.columns = row.columns;
    columns.rows = terms;
    return {.row = coefficients.data(), .columns = columns};
  }

  double apply_layer(std::size_t l, const Tile& row, double* k, Scratch& scratch) const {
    const Family family = network_.hidden[l].form().family;
    double* const theta = theta_of(scratch);
    if (family != Family::kSmooth) {
      const auto kernel = kernels_.dual.layer[static_cast<std::size_t>(kernel_of(family))];
      return kernel(layers_[l], factors(l, row), row.columns, k, theta);
    }
    const DualSeries values =
        series(x_.layer(l).values, z_.layer(l).values, row, scratch.value_series);
    DualSeries slopes;
    if (theta != nullptr) {
      slopes = series(x_.layer(l).slopes, z_.layer(l).slopes, row, scratch.slope_series);
    }
    return kernels_.dual.series(layers_[l], factors(l, row), values, slopes, row.columns, k, theta);
  }

  // How large apply_layer()'s result may be before a pair of the row may need a second look.
  double largest_allowed(std::size_t l, Index i) const {
    const auto& layer = x_.layer(l);
    const auto at = static_cast<std::size_t>(i);
    if (network_.hidden[l].form().family == Family::kSmooth) {
      const double tail = std::max(layer.value_tail[at] * largest_tails_[l].value,
                                   layer.slope_tail[at] * largest_tails_[l].derivative);
      // No column lacks more.
      return std::pow(kSeriesTolerance / std::sqrt(tail),
                      1 / static_cast<double>(layer.values.rows()));
    }
    return 1 - near_[l];
  }

  // Marks the pairs that need a second look by what they are in front of layer l.
  void mark_inexact(std::size_t l, const Tile& row, const std::vector<double>& k,
                    Scratch& scratch) const {
    const auto i = static_cast<std::size_t>(row.row);
    const auto first = static_cast<std::size_t>(row.column);
    const auto& x = x_.layer(l);
    const auto& z = z_.layer(l);
    const double allowed = largest_allowed(l, row.row);
    const bool smooth = network_.hidden[l].form().family == Family::kSmooth;
    const auto terms = static_cast<double>(x.values.rows());
    for (std::size_t j = 0; j < static_cast<std::size_t>(row.columns); ++j) {
      const double t = std::abs(k[j] * (x.second[i] * z.second[first + j]));
      if (!(t > allowed)) continue;
      if (smooth) {
        const double tail = std::max(x.value_tail[i] * z.value_tail[first + j],
                                     x.slope_tail[i] * z.slope_tail[first + j]);
        if (std::pow(std::min(t, 1.0), terms) * std::sqrt(tail) <= kSeriesTolerance) continue;
      }
      scratch.again[j] = 1;
    }
  }

  // Goes through the layers once more to see which pairs of the row they are.
  void find_inexact(const Tile& row, Scratch& scratch) const {
    const auto count = static_cast<std::size_t>(row.columns);
    const std::vector<double> last_theta = scratch.theta;
    std::vector<double> now(scratch.input.begin(), scratch.input.begin() + row.columns);
    std::vector<double> before;
    for (std::size_t l = 0; l < layers_.size(); ++l) {
      before = now;
      if (apply_layer(l, row, now.data(), scratch) > largest_allowed(l, row.row)) {
        mark_inexact(l, row, before, scratch);
      }
      for (std::size_t j = 0; j < count; ++j) {
        if (scratch.again[j] != 0) now[j] = 0;  // found, and so out of the way
      }
    }
    scratch.theta = last_theta;
  }

  const InfiniteNetwork& network_;
  const InfiniteSamples& x_;
  Index first_;  ///< row of x that is the result's first
  const InfiniteSamples& z_;
  InfiniteKernel kernel_;
  bool same_;
  bool symmetric_;
  const KernelTable& kernels_;
  std::vector<double> input_bias_;
  std::vector<DualLayer> layers_;
  std::vector<double> near_;
  std::vector<DualMoments> largest_tails_;
  std::vector<Tensor> panels_;
  MatrixView<double> result_;
};

}  // namespace

void infinite_gram(const InfiniteNetwork& network, const InfiniteSamples& x, Index first,
                   const InfiniteSamples& z, InfiniteKernel kernel, MatrixView<double> k,
                   const Executor& executor) {
  Gram(network, x, first, z, kernel, k).compute(executor);
}

}  // namespace chainrule::internal
