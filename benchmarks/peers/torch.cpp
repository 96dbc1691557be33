// SPDX-License-Identifier: Apache-2.0
//
// libtorch as its users write it: autograd and plain SGD for a step, inference mode for
// predictions.

#include <ATen/core/ivalue.h>  // first, or Clang 14 does not compile the others as C++20

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/version.h>

#include <string>
#include <vector>

#include "contender.hpp"

namespace chainrule::bench {
namespace {

at::Tensor tensor_of(const Tensor& values) {
  const auto view = values.as<float>();
  return at::from_blob(const_cast<float*>(view.data), {view.rows, view.columns}, at::kFloat)
      .clone();
}

void append(std::vector<float>& to, const at::Tensor& values) {
  const at::Tensor dense = values.detach().contiguous();
  bench::append(to, dense.data_ptr<float>(), dense.numel());
}

// Weights [in, out] and bias of each layer in turn. at::addmm takes these as they are, and is
// faster than at::linear, which transposes weights [out, in].
std::vector<at::Tensor> parameters_of(const Workload& workload) {
  std::vector<at::Tensor> parameters;
  for (const LinearValues& layer : initial_layers(workload)) {
    parameters.push_back(tensor_of(layer.weights));
    parameters.push_back(tensor_of(layer.bias).flatten());
  }
  return parameters;
}

// Writes to memory of its own: to allocate and fault in large results takes longer than to compute
// them.
class Prediction : public Contender {
 public:
  explicit Prediction(const Workload& workload)
      : parameters_(parameters_of(workload)), x_(tensor_of(inputs_of(workload))) {
    for (std::size_t i = 1; i < parameters_.size(); i += 2) {
      values_.push_back(at::empty({workload.batch, parameters_[i].size(0)}, at::kFloat));
    }
  }

  void run(Index times) override {
    const c10::InferenceMode guard;
    for (Index i = 0; i < times; ++i) predict();
  }
  std::vector<float> results() const override {
    std::vector<float> all;
    append(all, values_.back());
    return all;
  }

 private:
  void predict() {
    for (std::size_t i = 0; i < values_.size(); ++i) {
      const at::Tensor& x = i > 0 ? values_[i - 1].relu_() : x_;
      at::addmm_out(values_[i], parameters_[2 * i + 1], x, parameters_[2 * i]);
    }
  }

  std::vector<at::Tensor> parameters_;
  at::Tensor x_;
  std::vector<at::Tensor> values_;  // what comes out of each layer
};

class Network {
 public:
  explicit Network(const Workload& workload) : parameters_(parameters_of(workload)) {
    for (at::Tensor& parameter : parameters_) parameter.requires_grad_();
  }

  at::Tensor predict(at::Tensor x) const {
    for (std::size_t i = 0; i < parameters_.size(); i += 2) {
      if (i > 0) x = x.relu_();
      x = at::addmm(parameters_[i + 1], x, parameters_[i]);
    }
    return x;
  }
  void descend(const at::Tensor& loss) {
    const std::vector<at::Tensor> gradients = torch::autograd::grad({loss}, parameters_);
    const at::NoGradGuard guard;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      parameters_[i].add_(gradients[i], -kLearningRate);
    }
  }
  std::vector<float> values() const {
    std::vector<float> all;
    for (const at::Tensor& parameter : parameters_) append(all, parameter);
    return all;
  }

 private:
  std::vector<at::Tensor> parameters_;
};

class Training : public Contender {
 public:
  explicit Training(const Workload& workload)
      : network_(workload),
        x_(tensor_of(inputs_of(workload))),
        target_(tensor_of(targets_of(workload))) {}

  void run(Index times) override {
    for (Index i = 0; i < times; ++i) {
      network_.descend(at::mse_loss(network_.predict(x_), target_));
    }
  }
  std::vector<float> results() const override { return network_.values(); }

 private:
  Network network_;
  at::Tensor x_;
  at::Tensor target_;
};

// Gathers the rows of a batch from the whole data set, which is faster than a DataLoader, which
// stacks single examples.
class Epochs : public Contender {
 public:
  explicit Epochs(const Workload& workload)
      : workload_(workload), network_(workload), x_(tensor_of(inputs_of(workload))) {
    const std::vector<std::int32_t> labels = labels_of(workload);
    labels_ = at::tensor(at::ArrayRef(labels.data(), labels.size()), at::kLong);
  }

  void run(Index times) override {
    for (Index i = 0; i < times; ++i) run_epoch();
  }
  std::vector<float> results() const override { return network_.values(); }

 private:
  void run_epoch() {
    const std::vector<std::uint32_t> drawn = order_of(workload_, epoch_++);
    const std::vector<std::int64_t> order(drawn.begin(), drawn.end());
    const at::Tensor rows = at::tensor(order, at::kLong);
    for (const at::Tensor& batch : rows.split(workload_.batch)) {
      const at::Tensor logits = network_.predict(x_.index_select(0, batch));
      const at::Tensor loss = at::cross_entropy_loss(logits, labels_.index_select(0, batch));
      network_.descend(loss);
      loss_ += loss.item<float>();
    }
  }

  Workload workload_;
  Network network_;
  at::Tensor x_;
  at::Tensor labels_;
  Index epoch_ = 0;
  float loss_ = 0;  // reported by everybody who trains
};

// Two matrix-vector products; autograd does the same with more passes over the logits.
class Logistic : public Contender {
 public:
  explicit Logistic(const Workload& workload)
      : parameters_(parameters_of(workload)),
        x_(tensor_of(inputs_of(workload))),
        target_(tensor_of(targets_of(workload)).flatten()) {}

  void run(Index times) override {
    const c10::InferenceMode guard;
    for (Index i = 0; i < times; ++i) differentiate();
  }
  std::vector<float> results() const override {
    std::vector<float> all;
    append(all, weights_);
    append(all, bias_);
    return all;
  }

 private:
  void differentiate() {
    at::Tensor delta = at::addmv(parameters_[1], x_, parameters_[0].flatten());
    delta.sigmoid_().sub_(target_).div_(static_cast<double>(x_.size(0)));
    weights_ = at::mv(x_.t(), delta);
    bias_ = delta.sum();
  }

  std::vector<at::Tensor> parameters_;
  at::Tensor x_;
  at::Tensor target_;
  at::Tensor weights_;
  at::Tensor bias_;
};

std::unique_ptr<Contender> make(const Workload& workload, int threads) {
  at::set_num_threads(threads);
  switch (workload.task) {
    case Task::kPredict:
      return std::make_unique<Prediction>(workload);
    case Task::kStep:
      return std::make_unique<Training>(workload);
    case Task::kEpoch:
      return std::make_unique<Epochs>(workload);
    case Task::kGradient:
      break;
  }
  return std::make_unique<Logistic>(workload);
}

}  // namespace
}  // namespace chainrule::bench

int main(int argc, char** argv) {
  return chainrule::bench::contend(argc, argv, "libtorch " TORCH_VERSION, chainrule::bench::make);
}
