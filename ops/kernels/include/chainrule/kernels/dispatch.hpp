// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string_view>

#include "chainrule/core/export.hpp"
#include "chainrule/kernels/kernel_table.hpp"

namespace chainrule {

/// The tables compiled into this build that this CPU can run, best last. Never empty.
CHAINRULE_API std::span<const KernelTable* const> available_kernels() noexcept;

/// Names of all tables compiled into this build, whether this CPU runs them or not, best last.
CHAINRULE_API std::span<const std::string_view> compiled_architectures() noexcept;

/// The table of that name; ArgumentError, naming the available ones, when it is unknown or this CPU
/// cannot run it.
CHAINRULE_API const KernelTable& kernels_named(std::string_view architecture);

/// What a plan uses unless told otherwise: the environment's CHAINRULE_ARCH (an unknown name is an
/// ArgumentError) or the best available. Read anew at each call.
CHAINRULE_API const KernelTable& default_kernels();

}  // namespace chainrule
