// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "data.hpp"

namespace chainrule::tools {

/// The options that every kind of kernel has, what they name and what they ask for.
class GramOptions {
 public:
  void add_to(CLI::App& app);

  const ComputeOptions& compute() const noexcept { return compute_; }
  /// Reads --data and --other, calls gram(x, z) with z null where there is no --other, and writes
  /// its result to --out and --plot. `inputs` are further files that are read.
  int run(const std::vector<NamedFile>& inputs,
          const std::function<Tensor(const Tensor& x, const Tensor* z)>& gram) const;

 private:
  std::string data_;
  std::string other_;
  std::string out_;
  std::string plot_;
  HeaderOption header_;
  ComputeOptions compute_;
};

// Each adds a kind of kernel to `chainrule kernel`.
Command add_infinite_kernel(CLI::App& kernel, const std::string& kind);
/// All that are given by a covariance function, in the order of their subcommands.
std::vector<Command> add_covariance_kernels(CLI::App& kernel);

}  // namespace chainrule::tools
