// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <iosfwd>
#include <span>
#include <string_view>

#include "chainrule/core/export.hpp"
#include "chainrule/core/tensor.hpp"

namespace chainrule {

/// Reads an IDX file (the format of MNIST: two zero bytes, element type, rank, big-endian 32-bit
/// dimensions, big-endian elements), .gz too. Integers become int32, floats stay float32 or
/// float64; dense, at most four dimensions. Throws FormatError, before any allocation, on an
/// unknown type or when the dimensions disagree with the bytes that are there.
CHAINRULE_API Tensor read_idx(const std::filesystem::path& path);
CHAINRULE_API Tensor read_idx(std::span<const std::byte> bytes, std::string_view name = "memory");

/// Reads a NumPy .npy file, format version 1, 2 or 3
/// (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html), .gz too.
///
/// Little-endian or one-byte elements: floats of 4 and 8 bytes stay, of 2 bytes widen to float32;
/// bool and integers become int32 where every value fits. Fortran order is turned into C order; the
/// result is dense, at most four-dimensional. Throws FormatError with the reason on anything else,
/// and when the file has more or fewer bytes than its shape needs.
CHAINRULE_API Tensor read_npy(const std::filesystem::path& path);
CHAINRULE_API Tensor read_npy(std::span<const std::byte> bytes, std::string_view name = "memory");

/// Writes format version 1 in C order, data aligned to 64 bytes; a path atomically. FormatError
/// when writing fails.
CHAINRULE_API void write_npy(const Tensor& tensor, const std::filesystem::path& path);
CHAINRULE_API void write_npy(const Tensor& tensor, std::ostream& stream);

}  // namespace chainrule
