// Readahead by address: a fault that follows where the one before it has ended brings its neighbours along,
// twice as many each time, installed by one call.
//
// Whether pages that were brought along are touched can not be seen; but when the next fault is for the page
// right behind them, they were passed through. That is the hit that the window grows by; a fault elsewhere
// finds no such place and brings one page. So random access pays nothing, and several streams at once do not
// disturb each other: the places are kept in a table by the page that is expected next.
//
// What is in the pool, or same-filled, is there at once. What is on a device was packed in the order in which
// it left, which is mostly that of the addresses: from the second read on a whole segment is read, and what
// follows comes from memory (DeviceStore::read()). The bytes are made ready without the layout mutex, one
// page after the other; then, under the layout mutex, as many of them as are still
// what they were are installed together.
#include <algorithm>

#include "codec/page_content.h"
#include "sync/explore.h"
#include "vm/space.h"

namespace coldpress::vm {

using memgroup::add_to;
using memgroup::take_from;
using swap::SlotTable;
using swap::State;
namespace {

constexpr unsigned kWindowBits = 8;

}  // namespace

sync::Atomic<std::uint64_t>& Space::expected_at(PageIndex page) {
  return readahead_.expected[(page.value * 0x9e3779b97f4a7c15) >> (64 - Readahead::kBits)];
}

// How many pages a fault of `page` is to bring.
std::uint32_t Space::window_at(PageIndex page) {
  std::uint64_t expected = expected_at(page).load(sync::kRelaxed);
  if (expected >> kWindowBits != page.value) return 1;
  auto before = static_cast<std::uint32_t>(expected & ((1u << kWindowBits) - 1));
  add_to(group_->stats().swap_ra_hit, before - 1);
  return std::min(before * 2, readahead_.most.load(sync::kRelaxed));
}

// Whether a fault of `page` goes on where the last one has ended.
bool Space::follows(PageIndex page) {
  return readahead_.most.load(sync::kRelaxed) > 1 &&
         expected_at(page).load(sync::kRelaxed) >> kWindowBits == page.value;
}

void Space::expect(PageIndex next, std::uint32_t window) {
  expected_at(next).store(next.value << kWindowBits | window, sync::kRelaxed);
}

// Makes ready what follows `page`, whose own bytes are in the first place; `room` pages in all, at most.
// Returns how many there are now.
std::uint32_t Space::prepare_run(PageIndex page, Prepared (&run)[Worker::kMaxRun], std::int64_t room,
                                 Worker& worker) {
  auto window = static_cast<std::uint32_t>(std::clamp<std::int64_t>(room, 1, window_at(page)));
  std::uint32_t count = 1;
  if (window > 1 && run[0].word.state == State::kSame) zswap_.load_same(run[0].word.payload, worker.page);
  if (run[0].word.state == State::kDevice && !worker.devices) return 1;
  for (; count < window; ++count) {
    Prepared& next = run[count];
    next = {};
    PageWord word = table_.get(page + count);
    if (!word.is_entry()) break;
    next.entry = word.entry();
    if (slots_.try_lock(next.entry, next.word) != SlotTable::TryLock::kLocked) break;
    std::byte* bytes = worker.page + count * kPageBytes;
    if (loads_slowly(next.word.state)) {
      slots_.unlock(next.entry);
      if (!worker.devices) break;
      next = prepare_marked(page + count, true, worker, bytes);
      if (next.loaded != Loaded::kGood && sync::is_mutant(sync::Mutant::kMarkStays)) --worker.mark_count;
      if (!next.valid || next.word.state == State::kFrame || next.loaded != Loaded::kGood) break;
      continue;
    }
    if (sync::is_mutant(sync::Mutant::kRunUnlocked)) slots_.unlock(next.entry);
    bool there = next.word.state != State::kFrame && (next.word.state != State::kDevice || worker.devices);
    bool good = there && load(next.word, true, worker, bytes) == Loaded::kGood;
    if (!sync::is_mutant(sync::Mutant::kRunUnlocked)) slots_.unlock(next.entry);
    if (!good) break;
    next.valid = true;
  }
  return count;
}

// Installs as many pages of the run as are what they were. Nothing but the first page has to be.
Space::Outcome Space::resolve_run(PageIndex page, bool write, Prepared (&run)[Worker::kMaxRun],
                                  std::uint32_t count, Worker& worker) {
  std::uint32_t locked = 0;
  swap::SlotWord slots[Worker::kMaxRun];
  for (; locked < count; ++locked) {
    Prepared& expected = run[locked];
    PageWord word = table_.peek(page + locked);
    bool believes = sync::is_mutant(sync::Mutant::kRunEqualIsProof);
    if (believes && word.is_entry()) expected.entry = word.entry();
    if (!word.is_entry() || word.entry() != expected.entry) break;
    swap::SlotWord& slot = slots[locked];
    if (slots_.try_lock(expected.entry, slot) != SlotTable::TryLock::kLocked) break;
    if (believes || (slot.state == expected.word.state && slot.payload == expected.word.payload)) continue;
    slots_.unlock(expected.entry);
    break;
  }
  if (locked >= 2) sync::mark("fault: a run comes at once");
  if (locked < 2) {
    if (locked == 1) slots_.unlock(run[0].entry);
    return resolve(page, write, run[0], worker);
  }
  os::MoveResult result = mmu_->install_copy(page, worker.page, locked);
  if (result.moved == 0 && result.status == os::MoveStatus::kGone) {
    result = mmu_->install_copy(page, worker.page, 1);  // the run left the mapping
  }
  for (std::uint32_t i = 0; i < locked; ++i) {
    const Prepared& done = run[i];
    if (i >= result.moved) {
      slots_.unlock(done.entry);
      continue;
    }
    PageWord word = table_.peek(page + i);
    store_resident(page + i, i == 0 ? word_after_load(page, word) : PageWord::native(word.backoff(), 1));
    count_load(page + i, done.word.state, i == 0);
    give_up(done.entry, slots[i]);
  }
  if (result.moved == 0) return outcome_of(result);
  group_->charge(result.moved);
  add_to(group_->stats().swap_ra, result.moved - 1);
  expect(page + result.moved, result.moved);
  return Outcome::kDone;
}

}  // namespace coldpress::vm
