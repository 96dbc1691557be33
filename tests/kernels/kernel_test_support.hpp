// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "chainrule/kernels/dispatch.hpp"

namespace chainrule::test {

using Real = long double;

/// How a matrix lies in memory: columns + extra is its leading dimension, its first element is
/// `offset` elements behind a 64-byte boundary.
struct Placement {
  Index extra;
  Index offset;
};
inline constexpr Placement kPlacements[] = {{0, 0}, {3, 1}, {16, 0}, {5, 7}};
/// Around the lanes of every architecture.
inline constexpr Index kColumnCounts[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 70};

/// A matrix surrounded by guards, with NaN in the padding: a kernel that reads padding shows NaN,
/// one that writes it is caught by padding_intact().
template <class T>
class Matrix {
 public:
  Matrix(Index rows, Index columns, Placement placement = {0, 0},
         const std::function<T(Index, Index)>& value = nullptr)
      : rows_(rows),
        columns_(columns),
        ld_(columns + placement.extra),
        memory_(static_cast<std::size_t>(2 * kGuard + rows * ld_ + 32), guard()) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data() + kGuard);
    const auto misaligned = static_cast<Index>(address % 64 / sizeof(T));
    start_ = kGuard + (misaligned == 0 ? 0 : 64 / static_cast<Index>(sizeof(T)) - misaligned) +
             placement.offset;
    for (Index i = 0; i < rows; ++i) {
      for (Index j = 0; j < columns; ++j) (*this)(i, j) = value ? value(i, j) : T(0);
    }
  }

  T& operator()(Index i, Index j) { return memory_[index(i, j)]; }
  T operator()(Index i, Index j) const { return memory_[index(i, j)]; }
  T* data() { return memory_.data() + start_; }
  const T* data() const { return memory_.data() + start_; }
  MatrixView<T> out() { return {data(), rows_, columns_, ld_}; }
  MatrixView<const T> in() const { return {data(), rows_, columns_, ld_}; }
  Index rows() const { return rows_; }
  Index columns() const { return columns_; }
  Index ld() const { return ld_; }

  bool padding_intact() const {
    const T expected = guard();
    for (Index k = 0; k < static_cast<Index>(memory_.size()); ++k) {
      const Index row = (k - start_) / ld_;
      const bool inside = k >= start_ && row < rows_ && (k - start_) % ld_ < columns_;
      const T& element = memory_[static_cast<std::size_t>(k)];
      if (!inside && std::memcmp(&element, &expected, sizeof(T)) != 0) return false;
    }
    return true;
  }

  bool same_bits(const Matrix& other) const {
    for (Index i = 0; i < rows_; ++i) {
      const T* const mine = memory_.data() + index(i, 0);
      const T* const theirs = other.memory_.data() + other.index(i, 0);
      if (std::memcmp(mine, theirs, static_cast<std::size_t>(columns_) * sizeof(T)) != 0) {
        return false;
      }
    }
    return true;
  }

 private:
  static constexpr Index kGuard = 32;
  static T guard() {
    if constexpr (std::is_floating_point_v<T>) {
      return std::numeric_limits<T>::quiet_NaN();
    } else {
      return T(-77);
    }
  }
  std::size_t index(Index i, Index j) const {
    return static_cast<std::size_t>(start_ + i * ld_ + j);
  }

  Index rows_;
  Index columns_;
  Index ld_;
  Index start_ = 0;
  std::vector<T> memory_;
};

/// Reproducible numbers in [low, high).
template <class T>
std::function<T(Index, Index)> uniform(double low, double high, unsigned seed) {
  return [engine = std::mt19937_64(seed), low, high](Index, Index) mutable {
    return static_cast<T>(std::uniform_real_distribution<double>(low, high)(engine));
  };
}

/// Distance of `actual` from `expected` in units of the spacing of T at `expected`.
template <class T>
double ulp_error(T actual, Real expected) {
  if (std::isnan(expected)) return std::isnan(actual) ? 0.0 : 1e30;
  if (static_cast<Real>(actual) == expected) return 0.0;
  const T rounded = static_cast<T>(expected);
  if (!std::isfinite(rounded) || !std::isfinite(actual)) return actual == rounded ? 0.0 : 1e30;
  int exponent = 0;
  std::frexp(expected, &exponent);
  if (expected == 0) exponent = std::numeric_limits<T>::min_exponent;
  exponent = std::max(exponent, std::numeric_limits<T>::min_exponent);
  const Real spacing = std::ldexp(Real(1), exponent - std::numeric_limits<T>::digits);
  return static_cast<double>(std::fabs(static_cast<Real>(actual) - expected) / spacing);
}

/// |actual - expected| <= epsilons * epsilon of T * max(scale, |expected|); NaN equals NaN.
template <class T>
::testing::AssertionResult close(T actual, Real expected, double epsilons, Real scale = 1) {
  const bool both_nan = std::isnan(expected) && std::isnan(actual);
  const Real bound = static_cast<Real>(epsilons) * std::numeric_limits<T>::epsilon() *
                     std::max(scale, std::fabs(expected));
  if (both_nan || static_cast<Real>(actual) == expected ||
      std::fabs(static_cast<Real>(actual) - expected) <= bound) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << actual << " is not within " << static_cast<double>(bound)
                                       << " of " << static_cast<double>(expected);
}

/// body(kernels) for every architecture this CPU runs.
template <class T, class Body>
void for_each_architecture(Body body) {
  ASSERT_FALSE(available_kernels().empty());
  for (const KernelTable* table : available_kernels()) {
    SCOPED_TRACE(std::string(table->architecture));
    body(table->get<T>());
  }
}

template <class Enum>
constexpr std::size_t at(Enum kernel) {
  return static_cast<std::size_t>(kernel);
}

using ElementTypes = ::testing::Types<float, double>;

}  // namespace chainrule::test
