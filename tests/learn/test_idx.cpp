// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include "chainrule/core/error.hpp"
#include "chainrule/learn/array_files.hpp"
#include "file_support.hpp"

namespace chainrule {
namespace {

using testing::bytes_of;
using testing::error_of;
using testing::from_hex;
using ::testing::HasSubstr;

Tensor read_hex(std::string_view hex) { return read_idx(bytes_of(from_hex(hex))); }

std::string refusal_of_idx(std::string_view hex) {
  return error_of([&] { read_hex(hex); });
}

TEST(Idx, ReadsEveryType) {
  const Tensor u8 = read_hex("0000080200000002000000030001027f80ff");
  EXPECT_EQ(u8.shape(), (Shape{2, 3}));
  ASSERT_EQ(u8.dtype(), DType::kInt32);
  EXPECT_EQ(element(u8, 0, 2), 2);
  EXPECT_EQ(element(u8, 1, 2), 255);
  EXPECT_EQ(element(read_hex("0000090100000002ff7f"), 0, 0), -1);
  EXPECT_EQ(element(read_hex("00000b0100000001ff00"), 0, 0), -256);
  EXPECT_EQ(element(read_hex("00000c010000000100010203"), 0, 0), 66051);
  EXPECT_EQ(read_hex("00000d01000000013fc00000").as<float>()(0, 0), 1.5F);
  EXPECT_EQ(read_hex("00000e0100000001bff8000000000000").as<double>()(0, 0), -1.5);
}

TEST(Idx, ReadsGzipAndPlainFiles) {
  const testing::TemporaryDirectory directory;
  const std::string file = from_hex("000008010000000305060a");
  testing::write_text(directory / "plain", file);
  testing::write_gzip(directory / "packed.gz", file);
  EXPECT_EQ(element(read_idx(directory / "plain"), 0, 2), 10);
  EXPECT_EQ(element(read_idx(directory / "packed.gz"), 0, 2), 10);

  // Two members, as `cat a.gz b.gz` makes them, are one stream.
  testing::write_gzip(directory / "a", file.substr(0, 5));
  testing::write_gzip(directory / "b", file.substr(5));
  testing::write_text(directory / "joined",
                      testing::read_text(directory / "a") + testing::read_text(directory / "b"));
  EXPECT_EQ(element(read_idx(directory / "joined"), 0, 1), 6);
}

TEST(Idx, RefusesWhatContradictsItself) {
  EXPECT_THAT(refusal_of_idx(""), HasSubstr("no magic number"));
  EXPECT_THAT(refusal_of_idx("000008"), HasSubstr("no magic number"));
  EXPECT_THAT(refusal_of_idx("0100080100000000"), HasSubstr("no magic number"));
  EXPECT_THAT(refusal_of_idx("0000070100000000"), HasSubstr("unknown IDX element type 0x07"));
  EXPECT_THAT(refusal_of_idx("00000800"), HasSubstr("0 dimensions"));
  EXPECT_THAT(refusal_of_idx("000008030000000100000001"), HasSubstr("truncated"));
  EXPECT_THAT(refusal_of_idx("0000080100000003aabb"),
              HasSubstr("need 3 bytes of data, 2 are there"));
  EXPECT_THAT(refusal_of_idx("0000080100000001aabb"),
              HasSubstr("need 1 bytes of data, 2 are there"));
  EXPECT_THAT(refusal_of_idx("00000802ffffffffffffffff00"), HasSubstr("overflows"));
  EXPECT_THAT(refusal_of_idx("00000e02ffffffffffffffff00"), HasSubstr("overflows"));
  EXPECT_THAT(refusal_of_idx("00000802ffffffff00000000"), HasSubstr("beyond any use"));
  EXPECT_THAT(refusal_of_idx("000008050000000100000001000000010000000100000001aa"),
              HasSubstr("5 dimensions"));
}

TEST(Idx, RefusesDamagedGzip) {
  const testing::TemporaryDirectory directory;
  const std::filesystem::path path = directory / "data.gz";
  std::string file = from_hex("0000080100004000");
  for (int i = 0; i < 0x4000; ++i) file += static_cast<char>(i * i >> 3);
  testing::write_gzip(path, file);
  const std::string packed = testing::read_text(path);
  EXPECT_EQ(read_idx(path).columns(), 0x4000);
  for (const std::size_t size : {packed.size() - 1, packed.size() / 2, std::size_t{12}}) {
    testing::write_text(path, packed.substr(0, size));
    EXPECT_THAT(error_of([&] { read_idx(path); }), HasSubstr("gzip data is truncated"));
  }
  std::string wrong_checksum = packed;
  wrong_checksum[packed.size() - 6] = static_cast<char>(wrong_checksum[packed.size() - 6] ^ 1);
  testing::write_text(path, wrong_checksum);
  EXPECT_THAT(error_of([&] { read_idx(path); }), HasSubstr("broken gzip data"));
  testing::write_text(path, packed + "rest");
  EXPECT_THAT(error_of([&] { read_idx(path); }), HasSubstr("gzip"));
}

TEST(Idx, DamagedFilesGiveFormatErrorOrATensor) {
  const auto count = testing::mutate(from_hex("00000b0200000002000000030001027f80ff000102030405"),
                                     10'000, [](const std::string& text) {
                                       EXPECT_LE(read_idx(bytes_of(text)).shape().elements(),
                                                 static_cast<Index>(text.size()));
                                     });
  EXPECT_GT(count.refused, 3'000);
  EXPECT_GT(count.accepted, 10);
}

}  // namespace
}  // namespace chainrule
