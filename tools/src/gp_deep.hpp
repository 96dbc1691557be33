// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "chainrule/learn/deep_kernel.hpp"
#include "train_options.hpp"

namespace chainrule::tools {

/// The options of `gp fit --kernel deep`: the network and how it is trained with the kernel.
class DeepKernelCommand {
 public:
  static constexpr const char* kName = "deep";

  void add_to(CLI::App& app);
  /// UsageError when one of them was given for another kernel.
  void expect_asked_for(const std::string& kernel) const;

  /// The network to begin with: `features` where there are some, else one of --model's widths.
  Model model(const std::optional<Model>& features, Index inputs, std::uint64_t seed) const;
  Index steps() const noexcept { return steps_; }
  /// Trains until the steps are done or Ctrl-C.
  DeepKernelFit fit(const Model& model, const Tensor& x, const Tensor& y,
                    const GaussianProcessOptions& gp, std::optional<double> noise) const;

 private:
  TrainOptions training_;
  std::string widths_;
  std::string activation_ = "tanh";
  Index steps_ = 500;
  bool ard_ = false;
  std::vector<const CLI::Option*> own_;
};

}  // namespace chainrule::tools
