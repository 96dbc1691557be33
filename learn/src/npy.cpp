// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <ostream>
#include <string>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/array_files.hpp"
#include "file_io.hpp"
#include "npy_header.hpp"

namespace chainrule {
namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr std::size_t kVersionBytes = 2;
constexpr std::size_t kDataAlignment = 64;

/// The header's text; `bytes` is left at the data.
std::string_view take_header(std::span<const std::byte>& bytes, std::string_view name) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const std::size_t length_at = kMagic.size() + kVersionBytes;
  if (!text.starts_with(kMagic)) {
    throw FormatError(fmt::format("{}: not a .npy file: no magic number", name));
  }
  const auto major = text.size() > kMagic.size() ? static_cast<int>(text[kMagic.size()]) : 0;
  const std::size_t length_bytes = major == 1 ? 2 : 4;
  if (text.size() < length_at + length_bytes) {
    throw FormatError(fmt::format("{}: truncated .npy header", name));
  }
  if (major < 1 || major > 3) {
    throw FormatError(fmt::format("{}: .npy format version {}, expected 1 to 3", name, major));
  }
  std::uint32_t length = 0;  // little-endian, like the machine
  std::memcpy(&length, bytes.data() + length_at, length_bytes);
  const std::size_t start = length_at + length_bytes;
  if (length > text.size() - start) {
    throw FormatError(fmt::format("{}: truncated: a .npy header of {} bytes, {} are there", name,
                                  length, text.size() - start));
  }
  bytes = bytes.subspan(start + length);
  return text.substr(start, length);
}

template <class T>
void copy_from_fortran(const Tensor& from, Tensor& to, std::span<const Index> shape) {
  const T* const source = from.as<T>().data;
  T* const target = to.as<T>().data;
  std::array<Index, Shape::kMaxRank> at{};
  const Index count = to.shape().elements();
  for (Index i = 0; i < count; ++i) {
    Index offset = 0;
    for (std::size_t axis = shape.size(); axis-- > 0;) offset = offset * shape[axis] + at[axis];
    target[i] = source[offset];
    for (std::size_t axis = shape.size(); axis-- > 0;) {  // the last index runs fastest
      if (++at[axis] < shape[axis]) break;
      at[axis] = 0;
    }
  }
}

Tensor from_fortran(const Tensor& columns_first, std::span<const Index> shape) {
  Tensor result(columns_first.shape(), columns_first.dtype(), Layout::kDense);
  switch (result.dtype()) {
    case DType::kFloat32:
      copy_from_fortran<float>(columns_first, result, shape);
      break;
    case DType::kFloat64:
      copy_from_fortran<double>(columns_first, result, shape);
      break;
    case DType::kInt32:
      copy_from_fortran<std::int32_t>(columns_first, result, shape);
      break;
  }
  return result;
}

std::string_view descr_of(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
      return "<f8";
    case DType::kInt32:
      return "<i4";
    case DType::kFloat32:
      break;
  }
  return "<f4";
}

std::string make_header(const Tensor& tensor) {
  std::string shape;
  for (int axis = 0; axis < tensor.shape().rank(); ++axis) {
    shape += fmt::format("{}{}", axis > 0 ? ", " : "", tensor.shape()[axis]);
  }
  if (tensor.shape().rank() == 1) shape += ",";
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}",
                                 descr_of(tensor.dtype()), shape);
  const std::size_t before = kMagic.size() + kVersionBytes + sizeof(std::uint16_t);
  const std::size_t total = before + text.size() + 1;
  text.append((kDataAlignment - total % kDataAlignment) % kDataAlignment, ' ');
  text += '\n';
  const auto length = static_cast<std::uint16_t>(text.size());
  return std::string(kMagic) + std::string("\x01\x00", kVersionBytes) +
         std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + text;
}

void check_writable(const Tensor& tensor) {
  if (tensor.data() == nullptr && tensor.shape().elements() > 0) {
    throw ArgumentError("write_npy: the tensor has no memory");
  }
}

}  // namespace

Tensor read_npy(std::span<const std::byte> bytes, std::string_view name) {
  const std::string_view text = take_header(bytes, name);
  const internal::NpyHeader header = internal::parse_npy_header(text, name);
  const Index needed = internal::checked_bytes(header.shape, header.type, name);
  if (bytes.size() != static_cast<std::size_t>(needed)) {
    throw FormatError(fmt::format("{}: the .npy shape needs {} bytes of data, {} are there", name,
                                  needed, bytes.size()));
  }
  Tensor tensor = internal::decode(bytes, header.type, std::endian::little,
                                   internal::make_shape(header.shape), name);
  const bool reorder = header.fortran_order && header.shape.size() > 1;
  return reorder ? from_fortran(tensor, header.shape) : tensor;
}

Tensor read_npy(const std::filesystem::path& path) {
  const std::string contents = internal::read_file_or_gzip(path);
  return read_npy(internal::as_bytes(contents), path.string());
}

void write_npy(const Tensor& tensor, const std::filesystem::path& path) {
  check_writable(tensor);
  internal::AtomicFile out(path);
  out.write(make_header(tensor));
  internal::encode(tensor, [&](std::span<const std::byte> bytes) { out.write(bytes); });
  out.commit();
}

void write_npy(const Tensor& tensor, std::ostream& stream) {
  check_writable(tensor);
  const std::string header = make_header(tensor);
  stream.write(header.data(), static_cast<std::streamsize>(header.size()));
  internal::encode(tensor, [&](std::span<const std::byte> bytes) {
    stream.write(reinterpret_cast<const char*>(bytes.data()),
                 static_cast<std::streamsize>(bytes.size()));
  });
  if (!stream.flush()) throw FormatError("write_npy: the stream does not take the data");
}

}  // namespace chainrule
