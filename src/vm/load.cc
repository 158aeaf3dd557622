// Makes the bytes of a page ready that is out, without the layout mutex: from the pool under the slot's lock,
// from a device with a mark in the page word besides (vm/load_marks.h says what for).
#include "sync/explore.h"
#include "vm/space.h"

namespace coldpress::vm {

using memgroup::add_to;
using swap::SlotTable;
using swap::State;

// Whether the page has a mark while it is loaded, not only the slot's lock.
bool Space::loads_slowly(State state) {
  if (sync::is_variant(sync::Variant::kPins) || sync::is_mutant(sync::Mutant::kNoMark)) return false;
  return state == State::kDevice || (state == State::kZswap && sync::is_variant(sync::Variant::kMarks));
}

Prepared Space::prepare(PageIndex page, Worker& worker) {
  Prepared prepared{};
  PageWord word = table_.get(page);
  if (!word.is_entry()) return prepared;
  prepared.entry = word.entry();
  // In use: what to wait for, the page word says once it is looked at under the layout mutex.
  if (slots_.try_lock(prepared.entry, prepared.word) != SlotTable::TryLock::kLocked) return prepared;
  if (sync::is_mutant(sync::Mutant::kPublishFirst)) make_room(worker);
  State state = prepared.word.state;
  prepared.out_of_reach = state == State::kDevice && !worker.devices;
  if (loads_slowly(state) && !prepared.out_of_reach) {
    slots_.unlock(prepared.entry);
    return prepare_marked(page, follows(page), worker, worker.page);
  }
  if (sync::is_mutant(sync::Mutant::kNoPin)) slots_.unlock(prepared.entry);
  bool zeros = state == State::kSame && zswap_.is_zero(prepared.word.payload);  // no bytes are needed
  if (!zeros && !prepared.out_of_reach)
    prepared.loaded = load(prepared.word, follows(page), worker, worker.page);
  prepared.valid = true;
  if (sync::is_mutant(sync::Mutant::kExclusiveLoad) && state == State::kZswap &&
      prepared.loaded == Loaded::kGood) {
    zswap_.drop(prepared.word.payload);
    add_to(group_->stats().same_filled_pages);
    prepared.word = {State::kSame, 0, prepared.word.generation, 0};  // 0: the bytes are nowhere else
    slots_.unlock(prepared.entry, State::kSame, 0);
  } else if (!sync::is_mutant(sync::Mutant::kNoPin)) {
    slots_.unlock(prepared.entry);
  }
  return prepared;
}

// The bytes of a slot that is locked, unless they are in a frame. `many`: what follows is wanted next.
Loaded Space::load(swap::SlotWord slot, bool many, Worker& worker, std::byte* page) {
  switch (slot.state) {
    case State::kZswap:
      return zswap_.load(worker.store, slot.payload, page) == zswap::LoadResult::kLoaded ? Loaded::kGood
                                                                                         : Loaded::kDamaged;
    case State::kSame:
      zswap_.load_same(slot.payload, page);
      return Loaded::kGood;
    case State::kDevice:
      return load_from_device(slot.payload, many, worker, page);
    case State::kLost:
      return Loaded::kDamaged;
    case State::kFrame:
      return Loaded::kGood;
    case State::kFree:
      break;
  }
  COLDPRESS_CHECK(!"a slot that is locked is free");
}

// As prepare(). Not valid: somebody is at the slot, or the page has come or gone meanwhile. Else the worker
// may have a mark now, whatever was loaded.
Prepared Space::prepare_marked(PageIndex page, bool many, Worker& worker, std::byte* bytes) {
  Prepared prepared{};
  {
    sync::MutexLock lock(layout_);
    PageWord word = table_.peek(page);
    if (!word.is_entry()) return prepared;
    prepared.entry = word.entry();
    if (slots_.try_lock(prepared.entry, prepared.word) != SlotTable::TryLock::kLocked) return prepared;
    std::uint32_t mark = loads_slowly(prepared.word.state) ? marks_.put(page, word) : LoadMarks::kNone;
    if (mark != LoadMarks::kNone) {
      store_word(page, PageWord::loading(mark));
      worker.marks[worker.mark_count++] = mark;
    }
  }
  sync::mark("fault: loads with a mark");
  bool pinned =
      !sync::is_mutant(sync::Mutant::kNoPin) && (!many || !sync::is_mutant(sync::Mutant::kRunUnlocked));
  if (!pinned) slots_.unlock(prepared.entry);
  prepared.loaded = load(prepared.word, many, worker, bytes);
  if (pinned) slots_.unlock(prepared.entry);
  prepared.valid = true;
  return prepared;
}

void Space::take_marks_off(Worker& worker) {
  while (worker.mark_count > 0) {
    std::uint32_t mark = worker.marks[--worker.mark_count];
    PageWord entry = marks_.entry(mark);
    PageIndex at = marks_.page(mark);
    switch (marks_.take_off(mark)) {
      case LoadMarks::Fate::kStayed:
        COLDPRESS_CHECK(table_.peek(at) == PageWord::loading(mark));
        store_word(at, entry);
        break;
      case LoadMarks::Fate::kGivenUp:
        sync::mark("fault: the page was given up while it was read");
        drop_entry(entry.entry());
        break;
      case LoadMarks::Fate::kTaken:
        break;
      case LoadMarks::Fate::kFree:
        COLDPRESS_CHECK(!"a mark in use is free");
    }
  }
}

// What must be waited for before the page can be served.
Busy Space::at_mark(PageWord word) { return {word.mark(), marks_.ticket(word.mark()), {}}; }
Busy Space::at_slot(swap::Entry entry) { return {LoadMarks::kNone, slots_.ticket(entry.slot), entry.slot}; }

void Space::wait_for(const Busy& busy) {
  if (busy.mark != LoadMarks::kNone) {
    sync::mark("fault: sleeps on a mark");
    marks_.wait(busy.mark, busy.ticket);
    return;
  }
  sync::mark("fault: sleeps on the slot");
  if (sync::is_mutant(sync::Mutant::kPollForSlot)) {
    sync::sleep_ns(1000);
  } else {
    slots_.wait(busy.slot, busy.ticket);
  }
}

void Space::give_up_loading(PageWord word) {
  if (sync::is_mutant(sync::Mutant::kMarkForgetsZap)) return;
  swap::Entry entry = marks_.entry(word.mark()).entry();
  marks_.give_up(word.mark());
  if (sync::is_mutant(sync::Mutant::kMarkDropsTwice)) drop_entry(entry);
}

}  // namespace coldpress::vm
