// Readahead by address: a fault that follows where the one before it has ended brings its neighbours along,
// twice as many each time.
//
// Whether pages that were brought along are touched can not be seen; but when the next fault is for the page
// behind them, they were passed through. That is the hit that the window grows by; a fault elsewhere finds no
// such place and brings one page. So random access pays nothing, and several streams at once do not disturb
// each other: the places are kept in a table by the page that is expected next.
//
// "Behind" and "neighbours" are those of the pages that are out: what is resident does not fault, so a stream
// that comes upon memory of which every fourth page is there must neither end there nor begin anew. Up to
// kMostGap pages in a row are passed over.
//
// What is in the pool, or same-filled, is there at once. What is on a device was packed in the order in which
// it left, which is mostly that of the addresses: from the second read on a whole segment is read, and what
// follows comes from memory (DeviceStore::read()). The bytes are made ready without the layout mutex, one
// page after the other; then, under the layout mutex, as many of them as are still what they were are
// installed, each stretch of neighbours by one call.
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
constexpr std::uint32_t kMostGap = 8;

}  // namespace

sync::Atomic<std::uint64_t>& Space::expected_at(PageIndex page) {
  return readahead_.expected[(page.value * 0x9e3779b97f4a7c15) >> (64 - Readahead::kBits)];
}

// How many pages were brought before a fault of `page`, if that goes on where the last one has ended; else 0.
std::uint32_t Space::window_at(PageIndex page) {
  std::uint64_t expected = expected_at(page).load(sync::kRelaxed);
  return expected >> kWindowBits == page.value ? expected & ((1u << kWindowBits) - 1) : 0;
}

bool Space::follows(PageIndex page) {
  return readahead_.most.load(sync::kRelaxed) > 1 && window_at(page) > 0;
}

// A fault of `page` has brought `count` pages, of which `last` is the last. 0: it was in a frame still, which
// neither makes a stream nor ends one.
void Space::expect_after(PageIndex page, const Prepared& last, std::uint32_t count) {
  std::uint32_t window = count > 0 ? count : window_at(page);
  if (window == 0) return;
  PageIndex next = table_.next_out(page + last.at + 1, kMostGap);
  expected_at(next).store(next.value << kWindowBits | window, sync::kRelaxed);
}

// Makes ready what follows `page`, whose own bytes are in the first place: `room` pages in all, at most, none
// of them `reach` pages away. Returns how many there are now.
std::uint32_t Space::prepare_run(PageIndex page, Prepared (&run)[Worker::kMaxRun], std::int64_t room,
                                 std::uint64_t reach, Worker& worker) {
  std::uint32_t before = window_at(page);
  if (before > 0) add_to(group_->stats().swap_ra_hit, before - 1);
  std::uint32_t most = before > 0 ? std::min(before * 2, readahead_.most.load(sync::kRelaxed)) : 1;
  auto window = static_cast<std::uint32_t>(std::clamp<std::int64_t>(room, 1, most));
  if (window > 1 && run[0].word.state == State::kSame) zswap_.load_same(run[0].word.payload, worker.page);
  std::uint32_t count = 1;
  for (std::uint32_t at = 1; count < window && at < reach && at - run[count - 1].at <= kMostGap + 1; ++at) {
    Prepared& next = run[count];
    next = {};
    next.at = at;
    PageWord word = table_.get(page + at);
    if (!word.is_entry()) continue;
    next.entry = word.entry();
    if (slots_.try_lock(next.entry, next.word) != SlotTable::TryLock::kLocked) continue;
    std::byte* bytes = worker.page + count * kPageBytes;
    if (next.word.state == State::kFrame) {
      slots_.unlock(next.entry);
      continue;
    }
    if (loads_slowly(next.word.state)) {
      slots_.unlock(next.entry);
      if (!worker.devices) break;
      next = prepare_marked(page + at, true, worker, bytes);
      next.at = at;
      if (next.loaded != Loaded::kGood && sync::is_mutant(sync::Mutant::kMarkStays)) --worker.mark_count;
      if (!next.valid || next.word.state == State::kFrame || next.loaded != Loaded::kGood) break;
      ++count;
      continue;
    }
    if (sync::is_mutant(sync::Mutant::kRunUnlocked)) slots_.unlock(next.entry);
    bool there = next.word.state != State::kDevice || worker.devices;
    bool good = there && load(next.word, true, worker, bytes) == Loaded::kGood;
    if (!sync::is_mutant(sync::Mutant::kRunUnlocked)) slots_.unlock(next.entry);
    if (!good) break;
    next.valid = true;
    ++count;
  }
  return count;
}

// Installs as many pages of the run as are what they were; `count` of them in the end. Nothing but the first
// page has to be.
Space::Outcome Space::resolve_run(PageIndex page, bool write, Prepared (&run)[Worker::kMaxRun],
                                  std::uint32_t& count, Worker& worker) {
  std::uint32_t locked = 0;
  swap::SlotWord slots[Worker::kMaxRun];
  for (; locked < count; ++locked) {
    Prepared& expected = run[locked];
    PageWord word = table_.peek(page + expected.at);
    bool believes = sync::is_mutant(sync::Mutant::kRunEqualIsProof);
    if (believes && word.is_entry()) expected.entry = word.entry();
    if (!word.is_entry() || word.entry() != expected.entry) break;
    swap::SlotWord& slot = slots[locked];
    if (slots_.try_lock(expected.entry, slot) != SlotTable::TryLock::kLocked) break;
    if (believes || (slot.state == expected.word.state && slot.payload == expected.word.payload)) continue;
    slots_.unlock(expected.entry);
    break;
  }
  count = 1;
  if (locked >= 2) sync::mark("fault: a run comes at once");
  if (locked < 2) {
    if (locked == 1) slots_.unlock(run[0].entry);
    return resolve(page, write, run[0], worker);
  }
  std::uint32_t done = 0;
  os::MoveResult result{};
  while (done < locked) {
    std::uint32_t pages = 1;  // neighbours
    while (done + pages < locked && run[done + pages].at == run[done].at + pages) ++pages;
    PageIndex first = page + run[done].at;
    std::byte* bytes = worker.page + done * kPageBytes;
    result = mmu_->install_copy(first, bytes, pages);
    if (result.moved == 0 && result.status == os::MoveStatus::kGone && pages > 1) {
      result = mmu_->install_copy(first, bytes, 1);  // the run left the mapping
    }
    done += result.moved;
    if (result.moved < pages) break;
  }
  bool streams = !write && locked == readahead_.most.load(sync::kRelaxed);
  for (std::uint32_t i = 0; i < locked; ++i) {
    const Prepared& brought = run[i];
    if (i >= done) {
      slots_.unlock(brought.entry);
      continue;
    }
    PageIndex there = page + brought.at;
    PageWord word = table_.peek(there);
    store_resident(there, i == 0 ? word_after_load(there, word) : PageWord::native(word.backoff(), 1));
    count_load(there, brought.word.state, i == 0);
    if (streams && keep_copy(there, slots[i])) {
      slots_.unlock_and_free(brought.entry);
    } else {
      give_up(brought.entry, slots[i]);
    }
  }
  if (done == 0) return outcome_of(result);
  group_->charge(done);
  add_to(group_->stats().swap_ra, done - 1);
  count = done;
  return Outcome::kDone;
}

// Whether the pool keeps what it has of a page that is in memory now, brought by a stream: what comes one by
// one or in short runs would pay for its copies with more faults than they are worth (docs/performance.md).
// Only the process's own memory is spent on it, and none where the pool is to be small.
bool Space::keep_copy(PageIndex page, swap::SlotWord slot) {
  if (slot.state != State::kZswap || slot.count > 1 || owners_.at(page) != memgroup::kProcess) return false;
  return copies_allowed() && zswap_.keep(slot.payload, page);
}

bool Space::copies_allowed() const {
  return zswap_.enabled() && !pool_full_.load(sync::kRelaxed) &&
         zswap_max_bytes_.load(sync::kRelaxed) == kNoZswapMax;
}

}  // namespace coldpress::vm
