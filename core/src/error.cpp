// SPDX-License-Identifier: Apache-2.0
#include "chainrule/core/error.hpp"

#include <utility>

namespace chainrule {

// Out of line, so that every type has one vtable and catching works across shared libraries.
Error::~Error() = default;
ShapeError::~ShapeError() = default;
ArgumentError::~ArgumentError() = default;
UnsupportedError::~UnsupportedError() = default;
FormatError::~FormatError() = default;
NonFiniteError::~NonFiniteError() = default;

NonFiniteError::NonFiniteError(const std::string& message, std::string node)
    : Error(message), node_(std::move(node)) {}

}  // namespace chainrule
