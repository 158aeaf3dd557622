// Decompression of anything. The first byte chooses: raw bytes as either codec's data, or a page made of the
// input, compressed, then damaged where the input says: that gets past the headers.
#include <algorithm>
#include <array>
#include <cstring>

#include "base/units.h"
#include "codec/codec.h"
#include "codec/page_content.h"
#include "fuzz/fuzz_input.h"

namespace {

using coldpress::kPageBytes;
using coldpress::codec::Choice;
using coldpress::codec::Codec;
using coldpress::codec::Kind;
using coldpress::fuzz::Reader;
using coldpress::fuzz::require;

constexpr std::size_t kGuard = 64;
constexpr std::byte kGuardByte{0xa5};
constexpr Choice kZstd{Kind::kZstd, 1}, kLz4{Kind::kLz4, 1};

struct Context {
  explicit Context(Choice choice) {
    std::size_t bytes = (Codec::workspace_bytes(choice) + 63) / 64 * 64;
    workspace = static_cast<std::byte*>(std::aligned_alloc(64, bytes));
    require(codec.init(choice, workspace, bytes), "a workspace of the size asked for does");
  }
  std::byte* workspace;
  Codec codec;
};

Context& context(Kind kind) {
  static Context zstd(kZstd), lz4(kLz4);
  return kind == Kind::kZstd ? zstd : lz4;
}

std::array<std::byte, kPageBytes + 2 * kGuard> out;

bool decompress(Kind kind, const std::byte* data, std::size_t size) {
  out.fill(kGuardByte);
  bool good = context(kind).codec.decompress(kind, data, size, out.data() + kGuard);
  auto is_guard = [](std::byte b) { return b == kGuardByte; };
  require(std::all_of(out.begin(), out.begin() + kGuard, is_guard), "nothing is written before the page");
  require(std::all_of(out.end() - kGuard, out.end(), is_guard), "nothing is written behind the page");
  return good;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Reader input(data, size);
  std::uint8_t how = input.byte();
  Kind kind = (how & 1) != 0 ? Kind::kZstd : Kind::kLz4;
  if ((how & 2) != 0) {
    decompress(kind, reinterpret_cast<const std::byte*>(input.rest()), input.left());
    return 0;
  }
  struct Flip {
    std::uint16_t at;
    std::uint8_t bits;
  } flips[4]{};
  int flip_count = how >> 2 & 3;
  for (int i = 0; i < flip_count; ++i) flips[i] = {input.word(), input.byte()};
  // The rest, repeated, is the page.
  std::array<std::byte, kPageBytes> page{};
  for (std::size_t i = 0; input.left() > 0 && i < kPageBytes; ++i) {
    page[i] = static_cast<std::byte>(input.rest()[i % input.left()]);
  }
  std::array<std::byte, kPageBytes + 512> packed;
  std::size_t bytes = context(kind).codec.compress(page.data(), packed.data(), packed.size());
  require(bytes > 0, "every page fits a page and a little");
  bool damaged = false;
  for (int i = 0; i < flip_count; ++i) {
    packed[flips[i].at % bytes] ^= static_cast<std::byte>(flips[i].bits);
    damaged = damaged || flips[i].bits != 0;
  }
  bool good = decompress(kind, packed.data(), bytes);
  if (damaged) return 0;
  require(good, "what was compressed decompresses");
  require(std::memcmp(out.data() + kGuard, page.data(), kPageBytes) == 0, "the page comes back");
  auto word = coldpress::codec::same_filled(page.data());
  std::array<std::byte, kPageBytes> filled;
  coldpress::codec::fill_page(filled.data(), word.value_or(0));
  require(!word || filled == page, "a same-filled page is its word, repeated");
  return 0;
}
