// SimMmu: the machine in software. One address space with its forked children, frames, faults and layout
// messages, without a system call: the engine runs on it unchanged, one step at a time or from many threads.
//
// What it keeps of the kernel (fs/userfaultfd.c, mm/userfaultfd.c, mm/mremap.c), because engines break there:
//  1. A layout change goes in stages, and other threads may do anything between them:
//       begun     the move calls answer kChanging from here on; munmap, mremap and fork have changed the page
//                 table already, MADV_DONTNEED has not
//       queued    its message waits. The kernel queues after it has let its lock go, so messages of two
//                 threads may come in another order than their page-table changes
//       taken     next_message() returned it; the move calls still answer kChanging until the program's
//                 thread has run again
//       released  MADV_DONTNEED and MADV_FREE only: moves work, the pages are still there
//       done
//     A mremap that moves has two messages, kRemap and then kUnmap of where it was, queued one after the
//     other was taken, and answers kChanging from before the first until after the second.
//     begin_*() and advance() take these steps one by one; run() takes them all, as a program's thread would.
//  2. Moves refuse with what the ioctls answer: a mapping that is gone is kHole for a move and kGone for a
//  copy,
//     read-only or crossing mappings is kMismatch, shared since a fork or pinned is kBusy.
//  3. A run that is stopped half-way tells how far it came.
//  4. Registration is not refused while a change is under way.
//  5. The kernel gives pending faults before layout messages.
//  6. Registration that is refused (no memory for one more mapping) may have been done for a part.
// What it adds: frames that are holes contain kTrash, so that stale reads show; `interfere` makes calls fail
// in every way in which the kernel can say no, at random or once at a chosen place.
//
// Faults go to a FaultHandler in the faulting thread (the signal path), or become messages and the thread
// sleeps until it is woken (the thread path) when there is none.
//
// Thread safety: all functions from any thread; one mutex, never held while a FaultHandler runs. A frame's
// bytes are the engine's to guard. run() needs somebody else who takes messages.
#pragma once

#include <deque>
#include <list>
#include <map>
#include <memory>
#include <vector>

#include "os/mmu.h"
#include "os/sim/one_step.h"
#include "os/sim/sim_address_space.h"
#include "sync/mutex.h"

namespace coldpress::os {

class FaultHandler {
 public:
  virtual void on_fault(PageIndex page, bool write) = 0;

 protected:
  ~FaultHandler() = default;
};

enum class Access { kOk, kSigbus, kSegv };

struct SimOptions {
  std::uint32_t frame_count = 1024;
  // After so many refused calls a begun or taken change goes a step on by itself, as if its thread had been
  // scheduled: for tests with one thread. 0: never.
  unsigned patience = 0;
  // A fork's message may be queued after those of changes that began after it, as by a thread that the kernel
  // stops at the wrong moment. Else it is queued at once.
  bool late_forks = false;
};

// One in so many calls; 0: never. What these count is a chance.
struct SimInterference {
  std::uint32_t changing = 0;         // answers kChanging without a reason
  std::uint32_t shorten = 0;          // does a part of a run
  std::uint32_t keep_frame = 0;       // does not release a frame
  std::uint32_t no_memory = 0;        // moves, copies, fills, poison, and those of a child: ENOMEM
  std::uint32_t busy = 0;             // a move: EBUSY, somebody else has a hold of the page for a moment
  std::uint32_t populate = 0;         // a frame to capture into holds zeros, as after mlockall(): EEXIST
  std::uint32_t refuse_register = 0;  // a part may be registered all the same
  std::uint32_t keep_registered = 0;  // unregistering does nothing
  // Instead of at random: only at this chance, from 1 on, and those after it, `times` in all.
  std::uint64_t only_at = 0, times = 1;
};

// A layout change under way; 0: it was done at once (nothing there is registered).
using ChangeId = std::uint32_t;

class SimMmu final : public Mmu {
 public:
  static constexpr std::byte kTrash{0xdb};

  explicit SimMmu(const SimOptions& options);
  ~SimMmu();

  // --- the engine's side: os/mmu.h
  std::uint32_t frame_count() const override { return frame_count_; }
  std::byte* frame_data(FrameId frame) override { return frames_[frame.value].bytes; }
  void release(FrameId first, std::span<std::uint32_t> masks) override;
  bool register_range(PageRange range) override;
  void unregister_range(PageRange range) override;
  std::size_t scan_registered(PageRange range, std::span<PageRange> found, PageIndex* scanned_to) override;
  bool changing() override;
  MoveResult capture(PageIndex first, FrameId into, std::uint32_t pages) override;
  MoveResult install(PageIndex first, FrameId from, std::uint32_t pages) override;
  MoveResult install_copy(PageIndex first, const std::byte* from, std::uint32_t pages) override;
  MoveResult fill_zero(PageIndex first, std::uint32_t pages, bool for_write) override;
  MoveStatus poison(PageIndex page) override;
  void make_own(PageRange range) override;
  void wake(PageRange range) override;
  std::size_t scan_present(PageRange range, std::uint64_t max_pages, std::span<PageRange> found,
                           PageIndex* scanned_to) override;
  std::uint64_t holding(PageIndex first, std::uint32_t pages, std::uint64_t* zero) override;
  Message next_message() override;
  void wait_message(std::int64_t timeout_ns) override;
  MoveStatus child_copy(int child, PageIndex page, const std::byte* from) override;
  MoveStatus child_poison(int child, PageIndex page) override;
  void child_close(int child) override;

  // --- the program's side: accesses (sim_access.cc)
  void set_fault_handler(FaultHandler* handler) { fault_handler_ = handler; }
  Access read(PageIndex page, std::size_t offset, void* into, std::size_t bytes);
  Access write(PageIndex page, std::size_t offset, const void* from, std::size_t bytes);
  // Reads of a child after child_close(): its holes are zero.
  Access child_read(int child, PageIndex page, void* into);
  void child_exit(int child);

  // --- the program's side: layout (sim_layout.cc)
  void map(PageRange range, bool writable = true);
  void grow(PageIndex page, std::uint64_t by);  // the mapping that holds the page, in place: no message
  void protect(PageRange range, bool writable);
  void set_page_pinned(PageIndex page, bool pinned);
  ChangeId begin_unmap(PageRange range);
  ChangeId begin_remove(PageRange range, bool lazily = false);           // within one mapping
  ChangeId begin_remap(PageRange from, PageIndex to, bool keep_source);  // within one mapping
  ChangeId begin_fork(int* child);
  // One step on. true: the change is done (or was).
  bool advance(ChangeId change);
  // The whole change, sleeping until its messages are taken.
  void run(ChangeId change);

  // --- knobs and views for tests
  void interfere(const SimInterference& how, std::uint64_t seed);
  // Since then, and registrations that were refused.
  std::uint64_t chances();
  std::uint64_t refused_registrations();
  // The machine takes the page if MADV_FREE allows it, wherever it is.
  bool take_lazy(PageIndex page);
  bool take_lazy_frame(FrameId frame);
  // Every frame is this process's alone again, as after the child has gone and the frame was written.
  void unshare_frames();
  std::size_t queued_messages();
  std::uint64_t resident_pages();
  std::uint64_t populated_frames();
  bool present(PageIndex page);
  bool mapped(PageRange range);
  std::vector<SimMapping> mappings();

 private:
  struct Frame {
    bool populated = false;
    bool shared = false;
    bool lazy = false;  // until written, which shows in the bytes only:
    std::uint64_t lazy_sum = 0;
    bool lost = false;  // taken by the machine while the engine held it: a write makes it a frame again
    std::byte* bytes = nullptr;
  };
  enum class Stage { kBegun, kQueued, kTaken, kReleased };
  struct Change {
    Stage stage = Stage::kBegun;
    std::vector<Message> messages;
    std::size_t next = 0;
    bool drops = false, lazily = false;
    PageRange range;
    unsigned refused = 0;
  };
  struct Queued {
    ChangeId change;
    Message message;
  };
  struct Waiter {
    PageIndex page;
    bool write = false, queued = true, woken = false;
  };
  struct Child {
    SimAddressSpace space;
    bool open = true;
  };

  bool refuses() REQUIRES(mutex_);
  void populate_some(FrameId first, std::uint32_t frames) REQUIRES(mutex_);
  MoveStatus fill_child(int child, PageIndex page, SimPage value) EXCLUDES(mutex_);
  void lose_patience() REQUIRES(mutex_);
  std::uint32_t shortened(std::uint32_t pages) REQUIRES(mutex_);
  bool one_in(std::uint32_t n) REQUIRES(mutex_);
  void wake_locked(PageRange range) REQUIRES(mutex_);
  void empty_frame(Frame& frame) REQUIRES(mutex_);
  bool still_lazy(const Frame& frame) const REQUIRES(mutex_);
  template <typename PutOne>
  MoveResult fill_run(PageIndex first, std::uint32_t pages, PutOne put_one) REQUIRES(mutex_);
  ChangeId start(Change change) REQUIRES(mutex_);
  void enqueue(ChangeId id, Change& change) REQUIRES(mutex_);
  bool advance_locked(ChangeId id) REQUIRES(mutex_);
  template <typename Use>
  Access access(PageIndex page, bool write, Use use) EXCLUDES(mutex_);
  void sleep_on_fault(PageIndex page, bool write) EXCLUDES(mutex_);

  std::uint32_t frame_count_;
  unsigned patience_;
  bool late_forks_;
  FaultHandler* fault_handler_ = nullptr;
  std::unique_ptr<std::byte[]> frame_bytes_;
  std::vector<Frame> frames_;  // `bytes` never changes; the rest is guarded by mutex_

  sync::Mutex mutex_;
  sync::Event changed_;  // messages, stages, wake-ups: sleepers look again
  SimAddressSpace space_ GUARDED_BY(mutex_);
  std::map<int, Child> children_ GUARDED_BY(mutex_);
  int next_child_ GUARDED_BY(mutex_) = 1;
  std::map<ChangeId, Change> changes_ GUARDED_BY(mutex_);
  ChangeId next_change_ GUARDED_BY(mutex_) = 1;
  std::uint64_t changing_ GUARDED_BY(mutex_) = 0;  // messages announced and not yet released
  std::deque<Queued> queue_ GUARDED_BY(mutex_);
  std::list<Waiter> waiters_ GUARDED_BY(mutex_);
  SimInterference interference_ GUARDED_BY(mutex_);
  std::uint64_t random_ GUARDED_BY(mutex_) = 1;
  std::uint64_t chances_ GUARDED_BY(mutex_) = 0;
  std::uint64_t refused_registrations_ GUARDED_BY(mutex_) = 0;
};

}  // namespace coldpress::os
