// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <iosfwd>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chainrule/core/export.hpp"
#include "chainrule/core/tensor.hpp"

namespace chainrule {

/// Named tensors and text, as a safetensors file holds them.
struct CHAINRULE_API TensorFile {
  std::vector<std::pair<std::string, Tensor>> tensors{};
  std::map<std::string, std::string> metadata{};

  /// The tensor of that name, or nullptr.
  const Tensor* find(std::string_view name) const noexcept;
  /// The tensor of that name; FormatError, listing what there is, when there is none.
  const Tensor& at(std::string_view name) const;
};

/// Reads the safetensors format (https://github.com/huggingface/safetensors, "Format"): a 64-bit
/// little-endian length, a JSON header of that length, dense little-endian data.
///
/// F32, F64 and I32 arrive as they are; F16 and BF16 widen to float32; BOOL, I8, U8, I16, U16 and
/// also U32, I64, U64 become int32, the latter only where every value fits. Tensors are dense
/// (leading dimension = columns), at most four-dimensional and in the header's order.
///
/// Whatever the bytes are, the result is a TensorFile or a FormatError with the reason: a length
/// beyond the file or 100 MB, text that is not this kind of JSON (also a name given twice, deeper
/// nesting, a number that is negative or not whole), a product of dimensions that overflows or
/// disagrees with data_offsets, data with holes, overlaps, too few or too many bytes. Memory stays
/// within a small multiple of the bytes that are really there.
CHAINRULE_API TensorFile read_safetensors(const std::filesystem::path& path);
/// The whole of `bytes`; `name` begins the errors.
CHAINRULE_API TensorFile read_safetensors(std::span<const std::byte> bytes,
                                          std::string_view name = "memory");
/// Reads to the last byte that the header describes and leaves the stream behind it.
CHAINRULE_API TensorFile read_safetensors(std::istream& stream, std::string_view name = "stream");

/// Writes float32, float64 and int32 tensors, larger elements first and otherwise in the given
/// order; the header is padded with spaces to a multiple of 8 bytes, so all data is aligned. Equal
/// contents give equal bytes. Throws ArgumentError on a repeated name, the name "__metadata__" and
/// on text that is not UTF-8; FormatError when writing fails.
///
/// A path is written atomically: readers see the old file or the new one, and a failure leaves the
/// old one.
CHAINRULE_API void write_safetensors(const TensorFile& file, const std::filesystem::path& path);
CHAINRULE_API void write_safetensors(const TensorFile& file, std::ostream& stream);
CHAINRULE_API std::vector<std::byte> to_safetensors(const TensorFile& file);

}  // namespace chainrule
