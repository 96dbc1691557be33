// SPDX-License-Identifier: Apache-2.0
//
// The three products of a dense layer by the fused kernels and by OpenBLAS, one thread each, in
// turn: what `auto` chooses by. Names are FORM/BATCHxOUTxIN/DTYPE.

#include <algorithm>
#include <ctime>
#include <limits>
#include <string>

#include "chainrule/core/initializer.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/runtime/plan.hpp"
#include "common.hpp"

namespace {

using namespace chainrule;

enum class Form { kForward, kInputGradient, kWeightGradient };

struct Layer {
  Index batch, out, in;
};

/// What a plan of that path multiplies with.
KernelTable kernels_of(GemmPath path) {
  const Graph empty;
  return compile(empty, {.gemm = path}).kernels();
}

template <class T>
Tensor random_matrix(Index rows, Index columns, std::uint64_t stream) {
  Tensor tensor({rows, columns}, kDTypeOf<T>);
  initialize(uniform(1), {.seed = 1, .stream = stream}, tensor);
  return tensor;
}

/// y = x w, dx = dy w^T with w^T as a plan keeps it, or dw = x^T dy.
template <class T>
struct Product {
  Tensor a, b, c;
  Tensor mirror;  ///< b^T, which forward reads where it prefers dots
  bool transposed;

  Product(Form form, const Layer& s)
      : a(random_matrix<T>(s.batch, form == Form::kInputGradient ? s.out : s.in, 1)),
        b(form == Form::kForward         ? random_matrix<T>(s.in, s.out, 2)
          : form == Form::kInputGradient ? random_matrix<T>(s.out, s.in, 2)
                                         : random_matrix<T>(s.batch, s.out, 2)),
        c(random_matrix<T>(form == Form::kWeightGradient ? s.in : s.batch, b.columns(), 3)),
        transposed(form == Form::kWeightGradient) {
    if (form != Form::kForward) return;
    mirror = Tensor({b.columns(), b.rows()}, kDTypeOf<T>);
    default_kernels().get<T>().transpose(b.as<T>(), mirror.as<T>());
  }

  void run(const KernelTable& kernels) {
    const Kernels<T>& k = kernels.get<T>();
    if (mirror.data() != nullptr && k.prefers_dots(b.columns(), b.rows())) {
      k.prepare_dots(a.as<T>(), mirror.as<T>(), c.as<T>(), false, {})();
      benchmark::ClobberMemory();
      return;
    }
    const StridedView<T> left{a.as<T>().data, transposed ? 1 : a.ld(), transposed ? a.ld() : 1};
    k.gemm(left, b.as<T>(), c.as<T>(), false, {});
    benchmark::ClobberMemory();
  }
};

/// Seconds of a call, of CPU time: large products take longer than a turn on a busy machine.
template <class Body>
double burst(Index calls, Body body) {
  const std::clock_t start = std::clock();
  for (Index i = 0; i < calls; ++i) body();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC / static_cast<double>(calls);
}

template <class T>
void compare(benchmark::State& state, Form form, const Layer& shape) {
  static const KernelTable fused = kernels_of(GemmPath::kFused);
  static const KernelTable blas = kernels_of(GemmPath::kBlas);
  constexpr int kRounds = 12;
  Product<T> product(form, shape);
  product.run(fused);
  const Tensor expected = product.c;
  product.run(blas);
  if (!bench::agrees(product.c, expected, 1e-3)) {
    state.SkipWithError("the paths differ");
    return;
  }
  const double flops = 2.0 * static_cast<double>(shape.batch) * static_cast<double>(shape.out) *
                       static_cast<double>(shape.in);
  const double peak = bench::fma_peak<T>(fused);
  const Index calls = std::max<Index>(1, static_cast<Index>(0.3e-3 * peak / flops));
  double fused_seconds = std::numeric_limits<double>::infinity(), blas_seconds = fused_seconds;
  for (auto _ : state) {
    for (int round = 0; round < kRounds; ++round) {
      fused_seconds = std::min(fused_seconds, burst(calls, [&] { product.run(fused); }));
      blas_seconds = std::min(blas_seconds, burst(calls, [&] { product.run(blas); }));
    }
  }
  state.counters["fused_fraction"] = flops / fused_seconds / peak;
  state.counters["blas_fraction"] = flops / blas_seconds / peak;
  state.counters["blas_speedup"] = fused_seconds / blas_seconds;
}

template <class T>
void add(const std::string& name, Form form, const Layer& s) {
  const std::string full = name + "/" + std::to_string(s.batch) + "x" + std::to_string(s.out) +
                           "x" + std::to_string(s.in) + (sizeof(T) == 4 ? "/float32" : "/float64");
  benchmark::RegisterBenchmark(full.c_str(), [=](benchmark::State& state) {
    compare<T>(state, form, s);
  })->Iterations(1);
}

void register_all() {
  const struct {
    const char* name;
    Form form;
  } forms[] = {{"forward", Form::kForward},
               {"input_gradient", Form::kInputGradient},
               {"weight_gradient", Form::kWeightGradient}};
  const Index widths[] = {10, 64, 256, 512, 1024, 2048};
  for (const auto& [name, form] : forms) {
    for (const Index batch : {1, 8, 32, 128, 256}) {
      for (const Index out : widths) {
        for (const Index in : widths) {
          add<float>(name, form, {batch, out, in});
          add<double>(name, form, {batch, out, in});
        }
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  register_all();
  return chainrule::bench::run(
      argc, argv,
      {.name = "gemm_paths",
       .about = "The products of a layer by our kernels and by OpenBLAS on one thread, in turn:\n"
                "shares of the FMA peak, and how much faster OpenBLAS is.\n",
       .has_bits = false});
}
