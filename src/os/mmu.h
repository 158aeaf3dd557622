// Mmu: the machine as the engine sees it. Pages of the program move into frames of the engine and back.
//
// Two implementations: linux/ (userfaultfd, UFFDIO_MOVE, PAGEMAP_SCAN) and sim/ (a software page table), so
// that the same engine runs on real memory and in a simulator.
//
// Layout changes. The program's munmap, mremap, madvise(DONTNEED) and fork are announced as messages. From
// the moment such a call begins to change the page tables until its message has been taken by
// next_message(), every capture, install and fill answers kChanging and does nothing. So whoever serialises
// next_message() (and the processing of what it returned) with these calls has an exact view: a call that
// succeeded saw no change that the engine does not know of.
//
// Thread safety: all functions may be called by any engine thread; the engine serialises capture, install,
// fill and next_message under its layout mutex. Nothing here allocates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/units.h"

namespace coldpress::os {

enum class MoveStatus {
  kDone,
  kBusy,      // pinned or shared with another process: refused, keep the page
  kHole,      // nothing at the source
  kExists,    // something at the destination
  kChanging,  // a layout message is waiting: take it, then start again from the page word
  kGone,      // no (registered) mapping there any more, or the process is ending
  kMismatch,  // mapping of another kind (read-only, locked ...): cannot move, may be copied
  kNoMemory,
};

struct MoveResult {
  std::uint32_t moved = 0;  // pages done, from the first; then `status` says why it stopped
  MoveStatus status = MoveStatus::kDone;
};

enum class MessageKind { kNone, kFault, kUnmap, kRemove, kRemap, kFork };

struct Message {
  MessageKind kind = MessageKind::kNone;
  PageRange range;           // kFault: one page. kRemap: where it was
  PageIndex target;          // kRemap: where it is now
  bool write = false;        // kFault
  std::uint32_t thread = 0;  // kFault: id of the faulting thread, 0 if unknown
  int child = -1;            // kFork: handle of the child's address space
};

class Mmu {
 public:
  // --- frames: page buffers at fixed addresses, [0, frame_count()); a frame is a hole or holds memory
  virtual std::uint32_t frame_count() const = 0;
  virtual std::byte* frame_data(FrameId frame) = 0;
  // Gives the memory of the frames whose bit is set (frame `first` + bit, 32 to a mask) back to the machine;
  // neighbours at once, which is cheaper. Afterwards set: those that now are holes.
  virtual void release(FrameId first, std::span<std::uint32_t> masks) = 0;

  // --- registration: pages of a registered range that are holes fault to the engine
  virtual bool register_range(PageRange range) = 0;
  virtual void unregister_range(PageRange range) = 0;
  // The kernel's own view, which may be ahead of the messages: the parts of `range` that are registered now.
  // Results as for scan_present().
  virtual std::size_t scan_registered(PageRange range, std::span<PageRange> found, PageIndex* scanned_to) {
    (void)found;
    *scanned_to = range.end;
    return 0;
  }
  // Whether a layout change has begun whose message was not taken yet.
  virtual bool changing() { return false; }

  // --- moving pages; each works on a run and stops at the first page that can not be done
  // capture: the frames must be holes; kExists: the program has populated them, with zeros (mlockall).
  virtual MoveResult capture(PageIndex first, FrameId into, std::uint32_t pages) = 0;
  virtual MoveResult install(PageIndex first, FrameId from, std::uint32_t pages) = 0;
  virtual MoveResult install_copy(PageIndex first, const std::byte* from, std::uint32_t pages) = 0;
  virtual MoveResult fill_zero(PageIndex first, std::uint32_t pages, bool for_write) = 0;
  // Wakes nobody: that is wake()'s.
  virtual MoveStatus poison(PageIndex page) = 0;
  // Makes resident pages that a fork has shared (kBusy) this process's own again, as a write would. Sleeps on
  // a fault if one of them is gone meanwhile: with no lock held, by a thread that no fault waits for.
  virtual void make_own(PageRange range) { (void)range; }
  // Wakes threads that sleep on faults in the range; they look again.
  virtual void wake(PageRange range) = 0;

  // Resident (and not zero-page) runs of registered memory in `range`, in order, at most max_pages pages of
  // them. Only what it returns may be captured: the kernel does not ask whether the source is registered, and
  // a page captured from a mapping that is not would come back as zeros. (A change of the mapping after the
  // scan makes the capture answer kChanging.) Returns how many runs were stored in `found`; *scanned_to is
  // where to go on (range.end when all was seen).
  virtual std::size_t scan_present(PageRange range, std::uint64_t max_pages, std::span<PageRange> found,
                                   PageIndex* scanned_to) = 0;

  // Which of up to 64 pages hold anything: memory, the zero page, or what the kernel has swapped out or is
  // moving; a bit each. *zero: which are the zero page. What can not be told counts as holding memory.
  virtual std::uint64_t holding(PageIndex first, std::uint32_t pages, std::uint64_t* zero) = 0;

  // --- messages
  // Takes one message; kNone when none waits. Never blocks.
  virtual Message next_message() = 0;
  // Sleeps until a message waits, at most timeout_ns (-1: for ever).
  virtual void wait_message(std::int64_t timeout_ns) = 0;

  // --- the child of a fork (kFork): its holes are filled from here until it has an engine of its own
  virtual MoveStatus child_copy(int child, PageIndex page, const std::byte* from) = 0;
  virtual MoveStatus child_poison(int child, PageIndex page) = 0;
  virtual void child_close(int child) = 0;
  // Takes a message of the child and forgets it; who waits for it goes on, at the latest at child_close().
  virtual void child_skip_message(int child) { (void)child; }
  // Where forks are not announced: keeps a range from the children of forks that the engine does not see, so
  // that such a child is stopped (SIGSEGV) instead of reading zeros.
  virtual void hide_from_fork(PageRange range, bool hidden) { (void)range, (void)hidden; }

 protected:
  ~Mmu() = default;
};

}  // namespace coldpress::os
