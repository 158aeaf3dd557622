// Layout messages: what the program did to its mappings, followed exactly.
//
// REMOVE (MADV_DONTNEED, MADV_FREE) is the delicate one. The kernel sends it before it drops the pages, and
// the caller goes on as soon as the message was taken. A page captured between the two would escape the
// drop and come back with its old content. So every page of the range is marked zapped: it is not captured
// until it was filled again. In a registered range every hole is filled by the engine, so the mark goes at
// the right moment whatever the timing, and a page that still carries it is one that the kernel has not
// dropped yet (or, after MADV_FREE, may never drop).
//
// Order. The kernel changes the page tables first and queues the message a little later, so two threads'
// messages can come in the wrong order. T1 unmaps X, T2 moves C to the free X; "C moved to X" is read, then
// "X unmapped": followed blindly, the second drops what the first brought. Or T1 moves X to B, T2 moves C to
// the free X, and the second message comes first: what it overwrites still has to go to B. So:
//  - Where something was moved to lately, an unmap drops the entries only of pages that are not registered
//  now,
//    by the kernel's own view: what is registered there still is what was moved there.
//  - Entries that a move finds at its target are older than the move. They become orphans: their own message,
//  a
//    move or an unmap, is still to come, and finds them there.
//  - "Lately" ends, and orphans that are left belong to nobody, when the kernel says that no change is under
//  way:
//    every message was taken then. It is asked before a message is read (forget_moves).
// Nothing is installed or captured meanwhile: until the last such message is taken, the kernel refuses.
#include "sync/futex.h"
#include "vm/space.h"

namespace coldpress::vm {

using memgroup::add_to;
using memgroup::take_from;

using os::MessageKind;
using swap::State;

bool Space::take_message(Worker& worker, os::Message* fault) {
  sync::MutexLock lock(layout_);
  forget_moves();
  os::Message message = mmu_->next_message();
  if (message.kind == MessageKind::kNone) return false;
  if (message.kind == MessageKind::kFault) {
    *fault = message;
    return true;
  }
  process(message, worker);
  return false;
}

// Called when a move answered kChanging: takes messages until a layout message was processed or none waits.
void Space::drain_messages(Worker& worker) {
  {
    sync::MutexLock lock(layout_);
    for (;;) {
      forget_moves();
      os::Message message = mmu_->next_message();
      if (message.kind == MessageKind::kNone) break;
      if (message.kind == MessageKind::kFault) {
        worker.put_aside(message.range.begin, message.write);
        continue;
      }
      process(message, worker);
      return;
    }
  }
  // The change has begun but its message is not there yet, or was just taken by another server. The kernel
  // offers nothing to sleep on for this; it lasts as long as one munmap.
  sync::sleep_ns(20000);
}

void Space::process(const os::Message& message, Worker& worker) {
  add_to(group_->stats().layout_messages);
  switch (message.kind) {
    case MessageKind::kUnmap:
      unmap(message.range);
      break;
    case MessageKind::kRemove:
      drop_range(message.range, true);
      break;
    case MessageKind::kRemap:
      remap(message.range, message.target);
      break;
    case MessageKind::kFork:
      fork(message.child, worker);
      break;
    default:
      break;
  }
}

void Space::unmap(PageRange range) {
  auto drop = [&](PageRange part) NO_THREAD_SAFETY_ANALYSIS {
    if (part.empty()) return;
    drop_range(part, false);
    regions_.remove(part);
    pinned_.remove(part);
  };
  for (PageIndex at = range.begin; at < range.end;) {
    PageRange moved = intersect(moved_lately_.at_or_after(at), range);
    if (moved.empty()) moved = {range.end, range.end};
    drop({at, moved.begin});
    for (at = moved.begin; at < moved.end;) {
      PageRange found[16];
      PageIndex scanned_to;
      std::size_t runs = mmu_->scan_registered({at, moved.end}, found, &scanned_to);
      for (std::size_t i = 0; i < runs; ++i) {
        drop({at, found[i].begin});
        at = found[i].end;
      }
      drop({at, scanned_to});
      at = scanned_to;
    }
  }
  // Orphans of the range were waiting for this message.
  std::size_t kept = 0;
  for (std::size_t i = 0; i < orphan_count_; ++i) {
    if (range.contains(orphans_[i].page)) {
      drop_entry(orphans_[i].word.entry());
    } else {
      orphans_[kept++] = orphans_[i];
    }
  }
  orphan_count_ = kept;
}

void Space::remap(PageRange from, PageIndex to) {
  PageRange target{to, to + from.pages()};
  // What the target seems to hold is older than this move.
  for (PageIndex page = table_.next_leaf(target.begin, target.end); page < target.end;) {
    PageTable::Word* word = table_.find(page);
    PageWord old = PageWord::from_raw(word->exchange(0, sync::kAcqRel));
    if (old.is_entry()) {
      COLDPRESS_CHECK(orphans_.grow_to(orphan_count_ + 1));
      orphans_[orphan_count_++] = {page, old};
    }
    page = page + 1;
    if (page.value % PageTable::kLeafPages == 0) page = table_.next_leaf(page, target.end);
  }
  // If the source is registered now, then something was moved there since, and what this message speaks of
  // was pushed aside by it.
  std::size_t kept = 0;
  bool source_taken = false;
  for (std::size_t i = 0; i < orphan_count_; ++i) {
    source_taken = source_taken || from.contains(orphans_[i].page);
  }
  if (source_taken) {
    PageRange found[1];
    PageIndex scanned_to;
    source_taken = mmu_->scan_registered(from, found, &scanned_to) != 0;
  }
  if (!source_taken) {
    move_words(from, to);
  } else {
    for (std::size_t i = 0; i < orphan_count_; ++i) {
      if (from.contains(orphans_[i].page)) {
        place_word(to + (orphans_[i].page - from.begin), orphans_[i].word);
      } else {
        orphans_[kept++] = orphans_[i];
      }
    }
    orphan_count_ = kept;
  }
  // Where it was: if unmapped, a message follows; if kept (MREMAP_DONTUNMAP), it stays registered.
  (void)regions_.add(target);
  COLDPRESS_CHECK(moved_lately_.add(target));
}

void Space::forget_moves() {
  if ((orphan_count_ == 0 && moved_lately_.count() == 0) || mmu_->changing()) return;
  moved_lately_.clear();
  for (std::size_t i = 0; i < orphan_count_; ++i) drop_entry(orphans_[i].word.entry());
  orphan_count_ = 0;
}

// Drops the entry's bytes, whoever owns them.
void Space::drop_entry(swap::Entry entry) {
  swap::SlotWord slot{};
  COLDPRESS_CHECK(slots_.lock(entry, slot));
  switch (slot.state) {
    case State::kFrame:
      frames_.disowned({slot.payload});
      break;
    case State::kZswap:
      zswap_.drop(slot.payload);
      break;
    case State::kSame:
      take_from(group_->stats().same_filled_pages);
      break;
    case State::kFree:
      break;
  }
  slots_.unlock_and_free(entry);
}

void Space::drop_range(PageRange range, bool zapped) {
  if (zapped) {
    // Leaves must exist wherever a page is resident that could be captured.
    PageRange found[16];
    for (PageIndex at = range.begin; at < range.end;) {
      std::size_t runs = mmu_->scan_present({at, range.end}, 1 << 16, found, &at);
      for (std::size_t i = 0; i < runs; ++i) {
        for (PageIndex page = found[i].begin; page < found[i].end;
             page.value = (page.value / PageTable::kLeafPages + 1) * PageTable::kLeafPages) {
          COLDPRESS_CHECK(table_.ensure(page) != nullptr);
        }
      }
    }
  }
  std::uint64_t after = zapped ? PageWord::zapped().raw() : 0;
  for (PageIndex page = table_.next_leaf(range.begin, range.end); page < range.end;
       page = table_.next_leaf(page, range.end)) {
    PageIndex leaf_end{(page.value / PageTable::kLeafPages + 1) * PageTable::kLeafPages};
    if (range.end < leaf_end) leaf_end = range.end;
    PageTable::Word* word = table_.find(page);
    for (; page < leaf_end; page = page + 1, ++word) {
      PageWord old = PageWord::from_raw(word->exchange(after, sync::kAcqRel));
      if (old.is_entry()) drop_entry(old.entry());
    }
  }
}

void Space::move_words(PageRange from, PageIndex to) {
  for (PageIndex page = table_.next_leaf(from.begin, from.end); page < from.end;) {
    PageTable::Word* word = table_.find(page);
    PageWord moved = PageWord::from_raw(word->exchange(0, sync::kAcqRel));
    if (moved.raw() != 0) place_word(to + (page - from.begin), moved);
    page = page + 1;
    if (page.value % PageTable::kLeafPages == 0) page = table_.next_leaf(page, from.end);
  }
}

void Space::place_word(PageIndex page, PageWord moved) {
  store_word(page, moved);
  if (!moved.is_entry()) return;
  // A frame remembers its page, for the way back.
  swap::SlotWord slot{};
  COLDPRESS_CHECK(slots_.lock(moved.entry(), slot));
  if (slot.state == State::kFrame) frames_.set_owner({slot.payload}, {moved.entry(), page});
  slots_.unlock(moved.entry());
}

}  // namespace coldpress::vm
