// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <sstream>

#include "chainrule/check/failure_text.hpp"
#include "gradcheck_report.hpp"

namespace chainrule::tools {
namespace {

constexpr std::size_t kMaxShownFailures = 20;
constexpr std::size_t kShapeWidth = 15;

std::string indented(const std::string& text) {
  std::istringstream lines(text);
  std::string result;
  for (std::string line; std::getline(lines, line);) result += "  " + line + "\n";
  return result;
}

}  // namespace

GradcheckTable::GradcheckTable(bool of_model, std::size_t names, bool every_check)
    : of_model_(of_model), names_(names), every_check_(every_check) {}

std::string GradcheckTable::heading() const {
  return fmt::format("{:<{}}  {:<7}  {:<{}}  {:>9}  {:>8}  {:>9}  {:>9}  {:>9}  verdict\n",
                     of_model_      ? "tensor"
                     : every_check_ ? "check"
                                    : "op",
                     names_, "dtype",
                     of_model_      ? "shape"
                     : every_check_ ? "gradient of"
                                    : "worst in",
                     kShapeWidth, "elements", "Jacobian", "|a - n|", "error bar", "tolerated");
}

std::string GradcheckTable::line(const std::string& name, DType dtype,
                                 const GradcheckLine& line) const {
  std::string text = fmt::format("{:<{}}  {:<7}  {:<{}}  {:>9}  {:>8}", name, names_,
                                 to_string(dtype), line.of.empty() ? "-" : line.of, kShapeWidth,
                                 elements_text(line.compared), line.compared.jacobian);
  if (!line.worst) {
    text += fmt::format("  {:>9}  {:>9}  {:>9}", "-", "-", "-");
  } else {
    const std::string bar =
        line.worst->error_bar ? fmt::format("{:.2g}", *line.worst->error_bar) : "-";
    text +=
        fmt::format("  {:>9.2g}  {:>9}  {:>9.2g}", line.worst->error, bar, line.worst->tolerance);
  }
  return text + "  " + line.verdict + "\n";
}

std::string GradcheckTable::lines(GradcheckGroup group) const {
  std::string text;
  const auto add = [&](const std::string& name, const std::vector<GradcheckLine>& lines) {
    for (const GradcheckLine& each : lines) text += line(name, group.front().report.dtype, each);
  };
  if (!every_check_) {
    add(group.front().subject, lines_of_group(group, of_model_));
    return text;
  }
  for (const GradcheckRecord& record : group) add(record.name, lines_of_check(record, of_model_));
  return text;
}

std::string totals_text(const GradcheckRun& run) {
  std::string text = fmt::format("forward mode: {}\n", forward_mode_text(run.records));
  const std::string second_order = second_order_text(run.records);
  if (!second_order.empty()) text += fmt::format("second order: {}\n", second_order);
  return text;
}

std::string failures_text(const GradcheckRun& run) {
  std::string text;
  std::size_t shown = 0, failed = 0;
  for (const GradcheckRecord& record : run.records) {
    if (record.report.ok() || ++failed > kMaxShownFailures) continue;
    ++shown;
    text += fmt::format("FAILED {}, {} {}, {}\n", record.name, run.of_model ? "shape" : "output",
                        record.shape, to_string(record.report.dtype));
    text += indented(failure_text(record.report) + record.advice);
  }
  if (failed > shown) text += fmt::format("... and {} more\n", failed - shown);
  return text;
}

}  // namespace chainrule::tools
