// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chainrule/core/random.hpp"
#include "chainrule/learn/csv.hpp"
#include "chainrule/learn/dataset.hpp"
#include "chainrule/learn/model.hpp"
#include "message_of.hpp"

namespace chainrule::testing {

inline std::filesystem::path data_file(const std::string& name) {
  return std::filesystem::path(CHAINRULE_TEST_DATA_DIR) / name;
}

/// What scikit-learn computed; tests/data/README.md.
inline const nlohmann::json& sklearn_reference() {
  static const nlohmann::json reference = [] {
    std::ifstream stream(data_file("sklearn_reference.json"));
    return nlohmann::json::parse(stream);
  }();
  return reference;
}

/// "iris", "wine" or "breast_cancer", row i a test row when i % 5 == 0.
inline Split reference_split(const std::string& name) {
  const CsvTable table =
      read_csv(data_file(name + ".csv"), {.header = CsvOptions::Header::kAbsent});
  return to_dataset(table, {.task = Task::kClassification}).split_every(5);
}

inline Tensor matrix(Index rows, Index columns, std::span<const double> values) {
  return Tensor::from<double>({rows, columns}, values);
}

/// Standard normal numbers.
inline Tensor noise(Index rows, Index columns, std::uint64_t seed) {
  std::vector<double> values(static_cast<std::size_t>(rows * columns));
  fill_random_normal({.seed = seed}, 0, values);
  return matrix(rows, columns, values);
}

/// Gaussian blobs, one a class.
inline Dataset blobs(Index rows, Index features, Index classes, std::uint64_t seed) {
  Dataset data;
  data.x = noise(rows, features, seed);
  const auto x = data.x.as<double>();
  for (Index i = 0; i < rows; ++i) {
    const Index label = i % classes;
    data.labels.push_back(static_cast<std::int32_t>(label));
    x(i, label % features) += 2;
  }
  return data;
}

/// The bits of all elements, without padding.
inline std::string bits(ConstTensorView view) {
  std::string text;
  const auto row = static_cast<std::size_t>(view.columns * size_of(view.dtype));
  for (Index i = 0; i < view.rows; ++i) {
    const auto* from = static_cast<const char*>(view.data) + i * view.ld * size_of(view.dtype);
    text.append(from, row);
  }
  return text;
}

inline std::string bits(const Parameters& parameters) {
  std::string text;
  for (Index i = 0; i < parameters.size(); ++i) text += bits(parameters.view(i));
  return text;
}

inline Tensor rows_of(const Tensor& tensor, Index first, Index count) {
  Tensor part({count, tensor.columns()}, tensor.dtype());
  TensorView from = const_cast<Tensor&>(tensor).view();
  from.data = static_cast<std::byte*>(from.data) + first * from.ld * size_of(from.dtype);
  from.rows = count;
  copy_values(from, part.view());
  return part;
}

}  // namespace chainrule::testing
