// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <csignal>

namespace chainrule::tools {

/// While it lives, Ctrl-C (SIGINT) is noted instead of ending the process; the second one ends it.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  bool interrupted() const noexcept;

 private:
  struct sigaction previous_ {};
};

}  // namespace chainrule::tools
