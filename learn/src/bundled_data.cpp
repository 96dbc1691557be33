// SPDX-License-Identifier: Apache-2.0
#include "bundled_data.hpp"

#include <fmt/format.h>

#include <cmath>
#include <string>

#include "chainrule/core/error.hpp"
#include "digits_data.hpp"
#include "file_io.hpp"
#include "idx.hpp"

namespace chainrule {
namespace internal {
namespace {

Tensor scaled_pixels(const IdxView& images, std::string_view name) {
  const Index n = images.dimensions.front();
  if (images.type != ElementType::kUint8) {
    const Tensor values =
        decode(images.data, images.type, std::endian::big, make_shape(images.dimensions), name);
    const Index pixels = n > 0 ? values.shape().elements() / n : 0;
    Tensor x({n, pixels}, values.dtype() == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32);
    copy_values(ConstTensorView(values.data(), values.dtype(), n, pixels, pixels), x);
    return x;
  }
  const Index pixels = n > 0 ? static_cast<Index>(images.data.size()) / n : 0;
  Tensor x({n, pixels});
  const MatrixView<float> out = x.as<float>();
  for (Index i = 0; i < n; ++i) {
    const std::byte* const row = images.data.data() + i * pixels;
    for (Index j = 0; j < pixels; ++j)
      out(i, j) = static_cast<float>(std::to_integer<int>(row[j])) / 255.0F;
  }
  return x;
}

}  // namespace

Tensor idx_rows(std::span<const std::byte> bytes, std::string_view name) {
  return scaled_pixels(parse_idx(bytes, name), name);
}

Dataset load_idx_pair(const std::filesystem::path& images, const std::filesystem::path& labels) {
  Dataset data;
  data.x = idx_rows(as_bytes(read_file_or_gzip(images)), images.string());
  const Tensor classes = read_idx(labels);
  if (classes.dtype() != DType::kInt32 || classes.shape() != Shape{data.rows()}) {
    throw FormatError(fmt::format("{}: {} {}, expected integers of shape [{}] to label {}",
                                  labels.string(), to_string(classes.dtype()),
                                  to_string(classes.shape()), data.rows(), images.string()));
  }
  const std::int32_t* const first = classes.as<std::int32_t>().data;
  data.labels.assign(first, first + data.rows());
  for (const std::int32_t label : data.labels) {
    if (label >= 0) continue;
    throw FormatError(fmt::format("{}: the label {} is negative", labels.string(), label));
  }
  return data;
}

Dataset load_fashion_mnist_part(const std::filesystem::path& directory, std::string_view part) {
  const auto path = [&](std::string_view kind) {
    return directory / fmt::format("{}-{}-ubyte.gz", part, kind);
  };
  for (const std::string_view kind : {"images-idx3", "labels-idx1"}) {
    std::error_code ignored;
    if (std::filesystem::exists(path(kind), ignored)) continue;
    throw FormatError(
        fmt::format("Fashion-MNIST: no file '{}'; on Debian, `apt-get install "
                    "dataset-fashion-mnist` provides it",
                    path(kind).string()));
  }
  Dataset data = load_idx_pair(path("images-idx3"), path("labels-idx1"));
  data.class_names = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                      "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};
  data.target_name = "class";
  for (const std::int32_t label : data.labels) {
    if (label < static_cast<std::int32_t>(data.class_names.size())) continue;
    throw FormatError(
        fmt::format("{}: the label {}, expected 0 to 9", path("labels-idx1").string(), label));
  }
  return data;
}

}  // namespace internal

Dataset load_digits(double divisor) {
  if (!(divisor > 0 && std::isfinite(divisor))) {
    throw ArgumentError(fmt::format("load_digits: divisor {}, expected a number > 0", divisor));
  }
  constexpr auto kRows = static_cast<Index>(internal::kDigitsRows);
  constexpr auto kPixels = static_cast<Index>(internal::kDigitsPixels);
  Dataset data;
  data.x = Tensor({kRows, kPixels});
  data.labels.reserve(internal::kDigitsRows);
  const MatrixView<float> out = data.x.as<float>();
  for (Index i = 0; i < kRows; ++i) {
    const unsigned char* const row = internal::kDigits + i * (kPixels + 1);
    for (Index j = 0; j < kPixels; ++j) out(i, j) = static_cast<float>(row[j] / divisor);
    data.labels.push_back(row[kPixels]);
  }
  for (int digit = 0; digit < 10; ++digit) data.class_names.push_back(std::to_string(digit));
  data.target_name = "digit";
  return data;
}

Split load_fashion_mnist(const std::filesystem::path& directory) {
  return {.train = internal::load_fashion_mnist_part(directory, "train"),
          .test = internal::load_fashion_mnist_part(directory, "t10k")};
}

}  // namespace chainrule
