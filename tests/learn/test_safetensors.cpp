// SPDX-License-Identifier: Apache-2.0
#include "chainrule/learn/safetensors.hpp"

#include <gmock/gmock.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>

#include "chainrule/core/error.hpp"
#include "file_support.hpp"

namespace chainrule {
namespace {

using testing::bytes_of;
using testing::error_of;
using ::testing::HasSubstr;

std::string with_length(std::uint64_t length, std::string_view rest) {
  std::string text(sizeof(length), '\0');
  std::memcpy(text.data(), &length, sizeof(length));
  return text.append(rest);
}

/// A file of that header and so many zero bytes of data.
std::string safetensors_file(std::string_view json, std::size_t data_bytes = 0) {
  return with_length(json.size(), json) + std::string(data_bytes, '\0');
}

std::string refusal_of_safetensors(std::string_view json, std::size_t data_bytes = 0) {
  const std::string file = safetensors_file(json, data_bytes);
  const std::string from_stream = error_of([&] {
    std::istringstream stream(file);
    read_safetensors(stream, "memory");
    if (stream.peek() != EOF) throw FormatError("memory: bytes are left");
  });
  const std::string from_memory = error_of([&] { read_safetensors(bytes_of(file)); });
  EXPECT_THAT(from_memory, ::testing::StartsWith("memory: "));
  EXPECT_THAT(from_stream, ::testing::StartsWith("memory: "));
  return from_memory;
}

TensorFile example() {
  const std::vector<float> weight{1, -2, 0.1F, std::numeric_limits<float>::denorm_min(), -0.0F, 6};
  const std::vector<double> bias{std::nextafter(1.0, 2.0), -1e300};
  const std::vector<std::int32_t> table{std::numeric_limits<std::int32_t>::min(), 7};
  TensorFile file;
  file.tensors.emplace_back("0.weight", Tensor::from<float>({2, 3}, weight));
  file.tensors.emplace_back("table", Tensor::from<std::int32_t>({2, 1}, table));
  file.tensors.emplace_back("0.bias", Tensor::from<double>({2}, bias));
  file.tensors.emplace_back("nothing", Tensor({0, 5}));
  file.tensors.emplace_back("scalar", Tensor(Shape{}, DType::kFloat64));
  file.metadata = {{"format", "chainrule"}, {"text", "quote \" line\n \u00e9"}};
  return file;
}

void expect_equal(const TensorFile& a, const TensorFile& b) {
  EXPECT_EQ(a.metadata, b.metadata);
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [name, tensor] : a.tensors) {
    const Tensor& other = b.at(name);
    ASSERT_EQ(tensor.shape(), other.shape()) << name;
    ASSERT_EQ(tensor.dtype(), other.dtype()) << name;
    for (Index i = 0; i < tensor.rows(); ++i) {
      for (Index j = 0; j < tensor.columns(); ++j) {
        EXPECT_EQ(std::bit_cast<std::uint64_t>(element(tensor, i, j)),
                  std::bit_cast<std::uint64_t>(element(other, i, j)))
            << name << " " << i << " " << j;
      }
    }
  }
}

TEST(Safetensors, RoundTripsThroughMemoryStreamAndFile) {
  const TensorFile file = example();
  const std::vector<std::byte> bytes = to_safetensors(file);
  expect_equal(file, read_safetensors(bytes));

  std::stringstream stream;
  write_safetensors(file, stream);
  EXPECT_EQ(stream.str().size(), bytes.size());
  EXPECT_EQ(std::memcmp(stream.str().data(), bytes.data(), bytes.size()), 0);
  expect_equal(file, read_safetensors(stream));

  const testing::TemporaryDirectory directory;
  write_safetensors(file, directory / "a.safetensors");
  EXPECT_EQ(testing::read_text(directory / "a.safetensors"), stream.str());
  expect_equal(file, read_safetensors(directory / "a.safetensors"));
}

TEST(Safetensors, WritesTheDocumentedBytes) {
  TensorFile file;
  file.tensors.emplace_back("a", Tensor::from<float>({2}, std::vector<float>{1, 2}));
  file.metadata = {{"k", "v"}};
  const std::string json =
      R"({"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  const std::size_t padded = (json.size() + 7) / 8 * 8;
  const std::string expected = with_length(padded, json) + std::string(padded - json.size(), ' ') +
                               testing::from_hex("0000803f00000040");
  const std::vector<std::byte> bytes = to_safetensors(file);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), expected);
}

TEST(Safetensors, DataIsAlignedAndLargerElementsComeFirst) {
  TensorFile file;
  file.tensors.emplace_back("f", Tensor({3}));
  file.tensors.emplace_back("d", Tensor({1}, DType::kFloat64));
  const std::vector<std::byte> bytes = to_safetensors(file);
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof(header));
  EXPECT_EQ(header % 8, 0U);
  EXPECT_EQ(bytes.size(), 8 + header + 8 + 12);
  EXPECT_EQ(read_safetensors(bytes).tensors.front().first, "d");
}

TEST(Safetensors, StreamStopsBehindTheFile) {
  std::stringstream stream;
  write_safetensors(example(), stream);
  stream << "next";
  read_safetensors(stream);
  std::string rest;
  stream >> rest;
  EXPECT_EQ(rest, "next");
}

TEST(Safetensors, WidensOtherTypes) {
  const std::string json = R"({"h":{"dtype":"F16","shape":[6],"data_offsets":[0,12]},)"
                           R"("b":{"dtype":"BF16","shape":[2],"data_offsets":[12,16]},)"
                           R"("l":{"dtype":"I64","shape":[2],"data_offsets":[16,32]},)"
                           R"("u":{"dtype":"U8","shape":[2],"data_offsets":[32,34]},)"
                           R"("s":{"dtype":"I16","shape":[1],"data_offsets":[34,36]}})";
  const std::string data = testing::from_hex(
      "003c00c0ff7b0100007c0080"          // 1, -2, 65504, 2^-24, inf, -0
      "803f49c0"                          // 1, -3.140625
      "feffffffffffffffffffff7f00000000"  // -2, 2^31 - 1
      "00ff"
      "0080");
  const TensorFile file = read_safetensors(bytes_of(safetensors_file(json) + data));
  const auto* half = file.at("h").as<float>().data;
  EXPECT_THAT(std::vector<float>(half, half + 5),
              ::testing::ElementsAre(1, -2, 65504, std::ldexp(1.0F, -24), INFINITY));
  EXPECT_TRUE(std::signbit(half[5]) && half[5] == 0);
  EXPECT_EQ(file.at("b").as<float>()(0, 1), -3.140625F);
  EXPECT_EQ(file.at("l").as<std::int32_t>()(0, 0), -2);
  EXPECT_EQ(file.at("l").as<std::int32_t>()(0, 1), 2147483647);
  EXPECT_EQ(file.at("u").as<std::int32_t>()(0, 1), 255);
  EXPECT_EQ(file.at("s").as<std::int32_t>()(0, 0), -32768);
}

TEST(Safetensors, RefusesIntegersBeyondInt32) {
  const std::string json = R"({"l":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})";
  const std::string file = safetensors_file(json) + testing::from_hex("0000008000000000");
  EXPECT_THAT(error_of([&] { read_safetensors(bytes_of(file)); }),
              HasSubstr("'l': the integer 2147483648 does not fit into int32"));
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::vector<std::byte> bytes = to_safetensors(example());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const std::span<const std::byte> part(bytes.data(), size);
    EXPECT_THAT(error_of([&] { read_safetensors(part); }), HasSubstr("truncated")) << size;
    std::istringstream stream(std::string(reinterpret_cast<const char*>(part.data()), size));
    EXPECT_THAT(error_of([&] { read_safetensors(stream); }), HasSubstr("truncated")) << size;
  }
}

TEST(Safetensors, RefusesLyingLengths) {
  const auto reason = [](const std::string& file) {
    return error_of([&] { read_safetensors(bytes_of(file)); });
  };
  EXPECT_THAT(reason(with_length(100, "{}")), HasSubstr("the header needs 100 bytes, 2 are there"));
  EXPECT_THAT(reason(with_length(100'000'001, "{}")), HasSubstr("at most 100000000"));
  EXPECT_THAT(reason(with_length(~std::uint64_t{0}, "{}")), HasSubstr("18446744073709551615"));
  EXPECT_THAT(reason(safetensors_file("{}", 1)),
              HasSubstr("1 bytes of data, the header describes 0"));
  std::istringstream stream(with_length(99'999'999, "{}"));
  EXPECT_THAT(error_of([&] { read_safetensors(stream); }), HasSubstr("2 are there"));
}

TEST(Safetensors, RefusesWhatIsNotSuchAHeader) {
  EXPECT_THAT(refusal_of_safetensors(""), HasSubstr("not JSON"));
  EXPECT_THAT(refusal_of_safetensors("{"), HasSubstr("not JSON"));
  EXPECT_THAT(refusal_of_safetensors("{} x"), HasSubstr("not JSON"));
  EXPECT_THAT(refusal_of_safetensors("{\"\xFF\":{}}"), HasSubstr("not JSON"));
  EXPECT_THAT(refusal_of_safetensors("[]"), HasSubstr("expected an object"));
  EXPECT_THAT(refusal_of_safetensors("3"), HasSubstr("expected an object"));
  EXPECT_THAT(refusal_of_safetensors("null"), HasSubstr("expected an object"));
  EXPECT_THAT(refusal_of_safetensors(R"({"a":[]})"),
              HasSubstr("'a' is an array, expected an object"));
  EXPECT_THAT(refusal_of_safetensors(R"({"__metadata__":{"k":1}})"),
              HasSubstr("expected a string"));
  EXPECT_THAT(refusal_of_safetensors(R"({"__metadata__":{"k":{}}})"),
              HasSubstr("expected a string"));
  EXPECT_THAT(refusal_of_safetensors(R"({"__metadata__":{"k":"1","k":"1"}})"),
              HasSubstr("'k' comes twice"));
  EXPECT_THAT(refusal_of_safetensors(R"({"a":{}})"),
              HasSubstr("needs dtype, shape and data_offsets"));
  EXPECT_THAT(refusal_of_safetensors(R"({"a":{"dtype":"F32","shape":[]}})"),
              HasSubstr("needs dtype"));
  EXPECT_THAT(refusal_of_safetensors(R"({"a":{"dtype":1}})"), HasSubstr("dtype is the number 1"));
  EXPECT_THAT(refusal_of_safetensors(R"({"a":{"dtype":"F8_E4M3"}})"),
              HasSubstr("unknown dtype 'F8_E4M3'"));
  EXPECT_THAT(refusal_of_safetensors(R"({"a":{"shape":"x"}})"), HasSubstr("shape is a string"));
  EXPECT_THAT(refusal_of_safetensors(R"({"a":{"colour":1}})"), HasSubstr("unknown field 'colour'"));
  EXPECT_THAT(refusal_of_safetensors(R"({"a":{"dtype":"F32","dtype":"F32"}})"),
              HasSubstr("dtype comes twice"));
  const std::string scalar = R"({"dtype":"F32","shape":[],"data_offsets":[0,4]})";
  EXPECT_THAT(refusal_of_safetensors("{\"a\":" + scalar + ",\"a\":" + scalar + "}", 4),
              HasSubstr("'a' comes twice"));
}

TEST(Safetensors, RefusesWrongNumbers) {
  const auto shape = [](std::string_view numbers, std::size_t data_bytes = 4) {
    return refusal_of_safetensors("{\"a\":{\"dtype\":\"F32\",\"shape\":[" + std::string(numbers) +
                                      "],\"data_offsets\":[0," + std::to_string(data_bytes) + "]}}",
                                  data_bytes);
  };
  EXPECT_THAT(shape("-1"), HasSubstr("negative number -1"));
  EXPECT_THAT(shape("1.0"), HasSubstr("the number 1.0"));
  EXPECT_THAT(shape("1e0"), HasSubstr("the number 1e0"));
  EXPECT_THAT(shape("NaN"), HasSubstr("not JSON"));
  EXPECT_THAT(shape("null"), HasSubstr("holds null"));
  EXPECT_THAT(shape("true"), HasSubstr("a boolean"));
  EXPECT_THAT(shape("\"1\""), HasSubstr("holds a string"));
  EXPECT_THAT(shape("[1]"), HasSubstr("holds an array"));
  EXPECT_THAT(shape("{}"), HasSubstr("holds an object"));
  EXPECT_THAT(shape("18446744073709551615"), HasSubstr("18446744073709551615"));
  EXPECT_THAT(shape("99999999999999999999999"), HasSubstr("whole numbers"));
  EXPECT_THAT(shape("1e999"), HasSubstr("not JSON"));
  EXPECT_THAT(shape("4611686018427387904,4"), HasSubstr("overflows"));
  EXPECT_THAT(shape("4294967296,4294967296"), HasSubstr("overflows"));
  EXPECT_THAT(shape("4294967296,0", 0), HasSubstr("beyond any use"));
  EXPECT_THAT(shape("1,1,1,1,1"), HasSubstr("more than 4 dimensions"));
  EXPECT_THAT(shape("2"), HasSubstr("span 4 bytes, its shape and dtype need 8"));
}

TEST(Safetensors, RefusesWrongOffsets) {
  const auto two = [](std::string_view first, std::string_view second, std::size_t data_bytes) {
    const auto one = [](std::string_view offsets) {
      return R"({"dtype":"F32","shape":[1],"data_offsets":[)" + std::string(offsets) + "]}";
    };
    return refusal_of_safetensors("{\"a\":" + one(first) + ",\"b\":" + one(second) + "}",
                                  data_bytes);
  };
  EXPECT_THAT(two("0,4", "0,4", 4), HasSubstr("an overlap"));
  EXPECT_THAT(two("0,4", "2,6", 8), HasSubstr("an overlap"));
  EXPECT_THAT(two("0,4", "8,12", 12), HasSubstr("a hole"));
  EXPECT_THAT(two("4,8", "8,12", 12), HasSubstr("a hole"));
  EXPECT_THAT(two("0,4", "8,4", 8), HasSubstr("run backwards"));
  EXPECT_THAT(two("0,4", "4,8", 7), HasSubstr("truncated"));
  EXPECT_THAT(two("0,4", "4,18446744073709551615", 8), HasSubstr("need 4"));
  EXPECT_THAT(two("0,4", "4", 8), HasSubstr("has 1 numbers, expected 2"));
  EXPECT_THAT(two("0,4", "4,8,12", 8), HasSubstr("more than two numbers"));
  EXPECT_THAT(two("0,4", "4,-8", 8), HasSubstr("negative number"));
}

TEST(Safetensors, DeepNestingIsRefusedWithoutRecursion) {
  const std::size_t depth = 10'000'000;
  EXPECT_THAT(refusal_of_safetensors(std::string(depth, '[')), HasSubstr("expected an object"));
  EXPECT_THAT(refusal_of_safetensors(R"({"a":{"shape":)" + std::string(depth, '[')),
              HasSubstr("holds an array"));
  std::string objects;
  for (int i = 0; i < 1'000'000; ++i) objects += R"({"shape":)";
  EXPECT_THAT(refusal_of_safetensors(objects), HasSubstr("shape is an object"));
}

TEST(Safetensors, DamagedFilesGiveFormatErrorOrATensorFile) {
  const std::vector<std::byte> bytes = to_safetensors(example());
  const std::string valid(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto count = testing::mutate(valid, 20'000, [](const std::string& text) {
    const TensorFile copy = read_safetensors(bytes_of(text));
    EXPECT_LE(copy.tensors.size(), 6U);
  });
  EXPECT_GT(count.refused, 5'000);
  EXPECT_GT(count.accepted, 100);  // flipped bits in the data
}

TEST(Safetensors, RefusesToWriteWhatItCouldNotRead) {
  TensorFile twice;
  twice.tensors.emplace_back("a", Tensor({1}));
  twice.tensors.emplace_back("a", Tensor({1}));
  EXPECT_THROW(to_safetensors(twice), ArgumentError);
  TensorFile reserved;
  reserved.tensors.emplace_back("__metadata__", Tensor({1}));
  EXPECT_THROW(to_safetensors(reserved), ArgumentError);
  TensorFile latin1;
  latin1.metadata["k"] = "\xE9";
  EXPECT_THROW(to_safetensors(latin1), ArgumentError);
  TensorFile surrogate;
  surrogate.metadata["k"] = "\xED\xA0\x80";
  EXPECT_THROW(to_safetensors(surrogate), ArgumentError);
}

TEST(Safetensors, SavingIsAtomic) {
  const testing::TemporaryDirectory directory;
  const std::filesystem::path path = directory / "model";
  write_safetensors(example(), path);
  const std::string before = testing::read_text(path);
  TensorFile bad = example();
  bad.metadata["k"] = "\xE9";
  EXPECT_THROW(write_safetensors(bad, path), ArgumentError);
  EXPECT_EQ(testing::read_text(path), before);
  const auto entries = std::distance(std::filesystem::directory_iterator(directory.path()),
                                     std::filesystem::directory_iterator());
  EXPECT_EQ(entries, 1) << "a temporary file is left";

  std::filesystem::create_symlink("model", directory / "link");
  write_safetensors(TensorFile{}, directory / "link");
  EXPECT_TRUE(std::filesystem::is_symlink(directory / "link"));
  EXPECT_TRUE(read_safetensors(path).tensors.empty());
}

TEST(Safetensors, ErrorsNameTheFile) {
  const testing::TemporaryDirectory directory;
  EXPECT_THAT(error_of([&] { read_safetensors(directory / "absent"); }), HasSubstr("absent"));
  EXPECT_THAT(error_of([&] { read_safetensors(directory.path()); }), HasSubstr("directory"));
  EXPECT_THAT(error_of([&] { write_safetensors({}, directory / "no/such"); }),
              HasSubstr("no/such"));
  testing::write_text(directory / "short", "abc");
  EXPECT_THAT(error_of([&] { read_safetensors(directory / "short"); }), HasSubstr("short"));
  EXPECT_THAT(error_of([&] { example().at("missing"); }), HasSubstr("0.weight, table"));
  std::ostringstream broken;
  broken.setstate(std::ios::badbit);
  EXPECT_THROW(write_safetensors(example(), broken), FormatError);
}

}  // namespace
}  // namespace chainrule
