#include "base/size_text.h"

#include <gtest/gtest.h>

namespace coldpress {
namespace {

constexpr std::uint64_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB, kTiB = 1024 * kGiB;

std::optional<std::uint64_t> parse(std::string_view text) { return parse_size(text, 16 * kGiB); }

TEST(ParseSize, TakesEveryUnit) {
  EXPECT_EQ(parse("0"), 0u);
  EXPECT_EQ(parse("4096"), 4096u);
  EXPECT_EQ(parse("7B"), 7u);
  EXPECT_EQ(parse("1K"), kKiB);
  EXPECT_EQ(parse("1k"), kKiB);
  EXPECT_EQ(parse("512M"), 512 * kMiB);
  EXPECT_EQ(parse("512MiB"), 512 * kMiB);
  EXPECT_EQ(parse("3g"), 3 * kGiB);
  EXPECT_EQ(parse("2TiB"), 2 * kTiB);
}

TEST(ParseSize, TakesFractions) {
  EXPECT_EQ(parse("1.5G"), 3 * kGiB / 2);
  EXPECT_EQ(parse("0.25GiB"), kGiB / 4);
  EXPECT_EQ(parse("1.9"), 1u);
  EXPECT_EQ(parse("0.5K"), 512u);
  EXPECT_EQ(parse("1.50000000000000000000000000000G"), 3 * kGiB / 2);
}

TEST(ParseSize, TakesPercent) {
  EXPECT_EQ(parse("50%"), 8 * kGiB);
  EXPECT_EQ(parse("100%"), 16 * kGiB);
  EXPECT_EQ(parse("12.5%"), 2 * kGiB);
  EXPECT_EQ(parse("0%"), 0u);
  EXPECT_EQ(parse_size("100%", ~std::uint64_t{0} >> 2), ~std::uint64_t{0} >> 2);
}

TEST(ParseSize, RefusesWhatIsNoSize) {
  for (const char* text : {"",     "M",      "K",   "%",    ".5G",  "1.",  "1.G",   "-1", "+1",  " 1M",
                           "1M ",  "1 M",    "1MB", "1KB",  "1Kib", "1Mi", "1MiBB", "1X", "1e9", "0x10",
                           "1,5G", "1.5.5G", "1%%", "101%", "1%B",  "1BB", "1iB",   "1P", "1E",  "five"}) {
    EXPECT_EQ(parse(text), std::nullopt) << "\"" << text << "\"";
  }
  EXPECT_EQ(parse(std::string_view("1\0M", 3)), std::nullopt);
  EXPECT_EQ(parse("1\xffiB"), std::nullopt);
}

TEST(ParseSize, RefusesWhatDoesNotFit) {
  EXPECT_EQ(parse("4194304T"), std::uint64_t{1} << 62);
  EXPECT_EQ(parse("16777216T"), std::nullopt);
  EXPECT_EQ(parse("18446744073709551615"), std::nullopt);
  EXPECT_EQ(parse("18446744073709551617"), std::nullopt) << "2^64 + 1 must not wrap to 1";
  EXPECT_EQ(parse("99999999999999999999999999999999999999"), std::nullopt);
  EXPECT_EQ(parse("4611686018427387904G"), std::nullopt);
}

}  // namespace
}  // namespace coldpress
