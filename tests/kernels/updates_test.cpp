// SPDX-License-Identifier: Apache-2.0
#include "kernel_test_support.hpp"

namespace chainrule::test {
namespace {

template <class T>
class UpdateTest : public ::testing::Test {};
TYPED_TEST_SUITE(UpdateTest, ElementTypes);

/// One parameter by the textbook.
struct State {
  Real p;
  Real s0;
  Real s1;
};

template <class T>
void check(UpdateKernel kernel, const std::vector<double>& scalars,
           const std::function<void(State&, Real)>& step) {
  for_each_architecture<T>([&](const Kernels<T>& kernels) {
    for (const Index n : kColumnCounts) {
      for (const Placement placement : kPlacements) {
        const Matrix<T> g(3, n, placement, uniform<T>(-1, 1, 1));
        Matrix<T> p(3, n, placement, uniform<T>(-2, 2, 2));
        Matrix<T> s0(3, n, {1, 0}, uniform<T>(-1, 1, 3));
        Matrix<T> s1(3, n, {0, 1}, uniform<T>(0, 1, 4));
        std::vector<State> expected;
        for (Index i = 0; i < 3; ++i) {
          for (Index j = 0; j < n; ++j) {
            expected.push_back({p(i, j), s0(i, j), s1(i, j)});
            step(expected.back(), g(i, j));
          }
        }
        const bool has_second = kernel == UpdateKernel::kAdam;
        const bool has_first = kernel != UpdateKernel::kSgd;
        const MatrixView<T> none{};
        kernels.update[at(kernel)](p.out(), g.in(), has_first ? s0.out() : none,
                                   has_second ? s1.out() : none, scalars.data());
        for (Index i = 0; i < 3; ++i) {
          for (Index j = 0; j < n; ++j) {
            const State& e = expected[static_cast<std::size_t>(i * n + j)];
            EXPECT_TRUE(close(p(i, j), e.p, 4));
            EXPECT_TRUE(close(s0(i, j), e.s0, 4));
            EXPECT_TRUE(close(s1(i, j), e.s1, 4));
          }
        }
        EXPECT_TRUE(p.padding_intact() && s0.padding_intact() && s1.padding_intact());
      }
    }
  });
}

TYPED_TEST(UpdateTest, Sgd) {
  const Real lr = 0.125;
  const Real decay = 0.25;
  check<TypeParam>(UpdateKernel::kSgd, {0.125, 0.25},
                   [&](State& s, Real g) { s.p -= lr * (g + decay * s.p); });
}

TYPED_TEST(UpdateTest, Momentum) {
  const Real lr = 0.125;
  const Real mu = 0.75;
  const Real decay = 0.25;
  for (const bool nesterov : {false, true}) {
    check<TypeParam>(UpdateKernel::kMomentum, {0.125, 0.75, nesterov ? 1.0 : 0.0, 0.25},
                     [&](State& s, Real g) {
                       g += decay * s.p;
                       s.s0 = mu * s.s0 + g;
                       s.p -= lr * (nesterov ? g + mu * s.s0 : s.s0);
                     });
  }
}

TYPED_TEST(UpdateTest, Adam) {
  const double beta1 = 0.9;
  const double beta2 = 0.999;
  const double correction1 = 1 - std::pow(beta1, 7);
  const double correction2 = 1 - std::pow(beta2, 7);
  const double lr = 0.01;
  const double epsilon = 1e-4;
  for (const auto& [l2, decoupled] :
       {std::pair(0.0, 0.0), std::pair(0.25, 0.0), std::pair(0.0, 0.125)}) {
    check<TypeParam>(
        UpdateKernel::kAdam,
        {lr / correction1, beta1, beta2, epsilon, 1 / std::sqrt(correction2), l2, decoupled},
        [&, decay = l2, shrink = decoupled](State& s, Real g) {
          g += Real(decay) * s.p;
          s.s0 = beta1 * s.s0 + (1 - Real(beta1)) * g;
          s.s1 = beta2 * s.s1 + (1 - Real(beta2)) * g * g;
          const Real mean = s.s0 / correction1;
          const Real square = s.s1 / correction2;
          s.p -= Real(shrink) * s.p;
          s.p -= Real(lr) * mean / (std::sqrt(square) + epsilon);
        });
  }
}

}  // namespace
}  // namespace chainrule::test
