// SPDX-License-Identifier: Apache-2.0
#include "kernel.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <vector>

#include "chainrule/learn/csv.hpp"
#include "chainrule/learn/load.hpp"
#include "chainrule/learn/output.hpp"
#include "commands.hpp"
#include "kernel_plot.hpp"

namespace chainrule::tools {
namespace {

constexpr const char* kToStdout = "-";

// All columns of a file, which must be numbers.
Tensor load_matrix(const std::string& path, const CsvOptions& csv) {
  const CsvTable table = load_table(path, csv);
  Tensor x({table.rows, static_cast<Index>(table.columns.size())}, DType::kFloat64);
  for (std::size_t j = 0; j < table.columns.size(); ++j) {
    const CsvColumn& column = table.columns[j];
    if (!column.is_numeric()) {
      throw FormatError(fmt::format(
          "{}: line {}, column '{}' is not a finite number, but kernels use all columns", path,
          column.text_line, table.names[j]));
    }
    for (Index i = 0; i < table.rows; ++i) {
      x.as<double>()(i, static_cast<Index>(j)) = column.numbers[static_cast<std::size_t>(i)];
    }
  }
  expect_finite(x, path);
  return x;
}

}  // namespace

void GramOptions::add_to(CLI::App& app) {
  app.add_option("--data", data_, "CSV or .npy file, IDX images: an input a row; all its columns")
      ->required();
  app.add_option("--other", other_, "The same for the columns of the matrix (default: --data)");
  app.add_option("--out", out_,
                 "CSV file to write, a row for each row of --data and a number for each row of "
                 "--other, 17 digits, without header; - is standard output")
      ->required();
  app.add_option("--plot", plot_, "HTML file with the matrix in colours");
  header_.add_to(app);
  compute_.add_threads_to(app);
}

int GramOptions::run(const std::vector<NamedFile>& inputs,
                     const std::function<Tensor(const Tensor&, const Tensor*)>& gram) const {
  const CsvOptions csv = header_.csv();
  std::vector<NamedFile> read = inputs;
  read.push_back({"--data", data_});
  read.push_back({"--other", other_});
  expect_distinct({{"--out", out_ == kToStdout ? "" : out_}, {"--plot", plot_}}, read);
  if (out_ != kToStdout) expect_writable(out_);
  if (!plot_.empty()) expect_writable(plot_);
  const auto limit = compute_.allow_threads();
  const Tensor x = load_matrix(data_, csv);
  const bool has_other = !other_.empty();
  const Tensor z = has_other ? load_matrix(other_, csv) : Tensor();
  if (has_other && z.columns() != x.columns()) {
    throw FormatError(fmt::format("{} has {} columns and {} has {}, expected the same", data_,
                                  x.columns(), other_, z.columns()));
  }
  const Tensor result = gram(x, has_other ? &z : nullptr);
  expect_finite(result, "the kernel");
  if (!plot_.empty()) {
    if (result.rows() == 0 || result.columns() == 0) {
      throw FormatError(fmt::format("--plot: a matrix of {} x {} has nothing to show",
                                    result.rows(), result.columns()));
    }
    write_file(gram_html(result, has_other ? data_ + " and " + other_ : data_), plot_);
  }
  if (out_ == kToStdout) {
    write_matrix_csv(result, std::cout);
    return kExitOk;
  }
  write_matrix_csv(result, out_);
  if (destination_of(out_).direct) return kExitOk;
  std::cout << fmt::format("wrote {} x {} numbers to {}\n", result.rows(), result.columns(), out_);
  if (!plot_.empty()) std::cout << fmt::format("wrote {}\n", plot_);
  return kExitOk;
}

Command add_kernel(CLI::App& app) {
  CLI::App* const sub = app.add_subcommand("kernel", "Gram matrices of covariance kernels");
  sub->require_subcommand(1);
  sub->footer(R"(`chainrule kernel KIND --help` explains a kind.

Examples:
  chainrule kernel rbf --data x.csv --length-scale 0.5 --out k.csv --plot k.html
  chainrule kernel learned --data x.csv --model digits.safetensors --out k.csv
  chainrule kernel nngp --data x.csv --depth 3 --activation relu --out k.csv
  chainrule kernel ntk --data train.csv --other test.csv --activation erf --out k.csv)");
  const std::vector<std::string> kinds{"nngp", "ntk"};
  std::vector<Command> commands = add_covariance_kernels(*sub);
  for (const std::string& kind : kinds) commands.push_back(add_infinite_kernel(*sub, kind));
  return [sub, commands] {
    const auto known = sub->get_subcommands([](const CLI::App*) { return true; });
    for (std::size_t i = 0; i < commands.size(); ++i) {
      if (known[i]->parsed()) return commands[i]();
    }
    throw UsageError("no kind of kernel");
  };
}

}  // namespace chainrule::tools
