// SPDX-License-Identifier: Apache-2.0
// Every form of a product against OpenBLAS's, on every architecture, within what the analysis of
// rounding errors grants to both: each is within n u sum |a b| of the exact sum (Higham, Accuracy
// and Stability of Numerical Algorithms, section 3.1).
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <set>
#include <string>

#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/ops/ops.hpp"
#include "runtime_support.hpp"

namespace chainrule {
namespace {

using testing::random_tensor;

/// What is tested: a form of prepare_gemm, or prepare_dots of several columns.
const char* name_of(GemmForm form) {
  switch (form) {
    case GemmForm::kTiles:
      return "tiles";
    case GemmForm::kOneTile:
      return "one tile";
    case GemmForm::kTransposedTiles:
      return "transposed tiles";
    case GemmForm::kColumnAsRow:
      return "a column as the row that it is";
    case GemmForm::kDots:
      return "dots of one column";
    case GemmForm::kStridedDots:
      return "dots of a column with gaps";
    case GemmForm::kCount:
      break;
  }
  return "dots of several columns";
}

template <class T>
constexpr double kUnitRoundoff = std::numeric_limits<T>::epsilon() / 2;

/// A matrix of which `view` shows the first columns, so that its rows have gaps.
struct Matrix {
  Tensor memory;
  Index columns;

  Matrix(Index rows, Index columns_, Index gap, DType dtype, std::uint64_t seed)
      : memory({rows, columns_ + gap}, dtype, Layout::kDense), columns(columns_) {
    copy_values(random_tensor({rows, columns_ + gap}, dtype, seed), memory);
  }
  template <class T>
  MatrixView<T> view() {
    MatrixView<T> all = memory.as<T>();
    all.columns = columns;
    return all;
  }
};

struct Shape3 {
  Index m, n, k;
  bool by_columns;  ///< how a is stored
  Index gap;        ///< behind the rows of b and c
};

/// The operands of c += a b, where a step of SGD may stand for the store.
template <class T>
class Case {
 public:
  static constexpr double kSgd[] = {0.7, 0.01};

  explicit Case(const Shape3& s)
      : shape_(s),
        a_(s.by_columns ? s.k : s.m, s.by_columns ? s.m : s.k, 2, kDTypeOf<T>, 1),
        b_(s.k, s.n, s.gap, kDTypeOf<T>, 2),
        b_transposed_(s.n, s.k, 3, kDTypeOf<T>, 2),
        c_(s.m, s.n, s.gap, kDTypeOf<T>, 3),
        weights_(s.m, s.n, s.gap, kDTypeOf<T>, 4) {
    for (Index l = 0; l < s.k; ++l) {
      for (Index j = 0; j < s.n; ++j) {
        b_transposed_.template view<T>()(j, l) = b_.template view<T>()(l, j);
      }
    }
  }

  StridedView<T> a() {
    const MatrixView<T> view = a_.template view<T>();
    return {view.data, shape_.by_columns ? 1 : view.ld, shape_.by_columns ? view.ld : 1};
  }
  MatrixView<const T> rows_of_a() { return a_.template view<T>(); }
  MatrixView<T> b() { return b_.template view<T>(); }
  MatrixView<const T> b_transposed() { return b_transposed_.template view<T>(); }
  MatrixView<T> c() { return c_.template view<T>(); }
  MatrixView<T> weights() { return weights_.template view<T>(); }
  GemmFinish<T> descent() { return {.descending = weights(), .sgd = kSgd}; }

  using Multiply = std::function<void(MatrixView<T> c, bool accumulate, const GemmFinish<T>&)>;

  /// Both results of c (+)= a b, and of a step of SGD down it.
  void compare(const Multiply& ours, const Multiply& blas) {
    const Tensor before = c_.memory;
    for (const bool accumulate : {false, true}) {
      copy_values(before, c_.memory);
      ours(c(), accumulate, {});
      const Tensor fused = c_.memory;
      copy_values(before, c_.memory);
      blas(c(), accumulate, {});
      for_each([&](Index i, Index j) {
        const double start = accumulate ? before.as<T>()(i, j) : 0;
        ASSERT_NEAR(fused.as<T>()(i, j), c()(i, j), bound(i, j, start)) << i << ", " << j;
      });
    }
    const Tensor old = weights_.memory;
    blas(c(), false, {});
    const Tensor gradient = c_.memory;
    ours(c(), false, descent());
    for_each([&](Index i, Index j) {
      const double p = old.as<T>()(i, j), g = gradient.as<T>()(i, j);
      const double step = kSgd[0] * (g + kSgd[1] * p);
      const double rounding = 4 * kUnitRoundoff<T> * (std::abs(p) + kSgd[0] * std::abs(g));
      ASSERT_NEAR(weights()(i, j), p - step, kSgd[0] * bound(i, j, 0) + rounding)
          << "after a step, " << i << ", " << j;
    });
  }

 private:
  template <class Body>
  void for_each(Body body) const {
    for (Index i = 0; i < shape_.m; ++i) {
      for (Index j = 0; j < shape_.n; ++j) body(i, j);
    }
  }
  /// How far two sums of start and the products may be from each other.
  double bound(Index i, Index j, double start) {
    const StridedView<T> left = a();
    double magnitude = std::abs(start);
    for (Index l = 0; l < shape_.k; ++l) {
      const double factor = left.data[i * left.row_stride + l * left.column_stride];
      magnitude += std::abs(factor * static_cast<double>(b()(l, j)));
    }
    const double nu = static_cast<double>(shape_.k + 1) * kUnitRoundoff<T>;
    return 2 * nu / (1 - nu) * magnitude;
  }

  Shape3 shape_;
  Matrix a_, b_, b_transposed_, c_, weights_;
};

/// Compares the products of one architecture with OpenBLAS's; returns the forms that were met.
template <class T>
std::set<std::string> compare_all(const KernelTable& table) {
  const Graph empty;
  const Plan on_blas = compile(empty, {.gemm = GemmPath::kBlas, .kernels = &table});
  const Kernels<T>& ours = table.get<T>();
  const Kernels<T>& blas = on_blas.kernels().get<T>();
  std::set<std::string> met;
  for (const bool by_columns : {false, true}) {
    for (const Index gap : {0, 3}) {
      for (const Index m : {1, 5, 40}) {
        for (const Index n : {1, 3, 10, 70}) {
          for (const Index k : {7, 600}) {
            Case<T> one({m, n, k, by_columns, gap});
            const GemmForm form = ours.gemm_form(one.a(), one.b(), one.c(), one.descent());
            SCOPED_TRACE(::testing::Message() << name_of(form) << ", " << m << " x " << n << " x "
                                              << k << (by_columns ? ", a by columns" : ""));
            met.insert(name_of(form));
            const auto by_blas = [&](auto c, bool accumulate, const auto& finish) {
              blas.gemm(one.a(), one.b(), c, accumulate, finish);
            };
            one.compare(
                [&](auto c, bool accumulate, const auto& finish) {
                  ours.prepare_gemm(one.a(), one.b(), c, accumulate, finish)();
                },
                by_blas);
            if (by_columns || n == 1 || n > ours.most_dot_columns) continue;
            met.insert(name_of(GemmForm::kCount));
            SCOPED_TRACE(name_of(GemmForm::kCount));
            one.compare(
                [&](auto c, bool accumulate, const auto& finish) {
                  ours.prepare_dots(one.rows_of_a(), one.b_transposed(), c, accumulate, finish)();
                },
                by_blas);
          }
        }
      }
    }
  }
  return met;
}

template <class T>
void expect_agreement() {
  for (const KernelTable* table : available_kernels()) {
    SCOPED_TRACE(std::string(table->architecture));
    const std::set<std::string> met = compare_all<T>(*table);
    for (int form = 0; form <= static_cast<int>(GemmForm::kCount); ++form) {
      const char* const name = name_of(static_cast<GemmForm>(form));
      EXPECT_EQ(met.count(name), 1U) << name << " has not been compared";
    }
  }
}

TEST(BlasAgreement, EveryFormInFloat32) { expect_agreement<float>(); }
TEST(BlasAgreement, EveryFormInFloat64) { expect_agreement<double>(); }

/// x w of a layer whose dY is known: the loss is the mean of x w times given factors.
struct LinearLoss {
  Graph graph;
  Value x, factors, w, loss;

  LinearLoss(Index in, Index out) {
    x = graph.input("x", {kBatch, in});
    factors = graph.input("factors", {kBatch, out});
    w = graph.parameter("w", {in, out}, normal(1));
    loss = reduce_mean(mul(matmul(x, w), factors), Axis::kAll);
  }

  /// The weights after a step of SGD.
  Tensor step(const KernelTable& kernels, DType dtype, GemmPath gemm, const Tensor& in,
              const Tensor& by) {
    CompileOptions options{.dtype = dtype, .loss = loss, .gemm = gemm, .kernels = &kernels};
    options.update =
        UpdateOptions{.def = &testing::kSgdUpdate, .targets = testing::all_parameters(graph)};
    const Plan plan = compile(graph, options);
    EXPECT_EQ(gemm == GemmPath::kFused, plan.to_text().find("registers") != std::string::npos);
    Parameters parameters(graph, dtype, 1);
    OptimizerState state;
    const std::vector<double> scalars = testing::sgd_scalars(0.5);
    Workspace workspace(plan, in.rows());
    Bindings bindings(plan);
    bindings.input(x, in).input(factors, by).parameters(parameters).optimizer(state, scalars);
    Executor().run(workspace, bindings);
    Tensor result(graph.node(w.id()).shape, dtype);
    copy_values(parameters.view(w), result);
    return result;
  }
};

void expect_equal_steps(const KernelTable& kernels, DType dtype, Index rows, Index in, Index out) {
  SCOPED_TRACE(::testing::Message() << kernels.architecture << ", " << rows << " rows, " << in
                                    << " x " << out << ", " << to_string(dtype));
  const double u = dtype == DType::kFloat32 ? kUnitRoundoff<float> : kUnitRoundoff<double>;
  LinearLoss net(in, out);
  const Tensor x = random_tensor({rows, in}, dtype, 5), by = random_tensor({rows, out}, dtype, 6);
  const Tensor fused = net.step(kernels, dtype, GemmPath::kFused, x, by);
  const Tensor blas = net.step(kernels, dtype, GemmPath::kBlas, x, by);
  const double rate = testing::sgd_scalars(0.5)[0];
  const std::vector<double> xs = testing::elements(x), bys = testing::elements(by);
  const std::vector<double> ours = testing::elements(fused), theirs = testing::elements(blas);
  const auto at = [](const std::vector<double>& m, Index i, Index j, Index columns) {
    return m[static_cast<std::size_t>(i * columns + j)];
  };
  for (Index i = 0; i < in; ++i) {
    for (Index j = 0; j < out; ++j) {
      double magnitude = 0;
      for (Index r = 0; r < rows; ++r) {
        magnitude += std::abs(at(xs, r, i, in) * at(bys, r, j, out));
      }
      magnitude /= static_cast<double>(rows * out);
      const double nu = static_cast<double>(rows + 3) * u;
      const double w = at(theirs, i, j, out);
      const double bound = rate * 2 * nu / (1 - nu) * magnitude + 8 * u * std::abs(w);
      ASSERT_NEAR(at(ours, i, j, out), w, bound) << i << ", " << j;
    }
  }
}

// dW and the step of SGD that a plan lets the product take, tile by tile.
TEST(BlasAgreement, StepsOfSgd) {
  for (const KernelTable* table : available_kernels()) {
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      expect_equal_steps(*table, dtype, 64, 40, 1);
      expect_equal_steps(*table, dtype, 64, 20, 10);
      expect_equal_steps(*table, dtype, 37, 130, 70);
    }
  }
}

}  // namespace
}  // namespace chainrule
