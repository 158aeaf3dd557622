#include "codec/sealer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "unit/contents.h"

namespace coldpress::codec {
namespace {

using testing::Content;
using testing::make_page;
using testing::Page;

// Both ciphers, one after the other.
class SealerTest : public ::testing::TestWithParam<bool> {
 protected:
  SealerTest() {
    testing::Random random(1);
    for (std::byte& byte : key_) byte = static_cast<std::byte>(random.next());
    reset(sealer_);
  }
  void reset(Sealer& sealer) const {
    sealer.init(key_);
    if (GetParam()) sealer.prefer_software();
  }

  std::byte key_[Sealer::kKeyBytes];
  Sealer sealer_;
};

TEST_P(SealerTest, OpensWhatItSealed) {
  for (std::size_t bytes :
       {std::size_t{1}, std::size_t{15}, std::size_t{16}, std::size_t{1000}, kPageBytes}) {
    Page page = make_page(Content::kText, bytes), sealed = page;
    std::byte tag[Sealer::kTagBytes];
    sealer_.seal(sealed.data(), bytes, {bytes, 16}, tag);
    EXPECT_TRUE(std::equal(sealed.begin() + static_cast<std::ptrdiff_t>(bytes), sealed.end(),
                           page.begin() + static_cast<std::ptrdiff_t>(bytes)));
    if (bytes >= 16) {
      EXPECT_NE(std::memcmp(sealed.data(), page.data(), bytes), 0);
      EXPECT_EQ(std::search(sealed.begin(), sealed.begin() + static_cast<std::ptrdiff_t>(bytes), page.begin(),
                            page.begin() + 8),
                sealed.begin() + static_cast<std::ptrdiff_t>(bytes))
          << "nothing of it can be read";
    }
    ASSERT_TRUE(sealer_.open(sealed.data(), bytes, {bytes, 16}, tag));
    EXPECT_EQ(sealed, page);
  }
}

TEST_P(SealerTest, AnotherPlaceTimeKeyOrByteDoesNotOpen) {
  Page page = make_page(Content::kRamp, 1);
  constexpr Sealer::Nonce kNonce{5, 32};
  std::byte tag[Sealer::kTagBytes];
  Page sealed = page;
  sealer_.seal(sealed.data(), kPageBytes, kNonce, tag);
  auto opens = [&](const Sealer& sealer, Sealer::Nonce nonce) {
    Page copy = sealed;
    return sealer.open(copy.data(), kPageBytes, nonce, tag);
  };
  EXPECT_TRUE(opens(sealer_, kNonce));
  EXPECT_FALSE(opens(sealer_, {5, 48}));
  EXPECT_FALSE(opens(sealer_, {6, 32}));
  key_[3] ^= std::byte{1};
  Sealer other;
  reset(other);
  EXPECT_FALSE(opens(other, kNonce));
  for (std::size_t at = 0; at < kPageBytes; at += 97) {
    sealed[at] ^= std::byte{4};
    EXPECT_FALSE(opens(sealer_, kNonce)) << at;
    sealed[at] ^= std::byte{4};
  }
  for (std::byte& byte : tag) {
    byte ^= std::byte{128};
    EXPECT_FALSE(opens(sealer_, kNonce));
    byte ^= std::byte{128};
  }
  EXPECT_TRUE(opens(sealer_, kNonce));
}

TEST_P(SealerTest, EqualPagesDoNotLookEqual) {
  Page first = make_page(Content::kText, 1), second = first;
  std::byte tags[2][Sealer::kTagBytes];
  sealer_.seal(first.data(), kPageBytes, {1, 0}, tags[0]);
  sealer_.seal(second.data(), kPageBytes, {1, 4096}, tags[1]);
  EXPECT_NE(first, second);
}

TEST(SealerKey, IsWiped) {
  std::byte key[Sealer::kKeyBytes];
  std::fill(std::begin(key), std::end(key), std::byte{0xaa});
  Sealer::wipe(key, sizeof key);
  EXPECT_TRUE(std::all_of(std::begin(key), std::end(key), [](std::byte b) { return b == std::byte{0}; }));
}

INSTANTIATE_TEST_SUITE_P(Ciphers, SealerTest, ::testing::Bool());

}  // namespace
}  // namespace coldpress::codec
