// SPDX-License-Identifier: Apache-2.0
// The ways into dense_algebra.cpp: with an executor, and from the whole-batch ops of a run.
#include "chainrule/runtime/parallel_linear_algebra.hpp"

#include "dense_algebra.hpp"

namespace chainrule {
namespace internal {

void TileThreads::for_each(Index count, double flops,
                           const std::function<void(Index, int)>& body) const {
  if (executor_ != nullptr) {
    executor_->for_each(count, flops, body);
    return;
  }
  // Below this, handing tiles to threads that are awake costs more than it saves.
  constexpr double kSerialFlops = 150e3;
  if (flops < kSerialFlops) {
    for (Index item = 0; item < count; ++item) body(item, 0);
  } else {
    (*run_)(count, [&](Index item) { body(item, 0); });
  }
}

void TileThreads::with_residents(const std::function<void()>& body) const {
  if (executor_ != nullptr) {
    executor_->with_residents(body);
  } else {
    body();
  }
}

namespace {

using In = BatchAlgebra::In;
using Out = BatchAlgebra::Out;

constexpr BatchAlgebra kBatchAlgebra{
    .gemm =
        [](const TileRunner& tiles, double alpha, In a, bool transpose_a, In b, bool transpose_b,
           double beta, Out c) {
          dense::gemm<double>(alpha, {a, transpose_a}, {b, transpose_b}, beta, c,
                              TileThreads(tiles));
        },
    .syrk =
        [](const TileRunner& tiles, double alpha, In a, double beta, Out c) {
          dense::syrk<double>(alpha, {a, false}, beta, c, Triangle::kLower, TileThreads(tiles));
        },
    .cholesky =
        [](const TileRunner& tiles, std::string_view who, Out a, double max_jitter) {
          const CholeskyResult result =
              dense::cholesky<double>(who, a, {.max_jitter = max_jitter}, TileThreads(tiles));
          return Factor{.jitter = result.jitter, .log_determinant = result.log_determinant};
        },
    .solve = [](const TileRunner& tiles, In l,
                Out b) { dense::solve_cholesky<double>(l, b, TileThreads(tiles)); },
    .invert = [](const TileRunner& tiles, In l,
                 Out inverse) { dense::invert_cholesky<double>(l, inverse, TileThreads(tiles)); }};

}  // namespace
}  // namespace internal

using internal::TileThreads;
namespace dense = internal::dense;

const BatchAlgebra& batch_algebra() noexcept { return internal::kBatchAlgebra; }

template <class T>
void gemm(std::type_identity_t<T> alpha, std::type_identity_t<Operand<T>> a,
          std::type_identity_t<Operand<T>> b, std::type_identity_t<T> beta, MatrixView<T> c,
          const Executor& executor) {
  dense::gemm<T>(alpha, a, b, beta, c, TileThreads(executor));
}

template <class T>
void syrk(std::type_identity_t<T> alpha, std::type_identity_t<Operand<T>> a,
          std::type_identity_t<T> beta, MatrixView<T> c, Triangle result,
          const Executor& executor) {
  dense::syrk<T>(alpha, a, beta, c, result, TileThreads(executor));
}

template <class T>
CholeskyResult cholesky(MatrixView<T> a, const CholeskyOptions& options, const Executor& executor) {
  return dense::cholesky<T>("cholesky", a, options, TileThreads(executor));
}

template <class T>
void solve_lower(std::type_identity_t<Operand<T>> l, MatrixView<T> b, const Executor& executor) {
  dense::solve_lower<T>(l, b, TileThreads(executor));
}

template <class T>
void solve_cholesky(std::type_identity_t<MatrixView<const T>> l, MatrixView<T> b,
                    const Executor& executor) {
  dense::solve_cholesky<T>(l, b, TileThreads(executor));
}

template <class T>
void invert_cholesky(std::type_identity_t<MatrixView<const T>> l, MatrixView<T> inverse,
                     const Executor& executor) {
  dense::invert_cholesky<T>(l, inverse, TileThreads(executor));
}

template void gemm(float, Operand<float>, Operand<float>, float, MatrixView<float>,
                   const Executor&);
template void syrk(float, Operand<float>, float, MatrixView<float>, Triangle, const Executor&);
template CholeskyResult cholesky(MatrixView<float>, const CholeskyOptions&, const Executor&);
template void solve_lower(Operand<float>, MatrixView<float>, const Executor&);
template void solve_cholesky(MatrixView<const float>, MatrixView<float>, const Executor&);
template void invert_cholesky(MatrixView<const float>, MatrixView<float>, const Executor&);
template void gemm(double, Operand<double>, Operand<double>, double, MatrixView<double>,
                   const Executor&);
template void syrk(double, Operand<double>, double, MatrixView<double>, Triangle, const Executor&);
template CholeskyResult cholesky(MatrixView<double>, const CholeskyOptions&, const Executor&);
template void solve_lower(Operand<double>, MatrixView<double>, const Executor&);
template void solve_cholesky(MatrixView<const double>, MatrixView<double>, const Executor&);
template void invert_cholesky(MatrixView<const double>, MatrixView<double>, const Executor&);

}  // namespace chainrule
