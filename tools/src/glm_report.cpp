// SPDX-License-Identifier: Apache-2.0
#include "glm_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "glm_source.hpp"
#include "probability.hpp"

namespace chainrule::tools {
namespace {

bool has_free_dispersion(const GlmReport& report) {
  return std::holds_alternative<Gaussian>(report.likelihood) ||
         std::holds_alternative<Gamma>(report.likelihood);
}

// AIC counts what was estimated outside the fit as well.
double aic(const GlmReport& report) {
  return report.fit.aic + (report.estimated_dispersion ? 2 : 0);
}

// Of the deviance, and of the null deviance.
double residual_freedom(const GlmReport& report) {
  const auto outputs = static_cast<double>(report.fit.dispersion.size());
  const double free = has_free_dispersion(report) ? outputs : 0;
  return report.total_weight - (static_cast<double>(report.fit.parameters) - free);
}

double null_freedom(const GlmReport& report) {
  const bool bias = !report.coefficient_names.empty() && report.coefficient_names.back().empty();
  const bool classes = std::holds_alternative<Categorical>(report.likelihood);
  const auto outputs = static_cast<double>(report.fit.dispersion.size());
  return report.total_weight - (bias ? outputs - (classes ? 1 : 0) : 0);
}

CoefficientRow row_at(const GlmReport& report, Index row, Index output) {
  const GlmFit& fit = report.fit;
  const Index outputs = fit.coefficients.columns();
  const auto variance = [&](Index k, Index l) {
    if (fit.covariance.shape().rank() == 0) return std::numeric_limits<double>::quiet_NaN();
    return element(fit.covariance, row * outputs + k, row * outputs + l);
  };
  const std::string& name = report.coefficient_names[static_cast<std::size_t>(row)];
  CoefficientRow result{
      .group = outputs > 1 ? report.output_names[static_cast<std::size_t>(output)] : std::string(),
      .name = name.empty() ? "(intercept)" : name,
      .value = element(fit.coefficients, row, output)};
  double squared = variance(output, output);
  if (std::holds_alternative<Categorical>(report.likelihood)) {
    result.value -= element(fit.coefficients, row, 0);
    squared += variance(0, 0) - 2 * variance(output, 0);
  }
  result.error = std::sqrt(squared);
  result.statistic = result.value / result.error;
  result.p_value = has_free_dispersion(report)
                       ? student_p_value(result.statistic, residual_freedom(report))
                       : normal_p_value(result.statistic);
  return result;
}

std::string p_text(double p) {
  return p < 1e-4 ? fmt::format("{:.2e}", p) : fmt::format("{:.4f}", p);
}

std::string table_text(const std::vector<CoefficientRow>& rows, std::string_view statistic) {
  std::size_t width = 0;
  for (const CoefficientRow& row : rows) width = std::max(width, row.name.size());
  std::string text = fmt::format("{:<{}}  {:>12}  {:>12}  {:>9}  {:>9}\n", "", width, "coefficient",
                                 "std. error", statistic, "p-value");
  const std::string* group = nullptr;
  for (const CoefficientRow& row : rows) {
    if (!row.group.empty() && (group == nullptr || *group != row.group)) {
      text += row.group + "\n";
      group = &row.group;
    }
    text += fmt::format("{:<{}}  {:>12.6g}  {:>12.6g}  {:>9.3f}  {:>9}\n", row.name, width,
                        row.value, row.error, row.statistic, p_text(row.p_value));
  }
  return text;
}

}  // namespace

std::vector<CoefficientRow> coefficient_rows(const GlmReport& report) {
  const Index outputs = report.fit.coefficients.columns(), rows = report.fit.coefficients.rows();
  const bool bias = report.coefficient_names.back().empty();
  std::vector<CoefficientRow> result;
  for (Index k = std::holds_alternative<Categorical>(report.likelihood) ? 1 : 0; k < outputs; ++k) {
    if (bias) result.push_back(row_at(report, rows - 1, k));
    for (Index j = 0; j < rows - (bias ? 1 : 0); ++j) result.push_back(row_at(report, j, k));
  }
  return result;
}

std::string to_text(const GlmReport& report) {
  const GlmFit& fit = report.fit;
  std::string text = table_text(coefficient_rows(report), has_free_dispersion(report) ? "t" : "z");
  if (std::holds_alternative<Categorical>(report.likelihood)) {
    text += fmt::format("each class against {}\n", report.output_names.front());
  }
  if (has_free_dispersion(report)) {
    text += "dispersion";
    for (const double dispersion : fit.dispersion) text += fmt::format(" {:.6g}", dispersion);
    text += "\n";
  }
  if (const auto* l = std::get_if<NegativeBinomial>(&report.likelihood)) {
    text += fmt::format("dispersion {:.6g}{}\n", l->dispersion,
                        report.estimated_dispersion ? " (maximum likelihood)" : "");
  }
  return text + fmt::format(
                    "log likelihood {:.6f}, AIC {:.4f}\ndeviance {:.6g} on {:.6g} degrees of "
                    "freedom, null deviance {:.6g} on {:.6g}\n",
                    fit.log_likelihood, aic(report), fit.deviance, residual_freedom(report),
                    fit.null_deviance, null_freedom(report));
}

nlohmann::ordered_json to_json(const GlmReport& report) {
  const GlmFit& fit = report.fit;
  nlohmann::ordered_json json{{"family", family_name(report.likelihood)},
                              {"iterations", fit.iterations},
                              {"converged", fit.converged},
                              {"objective", fit.objective},
                              {"log_likelihood", fit.log_likelihood},
                              {"aic", aic(report)},
                              {"deviance", fit.deviance},
                              {"residual_degrees_of_freedom", residual_freedom(report)},
                              {"null_deviance", fit.null_deviance},
                              {"null_degrees_of_freedom", null_freedom(report)}};
  if (has_free_dispersion(report)) json["dispersion"] = fit.dispersion;
  if (const auto* l = std::get_if<NegativeBinomial>(&report.likelihood)) {
    json["dispersion"] = l->dispersion;
  }
  for (const CoefficientRow& row : coefficient_rows(report)) {
    nlohmann::ordered_json one{{"name", row.name},
                               {"coefficient", row.value},
                               {"standard_error", row.error},
                               {has_free_dispersion(report) ? "t" : "z", row.statistic},
                               {"p_value", row.p_value}};
    if (!row.group.empty()) one["output"] = row.group;
    json["coefficients"].push_back(std::move(one));
  }
  return json;
}

}  // namespace chainrule::tools
