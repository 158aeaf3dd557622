// Memory content that proves itself: every page is made from one 64-bit key, so that a page in the
// wrong place, an old copy of it, or zeros instead of it are all seen. Shared by the test programs.
//
// Key 0 is a page of zeros. Other keys give, by their low bits, pages that compress well, pages of
// one repeated word, and a few random pages, so that every way a page can be stored is used.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace coldtest {

using Byte = unsigned char;

inline constexpr std::size_t kPageSize = 4096;
inline constexpr std::size_t kMiB = 1024 * 1024;
inline constexpr unsigned kWordsPerPage = kPageSize / sizeof(std::uint64_t);
inline constexpr unsigned kWordsPerUnit = 32;  // the part of a compressible page that repeats
inline constexpr std::uint64_t kDefaultSeed = 20240215;

// Prints one line and ends at once: no destructor or other thread may run on wrong memory.
[[noreturn, gnu::format(printf, 1, 2)]] inline void die(const char* format, ...) {
  char line[512];
  std::va_list args;
  va_start(args, format);
  int length = std::vsnprintf(line, sizeof line - 1, format, args);
  va_end(args);
  if (length > static_cast<int>(sizeof line) - 2) length = sizeof line - 2;
  line[length] = '\n';
  const char* at = line;
  for (ssize_t left = length + 1; left > 0;) {
    ssize_t written = write(STDOUT_FILENO, at, static_cast<std::size_t>(left));
    if (written <= 0) break;
    at += written;
    left -= written;
  }
  _exit(1);
}

inline void require(bool good, const char* what) {
  if (!good) die("FAILED: %s: %s", what, std::strerror(errno));
}

inline std::uint64_t mix(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15U;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9U;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebU;
  return value ^ (value >> 31);
}

class Rng {
 public:
  explicit Rng(std::uint64_t seed) : state_(mix(seed)) {}
  std::uint64_t next() { return mix(state_++); }
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  // A key for a page; now and then 0, a page of zeros that was written.
  std::uint64_t page_key() { return one_in(16) ? 0 : next() | 1U << 5; }

 private:
  std::uint64_t state_;
};

// A key of its own for each number, for pages that compress well.
inline std::uint64_t compressible_key(std::uint64_t number) { return (mix(number) & ~31ULL) | 5; }

inline std::uint64_t word_of(std::uint64_t key, unsigned index) {
  if (key == 0) return 0;
  unsigned kind = key & 31U;
  if (kind < 3) return mix(key);                                 // one word, repeated
  if (kind == 3) return mix(key + index * 0x632be59bd9b4e019U);  // random
  unsigned in_unit = index % kWordsPerUnit;
  return in_unit == 0 ? mix(key) ^ (index / kWordsPerUnit) : mix(key + in_unit);
}

inline void fill_page(void* page, std::uint64_t key) {
  auto* words = static_cast<std::uint64_t*>(page);
  for (unsigned i = 0; i < kWordsPerPage; ++i) words[i] = word_of(key, i);
}

inline bool page_is(const void* page, std::uint64_t key) {
  const auto* words = static_cast<const volatile std::uint64_t*>(page);
  for (unsigned i = 0; i < kWordsPerPage; ++i) {
    if (words[i] != word_of(key, i)) return false;
  }
  return true;
}

// Says what stands in a wrong page, since zeros, a mixture and a foreign page have different
// causes.
[[noreturn]] inline void report_page(const char* what, const void* page, std::uint64_t key) {
  const auto* words = static_cast<const volatile std::uint64_t*>(page);
  unsigned right = 0;
  unsigned zero = 0;
  unsigned first = kWordsPerPage;
  for (unsigned i = 0; i < kWordsPerPage; ++i) {
    std::uint64_t word = words[i];
    right += word == word_of(key, i);
    zero += word == 0;
    if (word != word_of(key, i) && first == kWordsPerPage) first = i;
  }
  if (first == kWordsPerPage) {
    die("MISMATCH: %s: page %p of pid %d was wrong and then right (key %016" PRIx64 ")", what, page,
        getpid(), key);
  }
  die("MISMATCH: %s: page %p of pid %d: first wrong byte +%u: expected %016" PRIx64
      ", found %016" PRIx64 " (key %016" PRIx64 "; %u of %u words right, %u zero)",
      what, page, getpid(), first * 8, word_of(key, first), words[first], key, right, kWordsPerPage,
      zero);
}

inline void check_page(const char* what, const void* page, std::uint64_t key) {
  if (!page_is(page, key)) report_page(what, page, key);
}

// Bytes of any length and alignment, for buffers that are not whole pages.
inline Byte byte_of(std::uint64_t key, std::size_t index) {
  std::uint64_t word = word_of(key, static_cast<unsigned>(index / 8 % kWordsPerPage));
  return static_cast<Byte>(word >> (index % 8 * 8));
}

inline void fill_bytes(void* buffer, std::size_t size, std::uint64_t key) {
  auto* bytes = static_cast<Byte*>(buffer);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = byte_of(key, i);
}

inline void check_bytes(const char* what, const void* buffer, std::size_t size, std::uint64_t key) {
  const auto* bytes = static_cast<const volatile Byte*>(buffer);
  for (std::size_t i = 0; i < size; ++i) {
    Byte found = bytes[i];
    if (found != byte_of(key, i)) {
      die("MISMATCH: %s: %p+%zu of %zu: expected %02x, found %02x (key %016" PRIx64 ")", what,
          buffer, i, size, byte_of(key, i), found, key);
    }
  }
}

// Order does not matter, so threads can add what they verified when they please.
class Digest {
 public:
  void add(std::uint64_t place, std::uint64_t value) { sum_ += mix(mix(place) ^ value); }
  void add(const Digest& other) { sum_ += other.sum_; }
  std::uint64_t value() const { return sum_; }

 private:
  std::uint64_t sum_ = 0;
};

inline Byte* map_pages(std::size_t pages, int prot = PROT_READ | PROT_WRITE, int flags = 0) {
  void* address =
      mmap(nullptr, pages * kPageSize, prot, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  require(address != MAP_FAILED, "mmap");
  return static_cast<Byte*>(address);
}

struct Arguments {
  std::size_t bytes = 0;
  std::uint64_t seed = kDefaultSeed;
  std::size_t pages() const { return bytes / kPageSize; }
};

// PROGRAM MIB [SEED] ...
inline Arguments parse_arguments(int argc, char** argv) {
  Arguments arguments;
  if (argc < 2 || std::atoi(argv[1]) <= 0) {
    std::fprintf(stderr, "usage: %s MIB [SEED] ...\n", argv[0]);
    std::exit(2);
  }
  arguments.bytes = static_cast<std::size_t>(std::atoi(argv[1])) * kMiB;
  if (argc > 2) arguments.seed = std::strtoull(argv[2], nullptr, 0);
  return arguments;
}

inline void print_digest(const char* program, const Arguments& arguments, const Digest& digest) {
  std::printf("%s seed %" PRIu64 " MiB %zu digest %016" PRIx64 "\n", program, arguments.seed,
              arguments.bytes / kMiB, digest.value());
  std::fflush(stdout);
}

// Tells the driver where the program stands and waits for its word (a line on stdin).
inline void meet_driver(const char* where) {
  std::printf("%s\n", where);
  std::fflush(stdout);
  char line[64];
  require(std::fgets(line, sizeof line, stdin) != nullptr, "the driver's word");
}

}  // namespace coldtest
