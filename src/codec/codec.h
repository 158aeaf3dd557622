// Compression of single pages, by lz4 or zstd through their own libraries.
//
// A Codec is a working context: one user at a time, all its memory in the workspace given to init(). Any
// Codec can decompress what any other compressed, whichever kind it compresses with itself.
// Nothing here allocates. Malformed input to decompress() is refused, never followed out of bounds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace coldpress::codec {

enum class Kind : std::uint8_t { kLz4 = 1, kZstd = 2, kRaw = 3 };  // raw: as it is

struct alignas(8) Choice {  // read and replaced at once
  Kind kind = Kind::kLz4;
  int level = 1;  // zstd only
  bool operator==(const Choice&) const = default;
};

// "lz4", "zstd" or "zstd:LEVEL" (-7 to -1, 1 to 19).
std::optional<Choice> parse_choice(std::string_view text);

class Codec {
 public:
  // Bytes of workspace that init() needs; to be aligned to 64.
  static std::size_t workspace_bytes(Choice choice);
  // Enough for every choice.
  static std::size_t max_workspace_bytes();
  // false: the workspace does not do for this choice.
  [[nodiscard]] bool init(Choice choice, std::byte* workspace, std::size_t bytes);

  // Compresses one page into out. Returns the bytes used, 0 when they would be more than out_bytes.
  std::size_t compress(const std::byte* page, std::byte* out, std::size_t out_bytes);
  // Restores one page. false: `data` is not `bytes` bytes of what `kind` made of a page.
  bool decompress(Kind kind, const std::byte* data, std::size_t bytes, std::byte* page);

  Kind kind() const { return choice_.kind; }
  Choice choice() const { return choice_; }

 private:
  Choice choice_;
  void* lz4_state_ = nullptr;
  void* zstd_compressor_ = nullptr;
  // Made when it is first needed: many a context never sees what zstd has compressed.
  void* zstd_decompressor_ = nullptr;
  std::byte* for_zstd_decompressor_ = nullptr;
};

}  // namespace coldpress::codec
