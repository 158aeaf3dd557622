// Writeback: the oldest compressed pages go on to a swap device.
//
// Who is to go is asked of zswap's LRU, which takes nobody off its list: it gives copies of what it knows
// (zswap.h). By the time the slot is locked all of it may be out of date, so the slot's word decides: the
// same incarnation, the same owner, the same entry. Then the compressed bytes are packed, and the slot is let
// go; until the write has been reaped as done the pool remains the owner, and a touch in between is served
// from it. When the write is done the slot is asked again, and ownership moves, or, if the page has come back
// or gone for good meanwhile, the copy on the device is dropped (settle()). A write that failed changes
// nothing.
//
// Cleaning of segments goes the same way, from the device to the device.
//
// When: the pool has outgrown its share of the limit (max_pool_percent), until it is back at the accept
// threshold; as the shrinker has it (shrinker.cc); and, whatever its size, when the limit can not be held
// otherwise. One thread at a time is the
// writer; writes are under way while it goes on, and only a fault that found no memory waits for one.
#include <algorithm>

#include "base/log.h"
#include "sync/explore.h"
#include "sync/futex.h"
#include "vm/space.h"

namespace coldpress::vm {

using memgroup::add_to;
using swap::State;
namespace {

constexpr std::int64_t kPatienceNs = 10'000'000;
constexpr std::uint64_t kMostVictims = 4096;  // looked at for one segment

}  // namespace

// With hysteresis, as zswap's: what is under way counts as gone.
bool Space::pool_is_full() {
  if (zswap_max_left() < 0) return true;
  auto limit = static_cast<std::uint64_t>(group_->limit());
  // Raw pages save nothing in the pool: they are on their way through it.
  std::uint64_t most = zswap_.enabled() ? limit * max_pool_percent_.load(sync::kRelaxed) / 100 : 0;
  std::uint64_t pool = zswap_.pool().pages();  // what it only keeps is given back, not written
  std::uint64_t leaving = devices_.leaving_bytes() >> kPageShift;
  pool = pool > leaving ? pool - leaving : 0;
  if (!pool_full_.load(sync::kRelaxed)) {
    if (pool <= most) return false;
    add_to(group_->stats().pool_limit_hit);
    pool_full_.store(true, sync::kRelaxed);
  } else if (pool <= most * accept_threshold_percent_.load(sync::kRelaxed) / 100) {
    pool_full_.store(false, sync::kRelaxed);
  }
  return pool_full_.load(sync::kRelaxed);
}

void Space::set_pool_share(std::uint32_t percent, std::uint32_t accept_percent) {
  max_pool_percent_.store(percent, sync::kRelaxed);
  accept_threshold_percent_.store(accept_percent, sync::kRelaxed);
}

// Bytes until the pool holds what it may, without what is under way.
std::int64_t Space::zswap_max_left() const {
  return zswap_max_bytes_.load(sync::kRelaxed) + static_cast<std::int64_t>(devices_.leaving_bytes()) -
         static_cast<std::int64_t>(group_->stats().stored_bytes.load(sync::kRelaxed));
}

bool Space::write_back(WritebackNeed need, Worker& worker, memgroup::AccountId account) {
  if (!worker.devices) return false;
  // What is written while a fork waits for the gate the child would not know of.
  if (usage_source_ != nullptr && !usage_source_->keep_going()) return false;
  if (has_swap() && !devices_.in_use()) {
    if (group_->stats().stored_pages.load(sync::kRelaxed) == 0) return false;  // nothing to write
    if (swap_offered_.exchange(false) && usage_source_ != nullptr) usage_source_->make_swap();
  }
  if (!devices_.in_use()) return false;
  if (!devices_.writer().try_lock()) return false;  // somebody is at it
  // Progress is what leaves the pool.
  const auto& left = group_->stats().zswpwb;
  std::uint64_t before = left.load(sync::kRelaxed);
  while (settle_writes(0)) {
  }
  bool progress = false;
  bool full = account == memgroup::kProcess ? pool_is_full() : group_->accounts().zswap_full(account);
  bool wanted = has_swap() && (need >= WritebackNeed::kShrink || full);
  if (full && zswap_max_left() < 0) add_to(group_->stats().zswap_max_hit);
  memgroup::Accounts& accounts = group_->accounts();
  accounts.count(accounts.at_zswap_max(account), &memgroup::Account::reached_zswap_max);
  if (wanted && swap_full()) {
    add_to(group_->stats().swap_max_hit);
  } else if (wanted) {
    writing_.store(true, sync::kRelaxed);
    progress = pack(account);
    writing_.store(false, sync::kRelaxed);
  }
  if (!progress && need == WritebackNeed::kLastResort) settle_writes(kPatienceNs);
  progress = progress || left.load(sync::kRelaxed) != before;
  devices_.writer().unlock();
  tell_settled();
  return progress;
}

// Cleaning is done here only, once for each tick of the monitor: it frees no memory by itself, and a fault
// that waited for it would wait for two transfers of a segment.
void Space::tidy_devices(Worker& worker) {
  if (!worker.devices || !devices_.in_use()) return;
  if (usage_source_ != nullptr && !usage_source_->keep_going()) return;
  if (!devices_.writer().try_lock()) return;
  while (settle_writes(0)) {
  }
  writing_.store(true, sync::kRelaxed);
  if (has_swap()) devices_.clean();
  devices_.discard_some();
  writing_.store(false, sync::kRelaxed);
  devices_.writer().unlock();
  tell_settled();
}

// The next entry to go, of the accounts in `scope` that may write back: a few of each in turn.
bool Space::next_victim(memgroup::AccountId scope, zswap::Zswap::Victim* victim) {
  constexpr std::uint32_t kOfEach = 32;
  const memgroup::Accounts& accounts = group_->accounts();
  if (!accounts.any()) return zswap_.next_victim(victim);
  for (std::size_t looked_at = 0; looked_at <= accounts.end(); ++looked_at) {
    bool has = zswap_.listed(victims_of_) > 0 && accounts.within(victims_of_, scope);
    if (!has && victims_of_ != 0 && sync::is_mutant(sync::Mutant::kEmptyGroupEnds)) return false;
    if (has && may_write_back(victims_of_) && victims_left_ > 0) {
      --victims_left_;
      if (zswap_.next_victim(victim, victims_of_)) return true;
    }
    victims_of_ = static_cast<memgroup::AccountId>(victims_of_ + 1u < accounts.end() ? victims_of_ + 1 : 0);
    victims_left_ = kOfEach;
  }
  return false;
}

// Packs the oldest entries into one segment. false: no room, or nothing to pack.
bool Space::pack(memgroup::AccountId scope) {
  if (!devices_.begin()) return false;
  std::uint32_t packed = 0;
  std::uint64_t most = 0;  // each once
  memgroup::Accounts& accounts = group_->accounts();
  for (std::size_t i = 0; i < accounts.end(); ++i) {
    auto id = static_cast<memgroup::AccountId>(i);
    if (!accounts.within(id, scope)) continue;
    most += zswap_.listed(id);
    if (zswap_.listed(id) > 0 && accounts.writes_back(id)) {
      accounts.count(accounts.at_swap_max(id), &memgroup::Account::reached_swap_max);
    }
  }
  most = std::min(most, kMostVictims);
  for (std::uint64_t looked_at = 0; looked_at < most; ++looked_at) {
    zswap::Zswap::Victim victim;
    if (swap_full() || !next_victim(scope, &victim)) break;
    swap::SlotWord slot{};
    bool touched = sync::is_mutant(sync::Mutant::kTouchBeforeLock) && zswap_.begin_writing(victim.entry);
    if (slots_.try_lock(victim.owner, slot) != swap::SlotTable::TryLock::kLocked) {
      sync::mark("writeback: the victim is in use, or gone");
      continue;
    }
    bool fits = true;
    // A slot of the same generation still has this entry. Looked at all the same: else it would be wrong
    // bytes.
    bool owner = slot.payload == victim.entry || sync::is_mutant(sync::Mutant::kNoIdentityCheck);
    if (slot.state == State::kZswap && owner && (touched || zswap_.begin_writing(victim.entry))) {
      swap::Move move{victim.owner, State::kZswap, victim.entry, 0};
      fits = zswap_.with_content(victim.entry, [&](const swap::Content& content) NO_THREAD_SAFETY_ANALYSIS {
        return devices_.add(move, content);
      });
      if (fits) {
        ++packed;
        group_->accounts().charge_swapped(victim.owner.account, 1);
      } else {
        zswap_.end_writing(victim.entry);
      }
    }
    slots_.unlock(victim.owner);
    if (!fits) break;
  }
  devices_.submit();
  return packed > 0;
}

bool Space::settle_writes(std::int64_t wait_ns) {
  bool any = devices_.reap(wait_ns, [this](const swap::Move& move, bool written) { settle(move, written); });
  if (any) tell_settled();
  if (any && device_stuck_.exchange(false, sync::kRelaxed)) hope_again();
  return any;
}

// Until a write was settled after `ticket` was taken: at the device, by whoever may and finds the writer's
// place free, and of him by the others. For a moment only: a fork may wait for the caller.
void Space::await_write(std::uint32_t ticket, const Worker& worker) {
  constexpr std::int64_t kMomentNs = 1'000'000;
  if (!worker.devices || !devices_.writer().try_lock()) {
    sync::mark("reclaim: waits for a write");
    writes_settled_.wait(ticket, sync::is_variant(sync::Variant::kNoClock) ? sync::kForever : kMomentNs);
    return;
  }
  settle_writes(kMomentNs);
  devices_.writer().unlock();
  tell_settled();
}

// For whoever waits for that.
void Space::tell_settled() {
  if (!sync::is_mutant(sync::Mutant::kSettleQuietly)) writes_settled_.signal();
}

bool Space::finish_writes_to(std::size_t area, std::int64_t wait_ns) {
  std::int64_t until = sync::now_ns() + wait_ns;
  while (devices_.writes_to(area) > 0) {
    if (sync::now_ns() > until) return false;
    sync::MutexLock writer(devices_.writer());
    settle_writes(kPatienceNs);
  }
  return true;
}

bool Space::finish_writes(std::int64_t wait_ns) {
  bool all = true;
  for (std::size_t area = 0; area < swap::kMaxAreas; ++area) all = finish_writes_to(area, wait_ns) && all;
  return all;
}

void Space::settle(const swap::Move& move, bool written) {
  memgroup::Stats& stats = group_->stats();
  bool cleaned = move.from == State::kDevice;
  if (!written && !cleaned) write_failed();
  swap::SlotWord slot{};
  if (slots_.lock(move.owner, slot)) {
    bool trusts = sync::is_mutant(sync::Mutant::kSettleUnchecked) ||
                  (sync::is_mutant(sync::Mutant::kNoIdentityCheck) && slot.state == move.from);
    // As in pack(): while the generation is the same, so are the bytes.
    bool unchanged =
        trusts ||
        (slot.state == move.from && slot.payload == move.payload &&
         (cleaned ? devices_.same_content(move.payload, move.record) : zswap_.is_writing(move.payload)));
    if (unchanged && (written || sync::is_mutant(sync::Mutant::kTrustWrite))) {
      slots_.unlock(move.owner, State::kDevice, move.record);
      if (move.from == State::kZswap) {
        add_to(stats.written_back_bytes, zswap_.drop(move.payload));
        add_to(stats.zswpwb);
        group_->accounts().count(move.owner.account, &memgroup::Account::zswpwb);
        add_to(stats.written_back_pages);
        add_to(stats.pswpout);
      } else {
        devices_.drop(move.payload);
      }
      return;
    }
    if (unchanged && move.from == State::kZswap) zswap_.end_writing(move.payload);
    if (!sync::is_mutant(sync::Mutant::kForgetUnlock)) slots_.unlock(move.owner);
  } else {
    sync::mark("writeback: the page has gone during the write");
  }
  if (!sync::is_mutant(sync::Mutant::kForgetRecord)) drop_move(move);
}

// What was written is not wanted there.
void Space::drop_move(const swap::Move& move) {
  memgroup::AccountId payer = devices_.drop(move.record);
  bool charged = move.from == State::kZswap && !sync::is_mutant(sync::Mutant::kForgetCharge);
  if (charged) group_->accounts().charge_swapped(payer, -1);
}

void Space::write_failed() {
  add_to(group_->stats().swap_write_fail);
  if (!write_failure_reported_.exchange(true)) {
    report(Text() << "a swap device refused a write (full, or an error): what could not be written stays in "
                     "memory (swap_write_fail counts such pages)");
  }
}

// Reads a page that is on a device, with its slot locked. `many`: the pages that follow are wanted next.
Loaded Space::load_from_device(std::uint32_t record, bool many, Worker& worker, std::byte* page) {
  swap::Content content;
  switch (devices_.read(record, worker.io, &content, many)) {
    case swap::DeviceStore::ReadResult::kIoError:
      return Loaded::kUnreadable;
    case swap::DeviceStore::ReadResult::kDamaged:
      return Loaded::kDamaged;
    case swap::DeviceStore::ReadResult::kRead:
      break;
  }
  bool good = zswap_.unpack(worker.store, content, page) == zswap::LoadResult::kLoaded;
  if (sync::is_mutant(sync::Mutant::kDeviceExclusive)) devices_.drop(record);
  return good ? Loaded::kGood : Loaded::kDamaged;
}

void Space::inherit_devices() {
  devices_.inherit([this](const swap::Move& move, bool) {
    swap::SlotWord slot{};
    if (move.from == State::kZswap && slots_.lock(move.owner, slot)) {
      if (slot.state == State::kZswap && slot.payload == move.payload) zswap_.end_writing(move.payload);
      slots_.unlock(move.owner);
    }
    drop_move(move);
  });
}

Space::SwapOff Space::swap_off(std::size_t area, bool goes_on, Worker& worker) {
  constexpr std::int64_t kSliceNs = 50'000'000;
  constexpr std::int64_t kMostStalledNs = 1'000'000'000;
  if (!goes_on && !devices_.freeze_area(area)) return SwapOff::kNotThere;
  if (!goes_on) swap_off_stalled_since_ns_ = 0;
  if (!sync::is_mutant(sync::Mutant::kNoWriterBarrier)) {
    sync::MutexLock writer(devices_.writer());  // whoever was packing for it has submitted
  }
  // What is on its way there arrives first, or nobody would look for it.
  bool waits = !goes_on && !sync::is_mutant(sync::Mutant::kNoWaitForWrites);
  SwapOff result = !waits || finish_writes_to(area, 50 * kPatienceNs) ? SwapOff::kDone : SwapOff::kBusy;
  std::int64_t until = sync::now_ns() + kSliceNs;
  swap::Owner owner;
  for (std::uint32_t record = 0;
       result == SwapOff::kDone && (record = devices_.next_record(area, record, &owner)) != 0;) {
    bool room = group_->usage() < group_->limit() ||
                reclaim_to(group_->limit() - static_cast<std::int64_t>(swap::kGroupFrames), worker);
    handle_pending(worker);
    if (sync::now_ns() > until || (usage_source_ != nullptr && !usage_source_->keep_going())) {
      return SwapOff::kGoesOn;  // still frozen
    }
    bool within = room_within(owner.account, worker);
    if (!within || (!room && devices_.has_room())) {
      // Others are at it, perhaps.
      std::int64_t& since = swap_off_stalled_since_ns_;
      if (since == 0) since = sync::now_ns();
      if (sync::now_ns() - since < kMostStalledNs) return SwapOff::kGoesOn;
    }
    result = room && within ? take_back(record, owner, worker) : SwapOff::kNoMemory;
    swap_off_stalled_since_ns_ = 0;
  }
  if (result == SwapOff::kDone && devices_.records_on(area) > 0) result = SwapOff::kBusy;
  if (result == SwapOff::kDone) {
    sync::MutexLock writer(devices_.writer());
    devices_.remove_area(area);
  } else if (!sync::is_mutant(sync::Mutant::kForgetThaw)) {
    devices_.thaw_area(area);
  }
  return result;
}

// Whether the owner of a page on a device may have it in the pool, too. Its group makes room for it. What may
// not stay there goes through, to another device, a segment at a time.
bool Space::room_within(memgroup::AccountId account, Worker& worker) {
  const memgroup::Accounts& accounts = group_->accounts();
  if (accounts.at_max(account) != memgroup::kProcess) make_room_within(account, worker);
  bool goes_on = has_swap() && devices_.has_room() && !swap_full() && may_write_back(account);
  std::int64_t most = goes_on ? std::int64_t{swap::kSegmentBytes} : 0;
  auto over = [&] { return std::max(-zswap_max_left(), accounts.zswap_over(account)); };
  // Twice: what is new in the pool gets a second turn.
  for (int turn = 0; goes_on && turn < 2 && over() >= most; ++turn) {
    write_back(WritebackNeed::kLastResort, worker, -zswap_max_left() >= most ? memgroup::kProcess : account);
    finish_writes(kPatienceNs);
  }
  return accounts.room(account) > 0 && over() < most;
}

// Moves one object from a device into the pool, compressed as it is. What the device has damaged is lost, as
// it would be for a fault; what it can not read now stays, for another try.
Space::SwapOff Space::take_back(std::uint32_t record, swap::Owner owner, Worker& worker) {
  swap::SlotWord slot{};
  if (!slots_.lock(owner, slot)) return SwapOff::kDone;
  if (slot.state != State::kDevice || slot.payload != record) {
    slots_.unlock(owner);
    return SwapOff::kDone;
  }
  swap::Content content;
  std::uint32_t entry = 0;
  SwapOff result = SwapOff::kDone;
  bool lost = false;
  auto read = devices_.read(record, worker.io, &content, true);
  // Once more by itself, before anything is given up.
  if (read == swap::DeviceStore::ReadResult::kDamaged) read = devices_.read(record, worker.io, &content);
  if (read == swap::DeviceStore::ReadResult::kIoError) {
    result = SwapOff::kUnreadable;
  } else if (read == swap::DeviceStore::ReadResult::kDamaged) {
    lost = true;
  } else if (!zswap_.put(content, owner, &entry)) {
    result = SwapOff::kNoMemory;
  }
  if (result != SwapOff::kDone) {
    slots_.unlock(owner);
    return result;
  }
  slots_.unlock(owner, lost ? State::kLost : State::kZswap, entry);
  group_->accounts().charge_swapped(devices_.drop(record), -1);
  if (lost) {
    if (!damage_reported_.exchange(true)) {
      report(Text() << "swapoff: a page that the device has damaged is lost: the program gets SIGBUS when it "
                       "touches it; everything else is saved");
    }
    return SwapOff::kDone;
  }
  add_to(group_->stats().pswpin);
  return SwapOff::kDone;
}

}  // namespace coldpress::vm
