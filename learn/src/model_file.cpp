// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/model_file.hpp"

#include <fmt/format.h>

#include <cmath>
#include <istream>
#include <ostream>
#include <vector>

#include "chainrule/core/error.hpp"
#include "model_json.hpp"

namespace chainrule {
namespace {

constexpr const char* kMetadataKey = "chainrule";

bool is_matrix(const ParameterLayout::Entry& entry) { return entry.shape.rank() == 2; }

// PyTorch's nn.Linear stores its weight as [out, in]; ours are [in, out].
Tensor transposed(ConstTensorView view, DType dtype) {
  Tensor source(Shape{view.rows, view.columns}, DType::kFloat64);
  copy_values(view, source.view());
  Tensor result(Shape{view.columns, view.rows}, DType::kFloat64);
  for (Index i = 0; i < view.rows; ++i) {
    for (Index j = 0; j < view.columns; ++j) result.as<double>()(j, i) = source.as<double>()(i, j);
  }
  return result.to(dtype);
}

Tensor vector_of(ConstTensorView view) {
  Tensor result(Shape{view.columns}, view.dtype);
  copy_values(view, result.view());
  return result;
}

// `ready` is what the model gets of `tensor`, transposed where that is a matrix.
void expect_finite(const std::string& name, const Tensor& tensor, const Tensor& ready) {
  const bool matrix = tensor.shape().rank() == 2;
  for (Index i = 0; i < tensor.rows(); ++i) {
    for (Index j = 0; j < tensor.columns(); ++j) {
      const bool fits =
          std::isfinite(matrix ? element(ready.view(), j, i) : element(ready.view(), i, j));
      if (fits) continue;
      const double value = element(tensor.view(), i, j);
      throw FormatError(
          fmt::format("tensor '{}': element {} is {}, expected a finite number{}", name,
                      matrix ? fmt::format("[{}, {}]", i, j) : fmt::format("[{}]", j), value,
                      std::isfinite(value) ? fmt::format(" of {}", to_string(ready.dtype())) : ""));
    }
  }
}

TensorFile describe_model(const Model& model) {
  TensorFile file = to_tensor_file(model);
  file.metadata[kMetadataKey] = internal::to_json(model);
  file.metadata["format"] = "pt";  // what PyTorch's loaders look for
  return file;
}

Model to_model(const TensorFile& file, std::string_view name) {
  const auto found = file.metadata.find(kMetadataKey);
  if (found == file.metadata.end()) {
    throw FormatError(fmt::format(
        "{}: a safetensors file without a chainrule model description in its metadata; build the "
        "Model and use load_parameters()",
        name));
  }
  try {
    Model model = internal::model_from_json(found->second, file);
    load_parameters(model, file);
    return model;
  } catch (const FormatError& error) {
    throw FormatError(fmt::format("{}: {}", name, error.what()));
  }
}

}  // namespace

TensorFile to_tensor_file(const Model& model) {
  TensorFile file;
  const Parameters& parameters = model.parameters();
  for (Index i = 0; i < parameters.size(); ++i) {
    const auto& entry = parameters.layout().entries[static_cast<std::size_t>(i)];
    file.tensors.emplace_back(entry.name, is_matrix(entry)
                                              ? transposed(parameters.view(i), model.dtype())
                                              : vector_of(parameters.view(i)));
  }
  return file;
}

void load_parameters(Model& model, const TensorFile& file) {
  Parameters& parameters = model.parameters();
  std::vector<const Tensor*> tensors;
  for (const ParameterLayout::Entry& entry : parameters.layout().entries) {
    const Tensor& tensor = file.at(entry.name);
    const Shape expected =
        is_matrix(entry) ? Shape{entry.shape.columns(), entry.shape.rows()} : entry.shape;
    if (tensor.shape() != expected || tensor.dtype() == DType::kInt32) {
      throw FormatError(fmt::format("tensor '{}' is {} {}, expected real numbers {}", entry.name,
                                    to_string(tensor.dtype()), to_string(tensor.shape()),
                                    to_string(expected)));
    }
    tensors.push_back(&tensor);
  }
  std::vector<Tensor> values;  // all of them are good before the first is copied
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const ParameterLayout::Entry& entry = parameters.layout().entries[i];
    values.push_back(is_matrix(entry) ? transposed(tensors[i]->view(), model.dtype())
                                      : tensors[i]->to(model.dtype()));
    expect_finite(entry.name, *tensors[i], values.back());
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    copy_values(values[i].view(), parameters.mutable_view(static_cast<Index>(i)));
  }
}

void save(const Model& model, const std::filesystem::path& path) {
  write_safetensors(describe_model(model), path);
}

void save(const Model& model, std::ostream& stream) {
  write_safetensors(describe_model(model), stream);
}

std::vector<std::byte> save_to_memory(const Model& model) {
  return to_safetensors(describe_model(model));
}

Model load_model(const std::filesystem::path& path) {
  return to_model(read_safetensors(path), path.string());
}

Model load_model(std::istream& stream) { return to_model(read_safetensors(stream), "stream"); }

Model load_model(std::span<const std::byte> bytes, std::string_view name) {
  return to_model(read_safetensors(bytes, name), name);
}

}  // namespace chainrule
