// SPDX-License-Identifier: Apache-2.0
//
// Prints src/math_tables.hpp, the tables of math.hpp:
//
//     math_tables > ops/kernels/src/math_tables.hpp
//
// Every polynomial interpolates its function, in long double, at the Chebyshev nodes of its
// interval, which is as good as minimax but for a factor below two; its coefficients are then
// rounded to float32. A test compares the header with what this prints.

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace {

using Real = long double;
constexpr Real kPi = 3.141592653589793238462643383279503L;

// Coefficients in ascending order of the polynomial of this degree that interpolates f on
// [low, high].
template <class F>
std::vector<Real> interpolate(F f, Real low, Real high, int degree) {
  const int n = degree + 1;
  std::vector<Real> node, difference;
  for (int i = 0; i < n; ++i) {
    node.push_back(low + (high - low) / 2 * (1 - std::cos(kPi * (i + 0.5L) / n)));
    difference.push_back(f(node.back()));
  }
  const auto at = [](auto& values, int i) -> auto& { return values[static_cast<std::size_t>(i)]; };
  for (int k = 1; k < n; ++k) {  // Newton's divided differences
    for (int i = n - 1; i >= k; --i) {
      at(difference, i) =
          (at(difference, i) - at(difference, i - 1)) / (at(node, i) - at(node, i - k));
    }
  }
  std::vector<Real> c(static_cast<std::size_t>(n), 0);
  for (int i = n - 1; i >= 0; --i) {  // c = c * (x - node) + difference
    for (int k = n - 1; k > 0; --k) at(c, k) = at(c, k - 1) - at(node, i) * at(c, k);
    at(c, 0) = at(difference, i) - at(node, i) * at(c, 0);
  }
  return c;
}

void print_row(const std::vector<Real>& values) {
  std::string line = "    ";
  for (const Real value : values) {
    char number[40];
    std::snprintf(number, sizeof number, "%aF,", static_cast<double>(static_cast<float>(value)));
    if (line.size() + std::string(number).size() > 99) {
      std::printf("%s\n", line.c_str());
      line = "   ";
    }
    line += (line.size() > 4 ? " " : line.size() == 4 ? "" : " ") + std::string(number);
  }
  std::printf("%s\n", line.c_str());
}

void print_table(const char* name, const std::vector<Real>& values) {
  std::printf("  alignas(64) static constexpr float %s[%zu] = {\n", name, values.size());
  print_row(values);
  std::printf("  };\n");
}

// A function on intervals that grow with their distance from zero: those of one leading part of the
// bits of u = x + origin, sign, exponent and `mantissa_bits`. The lowest five bits of that part are
// the interval's place in the table.
struct Pieces {
  const char* name;
  const char* comment;
  float origin;
  int mantissa_bits;
  int degree;
  bool odd;  // f(0) = 0: the first polynomial keeps f's relative accuracy
};

template <class F>
void print_pieces(const Pieces& pieces, F f) {
  constexpr std::uint32_t kIntervals = 32;
  const int shift = 23 - pieces.mantissa_bits;
  const auto origin_bits = std::bit_cast<std::uint32_t>(pieces.origin);
  std::vector<std::vector<Real>> table(static_cast<std::size_t>(pieces.degree + 1),
                                       std::vector<Real>(kIntervals));
  float end = 0;
  for (std::uint32_t k = 0; k < kIntervals; ++k) {
    const std::uint32_t bits = origin_bits + (k << shift);
    const Real start = std::bit_cast<float>(bits) - static_cast<Real>(pieces.origin);
    end = std::bit_cast<float>(bits + (1U << shift)) - pieces.origin;
    std::vector<Real> c;
    if (pieces.odd && k == 0) {
      c = interpolate([&](Real t) { return f(t) / t; }, 0, end, pieces.degree - 1);
      c.insert(c.begin(), 0);
    } else {
      c = interpolate([&](Real t) { return f(start + t); }, 0, end - start, pieces.degree);
    }
    for (std::size_t j = 0; j < c.size(); ++j) table[j][(bits >> shift) % kIntervals] = c[j];
  }
  std::printf("\n/// %s\nstruct %s {\n", pieces.comment, pieces.name);
  std::printf("  static constexpr float kOrigin = %aF;\n", static_cast<double>(pieces.origin));
  std::printf("  static constexpr float kBound = %aF;  ///< just inside the last interval\n",
              static_cast<double>(std::nextafter(end, 0.0F)));
  std::printf("  static constexpr int kShift = %d;\n", shift);
  std::printf("  /// [power of the distance from the interval's start][interval]\n");
  std::printf("  alignas(64) static constexpr float kCoefficients[%d][%u] = {\n", pieces.degree + 1,
              static_cast<unsigned>(kIntervals));
  for (const auto& row : table) {
    std::printf("    {\n");
    print_row(row);
    std::printf("    },\n");
  }
  std::printf("  };\n};\n");
}

void print_exp() {
  constexpr int kSteps = 16;
  std::vector<Real> power, rest;
  for (int j = 0; j < kSteps; ++j) {
    const Real exact = std::exp2(static_cast<Real>(j) / kSteps);
    power.push_back(exact);
    rest.push_back(exact - static_cast<float>(exact));
  }
  const Real most = std::log(2.0L) / (2 * kSteps);
  const auto tail = [](Real r) { return (std::expm1(r) - r) / (r * r); };
  std::printf("\n/// 2^(j / %d), what its rounding took, and (exp(r) - 1 - r) / r^2 on |r| <=\n",
              kSteps);
  std::printf("/// ln(2) / %d.\nstruct ExpTable {\n", 2 * kSteps);
  print_table("kPower", power);
  print_table("kRest", rest);
  print_table("kTail", interpolate(tail, -most, most, 1));
  std::printf("};\n");
}

}  // namespace

int main() {
  std::printf(
      "// SPDX-License-Identifier: Apache-2.0\n"
      "#pragma once\n\n"
      "// Printed by ops/kernels/tools/math_tables.cpp, which says how; a test compares.\n\n"
      "// clang-format off\n\n"
      "namespace chainrule::simd {\n");
  print_exp();
  print_pieces({"TanhPieces", "tanh(x), 0 <= x < 9.4, where it is 1.", 0.625F, 3, 4, true},
               [](Real x) { return std::tanh(x); });
  print_pieces({"NormalTailPieces", "exp(x^2 / 2) Phi(-x), 0 <= x < 15, where Phi(-x) is 0.", 1.0F,
                3, 4, false},
               [](Real x) { return std::exp(x * x / 2) * std::erfc(x / std::sqrt(2.0L)) / 2; });
  print_pieces({"Log1pPieces", "log(1 + x) / x - 1, 0 <= x <= 1.", 1.03125F, 5, 3, false},
               [](Real x) { return std::log1p(x) / x - 1; });
  std::printf("\n}  // namespace chainrule::simd\n");
  return 0;
}
