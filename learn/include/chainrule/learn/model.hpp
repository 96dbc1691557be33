// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/core/graph.hpp"
#include "chainrule/learn/dataset.hpp"
#include "chainrule/learn/layers.hpp"
#include "chainrule/learn/standardizer.hpp"
#include "chainrule/runtime/parameters.hpp"

namespace chainrule {

/// What the columns of a model's data mean; travels in its file.
struct Schema {
  std::vector<std::string> feature_names;
  std::vector<std::string> class_names;
  std::string target_name;
  std::string offset_name{};                 ///< column that was the offset; empty for none
  std::optional<Standardizer> standardizer;  ///< applied to inputs before the first layer

  bool operator==(const Schema&) const = default;
};

/// Which inputs a loss or prediction reads beside x and the target.
struct Extras {
  bool weights = false;  ///< sample weights [batch, 1]
  bool offset = false;   ///< added to the logits of a likelihood with log link, [batch, 1]
};

/// The graph of a model, with handles on its named values.
class CHAINRULE_API Network {
 public:
  /// Its nodes count as added at `where`.
  Network(std::vector<Layer> layers, Likelihood likelihood, Index inputs,
          Where where = Where::current());

  const Graph& graph() const noexcept { return graph_; }
  Value x() const noexcept { return x_; }
  Value target() const noexcept { return target_; }
  Value weights() const noexcept { return weights_; }
  /// Empty unless the likelihood has a log link.
  Value offset() const noexcept { return offset_; }
  /// The outputs of the last layer.
  Value logits() const noexcept { return logits_; }
  /// phi(x): what the last Linear layer reads, the learned representation.
  Value features() const noexcept { return features_; }
  /// The output of layer i.
  Value layer(std::size_t i) const { return outputs_.at(i); }
  /// Mean loss over the batch.
  Value loss(Extras extras) const noexcept { return loss_[index(extras)]; }
  /// The mean response: probabilities, rate, mean or score.
  Value prediction(bool with_offset) const noexcept { return prediction_[with_offset ? 1 : 0]; }

 private:
  static std::size_t index(Extras extras) noexcept {
    return (extras.weights ? 1U : 0U) + (extras.offset ? 2U : 0U);
  }
  void add_layer(const Layer& layer, std::size_t position, Where where);
  void add_likelihood(const Likelihood& likelihood, Where where);

  Graph graph_;
  Value x_;
  Value target_;
  Value weights_;
  Value offset_;
  Value logits_;
  Value features_;
  std::vector<Value> outputs_;
  std::array<Value, 4> loss_;
  std::array<Value, 2> prediction_;
};

using ModelPart = std::variant<Layer, Likelihood>;

/// Layers, a likelihood and the values of their parameters. Copies share graph and parameters;
/// clone() does not.
class CHAINRULE_API Model {
 public:
  /// `Model{Linear{64, 128}, Relu{}, Linear{128, 10}, Categorical{}}`: layers, then one likelihood;
  /// throws ArgumentError or ShapeError, naming the layer, when they do not fit together. Errors in
  /// its ops name the line of the constructor.
  Model(std::initializer_list<ModelPart> parts, Where where = Where::current());
  Model(std::vector<Layer> layers, Likelihood likelihood, DType dtype = DType::kFloat32,
        std::uint64_t seed = 0, Where where = Where::current());

  const std::vector<Layer>& layers() const noexcept { return layers_; }
  const Likelihood& likelihood() const noexcept { return likelihood_; }
  Index inputs() const noexcept { return inputs_; }
  Index outputs() const noexcept { return outputs_; }
  DType dtype() const noexcept { return parameters_->dtype(); }
  const Network& network() const noexcept { return *network_; }
  Parameters& parameters() noexcept { return *parameters_; }
  const Parameters& parameters() const noexcept { return *parameters_; }
  Schema& schema() noexcept { return *schema_; }
  const Schema& schema() const noexcept { return *schema_; }

  /// Draws all parameters anew.
  void initialize(std::uint64_t seed);
  /// A model with parameters of its own.
  Model clone() const;
  /// A clone in another dtype.
  Model to(DType dtype) const;

  /// The dataset as the network sees it: standardized, in the model's dtype, with the target as the
  /// likelihood wants it (real labels for Bernoulli, -1 and 1 for HingeLoss). ShapeError or
  /// ArgumentError when features, classes or targets do not fit the model, or numbers its dtype,
  /// and on targets < 0 for Poisson and NegativeBinomial, <= 0 for Gamma. (Classes are always in
  /// the domain of the others.)
  Dataset prepare(const Dataset& data) const;
  /// The inputs alone.
  Tensor prepare_inputs(const Tensor& x) const;
  /// The same, but inputs that need no change are viewed, not copied: `data` and x must outlive the
  /// result.
  Dataset prepare_view(const Dataset& data) const;
  Tensor prepare_inputs_view(const Tensor& x) const;
  /// phi(x) of raw inputs, [n, width]: what the last Linear layer reads, or the output of layer
  /// `layer` (from 0). ArgumentError for a layer that is not there.
  Tensor features(const Tensor& x, std::optional<std::size_t> layer = std::nullopt) const;
  /// A model of its own on the same features: the layers up to `layer` (or before the last Linear
  /// one) with the values of their parameters, then Linear to `outputs`, drawn anew with seed 0,
  /// and `likelihood`. Of the schema it has feature_names and standardizer. ArgumentError for a
  /// layer that is not there.
  Model with_head(Index outputs, const Likelihood& likelihood, bool bias = true,
                  std::optional<std::size_t> layer = std::nullopt) const;

 private:
  std::vector<Layer> layers_;
  Likelihood likelihood_;
  Index inputs_ = 0;
  Index outputs_ = 0;
  std::shared_ptr<const Network> network_;
  std::shared_ptr<Parameters> parameters_;
  std::shared_ptr<Schema> schema_;
};

/// "784-256-128-10" as Linear layers with `activation` between them; ArgumentError when the text is
/// not at least two positive numbers joined by '-'.
CHAINRULE_API std::vector<Layer> mlp_layers(std::string_view widths, const Layer& activation);

}  // namespace chainrule
