// SPDX-License-Identifier: Apache-2.0
#include "chainrule/core/version.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "contender.hpp"
#include "step.hpp"

namespace chainrule::bench {
namespace {

class Ours : public Contender {
 public:
  Ours(const Workload& workload, int threads)
      : task_(workload.task), step_(workload, DType::kFloat32, threads) {}

  void run(Index times) override {
    step_.executor().with_residents([&] {
      for (Index i = 0; i < times; ++i) step_.run();
    });
  }
  std::vector<float> results() const override {
    std::vector<float> all;
    for (const ConstTensorView& values : views()) append(all, values);
    return all;
  }

 private:
  std::vector<ConstTensorView> views() const {
    if (task_ == Task::kStep) return step_.parameters();
    if (task_ == Task::kGradient) return step_.gradients();
    return {step_.predictions()};
  }

  Task task_;
  Step step_;
};

std::unique_ptr<Contender> make(const Workload& workload, int threads) {
  return std::make_unique<Ours>(workload, threads);
}

std::string library() {
  return "chainrule " CHAINRULE_VERSION_STRING " (" + std::string(default_kernels().architecture) +
         ")";
}

}  // namespace
}  // namespace chainrule::bench

int main(int argc, char** argv) {
  return chainrule::bench::contend(argc, argv, chainrule::bench::library(), chainrule::bench::make);
}
