#include "codec/codec.h"

#define ZSTD_STATIC_LINKING_ONLY
#include <lz4.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/units.h"

namespace coldpress::codec {
namespace {

constexpr std::size_t round_up(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

std::size_t zstd_compressor_bytes(int level) {
  return round_up(ZSTD_estimateCCtxSize_usingCParams(ZSTD_getCParams(level, kPageBytes, 0)));
}

}  // namespace

std::optional<Choice> parse_choice(std::string_view text) {
  if (text == "lz4") return Choice{Kind::kLz4, 1};
  if (text == "zstd") return Choice{Kind::kZstd, 1};
  if (!text.starts_with("zstd:")) return std::nullopt;
  text.remove_prefix(5);
  bool negative = text.starts_with("-");
  if (negative) text.remove_prefix(1);
  if (text.empty() || text.size() > 2) return std::nullopt;
  int level = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    level = level * 10 + (c - '0');
  }
  if (level == 0 || level > (negative ? 7 : 19)) return std::nullopt;
  return Choice{Kind::kZstd, negative ? -level : level};
}

std::size_t Codec::workspace_bytes(Choice choice) {
  std::size_t bytes =
      round_up(static_cast<std::size_t>(LZ4_sizeofState())) + round_up(ZSTD_estimateDCtxSize());
  if (choice.kind == Kind::kZstd) bytes += zstd_compressor_bytes(choice.level);
  return bytes;
}

std::size_t Codec::max_workspace_bytes() {
  std::size_t most = 0;
  for (int level = -7; level <= 19; ++level) {
    if (level != 0) most = std::max(most, workspace_bytes({Kind::kZstd, level}));
  }
  return most;
}

bool Codec::init(Choice choice, std::byte* workspace, std::size_t bytes) {
  if (bytes < workspace_bytes(choice)) return false;
  choice_ = choice;
  lz4_state_ = workspace;
  workspace += round_up(static_cast<std::size_t>(LZ4_sizeofState()));
  zstd_decompressor_ = nullptr;
  for_zstd_decompressor_ = workspace;
  workspace += round_up(ZSTD_estimateDCtxSize());
  if (choice.kind == Kind::kZstd) {
    zstd_compressor_ = ZSTD_initStaticCCtx(workspace, zstd_compressor_bytes(choice.level));
    if (zstd_compressor_ == nullptr) return false;
  }
  return true;
}

std::size_t Codec::compress(const std::byte* page, std::byte* out, std::size_t out_bytes) {
  if (choice_.kind == Kind::kLz4) {
    int used = LZ4_compress_fast_extState(lz4_state_, reinterpret_cast<const char*>(page),
                                          reinterpret_cast<char*>(out), static_cast<int>(kPageBytes),
                                          static_cast<int>(out_bytes), 1);
    return used > 0 ? static_cast<std::size_t>(used) : 0;
  }
  std::size_t used = ZSTD_compressCCtx(static_cast<ZSTD_CCtx*>(zstd_compressor_), out, out_bytes, page,
                                       kPageBytes, choice_.level);
  return ZSTD_isError(used) ? 0 : used;
}

bool Codec::decompress(Kind kind, const std::byte* data, std::size_t bytes, std::byte* page) {
  if (kind == Kind::kRaw) {
    if (bytes != kPageBytes) return false;
    std::memcpy(page, data, kPageBytes);
    return true;
  }
  if (kind == Kind::kLz4) {
    return LZ4_decompress_safe(reinterpret_cast<const char*>(data), reinterpret_cast<char*>(page),
                               static_cast<int>(bytes),
                               static_cast<int>(kPageBytes)) == static_cast<int>(kPageBytes);
  }
  if (kind != Kind::kZstd) return false;
  if (zstd_decompressor_ == nullptr) {
    zstd_decompressor_ = ZSTD_initStaticDCtx(for_zstd_decompressor_, round_up(ZSTD_estimateDCtxSize()));
    COLDPRESS_CHECK(zstd_decompressor_ != nullptr);  // as much room as it said, aligned as init() says
  }
  return ZSTD_decompressDCtx(static_cast<ZSTD_DCtx*>(zstd_decompressor_), page, kPageBytes, data, bytes) ==
         kPageBytes;
}

}  // namespace coldpress::codec
