// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chainrule/learn/approximate.hpp"

namespace chainrule::tools {

/// What expressions may use, for help texts.
inline constexpr const char* kExpressionHelp =
    R"(Expressions: + - * / ^, comparisons, CONDITION ? A : B, pi, e, sin cos tan asin acos atan atan2
sinh cosh tanh asinh acosh atanh exp ln log (natural) log2 log10 sqrt abs sign min max floor
ceil rint erf. The variables are x, y and z, and x1, x2, ...)";

/// An expression that muParser reads. Not for several threads at once.
class Expression {
 public:
  /// UsageError, in the name of `option`, that points at the column where `text` goes wrong.
  Expression(std::string_view option, const std::string& text, std::size_t variables);
  ~Expression();
  Expression(Expression&&) noexcept;
  Expression& operator=(Expression&&) noexcept;

  double operator()(std::span<const double> values) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The names of that many variables: x, y, z, or x1, x2, ... for more than three.
std::vector<std::string> variable_names(std::size_t count);

/// "-1:1,0:2*pi"; UsageError, in the name of --domain, when it is no such list.
Domain parse_domain(const std::string& text);

}  // namespace chainrule::tools
