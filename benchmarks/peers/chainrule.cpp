// SPDX-License-Identifier: Apache-2.0
#include "chainrule/core/version.hpp"
#include "chainrule/kernels/dispatch.hpp"
#include "chainrule/learn/trainer.hpp"
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

// The steps of an epoch, by the Trainer: with shuffling, gathering the rows, and the loss.
class Epochs : public Contender {
 public:
  Epochs(const Workload& workload, int threads)
      : batch_(workload.batch),
        model_(model_of(workload, DType::kFloat32)),
        trainer_(model_, Sgd{.learning_rate = kLearningRate}, {.threads = threads}) {
    data_.x = inputs_of(workload, DType::kFloat32, Layout::kPadded);
    data_.labels = labels_of(workload);
  }

  void run(Index times) override {
    trainer_.fit(data_, {.epochs = times, .batch_size = batch_, .seed = kShuffleSeed});
  }
  std::vector<float> results() const override {
    std::vector<float> all;
    for (Index i = 0; i < model_.parameters().size(); ++i) {
      append(all, model_.parameters().view(i));
    }
    return all;
  }

 private:
  Index batch_;
  Model model_;
  Trainer trainer_;
  Dataset data_;
};

std::unique_ptr<Contender> make(const Workload& workload, int threads) {
  if (workload.task == Task::kEpoch) return std::make_unique<Epochs>(workload, threads);
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
