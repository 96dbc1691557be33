// SPDX-License-Identifier: Apache-2.0
//
// The kernels of the active architecture, one thread, operands in cache.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "chainrule/core/initializer.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "common.hpp"

namespace {

using namespace chainrule;

constexpr bench::Program kProgram{
    .name = "kernels",
    .about =
        R"(The kernels of the best architecture that this CPU runs, on one thread (all names end in
/threads:1), operands in cache: matrix products gemm_FORM/MxNxK/DTYPE, functions of 64 x 256 float32
in L2, and softmax cross-entropy with its gradient.

  fraction_of_limit  the least time by that of a call: of a product what its operations take at the
                     FMA peak, or its bytes at the bandwidth of reading so many, whichever is
                     longer; else what its bytes take when memcpy() moves so many. All measured in
                     this process
  bits_ok            1: the rows in two calls, operands at other addresses with other strides, give
                     the same bits, and the result is right; 0: it is not, and nothing was timed
  fma_fraction, flops, elements (a second), cycles_an_element, times_a_copy, cycles_a_row, least_us
                     cycles are those of the core's own clock, in the least of many short runs
)",
    .has_bits = true};

constexpr const char* kWrong = "wrong result";
constexpr const char* kOtherBits = "other bits in two calls, at other addresses";

enum class Form { kForward, kWeightGradient };

template <class T>
Tensor random_tensor(const Shape& shape, std::uint64_t stream, double limit) {
  Tensor tensor(shape, kDTypeOf<T>);
  initialize(uniform(limit), {.seed = 1, .stream = stream}, tensor);
  return tensor;
}

// A matrix whose rows start an element behind those of a Tensor, and are as far apart as they are
// long and one more.
template <class T>
class Displaced {
 public:
  explicit Displaced(const Shape& shape)
      : memory_({shape.rows(), shape.columns() + 1}, kDTypeOf<T>, Layout::kDense) {}
  explicit Displaced(const Tensor& values) : Displaced(values.shape()) {
    copy_values(values, view());
  }

  TensorView view() {
    return {memory_.as<T>().data + 1, kDTypeOf<T>, memory_.rows(), memory_.columns() - 1,
            memory_.ld()};
  }
  MatrixView<T> all() { return view().template as<T>(); }
  MatrixView<T> rows(Index first, Index count) {
    return {all().row(first), count, all().columns, all().ld};
  }

 private:
  Tensor memory_;
};

// Calls body(first, count) for two parts of so many rows, neither of them a whole tile's.
template <class Body>
void in_two_parts(Index rows, const Body& body) {
  const Index first = (rows + 1) / 3;
  if (first > 0) body(Index{0}, first);
  body(first, rows - first);
}

// c = a b or a^T b, against sums in double.
template <class T>
bool gemm_is_right(Form form, const Tensor& a, const Tensor& b, const Tensor& c) {
  const MatrixView<const T> x = a.as<T>(), y = b.as<T>();
  const auto columns = static_cast<std::size_t>(c.columns());
  for (Index i = 0; i < c.rows(); ++i) {
    std::vector<double> sums(columns), terms(columns, 1e-30);
    for (Index k = 0; k < y.rows; ++k) {
      const double left = form == Form::kForward ? x(i, k) : x(k, i);
      for (std::size_t j = 0; j < columns; ++j) {
        const double term = left * y.row(k)[j];
        sums[j] += term;
        terms[j] += std::abs(term);
      }
    }
    const double bound = static_cast<double>(y.rows) * std::numeric_limits<T>::epsilon();
    for (std::size_t j = 0; j < columns; ++j) {
      const double error = element(c, i, static_cast<Index>(j)) - sums[j];
      if (!(std::abs(error) <= bound * terms[j])) return false;
    }
  }
  return true;
}

// Whether the rows in two calls, of displaced operands, have the bits of c.
template <class T>
bool gemm_has_bits(Form form, const Tensor& a, const Tensor& b, const Tensor& c) {
  Displaced<T> left(a), right(b), product(c.shape());
  const MatrixView<T> x = left.all();
  in_two_parts(c.rows(), [&](Index first, Index count) {
    const StridedView<T> part = form == Form::kForward ? StridedView<T>{x.row(first), x.ld, 1}
                                                       : StridedView<T>{x.data + first, 1, x.ld};
    default_kernels().get<T>().gemm(part, right.all(), product.rows(first, count), false, {});
  });
  return bench::same_bits(c, product.view());
}

// Forward: [m, k] x [k, n]. Weight gradient: [k, m]^T x [k, n].
template <class T>
void gemm(benchmark::State& state, Form form, Index m, Index n, Index k) {
  const KernelTable& kernels = default_kernels();
  const bool forward = form == Form::kForward;
  Tensor a = random_tensor<T>(forward ? Shape{m, k} : Shape{k, m}, 1, 1);
  Tensor b = random_tensor<T>({k, n}, 2, 1);
  Tensor c({m, n}, kDTypeOf<T>);
  const auto multiply = [&] {
    kernels.get<T>().gemm({a.as<T>().data, forward ? a.ld() : 1, forward ? 1 : a.ld()}, b.as<T>(),
                          c.as<T>(), false, {});
  };
  multiply();
  if (!gemm_is_right<T>(form, a, b, c)) {
    state.SkipWithError(kWrong);
    return;
  }
  if (!gemm_has_bits<T>(form, a, b, c)) {
    state.SkipWithError(kOtherBits);
    return;
  }
  const double seconds = bench::timed(state, [&] {
    multiply();
    benchmark::ClobberMemory();
  });
  const double flops =
      2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  bench::report_flops<T>(state, kernels, flops, seconds);
  const auto bytes = static_cast<Index>(sizeof(T)) * (m * k + k * n + m * n);
  bench::report_limit(state,
                      std::max(flops / bench::fma_peak<T>(kernels),
                               static_cast<double>(bytes) / bench::read_bandwidth(kernels, bytes)),
                      seconds);
}

struct UnaryCase {
  const char* name;
  UnaryKernel kernel;
  double (*reference)(double);
};

const UnaryCase kUnaryCases[] = {
    {"relu", UnaryKernel::kRelu, [](double x) { return x > 0 ? x : 0; }},
    {"exp", UnaryKernel::kExp, [](double x) { return std::exp(x); }},
    {"sigmoid", UnaryKernel::kSigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }},
    {"tanh", UnaryKernel::kTanh, [](double x) { return std::tanh(x); }},
    {"softplus", UnaryKernel::kSoftplus, [](double x) { return std::log1p(std::exp(x)); }},
    {"silu", UnaryKernel::kSilu, [](double x) { return x / (1 + std::exp(-x)); }},
    {"gelu", UnaryKernel::kGelu, [](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }},
};

void apply_unary(UnaryKernel kernel, const Tensor& x, Tensor& y) {
  const double no_parameters[4] = {};
  default_kernels().f32.unary[static_cast<std::size_t>(kernel)](x.as<float>(), y.as<float>(),
                                                                no_parameters);
  benchmark::ClobberMemory();
}

bool unary_has_bits(UnaryKernel kernel, const Tensor& x, const Tensor& y) {
  Displaced<float> from(x), to(y.shape());
  const double no_parameters[4] = {};
  in_two_parts(x.rows(), [&](Index first, Index count) {
    default_kernels().f32.unary[static_cast<std::size_t>(kernel)](
        from.rows(first, count), to.rows(first, count), no_parameters);
  });
  return bench::same_bits(y, to.view());
}

// Seconds that memcpy() takes to move so many float32.
double copying(double numbers) {
  const double bytes = numbers * sizeof(float);
  return bytes / bench::copy_bandwidth(static_cast<Index>(bytes));
}

// 64 x 256 elements: in L2.
void unary(benchmark::State& state, const UnaryCase& one) {
  const Tensor x = random_tensor<float>({64, 256}, 3, 4);
  Tensor y(x.shape(), DType::kFloat32);
  apply_unary(one.kernel, x, y);
  Tensor expected(x.shape(), DType::kFloat64);
  for (Index i = 0; i < x.rows(); ++i) {
    for (Index j = 0; j < x.columns(); ++j) {
      expected.as<double>()(i, j) = one.reference(element(x, i, j));
    }
  }
  if (!bench::agrees(y, expected, 1e-6)) {
    state.SkipWithError(kWrong);
    return;
  }
  if (!unary_has_bits(one.kernel, x, y)) {
    state.SkipWithError(kOtherBits);
    return;
  }
  const auto elements = static_cast<double>(x.rows() * x.columns());
  const double seconds = bench::timed(state, [&] { apply_unary(one.kernel, x, y); });
  state.counters["elements"] = elements / seconds;
  bench::report_limit(state, copying(2 * elements), seconds);
  // On a busy machine a few calls are sometimes undisturbed, but never all.
  const double least = bench::least_seconds([&] { apply_unary(one.kernel, x, y); });
  state.counters["cycles_an_element"] = least * bench::clock_rate() / elements;
  // relu costs nothing beside the copy.
  const double copy = bench::least_seconds([&] { apply_unary(UnaryKernel::kRelu, x, y); });
  state.counters["times_a_copy"] = least / copy;
}

// Operands of softmax cross-entropy from logits, with its gradient.
struct CrossEntropy {
  CrossEntropy(Index rows, Index classes)
      : x(random_tensor<float>({rows, classes}, 4, 3)),
        labels({rows, 1}, DType::kInt32),
        dloss({rows, 1}, DType::kFloat32),
        loss({rows, 1}, DType::kFloat32),
        p(x.shape(), DType::kFloat32),
        dx(x.shape(), DType::kFloat32) {
    for (Index i = 0; i < rows; ++i) {
      labels.as<std::int32_t>()(i, 0) = static_cast<std::int32_t>(i * 7 % classes);
      dloss.as<float>()(i, 0) = 1;
    }
  }

  void apply() {
    const Kernels<float>& kernels = default_kernels().f32;
    kernels.cross_entropy(x.as<float>(), labels.as<std::int32_t>(), 0, loss.as<float>(),
                          p.as<float>());
    kernels.cross_entropy_backward(p.as<float>(), labels.as<std::int32_t>(), 0, dloss.as<float>(),
                                   dx.as<float>(), false);
    benchmark::ClobberMemory();
  }

  bool is_right() const {
    Tensor expected(x.shape(), DType::kFloat64);
    for (Index i = 0; i < x.rows(); ++i) {
      double sum = 0;
      for (Index j = 0; j < x.columns(); ++j) sum += std::exp(element(x, i, j));
      for (Index j = 0; j < x.columns(); ++j) {
        const double at_label = element(labels, i, 0) == static_cast<double>(j) ? 1 : 0;
        expected.as<double>()(i, j) = std::exp(element(x, i, j)) / sum - at_label;
      }
    }
    return bench::agrees(dx, expected, 1e-6);
  }

  bool has_bits() const {
    const Kernels<float>& kernels = default_kernels().f32;
    Displaced<float> logits(x), probabilities(p.shape()), gradient(dx.shape());
    Displaced<float> losses(loss.shape()), factors(dloss);
    Displaced<std::int32_t> classes(labels);
    in_two_parts(x.rows(), [&](Index first, Index count) {
      kernels.cross_entropy(logits.rows(first, count), classes.rows(first, count), 0,
                            losses.rows(first, count), probabilities.rows(first, count));
      kernels.cross_entropy_backward(probabilities.rows(first, count), classes.rows(first, count),
                                     0, factors.rows(first, count), gradient.rows(first, count),
                                     false);
    });
    return bench::same_bits(loss, losses.view()) && bench::same_bits(dx, gradient.view());
  }

  Tensor x, labels, dloss, loss, p, dx;
};

void cross_entropy(benchmark::State& state, Index rows, Index classes) {
  CrossEntropy timed(rows, classes);
  timed.apply();
  if (!timed.is_right()) {
    state.SkipWithError(kWrong);
    return;
  }
  if (!timed.has_bits()) {
    state.SkipWithError(kOtherBits);
    return;
  }
  const double seconds = bench::timed(state, [&] { timed.apply(); });
  // Logits are read; probabilities written and read; gradients written.
  bench::report_limit(state, copying(4 * static_cast<double>(rows * classes)), seconds);
  const double least = bench::least_seconds([&] { timed.apply(); });
  state.counters["least_us"] = 1e6 * least;
  state.counters["cycles_a_row"] = least * bench::clock_rate() / static_cast<double>(rows);
}

void register_all() {
  const struct {
    Index m, n, k;
  } shapes[] = {{1, 128, 784}, {8, 256, 256},   {32, 128, 784},   {32, 10, 128},
                {64, 64, 64},  {128, 512, 512}, {256, 1024, 1024}};
  for (const auto& s : shapes) {
    for (const Form form : {Form::kForward, Form::kWeightGradient}) {
      const std::string name =
          std::string(form == Form::kForward ? "gemm_forward" : "gemm_weight_gradient") + "/" +
          std::to_string(s.m) + "x" + std::to_string(s.n) + "x" + std::to_string(s.k);
      benchmark::RegisterBenchmark(
          (name + "/float32/threads:1").c_str(),
          [=](benchmark::State& state) { gemm<float>(state, form, s.m, s.n, s.k); });
      benchmark::RegisterBenchmark(
          (name + "/float64/threads:1").c_str(),
          [=](benchmark::State& state) { gemm<double>(state, form, s.m, s.n, s.k); });
    }
  }
  for (const UnaryCase& one : kUnaryCases) {
    benchmark::RegisterBenchmark((std::string("unary/") + one.name + "/threads:1").c_str(),
                                 [&one](benchmark::State& state) { unary(state, one); });
  }
  for (const Index classes : {10, 1000}) {
    benchmark::RegisterBenchmark(
        ("cross_entropy/128x" + std::to_string(classes) + "/threads:1").c_str(),
        [classes](benchmark::State& state) { cross_entropy(state, 128, classes); });
  }
}

}  // namespace

int main(int argc, char** argv) {
  register_all();
  return chainrule::bench::run(argc, argv, kProgram);
}
