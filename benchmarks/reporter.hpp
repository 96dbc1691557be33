// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <benchmark/benchmark.h>

#include <memory>
#include <string_view>
#include <vector>

namespace chainrule::bench {

/// Passes everything on to another reporter, and remembers what went wrong. Google Benchmark drops
/// the counters of a row with an error; this puts "bits_ok" 0 there, where rows have it.
class CheckedReporter : public benchmark::BenchmarkReporter {
 public:
  CheckedReporter(benchmark::BenchmarkReporter& reporter, bool has_bits)
      : reporter_(reporter), has_bits_(has_bits) {}

  bool ReportContext(const Context& context) override;
  void ReportRuns(const std::vector<Run>& runs) override;
  void Finalize() override;

  bool had_errors() const { return had_errors_; }
  /// Its stream took not all that was written.
  bool is_lost() const { return is_lost_; }

 private:
  benchmark::BenchmarkReporter& reporter_;
  bool has_bits_;
  bool had_errors_ = false;
  bool is_lost_ = false;
};

/// What writes --benchmark_out=FILE in a format of --benchmark_out_format; JSON by default.
std::unique_ptr<benchmark::BenchmarkReporter> make_file_reporter(std::string_view format);

}  // namespace chainrule::bench
