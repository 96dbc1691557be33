// SPDX-License-Identifier: Apache-2.0
#include "chainrule/runtime/executor.hpp"

#include <fmt/format.h>
#include <tbb/global_control.h>
#include <tbb/task_group.h>

#include <algorithm>
#include <utility>

#include "arena.hpp"
#include "chainrule/core/error.hpp"
#include "chainrule/runtime/tbb_arena.hpp"
#include "floating_point.hpp"
#include "run.hpp"

namespace chainrule {
namespace internal {
namespace {

// Below these a run is serial: waking a helper costs some 40 us, handing blocks to one that is
// awake about 1 us, and a core does some 50 GFLOP/s on small matrices.
constexpr double kColdFlops = 10e6;
constexpr double kResidentFlops = 150e3;

// What threads hand to each other through TBB's tasks is ordered by an atomic of our own as well:
// the thread sanitizer does not see the synchronization inside libtbb, and so needs no suppression
// of our code.
constinit std::atomic<unsigned> handed_over{0};

void hand_over() noexcept { handed_over.fetch_add(1, std::memory_order_release); }
void take_over() noexcept { static_cast<void>(handed_over.load(std::memory_order_acquire)); }

// A helper's task. TBB copies it into memory of its own: that copy, too, is handed over.
class Assistance {
 public:
  Assistance(Team& team, std::thread::id caller) noexcept : team_(&team), caller_(caller) {}
  Assistance(const Assistance& other) noexcept : team_(other.team_), caller_(other.caller_) {
    hand_over();
  }
  Assistance& operator=(const Assistance&) = delete;

  void operator()() const noexcept {
    take_over();
    // While the caller waits for other TBB work it may pick up our tasks itself: it must not start
    // to assist, for it would never come back to retire the team.
    if (std::this_thread::get_id() != caller_) team_->assist();
    hand_over();
  }

 private:
  Team* team_;
  std::thread::id caller_;
};

}  // namespace

Arena::Arena(int threads) : threads_(threads) {
  if (threads == 1) return;
  // TBB prints a warning when an arena asks for more than it may have; we never print.
  const auto allowed =
      tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism);
  const auto concurrency = std::min(static_cast<std::size_t>(threads), allowed);
  arena_ = &own_.emplace(static_cast<int>(concurrency), 1);
}

Arena::Arena(tbb::task_arena& arena) : threads_(arena.max_concurrency()), arena_(&arena) {}

template <class Body>
int Arena::with_team(Body&& body) {
  const auto caller = std::this_thread::get_id();
  std::thread::id nobody;
  if (threads_ == 1 || !owner_.compare_exchange_strong(nobody, caller, std::memory_order_acq_rel)) {
    Team alone(0);
    body(alone);
    return alone.participants();
  }
  struct Release {
    std::atomic<std::thread::id>& owner;
    ~Release() {
      take_over();
      owner.store({}, std::memory_order_release);
    }
  } const release{owner_};
  Team team(threads_ - 1);
  const auto lead = [&] {
    take_over();
    tbb::task_group group;
    const Assistance assistance(team, caller);
    for (int i = 1; i < threads_; ++i) group.run(assistance);
    struct Dismissal {
      Team& team;
      tbb::task_group& group;
      ~Dismissal() {
        team.retire();
        group.wait();
        take_over();
        hand_over();
      }
    } const dismissal{team, group};
    // TBB work of the body waits for its own tasks only, and so never enters a helper's.
    tbb::this_task_arena::isolate([&] { body(team); });
  };
  hand_over();
  arena_->execute(lead);
  return team.participants();
}

template <class Body>
void Arena::run(bool parallel, double flops, Body&& body) {
  static_assert(kResidentFlops <= kColdFlops);
  if (parallel && threads_ > 1 && flops >= kResidentFlops) {
    if (Team* const resident = resident_team()) {
      body(*resident);
      return;
    }
    if (flops >= kColdFlops) {
      with_team(body);
      return;
    }
  }
  Team alone(0);
  body(alone);
}

Team* Arena::resident_team() const noexcept {
  return owner_.load(std::memory_order_acquire) == std::this_thread::get_id() ? resident_ : nullptr;
}

int Arena::with_residents(const std::function<void()>& body) {
  if (Team* const team = resident_team()) {
    body();
    return team->participants();
  }
  return with_team([&](Team& team) {
    if (team.helpers() == 0) {
      body();
      return;
    }
    struct Scope {
      Team*& slot;
      ~Scope() { slot = nullptr; }
    } const scope{resident_ = &team};
    body();
  });
}

}  // namespace internal

Executor::Executor() : Executor(1) {}

Executor::Executor(int threads) {
  if (threads < 0) {
    throw ArgumentError(
        fmt::format("Executor: got {} threads, expected 0 (default) or more", threads));
  }
  arena_ = std::make_unique<internal::Arena>(threads == 0 ? default_threads() : threads);
}

Executor::Executor(std::unique_ptr<internal::Arena> arena) : arena_(std::move(arena)) {}
Executor::~Executor() = default;
Executor::Executor(Executor&&) noexcept = default;
Executor& Executor::operator=(Executor&&) noexcept = default;

Executor executor_in(tbb::task_arena& arena) {
  return Executor(std::make_unique<internal::Arena>(arena));
}

int Executor::threads() const noexcept { return arena_->threads(); }

Workspace Executor::make_workspace(const Plan& plan, Index max_rows) const {
  return Workspace(plan, max_rows, threads());
}

void Executor::run(Workspace& workspace, const Bindings& bindings) const {
  internal::WorkspaceData& data = workspace.data();
  const Bindings::Data& bound = bindings.data();
  if (&data.data() != &bound.plan.data()) {
    throw ArgumentError("run: the bindings were made for another plan than the workspace");
  }
  const Index rows = data.check(bound);
  const auto execute = [&](internal::Team& team) {
    const internal::ScopedFloatingPointMode mode;
    data.bind(bound, rows, team.helpers() + 1);
    internal::Run(data, bound, team).execute();
  };
  arena_->run(data.workers() >= threads(), data.plan().flops(rows), execute);
}

void Executor::for_each(Index count, double flops,
                        const std::function<void(Index, int)>& body) const {
  if (count < 0) throw ArgumentError(fmt::format("for_each: got {} items, expected >= 0", count));
  const auto execute = [&](internal::Team& team) {
    const internal::ScopedFloatingPointMode mode;
    // The board of a team counts in 32 bits.
    constexpr Index kMostItems = Index{1} << 31;
    for (Index first = 0; first < count; first += kMostItems) {
      struct Items {
        const std::function<void(Index, int)>& body;
        Index first;
      } items{body, first};
      team.run({.function =
                    [](void* argument, Index item, int worker) {
                      const auto& self = *static_cast<const Items*>(argument);
                      self.body(self.first + item, worker);
                    },
                .argument = &items,
                .count = std::min(kMostItems, count - first)});
    }
  };
  arena_->run(count > 1, flops, execute);
}

int Executor::with_residents(const std::function<void()>& body) const {
  return arena_->with_residents(body);
}

struct ScopedThreadLimit::Control {
  tbb::global_control control;
};

ScopedThreadLimit::ScopedThreadLimit(int threads)
    : control_(new Control{{tbb::global_control::max_allowed_parallelism,
                            static_cast<std::size_t>(threads < 1 ? 1 : threads)}}) {}
ScopedThreadLimit::~ScopedThreadLimit() = default;

}  // namespace chainrule
