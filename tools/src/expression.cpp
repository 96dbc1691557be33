// SPDX-License-Identifier: Apache-2.0
#include "expression.hpp"

#include <fmt/format.h>
#include <muParser.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "common.hpp"

namespace chainrule::tools {
namespace {

// The text, and below it a caret at the byte `position`; `message` names the column.
[[noreturn]] void point_at(std::string_view option, const std::string& text, std::size_t position,
                           const std::string& message) {
  position = std::min(position, text.size());
  const auto is_start = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; };
  const auto column =
      std::count_if(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(position), is_start);
  throw UsageError(fmt::format("{}: column {}: {}\n  {}\n  {:>{}}\n", option, column + 1, message,
                               text, '^', column + 1));
}

// muParser's message without its own idea of the place.
std::string plain_message(const mu::ParserError& error) {
  std::string text = error.GetMsg();
  for (const std::string_view place :
       {" found at position", " at position", " at expression pos"}) {
    text.resize(std::min(text.size(), text.find(place)));
  }
  const std::size_t padded = text.find(" \"");  // tokens come with a space behind them
  const std::size_t close = text.rfind(" \"");
  if (close != std::string::npos && close != padded && close + 2 == text.size()) {
    text.erase(close, 1);
  }
  while (!text.empty() && (text.back() == '.' || text.back() == '!')) text.pop_back();
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') {
    text[0] = static_cast<char>(text[0] - 'A' + 'a');
  }
  return text;
}

// muParser would assign to variables.
void expect_no_assignment(std::string_view option, const std::string& text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '=') continue;
    const bool second = i > 0 && std::string_view("<>=!").find(text[i - 1]) != std::string::npos;
    const bool first = i + 1 < text.size() && text[i + 1] == '=';
    if (!first && !second) point_at(option, text, i, "unexpected \"=\" (== compares)");
  }
}

}  // namespace

struct Expression::State {
  std::vector<double> values;
  mu::Parser parser;

  explicit State(std::size_t variables) : values(variables) {
    parser.DefineConst("pi", std::numbers::pi);
    parser.DefineConst("e", std::numbers::e);
    parser.DefineFun(
        "floor", +[](double x) { return std::floor(x); });
    parser.DefineFun(
        "ceil", +[](double x) { return std::ceil(x); });
    parser.DefineFun(
        "erf", +[](double x) { return std::erf(x); });
    for (std::size_t k = 0; k < variables; ++k) {
      if (k < 3) parser.DefineVar(std::string(1, "xyz"[k]), &values[k]);
      parser.DefineVar(fmt::format("x{}", k + 1), &values[k]);
    }
  }
};

Expression::Expression(std::string_view option, const std::string& text, std::size_t variables)
    : state_(std::make_unique<State>(variables)) {
  expect_no_assignment(option, text);
  try {
    state_->parser.SetExpr(text);
    state_->parser.Eval();
  } catch (const mu::ParserError& error) {
    const int position = error.GetPos();
    const bool unknown = error.GetCode() == mu::ecUNASSIGNABLE_TOKEN;
    std::string hint;
    if (unknown && variables > 0) {
      hint = fmt::format(" (the variables are {})", joined(variable_names(variables)));
    }
    point_at(option, text, position < 0 ? 0 : static_cast<std::size_t>(position),
             plain_message(error) + hint);
  }
  if (state_->parser.GetNumResults() != 1) {
    point_at(option, text, text.rfind(','), "unexpected \",\", expected one value");
  }
}

Expression::~Expression() = default;
Expression::Expression(Expression&&) noexcept = default;
Expression& Expression::operator=(Expression&&) noexcept = default;

double Expression::operator()(std::span<const double> values) const {
  std::copy(values.begin(), values.end(), state_->values.begin());
  return state_->parser.Eval();
}

std::vector<std::string> variable_names(std::size_t count) {
  std::vector<std::string> names;
  for (std::size_t k = 0; k < count; ++k) {
    names.push_back(count <= 3 ? std::string(1, "xyz"[k]) : fmt::format("x{}", k + 1));
  }
  return names;
}

Domain parse_domain(const std::string& text) {
  Domain domain;
  for (std::size_t first = 0; first <= text.size();) {
    const std::size_t end = std::min(text.find(',', first), text.size());
    const std::string part = text.substr(first, end - first);
    const std::size_t colon = part.find(':');
    if (colon == std::string::npos) {
      throw UsageError(
          fmt::format("--domain: got '{}', expected LOW:HIGH for each variable, as in "
                      "-1:1,0:2*pi",
                      text));
    }
    const double low = Expression("--domain", part.substr(0, colon), 0)({});
    const double high = Expression("--domain", part.substr(colon + 1), 0)({});
    if (!(low < high) || !std::isfinite(low) || !std::isfinite(high)) {
      throw UsageError(fmt::format("--domain: got {}, expected finite ends, LOW < HIGH", part));
    }
    if (!std::isfinite(high - low)) {
      throw UsageError(
          fmt::format("--domain: got {}, whose width is more than float64 holds", part));
    }
    domain.push_back({low, high});
    first = end + 1;
  }
  return domain;
}

}  // namespace chainrule::tools
