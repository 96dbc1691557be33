// SPDX-License-Identifier: Apache-2.0
#include "markup.hpp"

#include <cctype>
#include <stdexcept>

namespace chainrule::testing {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Element document() {
    if (take("<?xml ")) until("?>");
    space();
    if (take("<!DOCTYPE ")) until(">");
    space();
    Element root = element();
    space();
    if (at_ != text_.size()) fail("something after the root element");
    return root;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error(what + " at byte " + std::to_string(at_) + ": " +
                             std::string(text_.substr(at_, 40)));
  }
  bool ended() const { return at_ >= text_.size(); }
  char peek() const {
    if (ended()) fail("the document ends early");
    return text_[at_];
  }
  bool take(std::string_view what) {
    if (text_.substr(at_, what.size()) != what) return false;
    at_ += what.size();
    return true;
  }
  void expect(std::string_view what) {
    if (!take(what)) fail("expected '" + std::string(what) + "'");
  }
  void until(std::string_view end) {
    const std::size_t found = text_.find(end, at_);
    if (found == std::string_view::npos) fail("expected '" + std::string(end) + "'");
    at_ = found + end.size();
  }
  void space() {
    while (!ended() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) ++at_;
  }
  std::string name() {
    std::string result;
    while (std::isalnum(static_cast<unsigned char>(peek())) != 0 || peek() == '-') {
      result += text_[at_++];
    }
    if (result.empty()) fail("expected a name");
    return result;
  }
  // One character of text or of an attribute's value.
  char character() {
    const char c = peek();
    if (c == '<') fail("a raw '<'");
    if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') fail("a control character");
    ++at_;
    if (c != '&') return c;
    if (take("amp;")) return '&';
    if (take("lt;")) return '<';
    if (take("gt;")) return '>';
    if (take("quot;")) return '"';
    expect("#");
    int code = 0;
    while (std::isdigit(static_cast<unsigned char>(peek())) != 0)
      code = 10 * code + text_[at_++] - '0';
    expect(";");
    if (code < 0x20 || code > 0x7e) fail("a character reference outside ASCII");
    return static_cast<char>(code);
  }

  Element element() {
    expect("<");
    Element result;
    result.name = name();
    while (true) {
      space();
      if (take("/>")) return result;
      if (take(">")) break;
      const std::string attribute = name();
      expect("=\"");
      std::string value;
      while (peek() != '"') value += character();
      ++at_;
      if (!result.attributes.emplace(attribute, value).second) fail("a repeated attribute");
    }
    while (!take("</")) {
      if (peek() == '<') {
        result.children.push_back(element());
      } else {
        result.text += character();
      }
    }
    expect(result.name);
    expect(">");
    return result;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

void collect(const Element& element, std::string_view wanted, std::vector<const Element*>& found) {
  for (const Element& child : element.children) {
    if (child.name == wanted) found.push_back(&child);
    collect(child, wanted, found);
  }
}

}  // namespace

std::vector<const Element*> Element::all(std::string_view wanted) const {
  std::vector<const Element*> found;
  collect(*this, wanted, found);
  return found;
}

Element parse_markup(std::string_view text) { return Parser(text).document(); }

}  // namespace chainrule::testing
