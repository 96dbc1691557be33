// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "team.hpp"

namespace chainrule::internal {
namespace {

#if defined(CHAINRULE_TEAM_JOBS)
constexpr int kJobs = CHAINRULE_TEAM_JOBS;
#else
constexpr int kJobs = 2000;
#endif

/// Helpers of one team on plain threads.
class Helpers {
 public:
  Helpers(Team& team, int count) : team_(team) {
    for (int i = 0; i < count; ++i) threads_.emplace_back([&team] { team.assist(); });
  }
  ~Helpers() {
    team_.retire();
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  Team& team_;
  std::vector<std::thread> threads_;
};

template <class Body>
void run(Team& team, Index count, const Body& body) {
  team.run({.function = [](void* argument, Index item,
                           int worker) { (*static_cast<const Body*>(argument))(item, worker); },
            .argument = const_cast<Body*>(&body),
            .count = count});
}

/// Plain memory written by items and read by the caller after the job: what the thread sanitizer
/// watches. Every job has another size, so that an item of an old one would be noticed.
void run_tiny_jobs(int helpers, int jobs) {
  Team team(helpers);
  const Helpers threads(team, helpers);
  std::vector<int> done(64);
  std::vector<int> worker_of(64);
  for (int job = 0; job < jobs; ++job) {
    const Index count = 1 + job % 64;
    std::fill(done.begin(), done.end(), 0);
    run(team, count, [&](Index item, int worker) {
      done[static_cast<std::size_t>(item)] += job + 1;
      worker_of[static_cast<std::size_t>(item)] = worker;
    });
    for (std::size_t item = 0; item < done.size(); ++item) {
      ASSERT_EQ(done[item], static_cast<Index>(item) < count ? job + 1 : 0) << job;
      ASSERT_GE(worker_of[item], 0);
      ASSERT_LE(worker_of[item], helpers);
    }
  }
}

TEST(Team, RunsEveryItemOnceWithMoreHelpersThanCores) {
  for (const int helpers : {1, 3, 7}) run_tiny_jobs(helpers, kJobs);
}

TEST(Team, AloneRunsItemsInOrder) {
  Team team(0);
  std::vector<Index> order;
  run(team, 5, [&](Index item, int worker) {
    EXPECT_EQ(worker, 0);
    order.push_back(item);
  });
  EXPECT_EQ(order, (std::vector<Index>{0, 1, 2, 3, 4}));
  EXPECT_EQ(team.participants(), 1);
}

TEST(Team, FinishesWithoutHelpersThatNeverCome) {
  Team team(4);
  int items = 0;
  run(team, 100, [&](Index, int) { ++items; });
  EXPECT_EQ(items, 100);
  EXPECT_EQ(team.participants(), 1);
}

TEST(Team, AnEmptyJobIsDoneAtOnce) {
  Team team(1);
  const Helpers threads(team, 1);
  run(team, 0, [&](Index, int) { ADD_FAILURE(); });
}

TEST(Team, CountsWhoTookPart) {
  Team team(2);
  {
    const Helpers threads(team, 2);
    std::atomic<int> inside{0};
    run(team, 3, [&](Index, int) {  // nobody leaves before all three are in
      ++inside;
      while (inside < 3) std::this_thread::yield();
    });
  }
  EXPECT_EQ(team.participants(), 3);
}

TEST(Team, NoTwoThreadsAreTheSameWorkerAtOnce) {
  Team team(7);
  const Helpers threads(team, 7);
  std::vector<std::atomic<int>> inside(8);
  for (int job = 0; job < 200; ++job) {
    run(team, 32, [&](Index, int worker) {
      EXPECT_EQ(inside[static_cast<std::size_t>(worker)].fetch_add(1), 0);
      std::this_thread::yield();
      inside[static_cast<std::size_t>(worker)].fetch_sub(1);
    });
  }
}

TEST(Team, HelpersThatComeTooManyLeaveAtOnce) {
  Team team(1);
  const Helpers threads(team, 4);  // joins them: would hang if a surplus helper stayed
  int items = 0;
  std::atomic<int> highest{0};
  for (int job = 0; job < 100; ++job) {
    std::atomic<int> done{0};
    run(team, 4, [&](Index, int worker) {
      ++done;
      int seen = highest;
      while (seen < worker && !highest.compare_exchange_weak(seen, worker)) {
      }
    });
    items += done;
  }
  EXPECT_EQ(items, 400);
  EXPECT_LE(highest, 1);
}

TEST(Team, RethrowsTheLowestItemsExceptionWhenAllAreDone) {
  for (const int helpers : {0, 3}) {
    Team team(helpers);
    const Helpers threads(team, helpers);
    for (int job = 0; job < 200; ++job) {
      std::atomic<int> done{0};
      try {
        run(team, 40, [&](Index item, int) {
          ++done;
          if (item >= 5) throw std::out_of_range(std::to_string(item));
        });
        FAIL() << "nothing was thrown";
      } catch (const std::out_of_range& error) {
        ASSERT_STREQ(error.what(), "5");
      }
      ASSERT_EQ(done, 40);
      int items = 0;  // and the team is as good as new
      run(team, 1, [&](Index, int) { ++items; });
      ASSERT_EQ(items, 1);
    }
  }
}

TEST(Team, SleepingHelpersWakeForWorkAndForRetirement) {
  Team team(2);
  {
    const Helpers threads(team, 2);
    for (int job = 0; job < 3; ++job) {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));  // polling is long over
      std::atomic<int> inside{0};
      run(team, 2, [&](Index, int) {
        ++inside;
        while (inside < 2) std::this_thread::yield();  // needs a helper to wake up
      });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
  }
  EXPECT_GE(team.participants(), 2);
}

}  // namespace
}  // namespace chainrule::internal
