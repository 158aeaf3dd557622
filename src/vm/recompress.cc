// Recompression: what stays cold in the pool is packed once more, harder.
//
// lz4 is quick, and right for pages that come back; zstd takes three times as long and needs a bit more than
// half the room (docs/performance.md has the figures), and what it saves is memory for pages in use. A hand
// goes round the entries, at most once in two seconds, a few at each tick of the monitor; an entry that it
// meets a second time has stayed for a whole turn, and is done. Both the old and the new object exist for a
// moment; the entry, and so the slot, stay the same, and the slot's lock keeps readers away.
//
// Never more than `recompress_percent` of one cpu (cpu_share.h).
#include "sync/explore.h"
#include "sync/futex.h"
#include "vm/space.h"

namespace coldpress::vm {

using memgroup::add_to;
using swap::State;
namespace {

constexpr std::size_t kBatch = 16;

}  // namespace

void Space::recompress_some(Worker& worker) {
  Recompression& r = recompression_;
  std::uint32_t percent = r.percent.load(sync::kRelaxed);
  std::int64_t now = sync::now_ns();
  while (r.share.may(now, percent) && zswap_.enabled()) {
    if (r.hand == 0 && now - r.begun_ns < r.turn_ns) return;
    if (r.hand == 0) r.begun_ns = now;
    zswap::Zswap::Victim found[kBatch];
    std::size_t count = zswap_.list(r.hand, found);
    for (std::size_t i = 0; i < count; ++i) recompress_one(found[i], worker);
    r.hand = count == kBatch ? found[count - 1].entry : 0;
    now = sync::now_ns();
    r.share.used(now);
    if (usage_source_ != nullptr && !usage_source_->keep_going()) return;
  }
}

void Space::recompress_one(const zswap::Zswap::Victim& found, Worker& worker) {
  swap::SlotWord slot{};
  if (slots_.try_lock(found.owner, slot) != swap::SlotTable::TryLock::kLocked) return;
  if (slot.state == State::kZswap && slot.payload == found.entry) {
    if (sync::is_mutant(sync::Mutant::kRecompressUnlocked)) slots_.unlock(found.owner);
    std::size_t saved = zswap_.recompress(worker.store, worker.page, found.entry);
    if (saved > 0) {
      add_to(group_->stats().recompressed_pages);
      add_to(group_->stats().recompress_saved_bytes, saved);
    }
  }
  if (!sync::is_mutant(sync::Mutant::kRecompressUnlocked)) slots_.unlock(found.owner);
}

}  // namespace coldpress::vm
