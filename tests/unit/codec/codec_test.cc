#include "codec/codec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <vector>

#include "unit/contents.h"

namespace coldpress::codec {
namespace {

using testing::Content;
using testing::make_page;
using testing::Page;
using testing::Random;

constexpr Choice kChoices[] = {{Kind::kLz4, 1},  {Kind::kZstd, -7}, {Kind::kZstd, -1}, {Kind::kZstd, 1},
                               {Kind::kZstd, 3}, {Kind::kZstd, 9},  {Kind::kZstd, 19}};
constexpr std::size_t kGuard = 64;
constexpr std::byte kGuardByte{0xa5};

// A codec with a workspace of exactly the bytes it asked for.
struct Context {
  explicit Context(Choice choice) : bytes(Codec::workspace_bytes(choice)) {
    workspace.reset(static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)));
    good = codec.init(choice, workspace.get(), bytes);
  }
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::size_t bytes;
  std::unique_ptr<std::byte, Free> workspace;
  Codec codec;
  bool good;
};

// Compresses into exactly `room` bytes and checks that nothing behind them was touched.
std::vector<std::byte> compress(Codec& codec, const Page& page, std::size_t room = kPageBytes + 512) {
  std::vector<std::byte> out(room + kGuard, kGuardByte);
  std::size_t used = codec.compress(page.data(), out.data(), room);
  EXPECT_LE(used, room);
  EXPECT_TRUE(std::all_of(out.begin() + static_cast<long>(room), out.end(),
                          [](std::byte b) { return b == kGuardByte; }));
  out.resize(used);
  return out;
}

// Decompresses from a buffer without a byte to spare into a page with guards. nullptr: refused.
std::unique_ptr<Page> decompress(Codec& codec, Kind kind, const std::vector<std::byte>& data) {
  std::unique_ptr<std::byte[]> exact(new std::byte[data.size()]);
  std::copy(data.begin(), data.end(), exact.get());
  std::vector<std::byte> out(kPageBytes + 2 * kGuard, kGuardByte);
  bool good = codec.decompress(kind, exact.get(), data.size(), out.data() + kGuard);
  auto is_guard = [](std::byte b) { return b == kGuardByte; };
  EXPECT_TRUE(std::all_of(out.begin(), out.begin() + kGuard, is_guard));
  EXPECT_TRUE(std::all_of(out.end() - kGuard, out.end(), is_guard));
  if (!good) return nullptr;
  auto page = std::make_unique<Page>();
  std::copy_n(out.begin() + kGuard, kPageBytes, page->begin());
  return page;
}

TEST(ParseChoice, TakesTheKnownOnes) {
  auto lz4 = parse_choice("lz4");
  ASSERT_TRUE(lz4);
  EXPECT_EQ(lz4->kind, Kind::kLz4);
  auto zstd = parse_choice("zstd");
  ASSERT_TRUE(zstd);
  EXPECT_EQ(zstd->kind, Kind::kZstd);
  EXPECT_EQ(zstd->level, 1);
  for (int level = -7; level <= 19; ++level) {
    auto choice = parse_choice("zstd:" + std::to_string(level));
    ASSERT_EQ(choice.has_value(), level != 0) << level;
    EXPECT_EQ(choice.value_or(Choice{}).level, level == 0 ? 1 : level);
  }
}

TEST(ParseChoice, RefusesTheRest) {
  for (const char* text :
       {"", "LZ4", "lz4:1", "zstd:", "zstd:-", "zstd:0", "zstd:-0", "zstd:20", "zstd:-8", "zstd:100",
        "zstd:+1", "zstd: 1", "zstd:1 ", "zstd:x", "zstd:--1", "zstd:1.5", "gzip", "zst", "zstd1"}) {
    EXPECT_FALSE(parse_choice(text)) << text;
  }
}

TEST(Codec, RefusesAWorkspaceThatIsTooSmall) {
  for (Choice choice : kChoices) {
    Context context(choice);
    EXPECT_TRUE(context.good);
    Codec codec;
    EXPECT_FALSE(codec.init(choice, context.workspace.get(), context.bytes - 1));
    EXPECT_FALSE(codec.init(choice, context.workspace.get(), 0));
  }
}

TEST(Codec, EveryPageComesBack) {
  for (Choice choice : kChoices) {
    Context context(choice);
    ASSERT_TRUE(context.good);
    for (Content content : testing::kAllContents) {
      for (std::uint64_t seed = 0; seed < 4; ++seed) {
        Page page = make_page(content, seed);
        auto data = compress(context.codec, page);
        ASSERT_FALSE(data.empty());
        auto back = decompress(context.codec, context.codec.kind(), data);
        ASSERT_TRUE(back);
        ASSERT_EQ(*back, page) << "level " << choice.level << " content " << static_cast<int>(content);
      }
    }
  }
}

TEST(Codec, CompressibleContentShrinks) {
  for (Choice choice : kChoices) {
    if (choice.level < 0) continue;  // these give ratio away for speed
    Context context(choice);
    for (Content content : testing::kCompressible) {
      auto data = compress(context.codec, make_page(content, 1), 3264);
      EXPECT_FALSE(data.empty()) << "level " << choice.level << " content " << static_cast<int>(content);
    }
  }
}

TEST(Codec, SaysWhenTheRoomDoesNotDo) {
  for (Choice choice : kChoices) {
    Context context(choice);
    EXPECT_TRUE(compress(context.codec, make_page(Content::kRandom, 1), 3264).empty());
    EXPECT_TRUE(compress(context.codec, make_page(Content::kText, 1), 16).empty());
    EXPECT_FALSE(compress(context.codec, make_page(Content::kText, 1)).empty()) << "and works again";
  }
}

TEST(Codec, AnyCodecDecompressesWhatAnotherMade) {
  for (Choice maker : kChoices) {
    Context making(maker);
    Page page = make_page(Content::kText, 5);
    auto data = compress(making.codec, page);
    for (Choice reader : kChoices) {
      Context reading(reader);
      auto back = decompress(reading.codec, maker.kind, data);
      ASSERT_TRUE(back);
      EXPECT_EQ(*back, page);
    }
  }
}

TEST(Codec, RefusesTheOtherKindsData) {
  Context lz4({Kind::kLz4, 1}), zstd({Kind::kZstd, 1});
  Page page = make_page(Content::kText, 5);
  EXPECT_FALSE(decompress(lz4.codec, Kind::kZstd, compress(lz4.codec, page)));
  EXPECT_FALSE(decompress(lz4.codec, Kind::kLz4, compress(zstd.codec, page)));
  EXPECT_FALSE(decompress(lz4.codec, static_cast<Kind>(0), compress(lz4.codec, page)));
  EXPECT_FALSE(decompress(lz4.codec, static_cast<Kind>(3), compress(lz4.codec, page)));
}

TEST(Codec, RefusesEveryTruncation) {
  for (Choice choice : {Choice{Kind::kLz4, 1}, Choice{Kind::kZstd, 1}}) {
    Context context(choice);
    auto data = compress(context.codec, make_page(Content::kText, 9));
    for (std::size_t length = 0; length < data.size(); ++length) {
      std::vector<std::byte> cut(data.begin(), data.begin() + static_cast<long>(length));
      ASSERT_FALSE(decompress(context.codec, choice.kind, cut)) << length << " of " << data.size();
    }
  }
}

TEST(Codec, DamagedDataIsNeverFollowedOutOfBounds) {
  Random random(3);
  for (Choice choice : {Choice{Kind::kLz4, 1}, Choice{Kind::kZstd, 1}}) {
    Context context(choice);
    int refused = 0;
    for (Content content : testing::kCompressible) {
      auto data = compress(context.codec, make_page(content, 2));
      for (int i = 0; i < 300; ++i) {
        auto damaged = data;
        for (std::uint64_t flips = random.between(1, 4); flips > 0; --flips) {
          damaged[random.below(damaged.size())] ^= static_cast<std::byte>(random.between(1, 255));
        }
        refused += decompress(context.codec, choice.kind, damaged) == nullptr;
      }
    }
    EXPECT_GT(refused, 0);
    Page page = make_page(Content::kText, 4);
    auto back = decompress(context.codec, choice.kind, compress(context.codec, page));
    ASSERT_TRUE(back) << "the context survives what it refused";
    EXPECT_EQ(*back, page);
  }
}

TEST(Codec, RandomBytesAreRefusedOrDecoded) {
  Random random(4);
  Context context({Kind::kZstd, 1});
  for (int i = 0; i < 3000; ++i) {
    std::vector<std::byte> junk(random.below(200));
    for (auto& byte : junk) byte = static_cast<std::byte>(random.next());
    decompress(context.codec, Kind::kLz4, junk);
    EXPECT_FALSE(decompress(context.codec, Kind::kZstd, junk)) << "no magic number";
    if (junk.size() < 8) continue;
    const unsigned char magic[] = {0x28, 0xb5, 0x2f, 0xfd};
    std::memcpy(junk.data(), magic, sizeof magic);
    decompress(context.codec, Kind::kZstd, junk);
  }
}

}  // namespace
}  // namespace coldpress::codec
