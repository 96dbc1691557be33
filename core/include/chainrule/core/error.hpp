// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>

#include "chainrule/core/export.hpp"

namespace chainrule {

/// Base of every exception the library throws. The message names the op or file, what it got and
/// what it expected.
class CHAINRULE_API Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  ~Error() override;
};

/// Shapes, ranks or dtypes that do not fit together.
class CHAINRULE_API ShapeError : public Error {
 public:
  using Error::Error;
  ~ShapeError() override;
};

/// An argument, option or attribute outside its domain.
class CHAINRULE_API ArgumentError : public Error {
 public:
  using Error::Error;
  ~ArgumentError() override;
};

/// Something that is well-formed but that this op, plan or build cannot do.
class CHAINRULE_API UnsupportedError : public Error {
 public:
  using Error::Error;
  ~UnsupportedError() override;
};

/// A file or stream that cannot be read, is truncated, or contradicts itself.
class CHAINRULE_API FormatError : public Error {
 public:
  using Error::Error;
  ~FormatError() override;
};

/// NaN or infinity where training needs a finite number; names the node that produced it first.
class CHAINRULE_API NonFiniteError : public Error {
 public:
  NonFiniteError(const std::string& message, std::string node);
  ~NonFiniteError() override;

  /// Name of the first node, in execution order, whose value is not finite.
  const std::string& node() const noexcept { return node_; }

 private:
  std::string node_;
};

}  // namespace chainrule
