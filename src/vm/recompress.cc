// Recompression: what stays cold in the pool is packed once more, harder.
//
// lz4 is quick, and right for pages that come back; zstd takes three times as long and needs a bit more than
// half the room (docs/performance.md has the figures), and what it saves is memory for pages in use. A hand
// goes round the entries, at most once in two seconds, a few at each tick of the monitor; an entry that it
// meets a second time has stayed for a whole turn, and is done. Both the old and the new object exist for a
// moment; the entry, and so the slot, stay the same, and the slot's lock keeps readers away.
//
// Never more than `recompress_percent` of one cpu: the time spent is taken off a budget that grows with the
// clock.
#include <algorithm>

#include "sync/futex.h"
#include "vm/space.h"

namespace coldpress::vm {

using memgroup::add_to;
using swap::State;
namespace {

constexpr std::int64_t kMostBudgetNs = 4'000'000;  // saved up by being idle
constexpr std::size_t kBatch = 16;

}  // namespace

void Space::recompress_some(Worker& worker) {
  std::uint32_t percent = recompress_percent_.load(sync::kRelaxed);
  std::int64_t now = sync::now_ns();
  recompress_budget_ns_ += (now - recompress_seen_ns_) * percent / 100;
  recompress_budget_ns_ = std::min(recompress_budget_ns_, kMostBudgetNs);
  recompress_seen_ns_ = now;
  while (percent > 0 && zswap_.enabled() && recompress_budget_ns_ > 0) {
    if (recompress_hand_ == 0 && now - recompress_begun_ns_ < recompress_turn_ns_) return;
    if (recompress_hand_ == 0) recompress_begun_ns_ = now;
    zswap::Zswap::Victim found[kBatch];
    std::size_t count = zswap_.list(recompress_hand_, found);
    for (std::size_t i = 0; i < count; ++i) recompress_one(found[i], worker);
    recompress_hand_ = count == kBatch ? found[count - 1].entry : 0;
    std::int64_t then = sync::now_ns();
    recompress_budget_ns_ -= then - now;
    now = recompress_seen_ns_ = then;
    if (usage_source_ != nullptr && !usage_source_->keep_going()) return;
  }
}

void Space::recompress_one(const zswap::Zswap::Victim& found, Worker& worker) {
  swap::SlotWord slot{};
  if (slots_.try_lock(found.owner, slot) != swap::SlotTable::TryLock::kLocked) return;
  if (slot.state == State::kZswap && slot.payload == found.entry) {
    std::size_t saved = zswap_.recompress(worker.store, worker.page, found.entry);
    if (saved > 0) {
      add_to(group_->stats().recompressed_pages);
      add_to(group_->stats().recompress_saved_bytes, saved);
    }
  }
  slots_.unlock(found.owner);
}

}  // namespace coldpress::vm
