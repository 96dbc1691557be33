// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/model_file.hpp"

#include <fmt/format.h>

#include <istream>
#include <ostream>

#include "chainrule/core/error.hpp"
#include "model_json.hpp"

namespace chainrule {
namespace {

constexpr const char* kMetadataKey = "chainrule";

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
    const DType dtype =
        file.tensors.empty() ? DType::kFloat32 : file.tensors.front().second.dtype();
    if (dtype == DType::kInt32) throw FormatError("the weights are integers");
    Model model = internal::model_from_json(found->second, file, dtype);
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
    const bool matrix = entry.shape.rank() == 2;
    file.tensors.emplace_back(entry.name, matrix ? transposed(parameters.view(i), model.dtype())
                                                 : vector_of(parameters.view(i)));
  }
  return file;
}

void load_parameters(Model& model, const TensorFile& file) {
  Parameters& parameters = model.parameters();
  for (Index i = 0; i < parameters.size(); ++i) {
    const auto& entry = parameters.layout().entries[static_cast<std::size_t>(i)];
    const Tensor& tensor = file.at(entry.name);
    const bool matrix = entry.shape.rank() == 2;
    const Shape expected =
        matrix ? Shape{entry.shape.columns(), entry.shape.rows()} : entry.shape;
    if (tensor.shape() != expected || tensor.dtype() == DType::kInt32) {
      throw FormatError(fmt::format("tensor '{}' is {} {}, expected real numbers {}", entry.name,
                                    to_string(tensor.dtype()), to_string(tensor.shape()),
                                    to_string(expected)));
    }
    const Tensor values =
        matrix ? transposed(tensor.view(), model.dtype()) : tensor.to(model.dtype());
    copy_values(values.view(), parameters.mutable_view(i));
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
