// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "chainrule/core/export.hpp"
#include "chainrule/core/tensor.hpp"
#include "chainrule/runtime/parameters.hpp"
#include "chainrule/runtime/plan.hpp"

namespace chainrule {

namespace internal {
class WorkspaceData;
class Arena;
class Team;
}  // namespace internal

/// Memory for the runs of one plan: activations, gradients, partial sums, results. One per thread
/// that calls run(); reused by every run.
class CHAINRULE_API Workspace {
 public:
  /// For batches of up to `max_rows` rows and runs on up to `threads` threads.
  Workspace(const Plan& plan, Index max_rows, int threads = 1);
  ~Workspace();
  Workspace(Workspace&&) noexcept;
  Workspace& operator=(Workspace&&) noexcept;

  const Plan& plan() const noexcept;
  Index max_rows() const noexcept;

  /// Results of the last run; valid until the next. ArgumentError when the plan did not keep them.
  double loss() const;
  ConstTensorView output(Value value) const;
  ConstTensorView gradient(Value value) const;
  ConstTensorView tangent(Value value) const;
  ConstTensorView gradient_tangent(Value value) const;

  internal::WorkspaceData& data() const noexcept { return *data_; }

 private:
  std::unique_ptr<internal::WorkspaceData> data_;
};

/// What a run reads and writes. Everything is checked when it is bound; run() checks nothing but
/// that all is there.
class CHAINRULE_API Bindings {
 public:
  explicit Bindings(const Plan& plan);
  ~Bindings();
  Bindings(const Bindings&);
  Bindings& operator=(const Bindings&);

  /// An input the plan reads: its dtype (int32 for indices), its columns and, unless batched, its
  /// rows must match (ShapeError). The memory must outlive the runs.
  Bindings& input(Value value, ConstTensorView view);
  Bindings& input(std::string_view name, ConstTensorView view);
  /// The vector v of v^T (d value / d ...), for a value in CompileOptions::cotangents.
  Bindings& cotangent(Value value, ConstTensorView view);
  /// The direction in which a value in CompileOptions::tangents moves, in its shape. Like a
  /// cotangent's, its rows are those of the batch, whatever the row order.
  Bindings& tangent(Value value, ConstTensorView view);
  /// Parameters for plans that change nothing ...
  Bindings& parameters(const Parameters& parameters);
  /// ... and for plans with an update or state.
  Bindings& parameters(Parameters& parameters);
  /// `scalars` holds kUpdateScalars numbers for each group and is read at each run.
  Bindings& optimizer(OptimizerState& state, std::span<const double> scalars);
  /// Names the random numbers of the next run; draw a new one (RandomKey::stream) for each step.
  Bindings& random(RandomKey key);
  /// With CompileOptions::gather: the rows of the batched inputs that make up the batch.
  Bindings& row_order(std::span<const std::uint32_t> rows);

  struct Data;
  const Data& data() const noexcept { return *data_; }

 private:
  std::unique_ptr<Data> data_;
};

/// Runs plans: on the calling thread alone, or with helpers from a TBB arena of its own. Results
/// have the same bits either way. Several threads may run at once, each with its own workspace; the
/// helpers serve one of them at a time, and the others run alone.
///
/// run() takes no lock and, once its thread has run before, allocates nothing (GemmPath::kBlas may,
/// and ops that factor matrices a list of tiles). It sets the floating-point mode to
/// round-to-nearest without flush-to-zero while it lasts.
class CHAINRULE_API Executor {
 public:
  /// The serial reference executor.
  Executor();
  /// On up to `threads` threads, the caller included; 0 means default_threads(). More threads than
  /// cores are allowed.
  explicit Executor(int threads);
  ~Executor();
  Executor(Executor&&) noexcept;
  Executor& operator=(Executor&&) noexcept;

  int threads() const noexcept;
  Workspace make_workspace(const Plan& plan, Index max_rows) const;

  /// One pass over the batch. Throws NonFiniteError, before any parameter changes, when the plan
  /// has an update and the loss is NaN or infinite; whatever an op throws also leaves parameters,
  /// states and the optimizer's as they were. When blocks of rows throw, the first one's exception
  /// is passed on.
  void run(Workspace& workspace, const Bindings& bindings) const;

  /// Calls `body(item, worker)` for every 0 <= item < count, on up to threads() threads, worker <
  /// threads() being one of them; on the calling thread alone when all of it is fewer than some 10
  /// million floating-point operations (`flops` is the caller's guess) or when the helpers are
  /// busy. Items are handed out in ascending order, each to one thread; an item may wait for what
  /// lower ones do and for nothing else. When items throw, the exception of the lowest one is
  /// rethrown after all are done. Sets the floating-point mode as run() does. `body` must not use
  /// this executor.
  void for_each(Index count, double flops, const std::function<void(Index, int)>& body) const;

  /// Calls `body` while helpers stay awake for the runs it makes on this executor from this thread;
  /// for training loops. Returns how many threads took part in them.
  int with_residents(const std::function<void()>& body) const;

  /// For executor_in(): runs in an arena that somebody else made.
  explicit Executor(std::unique_ptr<internal::Arena> arena);

 private:
  std::unique_ptr<internal::Arena> arena_;
};

/// Threads to use by default: the cores this process may run on, capped by the cgroup's CPU quota.
CHAINRULE_API int default_threads();

/// While it lives, TBB may run up to `threads` threads in this process, even above the number of
/// cores (process-wide; for tests and for the command-line tool).
class CHAINRULE_API ScopedThreadLimit {
 public:
  explicit ScopedThreadLimit(int threads);
  ~ScopedThreadLimit();
  ScopedThreadLimit(const ScopedThreadLimit&) = delete;
  ScopedThreadLimit& operator=(const ScopedThreadLimit&) = delete;

 private:
  struct Control;
  std::unique_ptr<Control> control_;
};

}  // namespace chainrule
