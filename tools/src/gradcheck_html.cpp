// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "chainrule/check/failure_text.hpp"
#include "chainrule/core/version.hpp"
#include "gradcheck_report.hpp"

namespace chainrule::tools {
namespace {

constexpr const char* kStyle = R"(
:root { color-scheme: light dark; --text: #1c2430; --soft: #5b6675; --page: #fff; --line: #d8dde4;
  --band: #f4f6f9; --good: #1a7f43; --bad: #c0262d; --bar: #7aa7e0; }
@media (prefers-color-scheme: dark) { :root { --text: #e3e8ef; --soft: #98a3b3; --page: #14181e;
  --line: #313a46; --band: #1c222b; --good: #56c47f; --bad: #ff7b7b; --bar: #3f6ea8; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page);
  margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p, dl { margin: .4rem 0; } dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; }
dt { color: var(--soft); } dd { margin: 0; } .soft { color: var(--soft); }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); position: sticky; top: 0;
  background: var(--page); }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
.n { text-align: right; }
.share { width: 7rem; } .share span { display: block; height: .55rem; background: var(--bar);
  border-radius: 2px; min-width: 1px; } .share .over { background: var(--bad); }
details > summary { cursor: pointer; } .scroll { overflow-x: auto; }
pre { background: var(--band); border-left: 3px solid var(--bad); padding: .6rem .9rem;
  overflow-x: auto; font: 13px/1.45 ui-monospace, monospace; margin: .4rem 0 1.2rem; }
)";

std::string heading(bool of_model) {
  return fmt::format(
      "<thead><tr><th>{}</th><th>dtype</th><th>{}</th><th class=\"n\">elements</th>"
      "<th class=\"n\">|analytic - numeric|</th><th class=\"n\">error bar</th>"
      "<th class=\"n\">tolerated</th><th>share of it</th><th>verdict</th></tr></thead>\n",
      of_model ? "tensor" : "op, case", of_model ? "shape" : "gradient of");
}

// The error as a part of what is tolerated, on a scale of 1e-6 to 1.
std::string share_bar(const ElementCheck& element) {
  const double error = shown_error(element);
  const bool over = element.verdict >= Verdict::kUnresolved;
  const double share = element.tolerance > 0 ? error / element.tolerance : error > 0 ? HUGE_VAL : 0;
  const double part = over ? 1 : share > 0 ? std::clamp(1 + std::log10(share) / 6, 0.0, 1.0) : 0;
  return fmt::format("<span{} style=\"width:{:.0f}%\" title=\"{:.3g}\"></span>",
                     over ? " class=\"over\"" : "", 100 * part, share);
}

std::string row(const std::string& name, DType dtype, const std::string& shape,
                const std::string& compared, const ElementCheck* worst, const std::string& verdict,
                bool good) {
  std::string text =
      fmt::format("<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"n\">{}</td>",
                  escape_markup(name), to_string(dtype), escape_markup(shape), compared);
  if (worst == nullptr) {
    text += "<td></td><td></td><td></td><td></td>";
  } else {
    text += fmt::format(
        "<td class=\"n\">{:.2g}</td><td class=\"n\">{:.2g}</td><td class=\"n\">{:.2g}</td>"
        "<td class=\"share\">{}</td>",
        shown_error(*worst), worst->error_bar, worst->tolerance, share_bar(*worst));
  }
  return text + fmt::format("<td class=\"{}\">{}</td></tr>\n", good ? "good" : "bad",
                            escape_markup(verdict));
}

std::string shape_of(const ValueCheck* value, bool of_model) {
  if (value == nullptr) return "";
  return (of_model ? "" : value->name + " ") + to_string(value->shape);
}

bool all_ok(GradcheckGroup group) {
  return std::all_of(group.begin(), group.end(),
                     [](const GradcheckRecord& r) { return r.report.ok(); });
}

std::string group_row(GradcheckGroup group, bool of_model) {
  const WorstElement worst = worst_of(group);
  return row(group.front().subject, group.front().report.dtype, shape_of(worst.value, of_model),
             compared_text(group), worst.element, verdict_text(group), all_ok(group));
}

std::string check_rows(GradcheckGroup group) {
  std::string text;
  for (const GradcheckRecord& record : group) {
    for (const ValueCheck& value : record.report.values) {
      const bool compared = value.elements + value.directions > 0;
      const bool good = value.verdict <= Verdict::kKink && compared;
      text += row(record.name, record.report.dtype, shape_of(&value, false), compared_text(value),
                  compared ? &value.worst : nullptr, verdict_text(value), good);
    }
  }
  return text;
}

std::string failures(const GradcheckRun& run) {
  if (run.failed() == 0) return "";
  std::string text = "<h2>What is wrong</h2>\n";
  for (const GradcheckRecord& record : run.records) {
    if (record.report.ok()) continue;
    text +=
        fmt::format("<details open=\"\"><summary>{}, {}, {}</summary>\n<pre>{}</pre></details>\n",
                    escape_markup(record.name), escape_markup(record.shape),
                    to_string(record.report.dtype), escape_markup(failure_text(record.report)));
  }
  return text;
}

std::string facts(const GradcheckRun& run) {
  std::string text = "<dl>\n";
  const auto add = [&](const std::string& name, const std::string& value) {
    text += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape_markup(name), escape_markup(value));
  };
  for (const auto& [name, value] : run.facts) add(name, value);
  add("kernels", run.architecture);
  add("seed", std::to_string(run.seed));
  add("time", fmt::format("{:.1f} s", run.seconds));
  add("version", CHAINRULE_VERSION_STRING);
  return text + "</dl>\n";
}

std::string summary(const GradcheckRun& run) {
  const std::size_t failed = run.failed(), checks = run.records.size();
  if (failed > 0)
    return fmt::format("<p class=\"bad\">{} of {} checks failed.</p>\n", failed, checks);
  return fmt::format("<p class=\"good\">All {} checks agree.</p>\n", checks);
}

}  // namespace

std::string gradcheck_html(const GradcheckRun& run) {
  std::string text = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width\"/>\n<title>chainrule gradcheck: "
      "{}</title>\n"
      "<style>{}</style>\n</head>\n<body>\n<h1>chainrule gradcheck</h1>\n",
      run.failed() == 0 ? "all agree" : fmt::format("{} failed", run.failed()), kStyle);
  text += summary(run) + facts(run) + failures(run);
  text += fmt::format(
      "<h2>Gradients</h2>\n<p class=\"soft\">What backward computes (analytic) against "
      "extrapolated "
      "differences of forward in float64 (numeric). A line shows the worst of its comparisons. The "
      "bar is its share of the tolerated error, on a logarithmic scale from 1e-6.</p>\n"
      "<div class=\"scroll\"><table>\n{}",
      heading(run.of_model));
  const std::vector<GradcheckGroup> groups = groups_of(run);
  text += "<tbody>\n";
  for (const GradcheckGroup group : groups) text += group_row(group, run.of_model);
  text += "</tbody></table></div>\n";
  if (!run.of_model) {
    text += "<h2>Every check</h2>\n";
    for (const GradcheckGroup group : groups) {
      text += fmt::format(
          "<details{}><summary>{}, {}: {}</summary>\n<div class=\"scroll\"><table>\n{}"
          "<tbody>\n{}</tbody></table></div></details>\n",
          all_ok(group) ? "" : " open=\"\"", escape_markup(group.front().subject),
          to_string(group.front().report.dtype), escape_markup(verdict_text(group)), heading(false),
          check_rows(group));
    }
  }
  return text + "</body>\n</html>\n";
}

}  // namespace chainrule::tools
