#include "codec/page_content.h"

#include <gtest/gtest.h>

#include <set>

#include "unit/contents.h"

namespace coldpress::codec {
namespace {

using testing::Content;
using testing::make_page;
using testing::Page;

TEST(SameFilled, FindsTheWord) {
  Page page;
  for (std::uint64_t word :
       {std::uint64_t{0}, ~std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{0x0123456789abcdef}}) {
    fill_page(page.data(), word);
    EXPECT_EQ(same_filled(page.data()), word);
  }
}

TEST(SameFilled, SeesOneByteThatDiffersAnywhere) {
  for (std::uint64_t word : {std::uint64_t{0}, std::uint64_t{0x1111111111111111}}) {
    Page page;
    fill_page(page.data(), word);
    for (std::size_t at = 0; at < kPageBytes; ++at) {
      page[at] ^= std::byte{0x80};
      ASSERT_EQ(same_filled(page.data()), std::nullopt) << at;
      page[at] ^= std::byte{0x80};
    }
    EXPECT_EQ(same_filled(page.data()), word);
  }
}

TEST(SameFilled, ALongerPeriodIsNotTheSame) {
  Page page;
  for (std::size_t at = 0; at < kPageBytes; ++at) page[at] = static_cast<std::byte>(at / 8 % 2);
  EXPECT_EQ(same_filled(page.data()), std::nullopt);
}

TEST(FillPage, WritesThePageAndNoMore) {
  std::array<std::byte, kPageBytes + 128> buffer;
  buffer.fill(std::byte{0x5a});
  fill_page(buffer.data() + 64, 0x0807060504030201);
  for (std::size_t i = 0; i < 64; ++i) {
    ASSERT_EQ(buffer[i], std::byte{0x5a});
    ASSERT_EQ(buffer[64 + kPageBytes + i], std::byte{0x5a});
  }
  for (std::size_t i = 0; i < kPageBytes; ++i) ASSERT_EQ(buffer[64 + i], static_cast<std::byte>(1 + i % 8));
}

TEST(PageChecksum, ChangesWithEverySingleByte) {
  Page page = make_page(Content::kText, 1);
  std::uint32_t good = page_checksum(page.data());
  EXPECT_EQ(page_checksum(page.data()), good);
  for (std::size_t at = 0; at < kPageBytes; ++at) {
    page[at] ^= std::byte{1};
    ASSERT_NE(page_checksum(page.data()), good) << at;
    page[at] ^= std::byte{1};
  }
}

TEST(PageChecksum, TellsPagesApart) {
  std::set<std::uint32_t> sums;
  for (std::uint64_t seed = 0; seed < 500; ++seed)
    sums.insert(page_checksum(make_page(Content::kText, seed).data()));
  EXPECT_EQ(sums.size(), 500u);
}

}  // namespace
}  // namespace coldpress::codec
