// What a Space works with: a worker for each thread, and what it asks of the part above.
// Thread safety: as said.
#pragma once

#include <cstdint>

#include "base/units.h"
#include "zswap/zswap.h"

namespace coldpress::vm {

// Who must be waited for, without the layout mutex: by a ticket for a mark (load_marks.h), or for a slot's
// lock.
struct Busy {
  std::uint32_t mark, ticket;
  SlotIndex slot;
};

// What one engine thread works with. One user at a time.
struct Worker {
  zswap::Worker store;
  // Most pages that one fault brings.
  static constexpr std::uint32_t kMaxRun = 16;
  std::byte* page = nullptr;  // a buffer for loads, kMaxRun pages
  std::byte* io = nullptr;    // swap::DeviceStore::kReadBytes, aligned to a block
  bool devices = false;       // its thread has the descriptors of the swap devices
  // Faults taken on the way to a layout message (the kernel hands out faults first), to be served by whoever
  // called into the engine, when it is done. Room for as many as a process has threads.
  static constexpr std::size_t kMaxPending = 1 << 15;
  std::uint64_t* pending = nullptr;  // page << 1 | write
  std::size_t pending_count = 0;
  std::uint32_t marks[kMaxRun], mark_count = 0;  // that it has put (load_marks.h)
  Busy busy{};                                   // why an operation has stopped (kBusy)
  bool background = false;                       // it comes back soon, so it need not be patient

  void put_aside(PageIndex page_index, bool write) {
    COLDPRESS_CHECK(pending_count < kMaxPending);
    pending[pending_count++] = page_index.value << 1 | (write ? 1 : 0);
  }
};

// What kFork messages are handed to. Called with the layout mutex held: nothing moves meanwhile. Not `calm`:
// other threads were changing the layout at the same time, and the page words may not describe the child's
// layout; then only populate_child() makes the child whole.
class ForkHandler {
 public:
  virtual void on_fork(int child, bool calm, Worker& worker) = 0;

 protected:
  ~ForkHandler() = default;
};

// Asked between units of reclaim: brings the group's usage up to date. false: stop reclaiming now.
class UsageSource {
 public:
  virtual bool keep_going() = 0;
  // Usage is above the high mark: background reclaim should run. Called from fault service; cheap.
  virtual void pressure() = 0;
  // More swap is needed than there is: the offered device is to be made. By an engine thread.
  virtual void make_swap() {}

 protected:
  ~UsageSource() = default;
};

struct SpaceOptions {
  std::uint64_t pool_bytes = 0;  // at most, for compressed pages
  std::uint64_t max_slots = 0;   // at most so many pages out
  std::uint64_t max_leaves = 0;  // at most so many 2 MiB ranges with page words
  // Of the limit, for the pool, where there is a swap device; and where writeback stops again, of that.
  std::uint32_t max_pool_percent = 50;
  std::uint32_t accept_threshold_percent = 90;
  // Every page of the ranges comes through the engine, so usage is counted here; else it is set from outside.
  bool counted = false;
};

}  // namespace coldpress::vm
