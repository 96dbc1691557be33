// SPDX-License-Identifier: Apache-2.0
//
// Loops as one writes them by hand, in an order that the compiler can vectorize, with OpenMP where
// there is some.

#ifdef _OPENMP
#include <omp.h>
#endif

#include <cmath>
#include <utility>

#include "contender.hpp"

namespace chainrule::bench {
namespace {

// body(i) for i < count; on several threads where that many multiplications are worth it.
template <class Body>
void for_each(Index count, Index multiplications, const Body& body) {
  if (multiplications < 100'000) {
    for (Index i = 0; i < count; ++i) body(i);
    return;
  }
#pragma omp parallel for
  for (Index i = 0; i < count; ++i) body(i);
}

// y = x w + b, each row clamped at 0 if `relu`.
void forward(const Tensor& x, const LinearValues& layer, bool relu, Tensor& y) {
  const Index in = layer.in(), out = layer.out(), rows = x.rows();
  const auto from = x.as<float>(), w = layer.weights.as<float>();
  const float* const bias = layer.bias.as<float>().data;
  const auto to = y.as<float>();
  for_each(rows, rows * in * out, [&](Index i) {
    float* const sums = to.row(i);
    for (Index j = 0; j < out; ++j) sums[j] = bias[j];
    for (Index k = 0; k < in; ++k) {
      const float value = from(i, k);
      const float* const row = w.row(k);
      for (Index j = 0; j < out; ++j) sums[j] += value * row[j];
    }
    for (Index j = 0; relu && j < out; ++j) sums[j] = sums[j] > 0 ? sums[j] : 0;
  });
}

// dx = dy w^T, 0 where x, what a ReLU made, is 0.
void backward_inputs(const Tensor& dy, const LinearValues& layer, const Tensor& x, Tensor& dx) {
  const Index in = layer.in(), out = layer.out(), rows = dy.rows();
  const auto from = dy.as<float>(), w = layer.weights.as<float>();
  const auto active = x.as<float>();
  const auto to = dx.as<float>();
  for_each(rows, rows * in * out, [&](Index i) {
    const float* const deltas = from.row(i);
    for (Index k = 0; k < in; ++k) {
      const float* const row = w.row(k);
      float sum = 0;
#pragma omp simd reduction(+ : sum)
      for (Index j = 0; j < out; ++j) sum += deltas[j] * row[j];
      to(i, k) = active(i, k) > 0 ? sum : 0;
    }
  });
}

// w -= rate x^T dy, in place.
void update_weights(const Tensor& x, const Tensor& dy, float rate, LinearValues& layer) {
  const Index in = layer.in(), out = layer.out(), rows = x.rows();
  const auto from = x.as<float>(), deltas = dy.as<float>();
  const auto w = layer.weights.as<float>();
  for_each(in, rows * in * out, [&](Index k) {
    float* const row = w.row(k);
    for (Index i = 0; i < rows; ++i) {
      const float value = -rate * from(i, k);
      const float* const delta = deltas.row(i);
      for (Index j = 0; j < out; ++j) row[j] += value * delta[j];
    }
  });
}

void update_bias(const Tensor& dy, float rate, LinearValues& layer) {
  const auto deltas = dy.as<float>();
  float* const bias = layer.bias.as<float>().data;
  for (Index i = 0; i < dy.rows(); ++i) {
    for (Index j = 0; j < dy.columns(); ++j) bias[j] -= rate * deltas(i, j);
  }
}

class Network : public Contender {
 public:
  explicit Network(const Workload& workload)
      : task_(workload.task), layers_(initial_layers(workload)), target_(targets_of(workload)) {
    values_.push_back(inputs_of(workload));
    for (const LinearValues& layer : layers_) {
      values_.emplace_back(Shape{workload.batch, layer.out()}, DType::kFloat32, Layout::kDense);
    }
    if (task_ == Task::kStep) deltas_ = values_;
  }

  void run(Index times) override {
    for (Index i = 0; i < times; ++i) {
      predict();
      if (task_ == Task::kStep) learn();
    }
  }
  std::vector<float> results() const override {
    std::vector<float> all;
    if (task_ == Task::kPredict) append(all, values_.back());
    for (const LinearValues& layer : layers_) {
      if (task_ == Task::kPredict) break;
      append(all, layer.weights);
      append(all, layer.bias);
    }
    return all;
  }

 private:
  void predict() {
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      forward(values_[i], layers_[i], i + 1 < layers_.size(), values_[i + 1]);
    }
  }
  void learn() {
    const auto y = values_.back().as<float>(), dy = deltas_.back().as<float>();
    const float* const target = target_.as<float>().data;
    const Index count = y.rows * y.columns;
    const float scale = 2 / static_cast<float>(count);
    for (Index i = 0; i < count; ++i) dy.data[i] = scale * (y.data[i] - target[i]);
    for (std::size_t i = layers_.size(); i-- > 0;) {
      if (i > 0) backward_inputs(deltas_[i + 1], layers_[i], values_[i], deltas_[i]);
      constexpr auto kRate = static_cast<float>(kLearningRate);
      update_weights(values_[i], deltas_[i + 1], kRate, layers_[i]);
      update_bias(deltas_[i + 1], kRate, layers_[i]);
    }
  }

  Task task_;
  std::vector<LinearValues> layers_;
  Tensor target_;
  std::vector<Tensor> values_;
  std::vector<Tensor> deltas_;
};

// The gradient of a logistic regression, reading each row once.
class Logistic : public Contender {
 public:
  explicit Logistic(const Workload& workload)
      : layer_(std::move(initial_layers(workload).front())),
        x_(inputs_of(workload)),
        target_(targets_of(workload)),
        gradient_(static_cast<std::size_t>(layer_.in()) + 1) {}

  void run(Index times) override {
    for (Index i = 0; i < times; ++i) differentiate();
  }
  std::vector<float> results() const override { return gradient_; }

 private:
  void differentiate() {
    const auto columns = static_cast<std::size_t>(layer_.in());
    const Index rows = x_.rows();
    const auto x = x_.as<float>();
    const float* const target = target_.as<float>().data;
    const float* const w = layer_.weights.as<float>().data;
    const float bias = *layer_.bias.as<float>().data;
    gradient_.assign(columns + 1, 0);
    float* const sums = gradient_.data();
#pragma omp parallel for reduction(+ : sums[:columns + 1])
    for (Index i = 0; i < rows; ++i) {
      const float* const row = x.row(i);
      float z = bias;
#pragma omp simd reduction(+ : z)
      for (std::size_t k = 0; k < columns; ++k) z += row[k] * w[k];
      const float delta = 1 / (1 + std::exp(-z)) - target[i];
      for (std::size_t k = 0; k < columns; ++k) sums[k] += delta * row[k];
      sums[columns] += delta;
    }
    for (float& sum : gradient_) sum /= static_cast<float>(rows);
  }

  LinearValues layer_;
  Tensor x_;
  Tensor target_;
  std::vector<float> gradient_;
};

std::unique_ptr<Contender> make(const Workload& workload, [[maybe_unused]] int threads) {
#ifdef _OPENMP
  omp_set_num_threads(threads);
#endif
  if (workload.task == Task::kEpoch) return nullptr;
  if (workload.task == Task::kGradient) return std::make_unique<Logistic>(workload);
  return std::make_unique<Network>(workload);
}

}  // namespace
}  // namespace chainrule::bench

int main(int argc, char** argv) {
  return chainrule::bench::contend(argc, argv, "plain loops", chainrule::bench::make);
}
