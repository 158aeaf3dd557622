#include "os/linux/engine_memory.h"

#include <sys/uio.h>

#include <algorithm>

#include "os/linux/syscalls.h"

namespace coldpress::os {

Status EngineMemory::init(std::size_t bytes) {
  void* base = sys_mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
  if (base == nullptr) {
    Text text;
    text << "can not reserve ";
    text.bytes(bytes) << " of address space; raise the limit (ulimit -v unlimited)";
    return Error{text};
  }
  sys_madvise(base, bytes, MADV_NOHUGEPAGE);
  base_ = reinterpret_cast<std::uint64_t>(base);
  bytes_ = bytes;
  next_ = base_ + kPageBytes;
  if (!commit(first_page(), kPageBytes) || !commit(last_page(), kPageBytes)) {
    destroy();
    Text text;
    text << "out of memory while starting";
    return Error{text};
  }
  return Done{};
}

void EngineMemory::destroy() {
  if (base_ != 0) sys_munmap(reinterpret_cast<void*>(base_), bytes_);
  base_ = bytes_ = next_ = 0;
}

void* EngineMemory::reserve(std::size_t bytes) {
  bytes = bytes_to_pages(bytes) * kPageBytes;
  if (next_ + bytes > base_ + bytes_ - kPageBytes) return nullptr;
  void* start = reinterpret_cast<void*>(next_);
  next_ += bytes;
  return start;
}

bool EngineMemory::commit(void* start, std::size_t bytes) {
  return sys_mprotect(start, bytes_to_pages(bytes) * kPageBytes, PROT_READ | PROT_WRITE) == 0;
}

// Each madvise() interrupts every processor that runs a thread of this process, to make it forget the pages;
// process_madvise() does so once for all pieces. A kernel that does not offer it to the process itself
// (before 6.17), or that did a part, is asked for each.
void EngineMemory::discard(const MemoryPiece* pieces, std::size_t count) {
  constexpr std::size_t kAtOnce = 32;
  while (count > 0) {
    iovec ranges[kAtOnce];
    std::size_t many = std::min(count, kAtOnce), bytes = 0;
    for (std::size_t i = 0; i < many; ++i) {
      ranges[i] = {pieces[i].start, pieces[i].bytes};
      bytes += pieces[i].bytes;
    }
    if (many == 1 || sys_process_madvise(ranges, many, MADV_DONTNEED) != static_cast<long>(bytes)) {
      for (std::size_t i = 0; i < many; ++i) sys_madvise(pieces[i].start, pieces[i].bytes, MADV_DONTNEED);
    }
    pieces += many;
    count -= many;
  }
}

void EngineMemory::label(void* start, std::size_t bytes, const char* name) {
  name_mapping(start, bytes_to_pages(bytes) * kPageBytes, name);
}

void EngineMemory::reset(void* from) {
  auto start = bytes_to_pages(reinterpret_cast<std::uint64_t>(from)) * kPageBytes;
  std::uint64_t bytes = base_ + bytes_ - start;
  sys_mmap(reinterpret_cast<void*>(start), bytes, PROT_NONE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED);
  sys_madvise(reinterpret_cast<void*>(start), bytes, MADV_NOHUGEPAGE);
  next_ = start;
  COLDPRESS_CHECK(commit(last_page(), kPageBytes));
  *static_cast<std::uint64_t*>(first_page()) = 0;
}

}  // namespace coldpress::os
