// SPDX-License-Identifier: Apache-2.0
//
// oneDNN's inner products, with weights in the layouts that it prefers and ReLU as part of forward.

#include <dnnl.hpp>
#ifdef _OPENMP
#include <omp.h>
#endif

#include <string>
#include <unordered_map>
#include <vector>

#include "contender.hpp"

namespace chainrule::bench {
namespace {

using Format = dnnl::memory::format_tag;
using Memory = dnnl::memory;
using Arguments = std::unordered_map<int, Memory>;

Memory::desc describe(Memory::dims dims, Format format) {
  return {std::move(dims), Memory::data_type::f32, format};
}

// A primitive and what it is applied to, ready for the C interface: the C++ one makes lists anew at
// each execution.
class Call {
 public:
  Call(const dnnl::primitive& primitive, const Arguments& arguments)
      : primitive_(primitive), arguments_(arguments) {
    for (const auto& [index, memory] : arguments_) list_.push_back({index, memory.get()});
  }
  void execute(const dnnl::stream& stream) const {
    const dnnl_status_t status = dnnl_primitive_execute(
        primitive_.get(), stream.get(), static_cast<int>(list_.size()), list_.data());
    dnnl::error::wrap_c_api(status, "could not execute a primitive");
  }

 private:
  dnnl::primitive primitive_;
  Arguments arguments_;
  std::vector<dnnl_exec_arg_t> list_;
};

class Engine {
 public:
  Memory make(const Memory::desc& desc) const { return {desc, engine_}; }
  // The same values in another layout.
  Memory reordered(const Memory& from, const Memory::desc& desc) {
    Memory to = make(desc);
    run(dnnl::reorder(from, to), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
    return to;
  }
  // A copy of `values`, which lie in `format`.
  Memory load(const Tensor& values, const Memory::dims& dims, Format format) {
    auto* const data = const_cast<float*>(values.as<float>().data);
    const Memory::desc desc = describe(dims, format);
    return reordered(Memory(desc, engine_, data), desc);
  }
  std::vector<float> values_of(const Memory& from, Format format) {
    const Memory dense = reordered(from, describe(from.get_desc().dims(), format));
    const auto* const data = static_cast<const float*>(dense.get_data_handle());
    return {data, data + dense.get_desc().get_size() / sizeof(float)};
  }
  void run(const dnnl::primitive& primitive, const Arguments& arguments) {
    run({Call(primitive, arguments)});
  }
  void run(const std::vector<Call>& calls) {
    for (const Call& call : calls) call.execute(stream_);
    stream_.wait();
  }
  const dnnl::engine& get() const { return engine_; }

 private:
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
};

using Forward = dnnl::inner_product_forward;
using BackwardData = dnnl::inner_product_backward_data;
using BackwardWeights = dnnl::inner_product_backward_weights;

struct Layer {
  Memory::dims weights_dims;  // {out, in}: oneDNN's order, whatever lies where
  Memory weights;
  Memory bias;
  Forward::primitive_desc forward;
};

dnnl::primitive_attr with_relu(bool relu) {
  dnnl::post_ops after;
  if (relu) after.append_eltwise(1, dnnl::algorithm::eltwise_relu, 0, 0);
  dnnl::primitive_attr attributes;
  attributes.set_post_ops(after);
  return attributes;
}

class Network : public Contender {
 public:
  explicit Network(const Workload& workload) : task_(workload.task) {
    const Index inputs = widths_of(workload).front();
    values_.push_back(engine_.load(inputs_of(workload), {workload.batch, inputs}, Format::ab));
    const std::vector<LinearValues> layers = initial_layers(workload);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      add_layer(layers[i], workload.batch, i + 1 < layers.size());
    }
    if (task_ == Task::kStep) add_backward(workload);
  }

  void run(Index times) override {
    for (Index i = 0; i < times; ++i) engine_.run(calls_);
  }
  std::vector<float> results() const override {
    Engine engine = engine_;
    if (task_ == Task::kPredict) return engine.values_of(values_.back(), Format::ab);
    std::vector<float> all;
    for (const Layer& layer : layers_) {
      for (const float value : engine.values_of(layer.weights, Format::ba)) all.push_back(value);
      for (const float value : engine.values_of(layer.bias, Format::a)) all.push_back(value);
    }
    return all;
  }

 private:
  void call(const dnnl::primitive& primitive, const Arguments& arguments) {
    calls_.emplace_back(primitive, arguments);
  }

  void add_layer(const LinearValues& values, Index batch, bool relu) {
    const auto kind = task_ == Task::kPredict ? dnnl::prop_kind::forward_inference
                                              : dnnl::prop_kind::forward_training;
    const Memory::dims weights_dims{values.out(), values.in()};
    const Forward::desc desc(kind, values_.back().get_desc(), describe(weights_dims, Format::any),
                             describe({values.out()}, Format::a),
                             describe({batch, values.out()}, Format::ab));
    const Forward::primitive_desc forward(desc, with_relu(relu), engine_.get());
    const Memory plain = engine_.load(values.weights, weights_dims, Format::ba);
    layers_.push_back({.weights_dims = weights_dims,
                       .weights = engine_.reordered(plain, forward.weights_desc()),
                       .bias = engine_.load(values.bias, {values.out()}, Format::a),
                       .forward = forward});
    const Memory y = engine_.make(forward.dst_desc());
    call(Forward(forward), {{DNNL_ARG_SRC, values_.back()},
                            {DNNL_ARG_WEIGHTS, layers_.back().weights},
                            {DNNL_ARG_BIAS, layers_.back().bias},
                            {DNNL_ARG_DST, y}});
    values_.push_back(y);
  }

  void add_backward(const Workload& workload) {
    const Memory& y = values_.back();
    const Memory target = engine_.load(targets_of(workload), y.get_desc().dims(), Format::ab);
    const auto count = static_cast<float>(y.get_desc().get_size() / sizeof(float));
    Memory delta = engine_.make(y.get_desc());
    add_sum({2 / count, -2 / count}, {y, target}, delta);
    for (std::size_t i = layers_.size(); i-- > 0;) {
      const Memory below = i > 0 ? add_delta_below(i, delta) : Memory();
      add_update(i, delta);
      delta = below;
    }
  }

  // The gradient by the output of the layer below, before its ReLU.
  Memory add_delta_below(std::size_t i, const Memory& delta) {
    const Layer& layer = layers_[i];
    const Memory& x = values_[i];
    const BackwardData::desc desc(x.get_desc(), describe(layer.weights_dims, Format::any),
                                  delta.get_desc());
    const BackwardData::primitive_desc backward(desc, engine_.get(), layer.forward);
    const Memory below = engine_.make(x.get_desc());
    call(BackwardData(backward),
         {{DNNL_ARG_DIFF_DST, delta},
          {DNNL_ARG_WEIGHTS, add_layout(layer.weights, backward.weights_desc())},
          {DNNL_ARG_DIFF_SRC, below}});
    add_relu_backward(x, below);
    return below;
  }

  // delta = 0 where y, a ReLU's output, is 0.
  void add_relu_backward(const Memory& y, const Memory& delta) {
    constexpr auto kRelu = dnnl::algorithm::eltwise_relu_use_dst_for_bwd;
    const Memory::desc& desc = y.get_desc();
    const dnnl::eltwise_forward::primitive_desc forward(
        {dnnl::prop_kind::forward_training, kRelu, desc, 0, 0}, engine_.get());
    const dnnl::eltwise_backward::primitive_desc backward({kRelu, desc, desc, 0, 0}, engine_.get(),
                                                          forward);
    call(dnnl::eltwise_backward(backward),
         {{DNNL_ARG_DST, y}, {DNNL_ARG_DIFF_DST, delta}, {DNNL_ARG_DIFF_SRC, delta}});
  }

  void add_update(std::size_t i, const Memory& delta) {
    Layer& layer = layers_[i];
    const BackwardWeights::desc desc(values_[i].get_desc(),
                                     describe(layer.weights_dims, Format::any),
                                     layer.bias.get_desc(), delta.get_desc());
    const BackwardWeights::primitive_desc backward(desc, engine_.get(), layer.forward);
    const Memory weights = engine_.make(backward.diff_weights_desc());
    const Memory bias = engine_.make(backward.diff_bias_desc());
    call(BackwardWeights(backward), {{DNNL_ARG_SRC, values_[i]},
                                     {DNNL_ARG_DIFF_DST, delta},
                                     {DNNL_ARG_DIFF_WEIGHTS, weights},
                                     {DNNL_ARG_DIFF_BIAS, bias}});
    constexpr auto kRate = static_cast<float>(kLearningRate);
    const Memory fitting = add_layout(weights, layer.weights.get_desc());
    add_sum({1, -kRate}, {layer.weights, fitting}, layer.weights);
    add_sum({1, -kRate}, {layer.bias, bias}, layer.bias);
  }

  // Memory that has the values of `from` in another layout at this point of each run.
  Memory add_layout(const Memory& from, const Memory::desc& desc) {
    if (from.get_desc() == desc) return from;
    const Memory to = engine_.make(desc);
    call(dnnl::reorder(from, to), {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}});
    return to;
  }

  void add_sum(const std::vector<float>& scales, const std::vector<Memory>& terms,
               const Memory& to) {
    std::vector<Memory::desc> descs;
    Arguments arguments{{DNNL_ARG_DST, to}};
    for (const Memory& term : terms) {
      arguments[DNNL_ARG_MULTIPLE_SRC + static_cast<int>(descs.size())] = term;
      descs.push_back(term.get_desc());
    }
    call(dnnl::sum({to.get_desc(), scales, descs, engine_.get()}), arguments);
  }

  Task task_;
  Engine engine_;
  std::vector<Layer> layers_;
  std::vector<Memory> values_;  // what goes into each layer, and what comes out of the last
  std::vector<Call> calls_;     // of a run
};

std::unique_ptr<Contender> make(const Workload& workload, [[maybe_unused]] int threads) {
#ifdef _OPENMP
  omp_set_num_threads(threads);
#endif
  if (workload.task == Task::kGradient || workload.task == Task::kEpoch) return nullptr;
  return std::make_unique<Network>(workload);
}

std::string library() {
  const dnnl_version_t* const version = dnnl_version();
  return "oneDNN " + std::to_string(version->major) + '.' + std::to_string(version->minor) + '.' +
         std::to_string(version->patch);
}

}  // namespace
}  // namespace chainrule::bench

int main(int argc, char** argv) {
  return chainrule::bench::contend(argc, argv, chainrule::bench::library(), chainrule::bench::make);
}
