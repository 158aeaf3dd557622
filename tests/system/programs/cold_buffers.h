// Buffers for system calls that are made cold before use: each on pages of its own, all pushed out
// together by walking over more memory than the limit.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "pressure.h"

namespace coldtest {

// What is done with buffers once they are cold.
using Use = std::function<void()>;

class ColdBuffers {
 public:
  ColdBuffers(std::size_t pages, std::size_t hog_pages, std::uint64_t seed)
      : base_(map_pages(pages)), pages_(pages), hog_(hog_pages, seed), rng_(seed) {}

  // A buffer of zeros; the first bytes of its first page are the caller's.
  template <typename T = Byte>
  T* take(std::size_t count = 1, std::size_t offset = 0) {
    std::size_t needed = (offset + count * sizeof(T) + kPageSize - 1) / kPageSize;
    if (used_ + needed > pages_) die("FAILED: too few pages for buffers");
    Byte* start = base_ + used_ * kPageSize + offset;
    used_ += needed;
    return reinterpret_cast<T*>(start);
  }

  Byte* take_filled(std::size_t size, std::uint64_t key, std::size_t offset = 0) {
    Byte* buffer = take<Byte>(size, offset);
    fill_bytes(buffer, size, key);
    return buffer;
  }

  char* take_text(const std::string& text) {
    char* buffer = take<char>(text.size() + 1, 100);
    std::memcpy(buffer, text.c_str(), text.size() + 1);
    return buffer;
  }

  std::uint64_t key() { return rng_.next() | 8; }  // 8: neither zeros nor one repeated word

  void make_cold() {
    // Pages never written would stay unmapped and prove nothing. Others may use them meanwhile.
    for (std::size_t i = 0; i < used_; ++i) {
      __atomic_fetch_or(reinterpret_cast<std::uint64_t*>(base_ + i * kPageSize), 0,
                        __ATOMIC_RELAXED);
    }
    hog_.sweep();
    hog_.sweep();
  }

  // Tells how many buffer pages are in fact not in memory, for the driver to judge.
  void count_cold(std::size_t& cold, std::size_t& all) const {
    std::vector<Byte> resident(used_);
    require(mincore(base_, used_ * kPageSize, resident.data()) == 0, "mincore");
    for (Byte page : resident) cold += (page & 1U) == 0;
    all += used_;
  }

  void reset() {
    require(madvise(base_, pages_ * kPageSize, MADV_DONTNEED) == 0, "MADV_DONTNEED");
    used_ = 0;
  }

 private:
  Byte* base_;
  std::size_t pages_;
  std::size_t used_ = 0;
  Hog hog_;
  Rng rng_;
};

// Takes the buffers for one kind of access and says how they are used later.
using Prepare = Use (*)(ColdBuffers& buffers);

// Prepares every access, makes all their buffers cold, makes the accesses; twice.
template <std::size_t kCount>
int run_accesses(const char* program, const Arguments& arguments,
                 const Prepare (&accesses)[kCount]) {
  constexpr std::size_t kBufferPages = 2048;
  ColdBuffers buffers(kBufferPages, arguments.pages() - kBufferPages, arguments.seed);
  Digest digest;
  std::size_t cold = 0;
  std::size_t all = 0;
  for (unsigned round = 0; round < 2; ++round) {
    std::vector<Use> uses;
    for (Prepare prepare : accesses) uses.push_back(prepare(buffers));
    buffers.make_cold();
    buffers.count_cold(cold, all);
    for (std::size_t i = 0; i < kCount; ++i) {
      errno = 0;
      uses[i]();
      digest.add(i, round);
    }
    buffers.reset();
  }
  std::printf("cold %zu of %zu buffer pages\n", cold, all);
  print_digest(program, arguments, digest);
  return 0;
}

// For calls that return -1 on failure; says which access failed.
inline long checked(long result, const char* what) {
  if (result < 0) die("FAILED: %s: %s", what, std::strerror(errno));
  return result;
}

inline void expect(bool good, const char* what) {
  if (!good) die("MISMATCH: %s", what);
}

}  // namespace coldtest
