// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace chainrule::tools {

/// A page without scripts and without anything outside it, for light and dark screens; well-formed
/// XML too. `body` is markup.
///
/// What carries the classes `row` and, say, `bad`, is hidden by filters() that ask for others.
std::string html_page(std::string_view title, std::string_view body);

/// The paragraph at the top that says what came of it.
std::string html_verdict(bool good, std::string_view text);
/// Pairs of a name and a text, escaped here.
std::string html_facts(const std::vector<std::pair<std::string, std::string>>& facts);

/// Buttons that show all rows, or only those of a class: bad, kink, waived. To stand before what
/// they filter, beside it in the tree.
struct HtmlFilter {
  std::string_view row_class;
  std::string label;
};
std::string html_filters(const std::vector<HtmlFilter>& filters);

/// A bar that is full at `part` = 1.
std::string html_bar(double part, bool over, std::string_view title);

}  // namespace chainrule::tools
