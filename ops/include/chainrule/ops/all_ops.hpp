// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "chainrule/core/op_def.hpp"

namespace chainrule {

/// Every op of the library, by family. Nothing registers itself: a program links what it uses, and
/// ops of its own go to Graph::apply directly.
CHAINRULE_API std::span<const OpDef* const> all_ops() noexcept;

}  // namespace chainrule
