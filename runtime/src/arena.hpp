// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <tbb/task_arena.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "team.hpp"

namespace chainrule::internal {

/// Where an executor's helpers come from: none, an arena of its own, or the caller's.
class Arena {
 public:
  explicit Arena(int threads);
  explicit Arena(tbb::task_arena& arena);

  int threads() const noexcept { return threads_; }

  /// Calls `body(team)` while helpers assist the team; they are gone when it returns. Returns how
  /// many threads took part. An exception of `body` passes through. The helpers serve one thread at
  /// a time: others get a team without, instead of waiting for a training run to end.
  template <class Body>
  int with_team(Body&& body);

  /// Calls `body(team)`, with helpers if the work is `parallel` and so many operations are worth
  /// it: few while residents are awake, many where helpers have to be woken.
  template <class Body>
  void run(bool parallel, double flops, Body&& body);

  /// The team of a with_residents() call of this thread that is under way.
  Team* resident_team() const noexcept;
  int with_residents(const std::function<void()>& body);

 private:
  int threads_;
  std::optional<tbb::task_arena> own_;
  tbb::task_arena* arena_ = nullptr;
  std::atomic<std::thread::id> owner_{};  ///< whom the helpers serve
  Team* resident_ = nullptr;              ///< read and written by the owner only
};

}  // namespace chainrule::internal
