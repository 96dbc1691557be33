// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

#include "chainrule/core/export.hpp"
#include "chainrule/learn/array_files.hpp"
#include "chainrule/learn/csv.hpp"
#include "chainrule/learn/dataset.hpp"

namespace chainrule {

/// 1,797 handwritten digits of 8 x 8 pixels, 10 classes, part of the library: x [1797, 64] float32.
/// Pixels are counts from 0 to 16, here divided by `divisor` (1 keeps the counts).
/// ArgumentError unless the divisor is finite and > 0. Source: learn/data/README.md.
CHAINRULE_API Dataset load_digits(double divisor = 16);

/// Where Debian's package dataset-fashion-mnist puts its files.
inline constexpr const char* kFashionMnistDirectory = "/usr/share/datasets/fashion-mnist";

/// Zalando's 60,000 training and 10,000 test images of 28 x 28 pixels (Xiao et al. 2017): x [n,
/// 784] float32 in [0, 1], 10 named classes. FormatError, naming the Debian package, when the four
/// .gz files are not in `directory`.
CHAINRULE_API Split
load_fashion_mnist(const std::filesystem::path& directory = kFashionMnistDirectory);

/// A data set by name: "digits", "fashion-mnist" (the training part), "fashion-mnist-test"; or a
/// file, told by its contents, compressed by gzip or not:
/// - .npy: a matrix [n, d + 1], columns "column_0", ... without header, see to_dataset();
/// - IDX images ("...images-idx3-ubyte"), whose labels are in the file beside it that is named
///   "labels" and "idx1" instead; unsigned bytes are divided by 255;
/// - anything else is read as CSV.
/// `options` and `csv` apply to tables. FormatError when there is no such file.
CHAINRULE_API Dataset load(const std::string& name_or_path, const DatasetOptions& options = {},
                           const CsvOptions& csv = {});

/// The table in a CSV or two-dimensional .npy file, or the images of an IDX file as load() reads
/// them, without labels: for prediction.
CHAINRULE_API CsvTable load_table(const std::filesystem::path& path, const CsvOptions& csv = {});

}  // namespace chainrule
