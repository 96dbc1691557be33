// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/core/tensor.hpp"
#include "chainrule/learn/dataset.hpp"
#include "chainrule/learn/model.hpp"
#include "chainrule/runtime/executor.hpp"
#include "chainrule/runtime/plan.hpp"

namespace chainrule {

/// How a model does on a dataset.
struct Evaluation {
  Index rows = 0;
  double loss = 0;                 ///< mean, weighted where the data has weights
  std::optional<double> accuracy;  ///< of classification, unweighted
  std::optional<double> rmse;      ///< of regression: root mean squared error over all targets
  /// confusion[true class][predicted class], of classification.
  std::vector<std::vector<Index>> confusion;
};

struct PredictorOptions {
  int threads = 1;  ///< 0: default_threads()
  GemmPath gemm = GemmPath::kAuto;
};

/// Predicts with a snapshot of a model's parameters. A row's prediction has the same bits alone and
/// in any batch (GemmPath::kBlas excepted). Use one predictor per thread; copies are independent.
class CHAINRULE_API Predictor {
 public:
  explicit Predictor(const Model& model, const PredictorOptions& options = {});
  ~Predictor();
  Predictor(const Predictor&);
  Predictor& operator=(const Predictor&);
  Predictor(Predictor&&) noexcept;
  Predictor& operator=(Predictor&&) noexcept;

  /// The mean response of each row of raw inputs x [n, inputs], in the model's dtype: [n, classes]
  /// probabilities for Categorical, [n, outputs] otherwise. ShapeError when the columns do not fit.
  Tensor predict(const Tensor& x);
  /// The same with an offset [n, 1] (likelihoods with log link).
  Tensor predict(const Tensor& x, const Tensor& offset);
  /// The class of each row of a classification model: the most probable (the lowest when equal).
  std::vector<std::int32_t> classify(const Tensor& x);

  Evaluation evaluate(const Dataset& data);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Predictor(model).evaluate(data).
CHAINRULE_API Evaluation evaluate(const Model& model, const Dataset& data,
                                  const PredictorOptions& options = {});

}  // namespace chainrule
