// SPDX-License-Identifier: Apache-2.0
//
// Cholesky's factorization, solves and the inverse on our threads, beside OpenBLAS's dpotrf on its
// own threads in a process of its own (this program, `--openblas N THREADS`). The two are timed in
// turn; medians count.

#include <cblas.h>
#include <f77blas.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "chainrule/core/error.hpp"
#include "chainrule/core/random.hpp"
#include "chainrule/runtime/machine.hpp"
#include "chainrule/runtime/parallel_linear_algebra.hpp"
#include "figures.hpp"
#include "peers/child.hpp"
#include "program.hpp"

namespace chainrule::bench {
namespace {

template <class Body>
double seconds_of(const Body& body) {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  body();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Tensor noise(Index rows, Index columns) {
  std::vector<double> values(static_cast<std::size_t>(rows * columns));
  fill_random_normal({.seed = 1}, 0, values);
  return Tensor::from<double>({rows, columns}, values);
}

// Symmetric, diagonally dominant.
Tensor positive_definite(Index n) {
  Tensor a({n, n}, DType::kFloat64);
  const auto view = a.as<double>();
  for (Index i = 0; i < n; ++i) {
    for (Index j = 0; j < n; ++j) view(i, j) = 1.0 / static_cast<double>(1 + std::abs(i - j));
    view(i, i) += 10;
  }
  return a;
}

// Answers each line with the seconds that a factorization takes.
int serve_openblas(Index n, int threads) {
  openblas_set_num_threads(threads);
  const Tensor a = positive_definite(n);
  for (std::string line; std::getline(std::cin, line);) {
    Tensor l = a;
    char upper = 'U';
    auto size = static_cast<blasint>(n), lda = static_cast<blasint>(l.ld()), info = 0;
    const double seconds = seconds_of([&] {
      BLASFUNC(dpotrf)(&upper, &size, static_cast<double*>(l.data()), &lda, &info);
    });
    std::cout << (info == 0 ? fmt::format("seconds {:.9f}", seconds) : "failed ") << std::endl;
  }
  return 0;
}

std::vector<std::string> inherited(std::initializer_list<const char*> names) {
  std::vector<std::string> variables;
  for (const char* name : names) {
    if (const char* value = std::getenv(name))
      variables.push_back(fmt::format("{}={}", name, value));
  }
  return variables;
}

// What is timed of ours; each leaves what the next needs.
struct Ours {
  explicit Ours(Index n)
      : a(positive_definite(n)), l(a), inverse({n, n}, DType::kFloat64), b(noise(n, 512)), x(b) {}

  void factor(const Executor& executor) { cholesky(l.as<double>(), {}, executor); }
  void solve(const Executor& executor) {
    solve_cholesky(std::as_const(l).as<double>(), x.as<double>(), executor);
  }
  void invert(const Executor& executor) {
    invert_cholesky(std::as_const(l).as<double>(), inverse.as<double>(), executor);
  }
  // a x = b and inverse b = x: nothing wrong is timed.
  void check(const Executor& executor) const {
    Tensor product(b);
    const auto expect = [&](const Tensor& matrix, const Tensor& from, const Tensor& to) {
      gemm(1, matrix.as<double>(), from.as<double>(), 0, product.as<double>(), executor);
      for (Index i = 0; i < product.rows(); ++i) {
        for (Index j = 0; j < product.columns(); ++j) {
          if (!(std::abs(element(product, i, j) - element(to, i, j)) <= 1e-11)) {
            throw Error(fmt::format("wrong at ({}, {})", i, j));
          }
        }
      }
    };
    expect(a, x, b);
    expect(inverse, b, x);
  }

  Tensor a, l, inverse, b, x;
};

void contest(Index n, int rounds, const Executor& executor) {
  Child openblas(
      {"/proc/self/exe", "--openblas", std::to_string(n), std::to_string(executor.threads())},
      inherited({"PATH", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"}));
  Ours ours(n);
  std::vector<double> factor, solve, invert, theirs;
  for (int round = 0; round <= rounds; ++round) {
    ours.l = ours.a;
    ours.x = ours.b;
    const double factor_seconds = seconds_of([&] { ours.factor(executor); });
    openblas.write_line("factor");
    const double their_seconds = std::stod(openblas.read_value("seconds"));
    const double solve_seconds = seconds_of([&] { ours.solve(executor); });
    const double invert_seconds = seconds_of([&] { ours.invert(executor); });
    if (round == 0) {
      ours.check(executor);  // and everything is warm
      continue;
    }
    factor.push_back(factor_seconds);
    theirs.push_back(their_seconds);
    solve.push_back(solve_seconds);
    invert.push_back(invert_seconds);
  }
  const double cube = std::pow(static_cast<double>(n), 3) * 1e-9;
  const double right_sides = static_cast<double>(ours.b.columns());
  std::cout << fmt::format("{:6} {:10.1f} {:10.1f} {:8.2f} {:10.1f} {:10.1f}\n", n,
                           cube / 3 / median(factor), cube / 3 / median(theirs),
                           median(theirs) / median(factor),
                           2 * cube / static_cast<double>(n) * right_sides / median(solve),
                           2 * cube / 3 / median(invert));
}

int contend(int rounds) {
  const MachineInfo machine = machine_info();
  const Executor executor(0);
  std::cout << fmt::format("{}, OpenBLAS core {}, {} threads, medians of {} rounds, GFLOP/s\n",
                           machine.cpu, machine.blas.core, executor.threads(), rounds);
  for (const std::string& warning : machine.warnings) std::cout << "warning: " << warning << '\n';
  std::cout << fmt::format("{:>6} {:>10} {:>10} {:>8} {:>10} {:>10}\n", "n", "cholesky", "dpotrf",
                           "ratio", "solve 512", "inverse");
  for (const Index n : {512, 1024, 2048, 4096}) contest(n, rounds, executor);
  return 0;
}

int run(int argc, char** argv) {
  CLI::App app(
      "Cholesky's factorization, solves and the inverse, float64, on our threads, beside "
      "OpenBLAS's "
      "dpotrf on as many of its own in a process of its own, timed in turn.",
      "linear_algebra");
  int rounds = 9;
  std::vector<int> served;
  app.add_option("rounds", rounds, "How often each is timed; medians count")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--openblas", served, "N THREADS: be the process that calls dpotrf")
      ->expected(2)
      ->group("")  // not for users
      ->check(CLI::Range(1, 1'000'000));
  app.footer("Exit code 0, 1 when a result was wrong, 2 for misuse.");
  if (!parse(app, argc, argv)) return 0;
  return served.empty() ? contend(rounds) : serve_openblas(served[0], served[1]);
}

}  // namespace
}  // namespace chainrule::bench

int main(int argc, char** argv) {
  using namespace chainrule::bench;
  return run_main("linear_algebra", [&] { return run(argc, argv); });
}
