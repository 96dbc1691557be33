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

std::string GradcheckTable::line(const std::string& name, DType dtype, const ValueCheck* value,
                                 const Compared& compared, const ElementCheck* worst,
                                 const std::string& verdict) const {
  std::string shape = "-";
  if (value != nullptr) {
    shape = of_model_ ? to_string(value->shape) : value->name + " " + to_string(value->shape);
  }
  std::string text =
      fmt::format("{:<{}}  {:<7}  {:<{}}  {:>9}  {:>8}", name, names_, to_string(dtype), shape,
                  kShapeWidth, elements_text(compared), compared.jacobian);
  if (worst == nullptr) {
    text += fmt::format("  {:>9}  {:>9}  {:>9}", "-", "-", "-");
  } else {
    text += fmt::format("  {:>9.2g}  {:>9.2g}  {:>9.2g}", shown_error(*worst), worst->error_bar,
                        worst->tolerance);
  }
  return text + "  " + verdict + "\n";
}

std::string GradcheckTable::lines(GradcheckGroup group) const {
  if (!every_check_) {
    const WorstElement worst = worst_of(group);
    return line(group.front().subject, group.front().report.dtype, worst.value, compared(group),
                worst.element, verdict_text(group));
  }
  std::string text;
  for (const GradcheckRecord& record : group) {
    const GradientReport& report = record.report;
    bool shown = report.ok();
    for (const ValueCheck& value : report.values) {
      shown = shown || value.verdict > Verdict::kKink;
      text += line(record.name, report.dtype, &value, compared(value),
                   value.comparisons() > 0 ? &value.worst : nullptr, verdict_text(value));
    }
    // What is wrong with the check as a whole stands on no gradient's line.
    if (!shown) {
      text += line(record.name, report.dtype, nullptr, {}, nullptr, "failed");
    }
  }
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
    text += indented(failure_text(record.report));
  }
  if (failed > shown) text += fmt::format("... and {} more\n", failed - shown);
  return text;
}

}  // namespace chainrule::tools
