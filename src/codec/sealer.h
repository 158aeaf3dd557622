// Authenticated encryption of what leaves memory for a device: AES-256-GCM with the processor's own
// instructions, ChaCha20-Poly1305 where it has none, both by libsodium.
//
// The nonce is a number that never repeats for a key: (sequence of the segment, place in it). It is not
// stored beside the bytes, so bytes of another place or of an earlier time do not open. Thread safety: seal()
// and open() from any thread. Nothing here allocates. Sizes are in bytes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace coldpress::codec {

class Sealer {
 public:
  static constexpr std::size_t kKeyBytes = 32;
  static constexpr std::size_t kTagBytes = 16;

  struct Nonce {
    std::uint64_t sequence;
    std::uint32_t place;
  };

  // `key`: kKeyBytes of random bytes; they may be wiped after.
  void init(const std::byte* key);

  // Encrypts in place; writes kTagBytes to `tag`.
  void seal(std::byte* data, std::size_t bytes, Nonce nonce, std::byte* tag) const;
  // Decrypts in place. false: not what seal() made with this nonce; the content of `data` is undefined then.
  [[nodiscard]] bool open(std::byte* data, std::size_t bytes, Nonce nonce, const std::byte* tag) const;

  // Overwrites a key that is not needed any more.
  static void wipe(std::byte* key, std::size_t bytes);
  // Overwrites this one's: nothing is sealed or opened any more.
  void forget() {
    wipe(state_, kStateBytes);
    wipe(key_, kKeyBytes);
  }

  // For tests: the cipher for processors without AES instructions.
  void prefer_software() { by_processor_ = false; }

 private:
  static constexpr std::size_t kStateBytes = 512;

  alignas(16) std::byte state_[kStateBytes];  // expanded AES key
  std::byte key_[kKeyBytes];
  bool by_processor_ = false;
};

}  // namespace coldpress::codec
