// The engine's own memory: one reservation of address space that every table, pool and stack is cut from.
//
// The reservation is made once (PROT_NONE, so that it counts against no limit) and committed piecewise. It
// is never registered with userfaultfd, never given transparent huge pages, and its bounds let adoption
// leave it alone.
//
// The first and the last page hold the two counters of the fork check (see runtime/operation_gate.h): a
// fork copies page tables in address order, so a child that finds them equal has a consistent image.
//
// Thread safety: reserve() is for set-up (one thread); commit() and discard() for any thread.
#pragma once

#include "base/memory_source.h"
#include "base/result.h"
#include "base/units.h"

namespace coldpress::os {

class EngineMemory final : public MemorySource {
 public:
  // Reserves `bytes` of address space.
  Status init(std::size_t bytes);
  void destroy();

  void* reserve(std::size_t bytes) override;
  bool commit(void* start, std::size_t bytes) override;
  void discard(const MemoryPiece* pieces, std::size_t count) override;
  void label(void* start, std::size_t bytes, const char* name) override;

  PageRange range() const { return {page_of(base_), page_of(base_ + bytes_)}; }
  // Bytes of address space handed out so far.
  std::size_t reserved_bytes() const { return next_ - base_; }
  void* first_page() const { return reinterpret_cast<void*>(base_); }
  void* last_page() const { return reinterpret_cast<void*>(base_ + bytes_ - kPageBytes); }
  // Forgets everything handed out from `from` on and gives its memory back: a fresh start for the child of a
  // fork.
  void reset(void* from);

 private:
  std::uint64_t base_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t next_ = 0;
};

}  // namespace coldpress::os
