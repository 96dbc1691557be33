// SPDX-License-Identifier: Apache-2.0
#include "npy_header.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "chainrule/core/error.hpp"

namespace chainrule::internal {
namespace {

constexpr std::array<std::pair<std::string_view, ElementType>, 12> kNpyTypes{{
    {"b1", ElementType::kBool},
    {"i1", ElementType::kInt8},
    {"u1", ElementType::kUint8},
    {"i2", ElementType::kInt16},
    {"u2", ElementType::kUint16},
    {"i4", ElementType::kInt32},
    {"u4", ElementType::kUint32},
    {"i8", ElementType::kInt64},
    {"u8", ElementType::kUint64},
    {"f2", ElementType::kFloat16},
    {"f4", ElementType::kFloat32},
    {"f8", ElementType::kFloat64},
}};

/// Reads the few Python literals that a header consists of.
class Scanner {
 public:
  Scanner(std::string_view text, std::string_view name) : rest_(text), name_(name) {}

  [[noreturn]] void fail(std::string_view reason) const {
    throw FormatError(fmt::format("{}: malformed .npy header: {}", name_, reason));
  }

  /// Skips spaces, then takes `token` if it comes next.
  bool take(std::string_view token) {
    skip_spaces();
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }

  void expect(std::string_view token) {
    if (!take(token)) fail(fmt::format("expected {}", token));
  }

  std::string_view quoted() {
    skip_spaces();
    const char quote = rest_.empty() ? '\0' : rest_.front();
    const std::size_t end = rest_.find(quote, 1);
    if ((quote != '\'' && quote != '"') || end == std::string_view::npos) {
      fail("expected a quoted string (structured types are not supported)");
    }
    const std::string_view inside = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return inside;
  }

  bool boolean() {
    if (take("True")) return true;
    if (!take("False")) fail("expected True or False");
    return false;
  }

  Index number() {
    skip_spaces();
    Index value = 0;
    const char* const end = rest_.data() + rest_.size();
    const auto [stop, error] = std::from_chars(rest_.data(), end, value);
    if (error != std::errc{} || value < 0) fail("the shape holds no whole number >= 0");
    rest_.remove_prefix(static_cast<std::size_t>(stop - rest_.data()));
    return value;
  }

  std::vector<Index> tuple() {
    std::vector<Index> values;
    expect("(");
    while (!take(")")) {
      values.push_back(number());
      if (values.size() > 32) fail("more dimensions than NumPy has");
      if (!take(",")) {
        expect(")");
        if (values.size() == 1) fail("a shape that is a number, not a tuple");
        break;
      }
    }
    return values;
  }

  bool at_end() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\n"), rest_.size()));
    return rest_.empty();
  }

 private:
  void skip_spaces() {
    rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t"), rest_.size()));
  }

  std::string_view rest_;
  std::string_view name_;
};

ElementType parse_type(std::string_view descr, std::string_view name) {
  const bool one_byte = descr.size() == 3 && descr[2] == '1';
  const bool readable =
      descr.size() == 3 && (descr[0] == '<' || descr[0] == '=' || descr[0] == '|' || one_byte);
  const auto* const found = std::find_if(kNpyTypes.begin(), kNpyTypes.end(), [&](const auto& type) {
    return readable && type.first == descr.substr(1);
  });
  if (found == kNpyTypes.end()) {
    throw FormatError(
        fmt::format("{}: .npy elements '{}' are not supported; expected "
                    "little-endian floats, integers or bool",
                    name, descr));
  }
  return found->second;
}

}  // namespace

NpyHeader parse_npy_header(std::string_view text, std::string_view name) {
  enum : unsigned { kType = 1, kOrder = 2, kShape = 4 };
  NpyHeader header;
  unsigned seen = 0;
  Scanner scanner(text, name);
  scanner.expect("{");
  while (!scanner.take("}")) {
    const std::string_view key = scanner.quoted();
    scanner.expect(":");
    unsigned field = 0;
    if (key == "descr") {
      field = kType;
      header.type = parse_type(scanner.quoted(), name);
    } else if (key == "fortran_order") {
      field = kOrder;
      header.fortran_order = scanner.boolean();
    } else if (key == "shape") {
      field = kShape;
      header.shape = scanner.tuple();
    } else {
      scanner.fail(fmt::format("unknown key '{}'", key));
    }
    if ((seen & field) != 0) scanner.fail(fmt::format("'{}' comes twice", key));
    seen |= field;
    if (!scanner.take(",")) {
      scanner.expect("}");
      break;
    }
  }
  if (seen != (kType | kOrder | kShape)) scanner.fail("needs descr, fortran_order and shape");
  if (!scanner.at_end()) scanner.fail("text behind the dictionary");
  return header;
}

}  // namespace chainrule::internal
