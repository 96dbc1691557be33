// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/dataset.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "chainrule/core/error.hpp"
#include "chainrule/core/random.hpp"

namespace chainrule {
namespace {

bool is_present(const Tensor& tensor) { return tensor.shape().rank() > 0; }

void expect_matrix(const Tensor& tensor, std::string_view name, Index rows, Index columns) {
  if (!is_present(tensor)) return;
  const bool fits = tensor.shape().rank() == 2 && tensor.rows() == rows &&
                    (columns < 0 || tensor.columns() == columns);
  if (fits) return;
  throw ShapeError(fmt::format("data set: {} has shape {}, expected [{}, {}]", name,
                               to_string(tensor.shape()), rows,
                               columns < 0 ? "any" : fmt::to_string(columns)));
}

void expect_count(std::size_t count, std::string_view name, Index expected) {
  if (count == 0 || static_cast<Index>(count) == expected) return;
  throw ShapeError(fmt::format("data set: {} {}, expected {}", count, name, expected));
}

Tensor select(const Tensor& tensor, std::span<const std::uint32_t> rows) {
  if (!is_present(tensor)) return {};
  Tensor result({static_cast<Index>(rows.size()), tensor.columns()}, tensor.dtype());
  const Index element_bytes = size_of(tensor.dtype());
  const auto row_bytes = static_cast<std::size_t>(tensor.columns() * element_bytes);
  if (row_bytes == 0) return result;
  const auto* from = static_cast<const std::byte*>(tensor.data());
  auto* to = static_cast<std::byte*>(result.data());
  for (const std::uint32_t row : rows) {
    std::memcpy(to, from + row * tensor.ld() * element_bytes, row_bytes);
    to += result.ld() * element_bytes;
  }
  return result;
}

Tensor convert(const Tensor& tensor, DType dtype) {
  return is_present(tensor) ? tensor.to(dtype) : Tensor();
}

/// All row numbers fit into the 32 bits of subset().
void expect_indexable(Index rows) {
  if (rows <= static_cast<Index>(std::numeric_limits<std::uint32_t>::max())) return;
  throw UnsupportedError(fmt::format("data set: cannot split {} rows; at most 2^32 - 1", rows));
}

Split split_by(const Dataset& data, const std::vector<bool>& is_test) {
  std::vector<std::uint32_t> train;
  std::vector<std::uint32_t> test;
  for (std::size_t i = 0; i < is_test.size(); ++i) {
    (is_test[i] ? test : train).push_back(static_cast<std::uint32_t>(i));
  }
  return {.train = data.subset(train), .test = data.subset(test)};
}

}  // namespace

Index Dataset::rows() const noexcept { return is_present(x) ? x.rows() : 0; }

Index Dataset::features() const noexcept { return is_present(x) ? x.columns() : 0; }

Index Dataset::classes() const noexcept {
  if (!class_names.empty()) return static_cast<Index>(class_names.size());
  const auto largest = std::max_element(labels.begin(), labels.end());
  return largest == labels.end() ? 0 : Index{*largest} + 1;
}

void Dataset::validate() const {
  const Index n = rows();
  if (!is_present(x)) throw ShapeError("data set: x is missing");
  expect_matrix(x, "x", n, -1);
  expect_matrix(y, "y", n, -1);
  expect_matrix(weights, "weights", n, 1);
  expect_matrix(offset, "offset", n, 1);
  expect_count(labels.size(), "labels", n);
  expect_count(feature_names.size(), "feature names", features());
  const Index limit = classes();
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0 || labels[i] >= limit) {
      throw ArgumentError(
          fmt::format("data set: label {} in row {}, expected 0 to {}", labels[i], i, limit - 1));
    }
  }
  for (Index i = 0; is_present(weights) && i < n; ++i) {
    const double weight = element(weights, i, 0);
    if (!(weight >= 0 && std::isfinite(weight))) {
      throw ArgumentError(
          fmt::format("data set: weight {} in row {}, expected a finite number "
                      ">= 0",
                      weight, i));
    }
  }
}

Dataset Dataset::subset(std::span<const std::uint32_t> rows) const {
  const Index n = this->rows();
  for (const std::uint32_t row : rows) {
    if (row >= n) {
      throw ArgumentError(fmt::format("data set: row {} of a set of {} rows", row, n));
    }
  }
  Dataset result{.x = select(x, rows),
                 .y = select(y, rows),
                 .labels = {},
                 .weights = select(weights, rows),
                 .offset = select(offset, rows),
                 .feature_names = feature_names,
                 .class_names = class_names,
                 .target_name = target_name,
                 .offset_name = offset_name};
  if (!labels.empty()) {
    result.labels.reserve(rows.size());
    for (const std::uint32_t row : rows) result.labels.push_back(labels[row]);
  }
  return result;
}

Split Dataset::split(double test_fraction, std::uint64_t seed) const {
  if (!(test_fraction >= 0 && test_fraction < 1)) {
    throw ArgumentError(
        fmt::format("data set: test fraction {}, expected 0 <= fraction < 1", test_fraction));
  }
  const Index n = rows();
  expect_indexable(n);
  Index count = std::llround(test_fraction * static_cast<double>(n));
  if (test_fraction > 0 && n >= 2) count = std::clamp<Index>(count, 1, n - 1);
  std::vector<std::uint32_t> order(static_cast<std::size_t>(n));
  random_permutation({.seed = seed}, order);
  std::vector<bool> is_test(order.size());
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) is_test[order[i]] = true;
  return split_by(*this, is_test);
}

Split Dataset::split_every(Index k) const {
  if (k < 2) throw ArgumentError(fmt::format("data set: split_every({}), expected k >= 2", k));
  const Index n = rows();
  expect_indexable(n);
  std::vector<bool> is_test(static_cast<std::size_t>(n));
  for (Index i = 0; i < n; i += k) is_test[static_cast<std::size_t>(i)] = true;
  return split_by(*this, is_test);
}

Dataset Dataset::to(DType dtype) const {
  if (dtype == DType::kInt32) {
    throw ArgumentError("data set: to(int32); features and targets are float32 or float64");
  }
  return {.x = convert(x, dtype),
          .y = convert(y, dtype),
          .labels = labels,
          .weights = convert(weights, dtype),
          .offset = convert(offset, dtype),
          .feature_names = feature_names,
          .class_names = class_names,
          .target_name = target_name,
          .offset_name = offset_name};
}

}  // namespace chainrule
