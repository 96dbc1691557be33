// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>

#include "chainrule/core/dtype.hpp"

namespace chainrule::internal {

/// Items to be worked off in any order: `function(argument, item, worker)`, 0 <= item < count.
struct Job {
  void (*function)(void* argument, Index item, int worker) = nullptr;
  void* argument = nullptr;
  Index count = 0;
};

/// One caller and any number of helpers that work off the caller's jobs together.
///
/// The board is one word, (epoch, items left). Whoever decrements it owns an item of that epoch's
/// job; the caller posts the next job only after every item of the last is done, so that an owned
/// item keeps the job's fields valid. The caller can finish any job alone: nothing ever waits for a
/// helper to arrive, only for items that helpers have taken.
class Team {
 public:
  /// `helpers` may join; with none the team runs everything on the caller.
  explicit Team(int helpers) noexcept : helpers_(helpers) {}
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int helpers() const noexcept { return helpers_; }

  /// Runs all items; the caller is worker 0. When items throw, the exception of the lowest one is
  /// rethrown after all are done. Not reentrant.
  void run(const Job& job);

  /// A helper's life: takes items as worker 1, 2, ... until retire(). Polls briefly between jobs,
  /// then sleeps.
  void assist() noexcept;
  /// Lets the helpers go.
  void retire() noexcept;

  /// How many threads have worked on at least one item, the caller included.
  int participants() const noexcept;

 private:
  bool work(std::uint64_t word, int worker) noexcept;
  void run_item(const Job& job, Index item, int worker) noexcept;
  bool take(std::uint64_t& word) noexcept;
  void wait_until_done(Index count) noexcept;

  static constexpr std::size_t kLine = 64;

  const int helpers_;
  Job job_;
  Index failed_item_ = 0;
  std::exception_ptr failure_;
  std::mutex failure_mutex_;
  alignas(kLine) std::atomic<std::uint64_t> word_{0};
  alignas(kLine) std::atomic<Index> done_{0};
  alignas(kLine) std::atomic<int> joined_{0};
  std::atomic<int> participants_{1};
  std::atomic<bool> retired_{false};
};

}  // namespace chainrule::internal
