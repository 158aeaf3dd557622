// The accounts: what tables, pool, frames, devices and counters say about each other. With no operation under
// way they close.
#include "vm/space.h"

namespace coldpress::vm {

using swap::State;

void Space::recount() {
  std::uint64_t of[swap::kStates] = {};
  slots_.count_states(of);
  memgroup::Stats& stats = group_->stats();
  stats.stored_pages.store(of[static_cast<std::size_t>(State::kZswap)]);
  stats.same_filled_pages.store(of[static_cast<std::size_t>(State::kSame)]);
  stats.stored_bytes.store(zswap_.pool().stats().object_bytes);
}

Text Space::accounts() {
  Text problem;
  auto same = [&](const char* what, std::uint64_t one, std::uint64_t other) {
    if (one != other && problem.view().empty()) problem << what << ": " << one << " and " << other;
  };
  const memgroup::Stats& stats = group_->stats();
  std::uint64_t of[swap::kStates] = {}, entries = 0, words = 0, pool_pages = 0, pool_objects = 0;
  slots_.count_states(of);
  std::uint64_t records = devices_.settled_records();
  sync::MutexLock lock(layout_);
  for (PageIndex page = table_.next_leaf({0}, kEndOfPages); page < kEndOfPages;) {
    entries += table_.peek(page).is_entry() ? 1 : 0;
    page = page + 1;
    if (page.value % PageTable::kLeafPages == 0) page = table_.next_leaf(page, kEndOfPages);
  }
  for (std::size_t i = 0; i < overtaken_.word_count(); ++i)
    words += overtaken_.word(i).word.is_entry() ? 1 : 0;
  for (std::size_t i = 0; i < zspool::ZsPool::class_count(); ++i) {
    zspool::ClassStats c = zswap_.pool().class_stats(i);
    pool_pages += c.zspages * c.shape.pages;
    pool_objects += c.objects;
  }
  auto count = [&](State state) { return of[static_cast<std::size_t>(state)]; };
  same("pages that are out, and the counts of slots", entries + words, slots_.shares());
  same("counts of slots, and what is known of them", slots_.shares(), slots_.names());
  same("slots in use, and by state", slots_.in_use(),
       count(State::kSame) + count(State::kFrame) + count(State::kZswap) + count(State::kDevice));
  same("frames with an owner, and slots", frames_.owned_frames(), count(State::kFrame));
  same("stored_pages, and slots", stats.stored_pages.load(), count(State::kZswap));
  same("same_filled_pages, and slots", stats.same_filled_pages.load(), count(State::kSame));
  same("objects in the pool, and stored_pages", pool_objects, stats.stored_pages.load());
  same("stored_bytes, and those of the objects", stats.stored_bytes.load(),
       zswap_.pool().stats().object_bytes);
  same("pages of the pool, and of its classes", zswap_.pool().pages(), pool_pages);
  same("records on devices, and slots", records, count(State::kDevice));
  return problem;
}

}  // namespace coldpress::vm
