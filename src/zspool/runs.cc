// Runs of pages, which zspages are made of: those that were used before are used again, by length.
//
// To give memory back to the machine is dear, far dearer than all else that is done for a zspage: every
// processor that runs a thread of the process is interrupted (docs/performance.md). And a pool in use takes
// as much as it gives: what is loaded empties zspages, what is stored instead wants new ones. So a run keeps
// its memory at first. It is given back when more is kept than a pool of this size may want soon, many runs
// at once; or when it was not wanted for as long as lies between two calls of trim().
#include <algorithm>

#include "zspool/zspool.h"

namespace coldpress::zspool {

// A run of `length` pages: one that has memory, else one that was used before, else new ones, else a part of
// a longer one.
std::uint32_t ZsPool::take_run(std::uint32_t length, std::uint32_t& grown_pages) {
  sync::MutexLock lock(runs_mutex_);
  grown_pages = 0;
  if (std::uint32_t id = pop(kept_[length].first); id != kNone) {
    count_kept(length, -1);
    return id;
  }
  grown_pages = length;
  if (std::uint32_t id = pop(free_runs_[length]); id != kNone) return id;
  if (!zspages_.grow_to(std::size_t{zspage_end_} + 1)) return kNone;
  if (area_.grow_to(std::size_t{area_end_pages_ + length} << kPageShift)) {
    zspages_[zspage_end_].first_page = area_end_pages_;
    area_end_pages_ += length;
    return zspage_end_++;
  }
  for (std::uint32_t longer = length + 1; longer <= kMaxZspagePages; ++longer) {
    bool kept = free_runs_[longer] == kNone;
    std::uint32_t id = pop(kept ? kept_[longer].first : free_runs_[longer]);
    if (id == kNone) continue;
    std::uint32_t rest = zspage_end_++;
    zspages_[rest].first_page = zspages_[id].first_page + length;
    if (kept) {
      grown_pages = 0;
      count_kept(longer, -1);
      push(kept_[longer - length].first, rest);
      count_kept(longer - length, 1);
    } else {
      push(free_runs_[longer - length], rest);
    }
    return id;
  }
  return kNone;
}

std::uint32_t ZsPool::pop(std::uint32_t& runs) {
  std::uint32_t id = runs;
  if (id != kNone) runs = zspages_[id].next;
  return id;
}

void ZsPool::push(std::uint32_t& runs, std::uint32_t id) {
  zspages_[id].next = runs;
  runs = id;
}

void ZsPool::count_kept(std::uint32_t length, int runs) {
  Kept& kept = kept_[length];
  kept.runs += static_cast<std::uint32_t>(runs);
  kept.low = std::min(kept.low, kept.runs);
  kept_pages_.fetch_add(static_cast<std::uint64_t>(std::int64_t{runs} * length), sync::kRelaxed);
}

void ZsPool::keep_run(std::uint32_t id, std::uint32_t length) {
  sync::MutexLock lock(runs_mutex_);
  push(kept_[length].first, id);
  count_kept(length, 1);
}

std::uint32_t ZsPool::trim(bool all) {
  std::uint32_t given = 0;
  for (std::uint32_t length = kMaxZspagePages; length > 0; --length) {
    std::uint32_t runs;
    {
      sync::MutexLock lock(runs_mutex_);
      Kept& kept = kept_[length];
      runs = all ? kept.runs : kept.low;
      kept.low = kept.runs - runs;
    }
    given += give_back_runs(length, runs);
  }
  return given;
}

std::uint32_t ZsPool::give_back(std::uint64_t pages) {
  std::uint32_t given = 0;
  for (std::uint32_t length = kMaxZspagePages; length > 0 && given < pages; --length)
    given += give_back_runs(length, (pages - given + length - 1) / length);
  return given;
}

std::uint32_t ZsPool::give_back_runs(std::uint32_t length, std::uint64_t most) {
  constexpr std::size_t kAtOnce = 32;
  std::uint32_t given = 0;
  while (most > 0) {
    MemoryPiece pieces[kAtOnce];
    std::uint32_t ids[kAtOnce];
    std::size_t count = 0;
    {
      sync::MutexLock lock(runs_mutex_);
      for (; count < std::min<std::uint64_t>(kAtOnce, most); ++count) {
        std::uint32_t id = ids[count] = pop(kept_[length].first);
        if (id == kNone) break;
        pieces[count] = {area_.data() + (std::size_t{zspages_[id].first_page} << kPageShift),
                         std::size_t{length} << kPageShift};
        count_kept(length, -1);
      }
    }
    if (count == 0) break;
    source_->discard(pieces, count);
    given += static_cast<std::uint32_t>(count) * length;
    most -= count;
    sync::MutexLock lock(runs_mutex_);
    for (std::size_t i = 0; i < count; ++i) push(free_runs_[length], ids[i]);
  }
  return given;
}

}  // namespace coldpress::zspool
