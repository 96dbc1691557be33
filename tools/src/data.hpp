// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "chainrule/learn/csv.hpp"
#include "chainrule/learn/dataset.hpp"
#include "chainrule/learn/model.hpp"
#include "common.hpp"

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

/// Columns of a table by name or index, as the user says; empty: the model's own, or none.
struct DataColumns {
  std::string target;
  std::string weights;
  std::string offset;
};

/// The option --header.
class HeaderOption {
 public:
  CLI::Option* add_to(CLI::App& app);
  /// UsageError for a word that is none of those in the help text.
  CsvOptions csv() const;

 private:
  std::string text_ = "auto";
};

/// True for digits and fashion-mnist, which have test rows of their own.
bool has_test_rows(const std::string& name);
/// What `train` trains on and what `evaluate` and `predict` test with: see kDataHelp.
Rows load_training_rows(const std::string& name, const DatasetOptions& options,
                        const CsvOptions& csv = {});
Rows load_test_rows(const std::string& name, const DatasetOptions& options,
                    const CsvOptions& csv = {});
/// `name` as an input of expect_distinct(): empty if it is no file.
NamedFile data_file(const std::string& name);
/// How to read `data` for a model: the columns that it was trained on, and its classes.
DatasetOptions dataset_options(const Model& model, const std::string& data,
                               const DataColumns& columns);

}  // namespace chainrule::tools
