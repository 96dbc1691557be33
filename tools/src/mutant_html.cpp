// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "chainrule/core/version.hpp"
#include "gradcheck_report.hpp"
#include "html_page.hpp"
#include "mutant_run.hpp"

namespace chainrule::tools {
namespace {

std::string counts_row(const MutantCounts& counts) {
  const bool good = counts.caught == counts.total;
  std::string text = fmt::format(
      "<tr class=\"row{}\"><td>{}</td><td class=\"n\">{}</td><td class=\"n {}\">{}</td>",
      good ? "" : " bad", escape_markup(counts.name), counts.total, good ? "good" : "bad",
      counts.caught);
  for (const MutantDetector detector : kDetectors) {
    const Index caught = counts.caught_by[static_cast<std::size_t>(detector)];
    const double part =
        static_cast<double>(caught) / static_cast<double>(std::max<Index>(counts.total, 1));
    text += fmt::format("<td class=\"n\">{}</td><td class=\"share\">{}</td>", caught,
                        html_bar(part, false, fmt::format("{:.1f} %", 100 * part)));
  }
  return text + fmt::format("<td class=\"n\">{}</td></tr>\n", counts.equivalent);
}

// Those with survivors come first.
std::string counts_table(std::string_view what, std::vector<MutantCounts> groups) {
  std::stable_partition(groups.begin(), groups.end(),
                        [](const MutantCounts& counts) { return counts.caught != counts.total; });
  std::string text = fmt::format(
      "<div class=\"table\"><table>\n<thead><tr><th>{}</th><th class=\"n\">mutants</th>"
      "<th class=\"n\">caught</th>",
      what);
  for (const MutantDetector detector : kDetectors) {
    text += fmt::format("<th class=\"n\">{}</th><th></th>", to_string(detector));
  }
  text += "<th class=\"n\">equivalent</th></tr></thead>\n<tbody>\n";
  for (const MutantCounts& counts : groups) text += counts_row(counts);
  return text + "</tbody></table></div>\n";
}

std::string equivalent_list(const MutationReport& report) {
  if (report.equivalent == 0) return "";
  std::string text =
      fmt::format("<details><summary>{} equivalent mutants</summary>\n<ul>\n", report.equivalent);
  for (const MutantResult& mutant : report.mutants) {
    if (mutant.equivalent) text += fmt::format("<li>{}</li>\n", escape_markup(mutant_text(mutant)));
  }
  return text + "</ul></details>\n";
}

std::string mutant_facts(const MutantRun& run) {
  return html_facts({{"undamaged", undamaged_text(run.report)},
                     {"kernels", run.architecture},
                     {"seed", std::to_string(run.seed)},
                     {"time", fmt::format("{:.1f} s", run.report.seconds)},
                     {"version", CHAINRULE_VERSION_STRING}});
}

}  // namespace

std::string mutants_html(const MutantRun& run) {
  const MutationReport& report = run.report;
  std::string body = "<h1>chainrule gradcheck --mutants</h1>\n";
  body += html_verdict(report.ok(), "The checker " + caught_text(report) + ".");
  body += mutant_facts(run);
  if (!report.ok()) {
    body += fmt::format("<h2>What is wrong</h2>\n<pre>{}</pre>\n",
                        escape_markup(mutant_failures_text(report)));
  }
  body +=
      "<p class=\"soft\">Every op's backward is damaged on purpose, in float64, at three scales of "
      "the inputs, and the checker is run on it. Who noticed: comparisons with finite differences; "
      "properties such as determinism and accumulation; the op's forward mode against its "
      "backward; "
      "the value at a kink that the op's contract states. A mutant that changes no bit of any "
      "gradient is equivalent.</p>\n";
  body += "<h2>By op</h2>\n" + counts_table("op", counts_by_op(report));
  body += "<h2>By damage</h2>\n" + counts_table("damage", counts_by_kind(report));
  body += equivalent_list(report);
  return html_page(
      fmt::format("chainrule gradcheck: {} of {} mutants caught", report.caught, report.total),
      body);
}

}  // namespace chainrule::tools
