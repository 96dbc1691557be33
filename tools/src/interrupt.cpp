// SPDX-License-Identifier: Apache-2.0
#include "interrupt.hpp"

#include <atomic>

namespace chainrule::tools {
namespace {

// All that a signal handler may touch.
std::atomic<bool> interrupt_seen{false};
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void note_interrupt(int) { interrupt_seen = true; }

}  // namespace

InterruptGuard::InterruptGuard() {
  interrupt_seen = false;
  struct sigaction action {};
  action.sa_handler = note_interrupt;
  action.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, &previous_);
}

InterruptGuard::~InterruptGuard() { sigaction(SIGINT, &previous_, nullptr); }

bool InterruptGuard::interrupted() const noexcept { return interrupt_seen; }

}  // namespace chainrule::tools
