#include "codec/sealer.h"

#include <cpuid.h>
#include <sodium.h>

#include <cstring>

#include "base/check.h"

namespace coldpress::codec {
namespace {

constexpr std::size_t kNonceBytes = 12;
static_assert(crypto_aead_aes256gcm_NPUBBYTES == kNonceBytes);
static_assert(crypto_aead_chacha20poly1305_ietf_NPUBBYTES == kNonceBytes);
static_assert(crypto_aead_aes256gcm_ABYTES == Sealer::kTagBytes);
static_assert(crypto_aead_chacha20poly1305_ietf_ABYTES == Sealer::kTagBytes);

// Asked of the processor itself: libsodium's own answer needs its start-up code, which uses the heap.
bool has_aes_instructions() {
  constexpr unsigned kPclmul = 1u << 1, kSsse3 = 1u << 9, kAes = 1u << 25;
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & (kPclmul | kSsse3 | kAes)) == (kPclmul | kSsse3 | kAes);
}

struct NonceBytes {
  unsigned char bytes[kNonceBytes];
  explicit NonceBytes(Sealer::Nonce nonce) {
    std::memcpy(bytes, &nonce.sequence, sizeof nonce.sequence);
    std::memcpy(bytes + sizeof nonce.sequence, &nonce.place, sizeof nonce.place);
  }
};

unsigned char* raw(std::byte* bytes) { return reinterpret_cast<unsigned char*>(bytes); }
const unsigned char* raw(const std::byte* bytes) { return reinterpret_cast<const unsigned char*>(bytes); }

}  // namespace

void Sealer::init(const std::byte* key) {
  static_assert(sizeof(crypto_aead_aes256gcm_state) == kStateBytes);
  std::memcpy(key_, key, kKeyBytes);
  by_processor_ = has_aes_instructions();
  if (by_processor_) {
    auto* state = reinterpret_cast<crypto_aead_aes256gcm_state*>(state_);
    COLDPRESS_CHECK(crypto_aead_aes256gcm_beforenm(state, raw(key)) == 0);
  }
}

void Sealer::wipe(std::byte* key, std::size_t bytes) {
  std::memset(key, 0, bytes);
  asm volatile("" : : "r"(key) : "memory");  // not optimised away
}

void Sealer::seal(std::byte* data, std::size_t bytes, Nonce nonce, std::byte* tag) const {
  NonceBytes number(nonce);
  int failed;
  if (by_processor_) {
    failed = crypto_aead_aes256gcm_encrypt_detached_afternm(
        raw(data), raw(tag), nullptr, raw(data), bytes, nullptr, 0, nullptr, number.bytes,
        reinterpret_cast<const crypto_aead_aes256gcm_state*>(state_));
  } else {
    failed = crypto_aead_chacha20poly1305_ietf_encrypt_detached(
        raw(data), raw(tag), nullptr, raw(data), bytes, nullptr, 0, nullptr, number.bytes, raw(key_));
  }
  COLDPRESS_CHECK(failed == 0);  // or it would leave as it is
}

bool Sealer::open(std::byte* data, std::size_t bytes, Nonce nonce, const std::byte* tag) const {
  NonceBytes number(nonce);
  if (by_processor_) {
    return crypto_aead_aes256gcm_decrypt_detached_afternm(
               raw(data), nullptr, raw(data), bytes, raw(tag), nullptr, 0, number.bytes,
               reinterpret_cast<const crypto_aead_aes256gcm_state*>(state_)) == 0;
  }
  return crypto_aead_chacha20poly1305_ietf_decrypt_detached(raw(data), nullptr, raw(data), bytes, raw(tag),
                                                            nullptr, 0, number.bytes, raw(key_)) == 0;
}

}  // namespace coldpress::codec
