// Memory of "the program" for tests of userfaultfd: private anonymous pages, each filled with its own number.
// Thread safety: none.
#pragma once

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include <cstdint>
#include <cstring>

#include "base/units.h"

namespace coldpress::testing {

class TestArea {
 public:
  explicit TestArea(std::uint64_t pages) : pages_(pages) {
    // Room on both sides keeps the area from merging with its neighbours.
    reserved_ = static_cast<std::byte*>(
        mmap(nullptr, (pages + 2) * kPageBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    base_ = reserved_ + kPageBytes;
    mprotect(base_, pages * kPageBytes, PROT_READ | PROT_WRITE);
    madvise(base_, pages * kPageBytes, MADV_NOHUGEPAGE);
  }
  TestArea(const TestArea&) = delete;
  TestArea& operator=(const TestArea&) = delete;
  ~TestArea() { munmap(reserved_, (pages_ + 2) * kPageBytes); }

  std::byte* data(std::uint64_t page = 0) const { return base_ + page * kPageBytes; }
  PageIndex first() const { return page_of(reinterpret_cast<std::uint64_t>(base_)); }
  PageRange range() const { return {first(), first() + pages_}; }
  void fill(std::uint64_t from, std::uint64_t to) const {
    for (std::uint64_t page = from; page < to; ++page) {
      std::memset(data(page), static_cast<int>(page + 1), kPageBytes);
    }
  }
  void fill() const { fill(0, pages_); }

 private:
  std::uint64_t pages_;
  std::byte* reserved_;
  std::byte* base_;
};

// Whether every byte of a page has this value. The page must be there.
inline bool all_bytes(const std::byte* page, unsigned value) {
  for (std::size_t i = 0; i < kPageBytes; ++i) {
    if (page[i] != static_cast<std::byte>(value)) return false;
  }
  return true;
}

inline sigjmp_buf bus_error_jump;

// Whether reading the byte ends in SIGBUS.
inline bool read_gives_bus_error(const std::byte* at) {
  struct sigaction handle {};
  struct sigaction before {};
  handle.sa_handler = [](int) { siglongjmp(bus_error_jump, 1); };
  sigaction(SIGBUS, &handle, &before);
  bool failed = sigsetjmp(bus_error_jump, 1) != 0;
  if (!failed) (void)*const_cast<const volatile std::byte*>(at);
  sigaction(SIGBUS, &before, nullptr);
  return failed;
}

}  // namespace coldpress::testing
