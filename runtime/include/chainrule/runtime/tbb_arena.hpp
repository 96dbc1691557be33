// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tbb/task_arena.h>

#include "chainrule/core/export.hpp"
#include "chainrule/runtime/executor.hpp"

namespace chainrule {

/// An executor whose helpers come from the caller's own arena, which must outlive it. The only
/// public header that needs oneTBB's.
CHAINRULE_API Executor executor_in(tbb::task_arena& arena);

}  // namespace chainrule
