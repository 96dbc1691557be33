// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/standardizer.hpp"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "chainrule/core/error.hpp"

namespace chainrule {
namespace {

using nlohmann::json;

template <class T>
void standardize(MatrixView<const T> from, MatrixView<T> to, const Standardizer& standardizer) {
  for (Index i = 0; i < from.rows; ++i) {
    for (Index j = 0; j < from.columns; ++j) {
      const auto column = static_cast<std::size_t>(j);
      to(i, j) = static_cast<T>((static_cast<double>(from(i, j)) - standardizer.mean[column]) /
                                standardizer.scale[column]);
    }
  }
}

std::vector<double> numbers_of(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array()) {
    throw FormatError(fmt::format("standardizer: no array '{}'", key));
  }
  std::vector<double> numbers;
  for (const json& item : *found) {
    if (!item.is_number()) {
      throw FormatError(fmt::format("standardizer: '{}' holds {}, expected finite numbers", key,
                                    item.type_name()));
    }
    numbers.push_back(item.get<double>());
  }
  return numbers;
}

}  // namespace

Standardizer Standardizer::fit(const Tensor& x) {
  if (x.shape().rank() != 2 || x.rows() < 1) {
    throw ShapeError(fmt::format("standardizer: x has shape {}, expected [n, d] with n >= 1",
                                 to_string(x.shape())));
  }
  const auto columns = static_cast<std::size_t>(x.columns());
  const auto rows = static_cast<double>(x.rows());
  Standardizer result{.mean = std::vector<double>(columns), .scale = std::vector<double>(columns)};
  for (Index j = 0; j < x.columns(); ++j) {
    const double first = element(x, 0, j);
    bool constant = true;
    double sum = 0;  // of differences to the first value: no cancellation for a large mean
    for (Index i = 0; i < x.rows(); ++i) {
      const double value = element(x, i, j);
      if (!std::isfinite(value)) {
        throw ArgumentError(fmt::format("standardizer: {} in row {}, column {}", value, i, j));
      }
      constant = constant && value == first;
      sum += value - first;
    }
    const double mean = first + sum / rows;
    double squares = 0;
    for (Index i = 0; i < x.rows(); ++i) {
      const double deviation = element(x, i, j) - mean;
      squares += deviation * deviation;
    }
    const double deviation = std::sqrt(squares / rows);
    const auto column = static_cast<std::size_t>(j);
    result.mean[column] = mean;
    result.scale[column] = constant || deviation == 0 ? 1 : deviation;
    if (!std::isfinite(mean) || !std::isfinite(deviation)) {
      throw ArgumentError(fmt::format("standardizer: column {} overflows float64", j));
    }
  }
  return result;
}

Tensor Standardizer::apply(const Tensor& x) const {
  const auto columns = static_cast<Index>(mean.size());
  if (x.shape().rank() != 2 || x.columns() != columns || mean.size() != scale.size()) {
    throw ShapeError(
        fmt::format("standardizer of {} columns: x has shape {}", columns, to_string(x.shape())));
  }
  if (x.dtype() == DType::kInt32) return apply(x.to(DType::kFloat64));
  Tensor result(x.shape(), x.dtype());
  if (x.dtype() == DType::kFloat64) {
    standardize(x.as<double>(), result.as<double>(), *this);
  } else {
    standardize(x.as<float>(), result.as<float>(), *this);
  }
  return result;
}

std::string Standardizer::to_json() const { return json{{"mean", mean}, {"scale", scale}}.dump(); }

Standardizer Standardizer::from_json(std::string_view text) {
  // The parser keeps its own stack; only destroying a deep document recurses, so depth is bounded.
  const auto shallow = [](int depth, json::parse_event_t, json&) {
    if (depth > 3) throw FormatError("standardizer: nested too deeply");
    return true;
  };
  json object;
  try {
    object = json::parse(text, shallow);
  } catch (const json::exception& error) {
    throw FormatError(fmt::format("standardizer: not JSON: {}", error.what()));
  }
  if (!object.is_object()) {
    throw FormatError(fmt::format("standardizer: {}, expected an object", object.type_name()));
  }
  Standardizer result{.mean = numbers_of(object, "mean"), .scale = numbers_of(object, "scale")};
  if (result.mean.size() != result.scale.size()) {
    throw FormatError(fmt::format("standardizer: {} means and {} scales", result.mean.size(),
                                  result.scale.size()));
  }
  for (std::size_t j = 0; j < result.scale.size(); ++j) {
    if (result.scale[j] > 0) continue;
    throw FormatError(fmt::format(
        "standardizer: the scale of column {} is {}, expected a number > 0", j, result.scale[j]));
  }
  return result;
}

}  // namespace chainrule
