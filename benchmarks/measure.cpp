// SPDX-License-Identifier: Apache-2.0
#include "measure.hpp"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#include "figures.hpp"

namespace chainrule::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kPasses = 9;
constexpr Index kLeastBytes = 64'000'000;  // a pass of small buffers goes through them many times

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

template <class T>
double measure_peak(const KernelTable& kernels) {
  constexpr Index kRounds = 400'000;
  std::vector<double> rates;
  T sink{};
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = Clock::now();
    const double flops = kernels.get<T>().fma_burst(kRounds, &sink);
    rates.push_back(flops / seconds_since(start));
    benchmark::DoNotOptimize(sink);
  }
  return median(std::move(rates));
}

// float32 numbers that were written: what never was is one page of zeros.
Tensor ones(Index bytes) {
  constexpr Index kColumns = 4096;
  const Index numbers = std::max<Index>(1, bytes / size_of(DType::kFloat32));
  const Index columns = std::min(kColumns, numbers);
  Tensor buffer({numbers / columns, columns}, DType::kFloat32, Layout::kDense);
  std::fill_n(buffer.as<float>().data, buffer.rows() * columns, 1.0F);
  return buffer;
}

double measure_reading(const KernelTable& kernels, Index bytes, int threads) {
  const Index share = bytes / threads;
  const Index readings = std::max<Index>(1, kLeastBytes / std::max<Index>(1, share));
  std::barrier together(threads);
  std::vector<double> medians(static_cast<std::size_t>(threads));
  const auto read = [&](double& result) {
    const Tensor buffer = ones(share);
    const MatrixView<const float> numbers = buffer.as<float>();
    const auto read_bytes =
        static_cast<double>(readings * numbers.rows * numbers.columns * size_of(DType::kFloat32));
    std::vector<double> rates;
    float sink = 0;
    for (int pass = 0; pass < kPasses; ++pass) {
      together.arrive_and_wait();
      const auto start = Clock::now();
      for (Index i = 0; i < readings; ++i) {
        kernels.f32.read_burst(numbers, &sink);
        benchmark::DoNotOptimize(sink);
      }
      rates.push_back(read_bytes / seconds_since(start));
    }
    result = median(std::move(rates));
  };
  std::vector<std::jthread> others;
  for (std::size_t i = 1; i < medians.size(); ++i) {
    others.emplace_back(read, std::ref(medians[i]));
  }
  read(medians[0]);
  others.clear();  // waits for them
  return std::accumulate(medians.begin(), medians.end(), 0.0);
}

double measure_copying(Index bytes) {
  const Tensor from = ones(bytes / 2);
  Tensor to(from);
  const Index half = from.rows() * from.columns() * size_of(DType::kFloat32);
  const Index copies = std::max<Index>(1, kLeastBytes / half);
  std::vector<double> rates;
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = Clock::now();
    for (Index i = 0; i < copies; ++i) {
      std::memcpy(to.data(), from.data(), static_cast<std::size_t>(half));
      benchmark::ClobberMemory();
    }
    rates.push_back(static_cast<double>(2 * half * copies) / seconds_since(start));
  }
  return median(std::move(rates));
}

// The value of `key`, measured when it is asked for the first time.
template <class Key, class Measure>
double measured_once(std::map<Key, double>& known, const Key& key, const Measure& measure) {
  const auto found = known.find(key);
  return found != known.end() ? found->second : known.emplace(key, measure()).first->second;
}

}  // namespace

template <class T>
double fma_peak(const KernelTable& kernels) {
  static const double peak = measure_peak<T>(kernels);
  return peak;
}

template double fma_peak<float>(const KernelTable&);
template double fma_peak<double>(const KernelTable&);

double clock_rate() {
  static const double rate = [] {
    constexpr int kLinks = 2000;  // of one addition and one exclusive or, a cycle each
    std::uint64_t value = 1, addend = 3, mask = 5;
    benchmark::DoNotOptimize(addend);
    benchmark::DoNotOptimize(mask);
    const double seconds = least_seconds([&] {
      for (int link = 0; link < kLinks; ++link) value = (value + addend) ^ mask;
      benchmark::DoNotOptimize(value);
    });
    return 2 * kLinks / seconds;
  }();
  return rate;
}

double read_bandwidth(const KernelTable& kernels, Index bytes, int threads) {
  static std::map<std::pair<Index, int>, double> known;
  return measured_once(known, {bytes, threads},
                       [&] { return measure_reading(kernels, bytes, threads); });
}

double copy_bandwidth(Index bytes) {
  static std::map<Index, double> known;
  return measured_once(known, bytes, [&] { return measure_copying(bytes); });
}

bool agrees(ConstTensorView value, ConstTensorView reference, double tolerance) {
  for (Index i = 0; i < value.rows; ++i) {
    for (Index j = 0; j < value.columns; ++j) {
      const double expected = element(reference, i, j);
      const double error = std::abs(element(value, i, j) - expected);
      if (!(error <= tolerance * (1 + std::abs(expected)))) return false;
    }
  }
  return true;
}

bool same_bits(ConstTensorView a, ConstTensorView b) {
  if (a.dtype != b.dtype || a.rows != b.rows || a.columns != b.columns) return false;
  const auto bytes = static_cast<std::size_t>(a.columns * size_of(a.dtype));
  for (Index i = 0; i < a.rows; ++i) {
    const auto* left = static_cast<const std::byte*>(a.data) + i * a.ld * size_of(a.dtype);
    const auto* right = static_cast<const std::byte*>(b.data) + i * b.ld * size_of(b.dtype);
    if (std::memcmp(left, right, bytes) != 0) return false;
  }
  return true;
}

}  // namespace chainrule::bench
