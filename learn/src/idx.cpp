// SPDX-License-Identifier: Apache-2.0
#include "idx.hpp"

#include <fmt/format.h>

#include <string>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/array_files.hpp"
#include "file_io.hpp"

namespace chainrule {
namespace internal {
namespace {

ElementType type_of(unsigned code, std::string_view name) {
  switch (code) {
    case 0x08:
      return ElementType::kUint8;
    case 0x09:
      return ElementType::kInt8;
    case 0x0B:
      return ElementType::kInt16;
    case 0x0C:
      return ElementType::kInt32;
    case 0x0D:
      return ElementType::kFloat32;
    case 0x0E:
      return ElementType::kFloat64;
    default:
      throw FormatError(fmt::format("{}: unknown IDX element type {:#04x}", name, code));
  }
}

}  // namespace

IdxView parse_idx(std::span<const std::byte> bytes, std::string_view name) {
  constexpr std::size_t kWord = 4;
  if (bytes.size() < kWord || bytes[0] != std::byte{0} || bytes[1] != std::byte{0}) {
    throw FormatError(fmt::format("{}: not an IDX file: no magic number", name));
  }
  IdxView view{.type = type_of(std::to_integer<unsigned>(bytes[2]), name)};
  const auto rank = std::to_integer<std::size_t>(bytes[3]);
  const std::size_t header = kWord * (1 + rank);
  if (rank == 0 || bytes.size() < header) {
    throw FormatError(
        fmt::format("{}: truncated: an IDX header of {} dimensions in a file of {} "
                    "bytes",
                    name, rank, bytes.size()));
  }
  for (std::size_t axis = 0; axis < rank; ++axis) {
    Index dimension = 0;
    for (const std::byte byte : bytes.subspan(kWord * (1 + axis), kWord)) {
      dimension = dimension * 256 + std::to_integer<Index>(byte);
    }
    view.dimensions.push_back(dimension);
  }
  view.data = bytes.subspan(header);
  const Index needed = checked_bytes(view.dimensions, view.type, name);
  if (view.data.size() != static_cast<std::size_t>(needed)) {
    throw FormatError(fmt::format("{}: the IDX dimensions need {} bytes of data, {} are there",
                                  name, needed, view.data.size()));
  }
  return view;
}

}  // namespace internal

Tensor read_idx(std::span<const std::byte> bytes, std::string_view name) {
  const internal::IdxView view = internal::parse_idx(bytes, name);
  return internal::decode(view.data, view.type, std::endian::big,
                          internal::make_shape(view.dimensions), name);
}

Tensor read_idx(const std::filesystem::path& path) {
  const std::string contents = internal::read_file_or_gzip(path);
  return read_idx(internal::as_bytes(contents), path.string());
}

}  // namespace chainrule
