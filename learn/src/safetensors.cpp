// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/safetensors.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <istream>
#include <nlohmann/json.hpp>
#include <ostream>
#include <unordered_set>

#include "chainrule/core/error.hpp"
#include "file_io.hpp"
#include "safetensors_header.hpp"

namespace chainrule {
namespace {

using internal::kLengthBytes;

std::uint64_t header_length(const std::byte* bytes, std::string_view name) {
  std::uint64_t length = 0;
  std::memcpy(&length, bytes, sizeof(length));
  if (length > internal::kMaxHeaderBytes) {
    throw FormatError(
        fmt::format("{}: a header of {} bytes; at most {} are allowed; is it a safetensors file?",
                    name, length, internal::kMaxHeaderBytes));
  }
  return length;
}

FormatError truncated(std::string_view name, std::string_view part, std::uint64_t want,
                      std::uint64_t have) {
  return FormatError(
      fmt::format("{}: truncated: the {} needs {} bytes, {} are there", name, part, want, have));
}

TensorFile decode_tensors(internal::SafetensorsHeader header, std::span<const std::byte> data,
                          std::string_view name) {
  TensorFile file;
  file.metadata = std::move(header.metadata);
  file.tensors.reserve(header.entries.size());
  for (internal::HeaderEntry& entry : header.entries) {
    const auto [first, last] = entry.offsets;
    Tensor tensor = internal::decode(data.subspan(first, last - first), entry.type,
                                     std::endian::little, internal::make_shape(entry.shape),
                                     fmt::format("{}: tensor '{}'", name, entry.name));
    file.tensors.emplace_back(std::move(entry.name), std::move(tensor));
  }
  return file;
}

/// Exactly `count` bytes; memory grows with what really comes.
std::string read_exactly(std::istream& stream, std::uint64_t count, std::string_view part,
                         std::string_view name) {
  constexpr std::uint64_t kChunk = std::uint64_t{1} << 20;
  std::string bytes;
  while (bytes.size() < count) {
    const std::size_t have = bytes.size();
    const std::size_t more = std::min(kChunk, count - have);
    bytes.resize(have + more);
    stream.read(bytes.data() + have, static_cast<std::streamsize>(more));
    const auto got = static_cast<std::size_t>(stream.gcount());
    if (got != more) throw truncated(name, part, count, have + got);
  }
  return bytes;
}

/// nlohmann's text of a JSON string.
std::string quoted(const std::string& text) {
  if (!internal::is_utf8(text)) {
    throw ArgumentError(fmt::format("write_safetensors: '{}' is not UTF-8", text));
  }
  return nlohmann::json(text).dump();
}

void check_names(const TensorFile& file) {
  std::unordered_set<std::string_view> names;
  for (const auto& [name, tensor] : file.tensors) {
    if (name == internal::kMetadataKey || !names.insert(name).second) {
      throw ArgumentError(fmt::format("write_safetensors: the tensor name '{}' is {}", name,
                                      name == internal::kMetadataKey ? "reserved" : "given twice"));
    }
    if (tensor.data() == nullptr && tensor.shape().elements() > 0) {
      throw ArgumentError(fmt::format("write_safetensors: the tensor '{}' has no memory", name));
    }
  }
}

using Entry = std::pair<std::string, Tensor>;

/// Larger elements first, so that everything is aligned to its own size.
std::vector<const Entry*> file_order(const TensorFile& file) {
  std::vector<const Entry*> order;
  for (const Entry& entry : file.tensors) order.push_back(&entry);
  std::stable_sort(order.begin(), order.end(), [](const Entry* a, const Entry* b) {
    return size_of(a->second.dtype()) > size_of(b->second.dtype());
  });
  return order;
}

std::string_view type_name(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
      return "F64";
    case DType::kInt32:
      return "I32";
    case DType::kFloat32:
      break;
  }
  return "F32";
}

/// The length and the padded JSON.
std::string make_header(const TensorFile& file, const std::vector<const Entry*>& order) {
  std::string json = "{";
  if (!file.metadata.empty()) {
    json += fmt::format("\"{}\":{{", internal::kMetadataKey);
    std::string_view separator;
    for (const auto& [key, value] : file.metadata) {
      json += fmt::format("{}{}:{}", separator, quoted(key), quoted(value));
      separator = ",";
    }
    json += "}";
  }
  Index offset = 0;
  for (const Entry* entry : order) {
    const Tensor& tensor = entry->second;
    std::string shape;
    for (int axis = 0; axis < tensor.shape().rank(); ++axis) {
      shape += fmt::format("{}{}", axis > 0 ? "," : "", tensor.shape()[axis]);
    }
    const Index end = offset + tensor.shape().elements() * size_of(tensor.dtype());
    json += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                        json.size() > 1 ? "," : "", quoted(entry->first), type_name(tensor.dtype()),
                        shape, offset, end);
    offset = end;
  }
  json += "}";
  json.append((kLengthBytes - json.size() % kLengthBytes) % kLengthBytes, ' ');
  if (json.size() > internal::kMaxHeaderBytes) {
    throw ArgumentError(
        fmt::format("write_safetensors: a header of {} bytes; at most {} are "
                    "allowed",
                    json.size(), internal::kMaxHeaderBytes));
  }
  const std::uint64_t length = json.size();
  return std::string(reinterpret_cast<const char*>(&length), kLengthBytes) + json;
}

template <class Sink>
void write_to(const TensorFile& file, Sink&& sink) {
  check_names(file);
  const std::vector<const Entry*> order = file_order(file);
  sink(internal::as_bytes(make_header(file, order)));
  for (const Entry* entry : order) internal::encode(entry->second, sink);
}

}  // namespace

const Tensor* TensorFile::find(std::string_view name) const noexcept {
  for (const auto& [key, tensor] : tensors) {
    if (key == name) return &tensor;
  }
  return nullptr;
}

const Tensor& TensorFile::at(std::string_view name) const {
  if (const Tensor* tensor = find(name)) return *tensor;
  std::string names;
  for (const auto& entry : tensors)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", entry.first);
  throw FormatError(fmt::format("no tensor '{}' in the file, which has: {}", name, names));
}

TensorFile read_safetensors(std::span<const std::byte> bytes, std::string_view name) {
  if (bytes.size() < kLengthBytes) throw truncated(name, "length", kLengthBytes, bytes.size());
  const std::uint64_t length = header_length(bytes.data(), name);
  bytes = bytes.subspan(kLengthBytes);
  if (length > bytes.size()) throw truncated(name, "header", length, bytes.size());
  const std::string_view json(reinterpret_cast<const char*>(bytes.data()), length);
  internal::SafetensorsHeader header = internal::parse_safetensors_header(json, name);
  bytes = bytes.subspan(length);
  if (header.data_bytes > bytes.size()) {
    throw truncated(name, "data", header.data_bytes, bytes.size());
  }
  if (header.data_bytes < bytes.size()) {
    throw FormatError(fmt::format("{}: {} bytes of data, the header describes {}", name,
                                  bytes.size(), header.data_bytes));
  }
  return decode_tensors(std::move(header), bytes, name);
}

TensorFile read_safetensors(const std::filesystem::path& path) {
  return read_safetensors(internal::as_bytes(internal::read_file(path)), path.string());
}

TensorFile read_safetensors(std::istream& stream, std::string_view name) {
  const std::string start = read_exactly(stream, kLengthBytes, "length", name);
  const std::uint64_t length = header_length(internal::as_bytes(start).data(), name);
  const std::string json = read_exactly(stream, length, "header", name);
  internal::SafetensorsHeader header = internal::parse_safetensors_header(json, name);
  const std::string data = read_exactly(stream, header.data_bytes, "data", name);
  return decode_tensors(std::move(header), internal::as_bytes(data), name);
}

void write_safetensors(const TensorFile& file, const std::filesystem::path& path) {
  internal::AtomicFile out(path);
  write_to(file, [&](std::span<const std::byte> bytes) { out.write(bytes); });
  out.commit();
}

void write_safetensors(const TensorFile& file, std::ostream& stream) {
  write_to(file, [&](std::span<const std::byte> bytes) {
    stream.write(reinterpret_cast<const char*>(bytes.data()),
                 static_cast<std::streamsize>(bytes.size()));
  });
  if (!stream.flush()) throw FormatError("write_safetensors: the stream does not take the data");
}

std::vector<std::byte> to_safetensors(const TensorFile& file) {
  std::vector<std::byte> out;
  write_to(file, [&](std::span<const std::byte> bytes) {
    out.insert(out.end(), bytes.begin(), bytes.end());
  });
  return out;
}

}  // namespace chainrule
