// SPDX-License-Identifier: Apache-2.0
#include "team.hpp"

#include <thread>
#include <utility>

#include "floating_point.hpp"

namespace chainrule::internal {
namespace {

constexpr int kEpochShift = 32;
constexpr std::uint64_t kItemsMask = (std::uint64_t{1} << kEpochShift) - 1;

// How long a helper polls before it sleeps, and a waiting caller before it yields. A poll is some
// 20 ns, a wake-up 20 to 40 us.
constexpr int kPollsBeforeSleep = 20'000;
constexpr int kPollsBeforeYield = 1'000;

void pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

void Team::run(const Job& job) {
  failure_ = nullptr;
  if (job.count == 1) {
    job.function(job.argument, 0, 0);
  } else if (helpers_ == 0 || job.count == 0) {
    for (Index item = 0; item < job.count; ++item) run_item(job, item, 0);
  } else {
    job_ = job;
    done_.store(0, std::memory_order_relaxed);
    const std::uint64_t epoch = (word_.load(std::memory_order_relaxed) >> kEpochShift) + 1;
    const std::uint64_t word = (epoch << kEpochShift) | static_cast<std::uint64_t>(job.count);
    word_.store(word);  // seq_cst: notify_all must not look for sleepers before this is visible
    word_.notify_all();
    work(word, 0);
    wait_until_done(job.count);
  }
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

// Takes one of the items that `word` says are left; false, with `word` read anew, when there are
// none. Items go out in ascending order.
bool Team::take(std::uint64_t& word) noexcept {
  while ((word & kItemsMask) != 0) {
    if (word_.compare_exchange_weak(word, word - 1, std::memory_order_acq_rel,
                                    std::memory_order_acquire)) {
      return true;
    }
  }
  return false;
}

bool Team::work(std::uint64_t word, int worker) noexcept {
  bool worked = false;
  while (take(word)) {
    worked = true;
    const Index left = static_cast<Index>(word & kItemsMask);
    run_item(job_, job_.count - left, worker);
    done_.fetch_add(1, std::memory_order_release);
    word = word_.load(std::memory_order_acquire);
  }
  return worked;
}

void Team::run_item(const Job& job, Index item, int worker) noexcept {
  try {
    job.function(job.argument, item, worker);
  } catch (...) {
    const std::lock_guard lock(failure_mutex_);
    if (!failure_ || item < failed_item_) {
      failure_ = std::current_exception();
      failed_item_ = item;
    }
  }
}

void Team::wait_until_done(Index count) noexcept {
  for (int polls = 0; done_.load(std::memory_order_acquire) != count; ++polls) {
    if (polls < kPollsBeforeYield) {
      pause();
    } else {
      std::this_thread::yield();  // a helper that holds an item may be waiting for this core
    }
  }
}

void Team::assist() noexcept {
  const int worker = 1 + joined_.fetch_add(1, std::memory_order_relaxed);
  if (worker > helpers_) return;
  const ScopedFloatingPointMode mode;
  bool took_part = false;
  int polls = 0;
  while (!retired_.load(std::memory_order_acquire)) {
    const std::uint64_t word = word_.load(std::memory_order_acquire);
    if ((word & kItemsMask) != 0) {
      if (work(word, worker) && !std::exchange(took_part, true)) {
        participants_.fetch_add(1, std::memory_order_relaxed);
      }
      polls = 0;
    } else if (++polls < kPollsBeforeSleep) {
      pause();
    } else {
      word_.wait(word, std::memory_order_acquire);
      polls = 0;
    }
  }
}

void Team::retire() noexcept {
  retired_.store(true, std::memory_order_release);
  // Wake the sleepers: waiting ends only when the word changes.
  word_.fetch_add(std::uint64_t{1} << kEpochShift);
  word_.notify_all();
}

int Team::participants() const noexcept { return participants_.load(std::memory_order_relaxed); }

}  // namespace chainrule::internal
