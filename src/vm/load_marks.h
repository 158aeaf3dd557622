// Load marks: what stands in a page word while the page's bytes are read from a device.
//
// A read can take long; a device that hangs does not answer at all. The slot's lock is held meanwhile, so
// that the bytes stay where they are; and whoever gives the page up (munmap, MADV_DONTNEED) holds the layout
// mutex, so he must not wait for that lock: everybody would wait with him. Therefore the loader first
// exchanges the page's entry for a mark, which keeps the entry, and
//   who faults on the page   sleeps until the mark is taken off, or the page is gone
//   who gives the page up    tells the mark, and goes on; the loader frees the slot
//   who moves the page       takes the mark along, and tells it where the page is
// The loader takes the mark off before it looks what became of the page: then the word is an entry again, or
// somebody else's, and what follows is the same as for a load from the pool (fault.cc).
//
// This is the marker in the page table that was proposed for the kernel ("swapin_in_process", mail 004), used
// like migration entries. From the pool, where a load takes microseconds and nothing to hang on, the slot's
// lock alone does: docs/locking.md compares the two.
//
// Thread safety: the holder of the layout mutex; wait() by anyone without it.
//
// Orders: T  a new turn is stored (release) when the page word is what it is to be, and who waited sees it
// (acquire). It takes the layout mutex before it believes the word; so this only spares it a look in vain.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sync/atomic.h"
#include "sync/explore.h"
#include "vm/page_word.h"

namespace coldpress::vm {

class LoadMarks {
 public:
  LoadMarks() { sync::name_each(&marks_[0].turn, kMarks, "mark", 0, sizeof(Mark)); }

  static constexpr std::uint32_t kNone = 0;
  static constexpr std::uint32_t kMarks = 512;  // with kNone, which is never given

  // What became of the page meanwhile.
  enum class Fate : std::uint8_t {
    kFree,     // of a mark: it is nobody's
    kStayed,   // the word of page() is the mark
    kTaken,    // the entry is with somebody else
    kGivenUp,  // whoever takes the mark off frees the slot
  };

  // A mark for the page that keeps its `entry`. kNone: all are in use; then the slot's lock has to do.
  std::uint32_t put(PageIndex page, PageWord entry);
  PageWord entry(std::uint32_t mark) const { return marks_[mark].entry; }
  PageIndex page(std::uint32_t mark) const { return marks_[mark].page; }
  void move(std::uint32_t mark, PageIndex to) { marks_[mark].page = to; }
  // The page is given up; or its entry taken, to be kept without a page. Each wakes who waits.
  void give_up(std::uint32_t mark) { leave(mark, Fate::kGivenUp); }
  PageWord take(std::uint32_t mark);
  // By the loader. Wakes who waits.
  Fate take_off(std::uint32_t mark);
  std::uint32_t in_use() const { return in_use_; }

  // For wait(), which returns when the mark was taken off, or the page has gone.
  std::uint32_t ticket(std::uint32_t mark);
  void wait(std::uint32_t mark, std::uint32_t ticket) const;

 private:
  static constexpr std::uint32_t kWaiters = 1, kTurn = 2;
  struct Mark {
    PageWord entry;
    PageIndex page;
    sync::Atomic<std::uint32_t> turn{0};  // counts, by kTurn, how often who waited was woken
    Fate fate = Fate::kFree;
  };
  static void wake(Mark& mark);
  void leave(std::uint32_t mark, Fate fate);

  Mark marks_[kMarks];
  std::uint32_t in_use_ = 0, next_ = 1;
};

}  // namespace coldpress::vm
