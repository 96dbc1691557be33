// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "chainrule/learn/csv.hpp"
#include "chainrule/learn/dataset.hpp"

namespace chainrule::tools {

/// The paragraph on --data for help texts.
inline constexpr const char* kDataHelp =
    R"(Data:
  digits         1,797 images of 8x8 pixels (divided by 16), 10 classes, part of chainrule;
                 digits: train rows i % 5 != 0, test rows i % 5 == 0, counted from 0
  fashion-mnist  60,000 training and 10,000 test images (Debian package dataset-fashion-mnist)
  FILE           CSV, .npy or IDX images, also compressed by gzip; all its rows)";

/// Rows of a data set, and how to call them.
struct Rows {
  Dataset data;
  std::string name;
};

/// True for digits and fashion-mnist, which have test rows of their own.
bool has_test_rows(const std::string& name);
/// What `train` trains on and what `evaluate` and `predict` test with: see kDataHelp.
Rows load_training_rows(const std::string& name, const DatasetOptions& options);
Rows load_test_rows(const std::string& name, const DatasetOptions& options);

}  // namespace chainrule::tools
