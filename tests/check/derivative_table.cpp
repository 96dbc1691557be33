// SPDX-License-Identifier: Apache-2.0
#include "derivative_table.hpp"

#include <algorithm>
#include <cmath>

namespace chainrule::testing {
namespace {

using Real = long double;

const Real kPi = std::acos(Real{-1});

Real square(Real x) { return x * x; }
Real sigmoid(Real x) { return 1 / (1 + std::exp(-x)); }
Real sign(Real x) { return Real{x > 0 ? 1.0L : -1.0L}; }

const KnownDerivative kTable[] = {
    {"exp", [](double x) { return std::exp(x); }, [](Real x) { return std::exp(x); }, -20, 20},
    {"log", [](double x) { return std::log(x); }, [](Real x) { return 1 / x; }, 1e-3, 50},
    {"sqrt", [](double x) { return std::sqrt(x); }, [](Real x) { return 0.5L / std::sqrt(x); },
     1e-6, 9},
    {"cbrt", [](double x) { return std::cbrt(x); },
     [](Real x) { return 1 / (3 * square(std::cbrt(x))); }, -5, 5},
    {"1/x", [](double x) { return 1 / x; }, [](Real x) { return -1 / square(x); }, -4, 4},
    {"x^x", [](double x) { return std::pow(x, x); },
     [](Real x) { return std::pow(x, x) * (1 + std::log(x)); }, 0.01, 10},
    {"polynomial", [](double x) { return ((3 * x - 2) * x + 5) * x * x - 7; },
     [](Real x) { return 12 * x * x * x - 6 * x * x + 10 * x; }, -10, 10},
    {"sin", [](double x) { return std::sin(x); }, [](Real x) { return std::cos(x); }, -30, 30},
    {"tan", [](double x) { return std::tan(x); }, [](Real x) { return 1 / square(std::cos(x)); },
     -6, 6},
    {"sin 10 x", [](double x) { return std::sin(10 * x); },
     [](Real x) { return 10 * std::cos(10 * x); }, -5, 5},
    {"sin 1024 x", [](double x) { return std::sin(1024 * x); },
     [](Real x) { return 1024 * std::cos(1024 * x); }, -5, 5},
    {"10^6 + sin x", [](double x) { return 1e6 + std::sin(x); }, [](Real x) { return std::cos(x); },
     -5, 5},
    {"sin e^x", [](double x) { return std::sin(std::exp(x)); },
     [](Real x) { return std::cos(std::exp(x)) * std::exp(x); }, -3, 5},
    {"atan", [](double x) { return std::atan(x); }, [](Real x) { return 1 / (1 + square(x)); }, -50,
     50},
    {"tanh", [](double x) { return std::tanh(x); }, [](Real x) { return 1 / square(std::cosh(x)); },
     -25, 25},
    {"sigmoid", [](double x) { return 1 / (1 + std::exp(-x)); },
     [](Real x) { return sigmoid(x) * sigmoid(-x); }, -40, 40},
    {"softplus", [](double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); },
     [](Real x) { return sigmoid(x); }, -40, 40},
    {"erf", [](double x) { return std::erf(x); },
     [](Real x) { return 2 / std::sqrt(kPi) * std::exp(-square(x)); }, -7, 7},
    {"bell", [](double x) { return std::exp(-x * x); },
     [](Real x) { return -2 * x * std::exp(-square(x)); }, -6, 6},
    {"Runge", [](double x) { return 1 / (1 + 25 * x * x); },
     [](Real x) { return -50 * x / square(1 + 25 * square(x)); }, -3, 3},
    {"narrow Runge", [](double x) { return 1 / (1 + 0x1p20 * x * x); },
     [](Real x) { return -0x1p21L * x / square(1 + 0x1p20L * square(x)); }, -1, 1},
    {"Ceres", [](double x) { return std::exp(x) / (std::sin(x) - x * x); },
     [](Real x) {
       const Real q = std::sin(x) - square(x);
       return std::exp(x) * (q - (std::cos(x) - 2 * x)) / square(q);
     },
     0.05, 3},
    {"relu", [](double x) { return std::max(x, 0.0); }, [](Real x) { return (1 + sign(x)) / 2; },
     -1, 1},
    {"5 + relu", [](double x) { return 5 + std::max(x, 0.0); },
     [](Real x) { return (1 + sign(x)) / 2; }, -1, 1},
    {"|x|", [](double x) { return std::abs(x); }, sign, -1, 1},
    {"x^2 |x|", [](double x) { return x * x * std::abs(x); },
     [](Real x) { return 3 * x * std::abs(x); }, -2, 2},
    {"saw", [](double x) { return std::abs(8 * x - std::round(8 * x)); },
     [](Real x) { return 8 * sign(8 * x - std::round(8 * x)); }, -3, 3},
    {"floor 4 x + x^2", [](double x) { return std::floor(4 * x) + x * x; },
     [](Real x) { return 2 * x; }, -3, 3},
    {"constant", [](double) { return 1.0 / 3; }, [](Real) { return Real{0}; }, -3, 3},
};

}  // namespace

std::span<const KnownDerivative> known_derivatives() { return kTable; }

}  // namespace chainrule::testing
