// Makes the bytes of a page ready that is out, without the layout mutex: from the pool under the slot's lock,
// from a device with a mark in the page word besides (vm/load_marks.h says what for).
#include <utility>

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
    case State::kFree:
      break;
  }
  return Loaded::kGood;
}

// As prepare(). Not valid: somebody is at the slot, or the page has come or gone meanwhile. A mark must be
// taken off whatever was loaded.
Prepared Space::prepare_marked(PageIndex page, bool many, Worker& worker, std::byte* bytes) {
  Prepared prepared{};
  {
    sync::MutexLock lock(layout_);
    PageWord word = table_.peek(page);
    if (!word.is_entry()) return prepared;
    prepared.entry = word.entry();
    if (slots_.try_lock(prepared.entry, prepared.word) != SlotTable::TryLock::kLocked) return prepared;
    if (loads_slowly(prepared.word.state)) prepared.mark = marks_.put(page, word);
    if (prepared.mark != LoadMarks::kNone) {
      store_word(page, PageWord::loading(prepared.mark));
      ++worker.marks;
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

// Of the run's pages, and of the one behind it, which was tried in vain.
void Space::take_marks_off(PageIndex page, Prepared (&run)[Worker::kMaxRun], std::uint32_t count) {
  for (std::uint32_t i = 0; i <= count && i < Worker::kMaxRun; ++i) {
    std::uint32_t mark = std::exchange(run[i].mark, LoadMarks::kNone);
    if (mark == LoadMarks::kNone) continue;
    if (i == count && sync::is_mutant(sync::Mutant::kMarkStays)) continue;
    PageWord entry = marks_.entry(mark);
    PageIndex at = marks_.page(mark);
    switch (marks_.take_off(mark)) {
      case LoadMarks::Fate::kStayed:
        if (at != page + i) sync::mark("fault: the page was moved while it was read");
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

void Space::give_up_loading(PageWord word) {
  if (sync::is_mutant(sync::Mutant::kMarkForgetsZap)) return;
  swap::Entry entry = marks_.entry(word.mark()).entry();
  marks_.give_up(word.mark());
  if (sync::is_mutant(sync::Mutant::kMarkDropsTwice)) drop_entry(entry);
}

}  // namespace coldpress::vm
