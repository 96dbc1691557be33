// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string_view>
#include <type_traits>

#include "chainrule/core/op_context.hpp"
#include "chainrule/runtime/parallel_linear_algebra.hpp"

namespace chainrule::internal {

/// Where tiles run: on an executor, or on the threads of a run that has begun.
class TileThreads {
 public:
  explicit TileThreads(const Executor& executor) : executor_(&executor) {}
  explicit TileThreads(const TileRunner& run) : run_(&run) {}

  /// As Executor::for_each(): items go out in ascending order and may wait for lower ones.
  void for_each(Index count, double flops, const std::function<void(Index, int)>& body) const;
  void with_residents(const std::function<void()>& body) const;

 private:
  const Executor* executor_ = nullptr;
  const TileRunner* run_ = nullptr;
};

// What parallel_linear_algebra.hpp documents, on whatever threads.
namespace dense {

template <class T>
void gemm(std::type_identity_t<T> alpha, std::type_identity_t<Operand<T>> a,
          std::type_identity_t<Operand<T>> b, std::type_identity_t<T> beta, MatrixView<T> c,
          const TileThreads& threads);

template <class T>
void syrk(std::type_identity_t<T> alpha, std::type_identity_t<Operand<T>> a,
          std::type_identity_t<T> beta, MatrixView<T> c, Triangle result,
          const TileThreads& threads);

/// `who` is named in errors.
template <class T>
CholeskyResult cholesky(std::string_view who, MatrixView<T> a, const CholeskyOptions& options,
                        const TileThreads& threads);

template <class T>
void solve_lower(std::type_identity_t<Operand<T>> l, MatrixView<T> b, const TileThreads& threads);

template <class T>
void solve_cholesky(std::type_identity_t<MatrixView<const T>> l, MatrixView<T> b,
                    const TileThreads& threads);

template <class T>
void invert_cholesky(std::type_identity_t<MatrixView<const T>> l, MatrixView<T> inverse,
                     const TileThreads& threads);

}  // namespace dense
}  // namespace chainrule::internal
