// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/load.hpp"

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "bundled_data.hpp"
#include "chainrule/core/error.hpp"
#include "file_io.hpp"

namespace chainrule {
namespace {

namespace fs = std::filesystem;

enum class Format { kCsv, kNpy, kIdx };

Format format_of(std::string_view contents) {
  constexpr std::string_view kNpyMagic("\x93NUMPY", 6);
  constexpr std::string_view kIdxMagic("\0\0", 2);
  if (contents.starts_with(kNpyMagic)) return Format::kNpy;
  return contents.starts_with(kIdxMagic) ? Format::kIdx : Format::kCsv;
}

CsvTable table_of(const Tensor& matrix, std::string_view source) {
  if (matrix.shape().rank() != 2) {
    throw FormatError(fmt::format("{}: an array of shape {}, expected a matrix", source,
                                  to_string(matrix.shape())));
  }
  CsvTable table{.source = std::string(source), .has_header = false};
  table.rows = matrix.rows();
  for (Index j = 0; j < matrix.columns(); ++j) {
    table.names.push_back(fmt::format("column_{}", j));
    std::vector<double>& numbers = table.columns.emplace_back().numbers;
    numbers.reserve(static_cast<std::size_t>(table.rows));
    for (Index i = 0; i < table.rows; ++i) numbers.push_back(element(matrix, i, j));
  }
  return table;
}

CsvTable parse_table(std::string_view contents, const std::string& name, const CsvOptions& csv) {
  switch (format_of(contents)) {
    case Format::kNpy:
      return table_of(read_npy(internal::as_bytes(contents), name), name);
    case Format::kIdx:
      return table_of(internal::idx_rows(internal::as_bytes(contents), name), name);
    case Format::kCsv:
      break;
  }
  return parse_csv(contents, csv, name);
}

/// ".../train-images-idx3-ubyte.gz" -> ".../train-labels-idx1-ubyte.gz"
fs::path labels_beside(const fs::path& images) {
  std::string file = images.filename().string();
  for (const auto& [from, to] : {std::pair("images", "labels"), std::pair("idx3", "idx1")}) {
    const std::size_t at = file.rfind(from);
    if (at == std::string::npos) {
      throw FormatError(
          fmt::format("{}: IDX images are called '...images-idx3-ubyte', so that "
                      "their labels can be found",
                      images.string()));
    }
    file.replace(at, std::string_view(from).size(), to);
  }
  return images.parent_path() / file;
}

}  // namespace

Dataset load(const std::string& name, const DatasetOptions& options, const CsvOptions& csv) {
  if (name == "digits") return load_digits();
  if (name == "fashion-mnist" || name == "fashion-mnist-test") {
    return internal::load_fashion_mnist_part(kFashionMnistDirectory,
                                             name == "fashion-mnist" ? "train" : "t10k");
  }
  std::error_code ignored;
  if (!fs::exists(name, ignored)) {
    throw FormatError(
        fmt::format("there is no file '{}', and no data set of that name: expected "
                    "digits, fashion-mnist, fashion-mnist-test or a path",
                    name));
  }
  const std::string contents = internal::read_file_or_gzip(name);
  if (format_of(contents) == Format::kIdx)
    return internal::load_idx_pair(name, labels_beside(name));
  return to_dataset(parse_table(contents, name, csv), options);
}

CsvTable load_table(const fs::path& path, const CsvOptions& csv) {
  return parse_table(internal::read_file_or_gzip(path), path.string(), csv);
}

}  // namespace chainrule
