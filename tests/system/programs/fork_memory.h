// What a process tree verifies: an array of pages whose keys follow from a place and a generation.
// After fork each process has its own copy of both and may change it.
#pragma once

#include <vector>

#include "content.h"

namespace coldtest {

class ForkMemory {
 public:
  ForkMemory(std::size_t pages, std::uint64_t seed)
      : base_(map_pages(pages)), generations_(pages), seed_(seed) {
    for (std::size_t i = 0; i < pages; ++i) fill_page(page(i), key(i));
  }

  ForkMemory(const ForkMemory&) = delete;
  ForkMemory& operator=(const ForkMemory&) = delete;
  ~ForkMemory() { munmap(base_, pages() * kPageSize); }

  std::size_t pages() const { return generations_.size(); }

  // Every `step`-th page from `first`.
  void verify(const char* who, std::size_t first = 0, std::size_t step = 1) const {
    for (std::size_t i = first; i < pages(); i += step) check_page(who, page(i), key(i));
  }

  void modify(Rng& rng, std::size_t count) {
    for (std::size_t n = 0; n < count; ++n) {
      std::size_t i = rng.below(pages());
      ++generations_[i];
      fill_page(page(i), key(i));
    }
  }

  void add_to(Digest& digest) const {
    for (std::size_t i = 0; i < pages(); ++i) digest.add(i, key(i));
  }

 private:
  Byte* page(std::size_t i) const { return base_ + i * kPageSize; }

  std::uint64_t key(std::size_t i) const {
    if (i % 16 == 5) return generations_[i] == 0 ? 0 : mix(seed_ + i + generations_[i]);
    return mix(seed_ + i * 1024 + generations_[i]);
  }

  Byte* base_;
  std::vector<std::uint32_t> generations_;
  std::uint64_t seed_;
};

// New memory in a process that shares the rest with its parent.
inline void allocate_and_verify(std::size_t pages, std::uint64_t seed) {
  ForkMemory more(pages, seed);
  Rng rng(seed);
  more.modify(rng, pages / 4);
  more.verify("allocated after fork");
  std::vector<std::vector<Byte>> heap(64);
  for (std::size_t i = 0; i < heap.size(); ++i) {
    heap[i].resize(1 + rng.below(20000));
    fill_bytes(heap[i].data(), heap[i].size(), seed + i * 32 + 8);
  }
  for (std::size_t i = 0; i < heap.size(); ++i) {
    check_bytes("heap after fork", heap[i].data(), heap[i].size(), seed + i * 32 + 8);
  }
}

}  // namespace coldtest
