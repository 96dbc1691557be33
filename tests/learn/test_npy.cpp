// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <cmath>
#include <sstream>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/array_files.hpp"
#include "file_support.hpp"

namespace chainrule {
namespace {

using testing::bytes_of;
using ::testing::ElementsAre;
using testing::error_of;
using testing::from_hex;
using ::testing::HasSubstr;

// Written by NumPy 1.24.2 (numpy.lib.format.write_array).
// arange(6, dtype='<f4').reshape(2, 3) / 4
constexpr std::string_view kFloat32 =
    "934e554d5059010076007b276465736372273a20273c6634272c2027666f727472616e5f6f72646572273a2046616c"
    "73652c20277368617065273a2028322c2033292c207d20202020202020202020202020202020202020202020202020"
    "2020202020202020202020202020202020202020202020202020202020202020200a000000000000803e0000003f00"
    "00403f0000803f0000a03f";
// asfortranarray(arange(6, dtype='<i8').reshape(2, 3))
constexpr std::string_view kFortranInt64 =
    "934e554d5059010076007b276465736372273a20273c6938272c2027666f727472616e5f6f72646572273a20547275"
    "652c20277368617065273a2028322c2033292c207d2020202020202020202020202020202020202020202020202020"
    "2020202020202020202020202020202020202020202020202020202020202020200a00000000000000000300000000"
    "0000000100000000000000040000000000000002000000000000000500000000000000";
// array([1, 2, 255], dtype='u1'), version 2
constexpr std::string_view kUint8Version2 =
    "934e554d50590200740000007b276465736372273a20277c7531272c2027666f727472616e5f6f72646572273a2046"
    "616c73652c20277368617065273a2028332c292c207d20202020202020202020202020202020202020202020202020"
    "2020202020202020202020202020202020202020202020202020202020202020200a0102ff";
// array(2.5), version 3
constexpr std::string_view kScalarVersion3 =
    "934e554d50590300740000007b276465736372273a20273c6638272c2027666f727472616e5f6f72646572273a2046"
    "616c73652c20277368617065273a2028292c207d202020202020202020202020202020202020202020202020202020"
    "2020202020202020202020202020202020202020202020202020202020202020200a0000000000000440";
// array([1, 0.1, -65504, 6e-8, inf], dtype='<f2')
constexpr std::string_view kFloat16 =
    "934e554d5059010076007b276465736372273a20273c6632272c2027666f727472616e5f6f72646572273a2046616c"
    "73652c20277368617065273a2028352c292c207d202020202020202020202020202020202020202020202020202020"
    "2020202020202020202020202020202020202020202020202020202020202020200a003c662efffb0100007c";

std::string npy_file(std::string_view dictionary, std::size_t data_bytes, char version = 1) {
  std::string text("\x93NUMPY", 6);
  text += version;
  text += '\0';
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i) {
    text += static_cast<char>(dictionary.size() >> (8 * i) & 0xFF);
  }
  return text + std::string(dictionary) + std::string(data_bytes, '\0');
}

std::string dictionary(std::string_view descr, std::string_view shape) {
  return "{'descr': " + std::string(descr) +
         ", 'fortran_order': False, 'shape': " + std::string(shape) + ", }\n";
}

Tensor read_text(std::string_view text) { return read_npy(bytes_of(text)); }

std::string refusal_of_npy(std::string_view text) {
  return error_of([&] { read_text(text); });
}

TEST(Npy, ReadsWhatNumPyWrites) {
  const Tensor f4 = read_text(from_hex(kFloat32));
  EXPECT_EQ(f4.shape(), (Shape{2, 3}));
  ASSERT_EQ(f4.dtype(), DType::kFloat32);
  for (Index i = 0; i < 2; ++i) {
    for (Index j = 0; j < 3; ++j) EXPECT_EQ(element(f4, i, j), static_cast<double>(3 * i + j) / 4);
  }
  const Tensor fortran = read_text(from_hex(kFortranInt64));
  EXPECT_EQ(fortran.shape(), (Shape{2, 3}));
  ASSERT_EQ(fortran.dtype(), DType::kInt32);
  for (Index i = 0; i < 2; ++i) {
    for (Index j = 0; j < 3; ++j) EXPECT_EQ(element(fortran, i, j), static_cast<double>(3 * i + j));
  }
  const Tensor u1 = read_text(from_hex(kUint8Version2));
  EXPECT_EQ(u1.shape(), Shape{3});
  EXPECT_EQ(element(u1, 0, 2), 255);
  const Tensor scalar = read_text(from_hex(kScalarVersion3));
  EXPECT_EQ(scalar.shape(), Shape{});
  EXPECT_EQ(element(scalar, 0, 0), 2.5);
  const Tensor f2 = read_text(from_hex(kFloat16));
  ASSERT_EQ(f2.dtype(), DType::kFloat32);
  const float* const values = f2.as<float>().data;
  EXPECT_THAT(std::vector<float>(values, values + 5),
              ElementsAre(1, 0.0999755859375F, -65504, std::ldexp(1.0F, -24), INFINITY));
}

TEST(Npy, WritesTheBytesOfNumPy) {
  const std::vector<float> values{0, 0.25F, 0.5F, 0.75F, 1, 1.25F};
  std::ostringstream stream;
  write_npy(Tensor::from<float>({2, 3}, values), stream);  // a padded tensor
  EXPECT_EQ(stream.str(), from_hex(kFloat32));
}

TEST(Npy, RoundTripsEveryTypeAndRank) {
  const testing::TemporaryDirectory directory;
  const std::vector<double> numbers{1, -2, 0.1, 1e-310, 5, 6, 7, 8};
  for (const Shape& shape : {Shape{8}, Shape{2, 4}, Shape{2, 2, 2}, Shape{1, 2, 1, 4}}) {
    const Tensor f64 = Tensor::from<double>(shape, numbers);
    for (const Tensor& tensor : {f64, f64.to(DType::kFloat32), f64.to(DType::kInt32)}) {
      write_npy(tensor, directory / "a.npy");
      const Tensor copy = read_npy(directory / "a.npy");
      ASSERT_EQ(copy.shape(), shape);
      ASSERT_EQ(copy.dtype(), tensor.dtype());
      for (Index i = 0; i < copy.rows(); ++i) {
        for (Index j = 0; j < copy.columns(); ++j) {
          EXPECT_EQ(element(copy, i, j), element(tensor, i, j));
        }
      }
    }
  }
  std::ostringstream stream;
  write_npy(Tensor({0, 3}), stream);
  EXPECT_EQ(read_text(stream.str()).shape(), (Shape{0, 3}));
}

TEST(Npy, FortranOrderOfThreeDimensions) {
  std::string file = npy_file("{'descr': '<i4', 'fortran_order': True, 'shape': (2, 3, 4)}", 96);
  for (char k = 0; k < 24; ++k) file[file.size() - 96 + 4 * static_cast<std::size_t>(k)] = k;
  const Tensor tensor = read_text(file);
  ASSERT_EQ(tensor.shape(), (Shape{2, 3, 4}));
  for (Index a = 0; a < 2; ++a) {
    for (Index b = 0; b < 3; ++b) {
      for (Index c = 0; c < 4; ++c) {
        EXPECT_EQ(element(tensor, a * 3 + b, c), static_cast<double>(a + 2 * b + 6 * c));
      }
    }
  }
}

TEST(Npy, AcceptsLegalSpellings) {
  EXPECT_EQ(
      read_text(npy_file("{\"shape\":(2,),\"descr\":\"<f4\",\"fortran_order\":False}", 8)).shape(),
      Shape{2});
  EXPECT_EQ(read_text(npy_file(dictionary("'|b1'", "(2, 1)"), 2, 3)).dtype(), DType::kInt32);
}

TEST(Npy, ReadsGzip) {
  const testing::TemporaryDirectory directory;
  testing::write_gzip(directory / "a.npy.gz", from_hex(kFloat32));
  EXPECT_EQ(element(read_npy(directory / "a.npy.gz"), 1, 2), 1.25);
}

TEST(Npy, RefusesMalformedFilesWithTheReason) {
  EXPECT_THAT(refusal_of_npy(""), HasSubstr("no magic number"));
  EXPECT_THAT(refusal_of_npy("PK\x03\x04"), HasSubstr("no magic number"));
  EXPECT_THAT(refusal_of_npy(from_hex(kFloat32).substr(0, 7)), HasSubstr("truncated"));
  EXPECT_THAT(refusal_of_npy(from_hex(kFloat32).substr(0, 40)), HasSubstr("truncated"));
  EXPECT_THAT(refusal_of_npy(from_hex(kFloat32).substr(0, 150)),
              HasSubstr("needs 24 bytes of data, 22"));
  EXPECT_THAT(refusal_of_npy(from_hex(kFloat32) + "x"), HasSubstr("needs 24 bytes of data, 25"));
  EXPECT_THAT(refusal_of_npy(npy_file("{}", 0, 4)), HasSubstr("version 4"));
  EXPECT_THAT(refusal_of_npy(npy_file("{}", 0)), HasSubstr("needs descr"));
  EXPECT_THAT(refusal_of_npy(npy_file("", 0)), HasSubstr("expected {"));
  EXPECT_THAT(refusal_of_npy(npy_file(dictionary("'>f8'", "(1,)"), 8)), HasSubstr("'>f8'"));
  EXPECT_THAT(refusal_of_npy(npy_file(dictionary("'|O'", "(1,)"), 8)), HasSubstr("'|O'"));
  EXPECT_THAT(refusal_of_npy(npy_file(dictionary("'<c8'", "(1,)"), 8)), HasSubstr("'<c8'"));
  EXPECT_THAT(refusal_of_npy(npy_file(dictionary("[('a', '<f4')]", "(1,)"), 4)),
              HasSubstr("structured"));
  EXPECT_THAT(refusal_of_npy(npy_file(dictionary("'<f4'", "(1)"), 4)), HasSubstr("not a tuple"));
  EXPECT_THAT(refusal_of_npy(npy_file(dictionary("'<f4'", "(-1,)"), 4)), HasSubstr("whole number"));
  EXPECT_THAT(refusal_of_npy(npy_file(dictionary("'<f4'", "(1.5,)"), 4)), HasSubstr("expected"));
  EXPECT_THAT(refusal_of_npy(npy_file(dictionary("'<f4'", "(nan,)"), 4)),
              HasSubstr("whole number"));
  EXPECT_THAT(refusal_of_npy(npy_file(dictionary("'<f4'", "(99999999999999999999,)"), 4)),
              HasSubstr("whole number"));
  EXPECT_THAT(refusal_of_npy(npy_file(dictionary("'<f4'", "(1,1,1,1,1)"), 4)),
              HasSubstr("5 dimensions"));
  EXPECT_THAT(refusal_of_npy(npy_file(dictionary("'<f4'", "(4611686018427387904, 4)"), 4)),
              HasSubstr("overflows"));
  EXPECT_THAT(refusal_of_npy(npy_file(dictionary("'<f4'", "(1000000000, 1000)"), 4)),
              HasSubstr("needs 4000000000000 bytes"));
  EXPECT_THAT(refusal_of_npy(npy_file("{'descr': '<f4', 'descr': '<f4'}", 4)),
              HasSubstr("comes twice"));
  EXPECT_THAT(refusal_of_npy(npy_file("{'color': 1}", 4)), HasSubstr("unknown key 'color'"));
  EXPECT_THAT(refusal_of_npy(npy_file(dictionary("'<f4'", "(1,)") + "x", 4)), HasSubstr("behind"));
  EXPECT_THAT(refusal_of_npy(npy_file("{'fortran_order': 0}", 4)), HasSubstr("True or False"));
  EXPECT_THAT(error_of([] { read_npy(std::filesystem::path("no-such.npy")); }),
              HasSubstr("no-such.npy"));
}

TEST(Npy, DamagedFilesGiveFormatErrorOrATensor) {
  for (const std::string_view hex : {kFloat32, kFortranInt64, kUint8Version2}) {
    const auto count = testing::mutate(from_hex(hex), 5'000, [](const std::string& text) {
      EXPECT_LE(read_text(text).shape().elements(), static_cast<Index>(text.size()));
    });
    EXPECT_GT(count.refused, 1'000);
    EXPECT_GT(count.accepted, 10);
  }
}

}  // namespace
}  // namespace chainrule
