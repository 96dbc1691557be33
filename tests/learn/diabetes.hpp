// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>

#include "chainrule/learn/csv.hpp"
#include "learn_support.hpp"

namespace chainrule::testing {

struct Column {
  Tensor x;
  Tensor y;
};

struct Standardized {
  Column train;
  Column test;
};

// Mean 0 and population variance 1 over the training rows; row i a test row when i % 5 == 0.
inline Standardized diabetes() {
  const CsvTable table =
      read_csv(data_file("diabetes.csv"), {.header = CsvOptions::Header::kAbsent});
  const Split split =
      to_dataset(table, {.task = Task::kRegression}).to(DType::kFloat64).split_every(5);
  Standardized result{{split.train.x, split.train.y}, {split.test.x, split.test.y}};
  const auto standardize = [](Tensor& train, Tensor& test) {
    for (Index j = 0; j < train.columns(); ++j) {
      long double sum = 0, squares = 0;
      const auto n = static_cast<long double>(train.rows());
      for (Index i = 0; i < train.rows(); ++i) sum += element(train, i, j);
      for (Index i = 0; i < train.rows(); ++i) {
        squares += (element(train, i, j) - sum / n) * (element(train, i, j) - sum / n);
      }
      for (Tensor* part : {&train, &test}) {
        for (Index i = 0; i < part->rows(); ++i) {
          part->as<double>()(i, j) =
              static_cast<double>((element(*part, i, j) - sum / n) / std::sqrt(squares / n));
        }
      }
    }
  };
  standardize(result.train.x, result.test.x);
  standardize(result.train.y, result.test.y);
  return result;
}

}  // namespace chainrule::testing
