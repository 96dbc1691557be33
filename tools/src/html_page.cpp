// SPDX-License-Identifier: Apache-2.0
#include "html_page.hpp"

#include <fmt/format.h>

#include "gradcheck_report.hpp"

namespace chainrule::tools {
namespace {

constexpr const char* kStyle = R"(
:root { color-scheme: light dark; --text: #1c2430; --soft: #5b6675; --page: #fff; --line: #dde2e8;
  --band: #f4f6f9; --good: #1a7f43; --good-band: #e8f5ed; --bad: #c0262d; --bad-band: #fdecec;
  --bar: #7aa7e0; --track: #eaeef3; }
@media (prefers-color-scheme: dark) { :root { --text: #e3e8ef; --soft: #98a3b3; --page: #14181e;
  --line: #2b333e; --band: #1c222b; --good: #56c47f; --good-band: #17291f; --bad: #ff8080;
  --bad-band: #321c20; --bar: #4a7ab8; --track: #222a34; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page);
  margin: 2rem auto 4rem; max-width: 80rem; padding: 0 1.25rem; }
h1 { font-size: 1.5rem; margin: 0 0 .6rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .4rem; }
p { margin: .4rem 0; max-width: 60rem; }
.soft { color: var(--soft); }
.verdict { padding: .55rem .9rem; border-radius: 6px; font-weight: 600; max-width: none; }
.verdict.good { background: var(--good-band); }
.verdict.bad { background: var(--bad-band); }
.good { color: var(--good); }
.bad { color: var(--bad); }
td.bad { font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1.2rem; margin: 1rem 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th { text-align: left; white-space: nowrap; font-weight: 600; font-size: .85rem; color: var(--soft); position: sticky;
  top: 0; background: var(--page); box-shadow: inset 0 -1px var(--line); z-index: 1;
  vertical-align: bottom; }
th, td { padding: .22rem .7rem .22rem 0; }
td { border-bottom: 1px solid var(--line); white-space: nowrap; }
th.n, td.n { text-align: right; }
tbody tr:hover { background: var(--band); }
tbody tr.bad { background: var(--bad-band); color: inherit; }
td.text { white-space: normal; }
.share { width: 6rem; }
.bar { display: block; height: .5rem; background: var(--track); border-radius: 3px;
  overflow: hidden; }
.bar span { display: block; height: 100%; background: var(--bar); min-width: 2px; }
.bar .over { background: var(--bad); }
details { margin: .15rem 0; }
details > summary { cursor: pointer; padding: .12rem 0; }
details > .table { margin: .2rem 0 1rem 1.1rem; }
pre { background: var(--band); border-left: 3px solid var(--bad); padding: .6rem .9rem;
  overflow-x: auto; font: 13px/1.45 ui-monospace, monospace; margin: .4rem 0 1.2rem;
  white-space: pre-wrap; }
@media (max-width: 70rem) { .table { overflow-x: auto; } th { position: static; }
  pre { white-space: pre; } }
.filter { position: absolute; opacity: 0; }
.filter + label { display: inline-block; padding: .15rem .8rem; margin: .8rem .35rem .2rem 0;
  border: 1px solid var(--line); border-radius: 1rem; cursor: pointer; color: var(--soft); }
.filter:checked + label { background: var(--band); color: var(--text); border-color: var(--bar); }
.filter:focus-visible + label { outline: 2px solid var(--bar); }
#only-bad:checked ~ * .row:not(.bad), #only-bad:checked ~ .row:not(.bad),
#only-kink:checked ~ * .row:not(.kink), #only-kink:checked ~ .row:not(.kink),
#only-waived:checked ~ * .row:not(.waived), #only-waived:checked ~ .row:not(.waived)
  { display: none; }
)";

}  // namespace

std::string html_page(std::string_view title, std::string_view body) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width\"/>\n<title>{}</title>\n"
      "<style>{}</style>\n</head>\n<body>\n{}</body>\n</html>\n",
      escape_markup(title), kStyle, body);
}

std::string html_verdict(bool good, std::string_view text) {
  return fmt::format("<p class=\"verdict {}\">{}</p>\n", good ? "good" : "bad",
                     escape_markup(text));
}

std::string html_facts(const std::vector<std::pair<std::string, std::string>>& facts) {
  std::string text = "<dl>\n";
  for (const auto& [name, value] : facts) {
    text += fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape_markup(name), escape_markup(value));
  }
  return text + "</dl>\n";
}

std::string html_filters(const std::vector<HtmlFilter>& filters) {
  if (filters.empty()) return "";
  const auto button = [](std::string_view id, std::string_view label, bool checked) {
    return fmt::format(
        "<input class=\"filter\" type=\"radio\" name=\"show\" id=\"{0}\"{1}/>"
        "<label for=\"{0}\">{2}</label>\n",
        id, checked ? " checked=\"\"" : "", escape_markup(label));
  };
  std::string text = button("only-all", "all", true);
  for (const HtmlFilter& filter : filters) {
    text += button(fmt::format("only-{}", filter.row_class), filter.label, false);
  }
  return text;
}

std::string html_bar(double part, bool over, std::string_view title) {
  const std::string filled = fmt::format("<span{} style=\"width:{:.0f}%\"></span>",
                                         over ? " class=\"over\"" : "", 100 * part);
  return fmt::format("<span class=\"bar\" title=\"{}\">{}</span>", escape_markup(title),
                     part > 0 ? filled : "");
}

}  // namespace chainrule::tools
