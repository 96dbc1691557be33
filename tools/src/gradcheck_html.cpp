// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "chainrule/check/failure_text.hpp"
#include "chainrule/core/version.hpp"
#include "common.hpp"
#include "gradcheck_report.hpp"
#include "html_page.hpp"

namespace chainrule::tools {
namespace {

constexpr int kOpenFailures = 3;  // the tables below should not be far

constexpr const char* kExplanation =
    "<h2>Gradients</h2>\n<p class=\"soft\">What backward computes (analytic) against extrapolated "
    "differences of forward in float64 (numeric). A line shows the worst of its comparisons: "
    "elements, with random directions behind a plus, and entries of the whole Jacobian. The bar is "
    "its share of the tolerated error, on a logarithmic scale from 1e-6. A line of jvp compares "
    "backward with forward mode, up to rounding: products with random directions, and entries of "
    "the Jacobian; a line of 2nd compares second derivatives with differences of the "
    "gradient.</p>\n";

std::string heading(bool of_model) {
  return fmt::format(
      "<thead><tr><th>{}</th><th>dtype</th><th>{}</th><th class=\"n\">elements</th>"
      "<th class=\"n\">Jacobian</th><th class=\"n\">|analytic - numeric|</th>"
      "<th class=\"n\">error bar</th><th class=\"n\">tolerated</th><th>share of it</th>"
      "<th>verdict</th></tr></thead>\n",
      of_model ? "tensor" : "op, case", of_model ? "shape" : "gradient of");
}

std::string table(bool of_model, const std::string& rows) {
  return "<div class=\"table\"><table>\n" + heading(of_model) + "<tbody>\n" + rows +
         "</tbody></table></div>\n";
}

std::string share_bar(const GradcheckLine::Worst& worst) {
  const double share = share_of(worst.error, worst.tolerance);
  const double part = worst.over  ? 1
                      : share > 0 ? std::clamp(1 + std::log10(share) / 6, 0.0, 1.0)
                                  : 0;
  return html_bar(part, worst.over, fmt::format("{:.3g}", share));
}

// What the filters go by.
std::string classes(bool good, Index kinks, Index waived) {
  return fmt::format("row{}{}{}", good ? "" : " bad", kinks > 0 ? " kink" : "",
                     waived > 0 ? " waived" : "");
}

std::string as_row(const std::string& name, DType dtype, const GradcheckLine& line) {
  const Compared& counts = line.compared;
  std::string text = fmt::format(
      "<tr class=\"{}\"><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td>"
      "<td class=\"n\">{}</td>",
      classes(line.good, counts.kinks, counts.waived), escape_markup(name), to_string(dtype),
      escape_markup(line.of), elements_text(counts), counts.jacobian);
  if (!line.worst) {
    text += "<td></td><td></td><td></td><td></td>";
  } else {
    const GradcheckLine::Worst& worst = *line.worst;
    text += fmt::format(
        "<td class=\"n\">{:.2g}</td><td class=\"n\">{}</td><td class=\"n\">{:.2g}</td>"
        "<td class=\"share\">{}</td>",
        worst.error, worst.error_bar ? fmt::format("{:.2g}", *worst.error_bar) : "",
        worst.tolerance, share_bar(worst));
  }
  return text + fmt::format("<td class=\"{}\">{}</td></tr>\n", line.good ? "good" : "bad",
                            escape_markup(line.verdict));
}

std::string as_rows(const GradcheckRecord& record, const std::string& name,
                    const std::vector<GradcheckLine>& lines) {
  std::string text;
  for (const GradcheckLine& line : lines) text += as_row(name, record.report.dtype, line);
  return text;
}

std::string group_rows(GradcheckGroup group, bool of_model) {
  return as_rows(group.front(), group.front().subject, lines_of_group(group, of_model));
}

std::string check_rows(const GradcheckRecord& record) {
  return as_rows(record, record.name, lines_of_check(record, /*of_model=*/false));
}

std::string every_check(GradcheckGroup group) {
  std::string rows;
  for (const bool ok : {false, true}) {
    for (const GradcheckRecord& record : group) {
      if (record.report.ok() == ok) rows += check_rows(record);
    }
  }
  const Compared counts = compared(gradients_of(group));
  const bool good = all_ok(group);
  return fmt::format(
      "<details class=\"{}\"{}><summary>{}, {}: <span class=\"{}\">{}</span></summary>\n{}"
      "</details>\n",
      classes(good, counts.kinks, counts.waived), good ? "" : " open=\"\"",
      escape_markup(group.front().subject), to_string(group.front().report.dtype),
      good ? "good" : "bad", escape_markup(verdict_text(group)), table(false, rows));
}

std::string failures(const GradcheckRun& run) {
  if (run.failed() == 0) return "";
  std::string text = "<h2>What is wrong</h2>\n";
  int shown = 0;
  for (const GradcheckRecord& record : run.records) {
    if (record.report.ok()) continue;
    text += fmt::format("<details{}><summary>{}, {}, {}</summary>\n<pre>{}</pre></details>\n",
                        ++shown <= kOpenFailures ? " open=\"\"" : "", escape_markup(record.name),
                        escape_markup(record.shape), to_string(record.report.dtype),
                        escape_markup(failure_text(record.report)));
  }
  return text;
}

std::string facts(const GradcheckRun& run) {
  auto facts = run.facts;
  const std::vector<std::string> properties = properties_of(run.records);
  if (!properties.empty()) facts.emplace_back("also checked", joined(properties));
  facts.emplace_back("forward mode", forward_mode_text(run.records));
  const std::string second_order = second_order_text(run.records);
  if (!second_order.empty()) facts.emplace_back("second order", second_order);
  facts.emplace_back("kernels", run.architecture);
  facts.emplace_back("seed", std::to_string(run.seed));
  facts.emplace_back("time", fmt::format("{:.1f} s", run.seconds));
  facts.emplace_back("version", CHAINRULE_VERSION_STRING);
  return html_facts(facts);
}

std::string filters(const GradcheckRun& run) {
  const Compared counts = compared(gradients_of(run.records));
  std::vector<HtmlFilter> filters;
  if (run.failed() > 0) filters.push_back({"bad", "failed"});
  if (counts.kinks > 0) filters.push_back({"kink", "with kinks"});
  if (counts.waived > 0) filters.push_back({"waived", "with waivers"});
  return html_filters(filters);
}

}  // namespace

std::string gradcheck_html(const GradcheckRun& run) {
  const std::size_t failed = run.failed(), checks = run.records.size();
  std::vector<GradcheckGroup> groups = groups_of(run);
  std::stable_partition(groups.begin(), groups.end(),
                        [](GradcheckGroup group) { return !all_ok(group); });
  std::string rows;
  for (const GradcheckGroup group : groups) rows += group_rows(group, run.of_model);
  std::string body = "<h1>chainrule gradcheck</h1>\n";
  body += html_verdict(failed == 0, failed == 0
                                        ? fmt::format("All {} checks agree.", checks)
                                        : fmt::format("{} of {} checks failed.", failed, checks));
  body += facts(run) + failures(run) + kExplanation + filters(run) + table(run.of_model, rows);
  if (!run.of_model) {
    body += "<h2>Every check</h2>\n";
    for (const GradcheckGroup group : groups) body += every_check(group);
  }
  return html_page(
      "chainrule gradcheck: " + (failed == 0 ? "all agree" : fmt::format("{} failed", failed)),
      body);
}

}  // namespace chainrule::tools
