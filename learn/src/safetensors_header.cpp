// SPDX-License-Identifier: Apache-2.0
#include "safetensors_header.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_set>
#include <utility>

#include "chainrule/core/error.hpp"

namespace chainrule::internal {
namespace {

using nlohmann::json;

constexpr std::array<std::pair<std::string_view, ElementType>, 13> kSafetensorsTypes{{
    {"BOOL", ElementType::kBool},
    {"I8", ElementType::kInt8},
    {"U8", ElementType::kUint8},
    {"I16", ElementType::kInt16},
    {"U16", ElementType::kUint16},
    {"I32", ElementType::kInt32},
    {"U32", ElementType::kUint32},
    {"I64", ElementType::kInt64},
    {"U64", ElementType::kUint64},
    {"F16", ElementType::kFloat16},
    {"BF16", ElementType::kBfloat16},
    {"F32", ElementType::kFloat32},
    {"F64", ElementType::kFloat64},
}};

/// Receives the parser's events. There is no document tree: depth is bounded by the states, and a
/// key that comes twice is seen.
class HeaderReader final : public nlohmann::json_sax<json> {
 public:
  explicit HeaderReader(SafetensorsHeader& header) : header_(header) {}

  const std::string& reason() const noexcept { return reason_; }

  bool null() override { return refuse("null"); }
  bool boolean(bool) override { return refuse("a boolean"); }
  bool number_integer(std::int64_t value) override {
    return refuse(fmt::format("the negative number {}", value));
  }
  bool number_unsigned(std::uint64_t value) override;
  bool number_float(double, const std::string& text) override {
    return refuse(fmt::format("the number {}", text));
  }
  bool string(std::string& value) override;
  bool binary(json::binary_t&) override { return refuse("binary data"); }

  bool start_object(std::size_t) override;
  bool key(std::string& name) override;
  bool end_object() override;
  bool start_array(std::size_t) override;
  bool end_array() override;

  bool parse_error(std::size_t, const std::string&, const json::exception& error) override {
    return fail(fmt::format("the header is not JSON: {}", error.what()));
  }

 private:
  enum class State { kStart, kRoot, kMetadata, kTensor, kShape, kOffsets };
  enum Field : unsigned { kNone = 0, kTypeField = 1, kShapeField = 2, kOffsetsField = 4 };

  bool fail(std::string reason) {
    reason_ = std::move(reason);
    return false;
  }
  bool refuse(std::string_view what);
  bool key_of_tensor(const std::string& name);

  SafetensorsHeader& header_;
  std::unordered_set<std::string> names_;
  std::string key_;
  std::string reason_;
  State state_ = State::kStart;
  Field field_ = kNone;    ///< of the tensor, where a value is due
  unsigned fields_ = 0;    ///< of the tensor, seen so far
  std::size_t count_ = 0;  ///< elements of the array so far
};

bool HeaderReader::refuse(std::string_view what) {
  switch (state_) {
    case State::kStart:
      return fail(fmt::format("the header is {}, expected an object", what));
    case State::kRoot:
      return fail(fmt::format("'{}' is {}, expected an object", key_, what));
    case State::kMetadata:
      return fail(fmt::format("the metadata '{}' is {}, expected a string", key_, what));
    case State::kTensor:
      return fail(fmt::format("tensor '{}': {} is {}, expected {}", header_.entries.back().name,
                              key_, what, field_ == kTypeField ? "a string" : "an array"));
    case State::kShape:
    case State::kOffsets:
      break;
  }
  return fail(fmt::format("tensor '{}': {} holds {}, expected whole numbers >= 0",
                          header_.entries.back().name, key_, what));
}

bool HeaderReader::number_unsigned(std::uint64_t value) {
  if (state_ == State::kShape) {
    HeaderEntry& entry = header_.entries.back();
    if (value > static_cast<std::uint64_t>(std::numeric_limits<Index>::max())) {
      return refuse(fmt::format("the number {}", value));
    }
    if (entry.shape.size() == static_cast<std::size_t>(Shape::kMaxRank)) {
      return fail(fmt::format("tensor '{}': more than {} dimensions are not supported", entry.name,
                              Shape::kMaxRank));
    }
    entry.shape.push_back(static_cast<Index>(value));
    return true;
  }
  if (state_ == State::kOffsets) {
    HeaderEntry& entry = header_.entries.back();
    if (count_ == entry.offsets.size()) {
      return fail(fmt::format("tensor '{}': data_offsets has more than two numbers", entry.name));
    }
    entry.offsets[count_++] = value;
    return true;
  }
  return refuse(fmt::format("the number {}", value));
}

bool HeaderReader::string(std::string& value) {
  if (state_ == State::kMetadata) {
    if (!header_.metadata.emplace(key_, std::move(value)).second) {
      return fail(fmt::format("the metadata '{}' comes twice", key_));
    }
    return true;
  }
  if (state_ != State::kTensor || field_ != kTypeField) return refuse("a string");
  const auto found = std::find_if(kSafetensorsTypes.begin(), kSafetensorsTypes.end(),
                                  [&](const auto& type) { return type.first == value; });
  if (found == kSafetensorsTypes.end()) {
    return fail(fmt::format("tensor '{}': unknown dtype '{}'", header_.entries.back().name, value));
  }
  header_.entries.back().type = found->second;
  return true;
}

bool HeaderReader::start_object(std::size_t) {
  if (state_ == State::kStart) {
    state_ = State::kRoot;
  } else if (state_ != State::kRoot) {
    return refuse("an object");
  } else if (key_ == kMetadataKey) {
    state_ = State::kMetadata;
  } else {
    state_ = State::kTensor;
    fields_ = kNone;
    header_.entries.emplace_back().name = key_;
  }
  return true;
}

bool HeaderReader::key(std::string& name) {
  key_ = name;
  if (state_ == State::kTensor) return key_of_tensor(name);
  if (state_ == State::kRoot && !names_.insert(name).second) {
    return fail(fmt::format("'{}' comes twice", name));
  }
  return true;
}

bool HeaderReader::key_of_tensor(const std::string& name) {
  field_ = name == "dtype"          ? kTypeField
           : name == "shape"        ? kShapeField
           : name == "data_offsets" ? kOffsetsField
                                    : kNone;
  const std::string& tensor = header_.entries.back().name;
  if (field_ == kNone) return fail(fmt::format("tensor '{}': unknown field '{}'", tensor, name));
  if ((fields_ & field_) != 0) {
    return fail(fmt::format("tensor '{}': {} comes twice", tensor, name));
  }
  fields_ |= field_;
  return true;
}

bool HeaderReader::end_object() {
  if (state_ == State::kTensor && fields_ != (kTypeField | kShapeField | kOffsetsField)) {
    return fail(fmt::format("tensor '{}' needs dtype, shape and data_offsets",
                            header_.entries.back().name));
  }
  state_ = State::kRoot;
  return true;
}

bool HeaderReader::start_array(std::size_t) {
  if (state_ != State::kTensor || field_ == kTypeField) return refuse("an array");
  state_ = field_ == kShapeField ? State::kShape : State::kOffsets;
  count_ = 0;
  return true;
}

bool HeaderReader::end_array() {
  if (state_ == State::kOffsets && count_ != 2) {
    return fail(fmt::format("tensor '{}': data_offsets has {} numbers, expected 2",
                            header_.entries.back().name, count_));
  }
  state_ = State::kTensor;
  return true;
}

/// Tensors must cover the data exactly; returns its size.
std::uint64_t check_offsets(const std::vector<HeaderEntry>& entries, std::string_view name) {
  std::vector<const HeaderEntry*> order;
  order.reserve(entries.size());
  for (const HeaderEntry& entry : entries) order.push_back(&entry);
  std::sort(order.begin(), order.end(),
            [](const auto* a, const auto* b) { return a->offsets < b->offsets; });
  std::uint64_t end = 0;
  for (const HeaderEntry* entry : order) {
    const auto [first, last] = entry->offsets;
    const std::string what = fmt::format("{}: tensor '{}'", name, entry->name);
    if (last < first) {
      throw FormatError(fmt::format("{}: data_offsets [{}, {}] run backwards", what, first, last));
    }
    if (first != end) {
      throw FormatError(
          fmt::format("{}: data_offsets [{}, {}] leave {} to the data before, which "
                      "ends at {}",
                      what, first, last, first > end ? "a hole" : "an overlap", end));
    }
    const Index bytes = checked_bytes(entry->shape, entry->type, what);
    if (last - first != static_cast<std::uint64_t>(bytes)) {
      throw FormatError(
          fmt::format("{}: data_offsets [{}, {}] span {} bytes, its shape and dtype "
                      "need {}",
                      what, first, last, last - first, bytes));
    }
    end = last;
  }
  return end;
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view text, std::string_view name) {
  SafetensorsHeader header;
  HeaderReader reader(header);
  if (!json::sax_parse(text.begin(), text.end(), &reader)) {
    throw FormatError(fmt::format("{}: {}", name, reader.reason()));
  }
  header.data_bytes = check_offsets(header.entries, name);
  return header;
}

}  // namespace chainrule::internal
