// Layout messages: what the program did to its mappings, followed exactly.
//
// REMOVE (MADV_DONTNEED, MADV_FREE) is the delicate one. The kernel sends it before it drops the pages, and
// the caller goes on as soon as the message was taken. A page captured between the two would escape the
// drop and come back with its old content. So every page of the range is marked zapped: it is not captured
// until it was filled again. In a registered range every hole is filled by the engine, so the mark goes at
// the right moment whatever the timing, and a page that still carries it is one that the kernel has not
// dropped yet (or, after MADV_FREE, may never drop).
//
// Order. The kernel changes the page tables first and queues the message a little later, so the messages of
// two threads can come in the wrong order. T1 unmaps X, or moves it to B; T2 moves C to X, which is free now;
// and "C moved to X" is read while X, by the messages so far, is still in use. X was overtaken (overtaken.h).
// Then one "X unmapped" is still to come for what was in X, and before it perhaps one "X moved to B".
// Meanwhile the newcomer may be unmapped or move on as well, with a message of the same kind for the same
// place. So each message about such a place must be given to the right one:
//  - By what is known when a place is overtaken. The kernel has done already whatever became of the old
//    content: if nothing is registered that the messages do not account for, then it was not moved.
//  - By what the kernel says when the message comes: if the place is registered, then the newcomer is still
//    there, and it is the old content that the message speaks of.
//  - By order. Nobody changes what a call that has not returned yet is moving; so what becomes of the
//  newcomer
//    was begun after the message of its move was taken.
// A place can come into use without a message: a mapping that grows in place (mremap) is registered to its
// new end. If the newcomer comes to such a place, no record is opened. Therefore, where something was moved
// to lately, an unmap drops only what is not registered now, and a move that begins or ends outside of what
// came does not speak of the newcomer, unless that has grown in place meanwhile (newcomer_moved).
//
// "Lately" ends, and words that are left belong to nobody, when the kernel says that no change is under way:
// every message was taken then. It is asked before a message is read (forget_moves). Nothing is installed or
// captured meanwhile: until the last such message is taken, the kernel refuses.
#include "sync/explore.h"
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

// Called when a move answered kChanging: takes messages until a layout message was processed (true) or none
// waits.
bool Space::drain_messages(Worker& worker) {
  // A program's thread does not: following a fork takes the engine's descriptors.
  if (worker.devices) {
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
      return true;
    }
  }
  // The change has begun but its message is not there yet, or was just taken by another server. The kernel
  // offers nothing to sleep on for this; it lasts as long as one munmap.
  sync::sleep_ns(20000);
  return false;
}

// Takes the words of the range that are not 0 out of the page table, each to be looked after by `receive`.
template <typename Receive>
void Space::take_words(PageRange range, Receive receive) {
  for (PageIndex page = table_.next_leaf(range.begin, range.end); page < range.end;) {
    PageTable::Word* word = table_.find(page);
    PageWord taken = PageWord::from_raw(word->exchange(0, sync::kRelease));  // E
    if (taken.raw() != 0) receive(page, taken);
    page = table_.next(page, range.end);
  }
}

void Space::process(const os::Message& message, Worker& worker) {
  add_to(group_->stats().layout_messages);
  ++layout_changes_;
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
  while (!range.empty()) {
    Overtaken::Found old = overtaken_.oldest(range);
    PageRange part = old.range;
    if (!old.any) {
      forget_gone(part);
    } else if (newcomer_left(part) && old.may_move) {
      set_aside(part);
    } else {
      overtaken_.take_words(old.number, part, [&](PageIndex, PageWord word) NO_THREAD_SAFETY_ANALYSIS {
        drop_entry(word.entry());
      });
      overtaken_.close(old.number, part);
    }
    range.begin = part.end;
  }
}

void Space::remap(PageRange from, PageIndex to) {
  PageRange target{to, to + from.pages()};
  zswap_.forget_kept(from);
  overtake(target);
  for (PageRange rest = from; !rest.empty();) {
    Overtaken::Found old = overtaken_.oldest(rest);
    PageRange part = old.range;
    PageIndex to_part = to + (part.begin - from.begin);
    if (!old.any) {
      PageRange came = intersect(moved_lately_.at_or_after(part.begin), {part.begin, part.end});
      bool others = came.begin == part.begin && !came.empty() && !moved_lately_.contains(from);
      if (others) {
        part = came;
        others = !newcomer_left(part) && !newcomer_moved(from, part, to_part);
      } else if (!came.empty() && part.begin < came.begin) {
        part.end = came.begin;
      }
      if (!others) move_words(part, to_part);
    } else if (speaks_of_newcomer(old, part, to_part)) {
      move_words(part, to_part);
    } else {
      std::uint32_t number = old.number;
      if (!overtaken_.arrived_then(old.number, to_part) && !regions_.contains({part.begin, part.begin + 1})) {
        // Not where the old content could go, and whoever came next was set aside: it is theirs.
        Overtaken::Found next = overtaken_.oldest(part, old.number);
        part = next.range;
        if (next.any) number = next.number;
      }
      overtaken_.take_words(number, part, [&](PageIndex page, PageWord word) NO_THREAD_SAFETY_ANALYSIS {
        place_word(to + (page - from.begin), word);
      });
      overtaken_.has_moved(number, part);
    }
    rest.begin = part.end;
  }
  move_owners(from, to);
  // Where it was: if unmapped, a message follows; if kept (MREMAP_DONTUNMAP), it stays registered.
  (void)regions_.add(target);
  COLDPRESS_CHECK(moved_lately_.add(target) && left_lately_.add(from));
}

// Somebody was moved to `target`: what is in use there, by the messages so far, was overtaken.
void Space::overtake(PageRange target) {
  bool asked = false, arrivals = false;
  overtaken_.next_move();
  for (PageIndex at = target.begin; at < target.end;) {
    PageRange used = intersect(regions_.at_or_after(at), {at, target.end});
    if (used.empty()) break;
    // It was kept from its unmap because it was registered, and it was by who comes now.
    PageRange kept = intersect(kept_lately_.at_or_after(used.begin), used);
    if (!kept.empty() && kept.begin == used.begin) {
      forget_part(kept);
      kept_lately_.remove(kept);
      at = kept.end;
      continue;
    }
    if (!kept.empty()) used.end = kept.begin;
    // What has told of its move already does not move again.
    PageRange left = intersect(left_lately_.at_or_after(used.begin), used);
    bool may_move = left.empty() || used.begin < left.begin;
    if (may_move && !left.empty()) used.end = left.begin;
    if (!may_move) used.end = left.end;
    if (!asked) {
      asked = true;
      arrivals = find_arrivals(target);
    }
    COLDPRESS_CHECK(overtaken_.add(used, may_move && arrivals));
    take_words(used,
               [&](PageIndex page, PageWord word) NO_THREAD_SAFETY_ANALYSIS { keep_or_forget(page, word); });
    at = used.end;
  }
  take_words(target, [&](PageIndex, PageWord word) NO_THREAD_SAFETY_ANALYSIS { forget_word(word); });
}

// Notes what is registered, apart from `target` and the frames, that the messages so far do not account for.
// Whether there is anything.
bool Space::find_arrivals(PageRange target) {
  PageIndex first_frame = page_of(reinterpret_cast<std::uint64_t>(mmu_->frame_data({0})));
  PageRange frames{first_frame, first_frame + mmu_->frame_count()};
  bool any = false;
  for (PageIndex at{0}; at < kEndOfPages;) {
    PageRange next = regions_.at_or_after(at);
    PageRange gap{at, next.empty() ? kEndOfPages : next.begin};
    while (!gap.empty()) {
      PageRange found[16];
      std::size_t runs = mmu_->scan_registered(gap, found, &gap.begin);
      for (std::size_t i = 0; i < runs; ++i) {
        for (PageRange known : {target, frames}) {
          if (known.contains(found[i].begin)) found[i].begin = known.end;
          if (known.begin < found[i].end && found[i].end <= known.end) found[i].end = known.begin;
        }
        if (found[i].empty()) continue;
        any = true;
        COLDPRESS_CHECK(overtaken_.add_arrival(found[i]));
      }
    }
    at = next.empty() ? kEndOfPages : next.end;
  }
  return any;
}

// Whether a move of `part`, where somebody was overtaken, to `to` is the newcomer's. Shortens `part` to the
// pages for which the answer is that of the first.
bool Space::speaks_of_newcomer(const Overtaken::Found& old, PageRange& part, PageIndex to) {
  if (overtaken_.arrived_then(old.number, to)) return false;
  if (newcomer_left(part)) return true;
  // The newcomer is there: it moved on and its place was kept (MREMAP_DONTUNMAP); or it stayed, and the old
  // content went to a place that was overtaken too, so that its arrival could not be seen.
  auto in = [](const RegionMap& map, PageIndex page) { return map.contains({page, page + 1}); };
  return in(regions_, part.begin) && !in(regions_, to) && !in(gone_lately_, to);
}

// Whether the pages are in use by the messages so far, and not any more by the kernel's own view. Shortens
// `part` to the pages for which the answer is that of the first.
bool Space::newcomer_left(PageRange& part) {
  PageRange used = intersect(regions_.at_or_after(part.begin), part);
  if (used.empty()) return false;
  if (part.begin < used.begin) {
    part.end = used.begin;
    return false;
  }
  part = used;
  PageRange registered[1];
  PageIndex scanned_to;
  if (mmu_->scan_registered(part, registered, &scanned_to) == 0) return true;
  bool left = part.begin < registered[0].begin;
  part.end = left ? registered[0].begin : registered[0].end;
  return left;
}

// Whether what came to `part` of `from` lately, and is registered still, is what moved to `to` with all of
// `from`: it had grown in place, and its place was kept (MREMAP_DONTUNMAP). Then nothing is present there:
// who touches the place waits until this message was taken. Somebody else's old content, of which no word was
// known, was never filled: nothing is present where that went. If neither side has anything, it is the
// newcomer's if all of `from` is kept: what others left has no other part of it registered.
bool Space::newcomer_moved(PageRange from, PageRange part, PageIndex to) {
  auto present = [&](PageRange range) {
    PageRange found[1];
    PageIndex at = range.begin;
    return mmu_->scan_present(range, 1, found, &at) > 0;
  };
  if (present(part)) return false;
  if (present({to, to + part.pages()})) return true;
  PageRange registered[1];
  PageIndex scanned_to;
  return mmu_->scan_registered(from, registered, &scanned_to) > 0 && registered[0] == from;
}

// An unmap that could be of the old content or of the newcomer, who has left too, and may have moved. Nothing
// is dropped: the next move tells by where it goes, and what is left then goes when all is calm.
void Space::set_aside(PageRange range) {
  overtaken_.next_move();
  COLDPRESS_CHECK(overtaken_.add(range, true) && gone_lately_.add(range));
  take_words(range,
             [&](PageIndex page, PageWord word) NO_THREAD_SAFETY_ANALYSIS { keep_or_forget(page, word); });
  regions_.remove(range);
  pinned_.remove(range);
  owners_.remove(range);
}

void Space::keep_or_forget(PageIndex page, PageWord word) {
  if (word.is_loading()) word = marks_.take(word.mark());
  if (word.is_entry()) {
    COLDPRESS_CHECK(overtaken_.keep(page, word));
  } else {
    forget_word(word);
  }
}

void Space::forget_part(PageRange range) {
  if (range.empty()) return;
  drop_range(range, false);
  regions_.remove(range);
  pinned_.remove(range);
  owners_.remove(range);
  if (!overtaken_.empty()) COLDPRESS_CHECK(gone_lately_.add(range));
}

// Unmapped, and nobody there was overtaken.
void Space::forget_gone(PageRange range) {
  for (PageIndex at = range.begin; at < range.end;) {
    PageRange moved = intersect(moved_lately_.at_or_after(at), range);
    if (moved.empty()) moved = {range.end, range.end};
    forget_part({at, moved.begin});
    for (at = moved.begin; at < moved.end;) {
      PageRange found[16];
      PageIndex scanned_to;
      std::size_t runs = mmu_->scan_registered({at, moved.end}, found, &scanned_to);
      for (std::size_t i = 0; i < runs; ++i) {
        forget_part({at, found[i].begin});
        COLDPRESS_CHECK(kept_lately_.add(found[i]));
        at = found[i].end;
      }
      forget_part({at, scanned_to});
      at = scanned_to;
    }
  }
}

void Space::forget_moves() {
  if ((moved_lately_.count() == 0 && left_lately_.count() == 0) || mmu_->changing()) return;
  moved_lately_.clear();
  left_lately_.clear();
  gone_lately_.clear();
  kept_lately_.clear();
  overtaken_.clear([&](PageIndex, PageWord word) NO_THREAD_SAFETY_ANALYSIS { drop_entry(word.entry()); });
}

void Space::drop_entry(swap::Entry entry) {
  swap::SlotWord slot{};
  COLDPRESS_CHECK(slots_.lock(entry, slot));
  give_up(entry, slot);
}

void Space::drop_range(PageRange range, bool zapped) {
  zswap_.forget_kept(range);
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
      PageWord old = PageWord::from_raw(word->exchange(after, sync::kRelease));  // E
      forget_word(old);
    }
  }
}

void Space::move_words(PageRange from, PageIndex to) {
  take_words(from, [&](PageIndex page, PageWord word)
                       NO_THREAD_SAFETY_ANALYSIS { place_word(to + (page - from.begin), word); });
}

void Space::place_word(PageIndex page, PageWord moved) {
  store_word(page, moved);
  if (moved.is_loading()) {
    sync::mark("fault: the page was moved while it was read");
    if (!sync::is_mutant(sync::Mutant::kMarkMoves)) marks_.move(moved.mark(), page);
  }
  if (!moved.is_entry()) return;
  // A frame remembers its page, for the way back.
  swap::SlotWord slot{};
  COLDPRESS_CHECK(slots_.lock(moved.entry(), slot));
  if (slot.state == State::kFrame) {
    swap::Owner owner = frames_.owner({slot.payload}).entry;
    if (sync::is_mutant(sync::Mutant::kLosePayer)) owner.account = memgroup::kProcess;
    frames_.set_owner({slot.payload}, {owner, page});
  }
  slots_.unlock(moved.entry());
}

}  // namespace coldpress::vm
