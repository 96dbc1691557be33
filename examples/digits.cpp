// SPDX-License-Identifier: Apache-2.0
#include <chainrule/chainrule.hpp>
#include <iostream>

namespace cr = chainrule;

int main() {
  const auto [train, test] = cr::load_digits().split_every(5);
  cr::Model model{cr::Linear{64, 64}, cr::Relu{}, cr::Linear{64, 10}, cr::Categorical{}};
  cr::Trainer trainer{model, cr::Adam{.learning_rate = 1e-3}};
  const cr::History history = trainer.fit(train, {.epochs = 60, .validation = &test});
  for (std::size_t epoch : {0, 9, 59}) {
    const cr::EpochRecord& record = history.epochs[epoch];
    std::cout << "epoch " << record.epoch << ": loss " << record.loss << ", test accuracy "
              << *record.validation->accuracy << "\n";
  }
  cr::save(model, "digits.safetensors");
  cr::Predictor predictor(cr::load_model("digits.safetensors"));
  std::cout << "the first test image is a " << predictor.classify(test.x)[0] << "\n";
}
