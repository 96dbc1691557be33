// SPDX-License-Identifier: Apache-2.0
#include <Eigen/Core>
#include <string>
#include <utility>

#include "contender.hpp"

namespace chainrule::bench {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Row = Eigen::RowVectorXf;
using Vector = Eigen::VectorXf;

constexpr auto kRate = static_cast<float>(kLearningRate);

Matrix matrix_of(const Tensor& values) {
  return Eigen::Map<const Matrix>(values.as<float>().data, values.rows(), values.columns());
}

struct Layer {
  explicit Layer(const LinearValues& values)
      : weights(matrix_of(values.weights)), bias(matrix_of(values.bias)) {}

  Matrix weights;
  Row bias;
};

class Network : public Contender {
 public:
  explicit Network(const Workload& workload)
      : task_(workload.task), target_(matrix_of(targets_of(workload))) {
    values_.push_back(matrix_of(inputs_of(workload)));
    for (const LinearValues& layer : initial_layers(workload)) {
      layers_.emplace_back(layer);
      values_.emplace_back(workload.batch, layer.out());
    }
    deltas_.resize(values_.size());
  }

  void run(Index times) override {
    for (Index i = 0; i < times; ++i) {
      predict();
      if (task_ == Task::kStep) learn();
    }
  }
  std::vector<float> results() const override {
    std::vector<float> all;
    if (task_ == Task::kPredict) append(all, values_.back().data(), values_.back().size());
    for (const Layer& layer : layers_) {
      if (task_ == Task::kPredict) break;
      append(all, layer.weights.data(), layer.weights.size());
      append(all, layer.bias.data(), layer.bias.size());
    }
    return all;
  }

 private:
  void predict() {
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      Matrix& y = values_[i + 1];
      y.noalias() = values_[i] * layers_[i].weights;
      if (i + 1 < layers_.size()) {
        y = (y.rowwise() + layers_[i].bias).cwiseMax(0);
      } else {
        y.rowwise() += layers_[i].bias;
      }
    }
  }
  void learn() {
    const Matrix& y = values_.back();
    deltas_.back() = (2 / static_cast<float>(y.size())) * (y - target_);
    for (std::size_t i = layers_.size(); i-- > 0;) {
      const Matrix& dy = deltas_[i + 1];
      if (i > 0) {
        deltas_[i].noalias() = dy * layers_[i].weights.transpose();
        deltas_[i] = (values_[i].array() > 0).select(deltas_[i], 0);
      }
      layers_[i].weights.noalias() -= kRate * values_[i].transpose() * dy;
      layers_[i].bias -= kRate * dy.colwise().sum();
    }
  }

  Task task_;
  std::vector<Layer> layers_;
  Matrix target_;
  std::vector<Matrix> values_;  // what goes into each layer, and what comes out of the last
  std::vector<Matrix> deltas_;  // the loss's gradient by these
};

class Logistic : public Contender {
 public:
  explicit Logistic(const Workload& workload)
      : layer_(initial_layers(workload).front()),
        x_(matrix_of(inputs_of(workload))),
        target_(matrix_of(targets_of(workload))),
        gradient_(x_.cols() + 1) {}

  void run(Index times) override {
    for (Index i = 0; i < times; ++i) differentiate();
  }
  std::vector<float> results() const override {
    std::vector<float> all;
    append(all, gradient_.data(), gradient_.size());
    return all;
  }

 private:
  void differentiate() {
    const float scale = 1 / static_cast<float>(x_.rows());
    delta_.noalias() = x_ * layer_.weights.col(0);
    delta_ = scale * ((delta_.array() + layer_.bias[0]).logistic() - target_.array());
    gradient_.head(x_.cols()).noalias() = x_.transpose() * delta_;
    gradient_[x_.cols()] = delta_.sum();
  }

  Layer layer_;
  Matrix x_;
  Vector target_;
  Vector delta_;
  Vector gradient_;
};

std::unique_ptr<Contender> make(const Workload& workload, int threads) {
  Eigen::setNbThreads(threads);
  if (workload.task == Task::kEpoch) return nullptr;
  if (workload.task == Task::kGradient) return std::make_unique<Logistic>(workload);
  return std::make_unique<Network>(workload);
}

std::string library() {
  std::string text = "Eigen";
  char before = ' ';
  for (const int part : {EIGEN_WORLD_VERSION, EIGEN_MAJOR_VERSION, EIGEN_MINOR_VERSION}) {
    text += std::exchange(before, '.') + std::to_string(part);
  }
  return text;
}

}  // namespace
}  // namespace chainrule::bench

int main(int argc, char** argv) {
  return chainrule::bench::contend(argc, argv, chainrule::bench::library(), chainrule::bench::make);
}
