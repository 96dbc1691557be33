// SPDX-License-Identifier: Apache-2.0
//
// The gradient of a logistic regression by two matrix-vector products.

#include <cblas.h>

#include <cmath>
#include <string>
#include <utility>

#include "contender.hpp"

namespace chainrule::bench {
namespace {

class Logistic : public Contender {
 public:
  explicit Logistic(const Workload& workload)
      : layer_(std::move(initial_layers(workload).front())),
        x_(inputs_of(workload)),
        target_(targets_of(workload)),
        delta_(static_cast<std::size_t>(workload.batch)),
        gradient_(static_cast<std::size_t>(layer_.in()) + 1) {}

  void run(Index times) override {
    for (Index i = 0; i < times; ++i) differentiate();
  }
  std::vector<float> results() const override { return gradient_; }

 private:
  void differentiate() {
    multiply(CblasNoTrans, 1, layer_.weights.as<float>().data, delta_.data());
    const float bias = *layer_.bias.as<float>().data;
    const float* const target = target_.as<float>().data;
    float sum = 0;
    for (std::size_t i = 0; i < delta_.size(); ++i) {
      delta_[i] = 1 / (1 + std::exp(-delta_[i] - bias)) - target[i];
      sum += delta_[i];
    }
    const float scale = 1 / static_cast<float>(delta_.size());
    multiply(CblasTrans, scale, delta_.data(), gradient_.data());
    gradient_.back() = scale * sum;
  }

  // to = scale op(x) from.
  void multiply(CBLAS_TRANSPOSE op, float scale, const float* from, float* to) const {
    const auto rows = static_cast<blasint>(x_.rows()), columns = static_cast<blasint>(x_.columns());
    cblas_sgemv(CblasRowMajor, op, rows, columns, scale, x_.as<float>().data, columns, from, 1, 0,
                to, 1);
  }

  LinearValues layer_;
  Tensor x_;
  Tensor target_;
  std::vector<float> delta_;
  std::vector<float> gradient_;
};

std::unique_ptr<Contender> make(const Workload& workload, int threads) {
  openblas_set_num_threads(threads);
  if (workload.task != Task::kGradient) return nullptr;
  return std::make_unique<Logistic>(workload);
}

// "OpenBLAS 0.3.21", from what its build was configured with.
std::string library() {
  const std::string config = openblas_get_config();
  return config.substr(0, config.find(' ', config.find(' ') + 1)) + " (" + openblas_get_corename() +
         ")";
}

}  // namespace
}  // namespace chainrule::bench

int main(int argc, char** argv) {
  return chainrule::bench::contend(argc, argv, chainrule::bench::library(), chainrule::bench::make);
}
