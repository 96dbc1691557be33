// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace chainrule::testing {

/// An element of a parsed XML document.
struct Element {
  std::string name;
  std::map<std::string, std::string> attributes;
  std::vector<Element> children;
  std::string text;  ///< of the element itself, without its children's

  /// All descendants of that name, in document order.
  std::vector<const Element*> all(std::string_view wanted) const;
  /// An attribute; throws std::out_of_range when it is not there.
  const std::string& at(const std::string& attribute) const { return attributes.at(attribute); }
};

/// The root element of a well-formed XML document; throws std::runtime_error, saying where, when it
/// is not. Knows the predefined entities, decimal character references below 128, and neither CDATA
/// nor comments, which nothing here writes.
Element parse_markup(std::string_view text);

}  // namespace chainrule::testing
