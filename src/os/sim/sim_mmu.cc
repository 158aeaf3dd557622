// The engine's side of the simulated machine.
#include "os/sim/sim_mmu.h"

#include <bit>
#include <cstring>
#include <iterator>

#include "base/check.h"
#include "sync/explore.h"

namespace coldpress::os {
namespace {

bool zero_filled(const std::byte* page) {
  return page[0] == std::byte{0} && std::memcmp(page, page + 1, kPageBytes - 1) == 0;
}

std::uint64_t sum_of(const std::byte* page) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kPageBytes; i += sizeof sum) {
    std::uint64_t word;
    std::memcpy(&word, page + i, sizeof word);
    sum = (sum ^ word) * 0x100000001b3u;
  }
  return sum;
}

}  // namespace

SimMmu::SimMmu(const SimOptions& options)
    : frame_count_(options.frame_count),
      patience_(options.patience),
      late_forks_(options.late_forks),
      frame_bytes_(new std::byte[std::size_t{options.frame_count} * kPageBytes]),
      frames_(options.frame_count) {
  sync::name_object(mutex_, "machine");
  sync::name_object(changed_, "machine changed");
  std::memset(frame_bytes_.get(), static_cast<int>(kTrash), std::size_t{frame_count_} * kPageBytes);
  for (std::uint32_t i = 0; i < frame_count_; ++i) {
    frames_[i].bytes = frame_bytes_.get() + std::size_t{i} * kPageBytes;
  }
}

SimMmu::~SimMmu() = default;

bool SimMmu::one_in(std::uint32_t n) {
  random_ = random_ * 6364136223846793005u + 1442695040888963407u;
  if (n == 0) return false;
  ++chances_;
  std::uint64_t at = interference_.only_at;
  if (at != 0) return at <= chances_ && chances_ - at < interference_.times;
  return choose_one_in(n, random_ >> 33);
}

// The first answer of every move call.
bool SimMmu::refuses() {
  if (changing_ != 0) {
    lose_patience();
    return true;
  }
  return one_in(interference_.changing);
}

void SimMmu::lose_patience() {
  if (patience_ == 0) return;
  std::vector<ChangeId> tired;
  for (auto& [id, change] : changes_) {
    bool stalled = change.stage == Stage::kBegun || change.stage == Stage::kTaken;
    if (stalled && ++change.refused > patience_) tired.push_back(id);
  }
  for (ChangeId id : tired) {
    changes_[id].refused = 0;
    advance_locked(id);
  }
}

std::uint32_t SimMmu::shortened(std::uint32_t pages) {
  if (pages < 2 || !one_in(interference_.shorten)) return pages;
  const std::uint32_t lengths[] = {1, pages / 2, pages - 1};
  return lengths[choose_below(std::size(lengths), random_ >> 40)];
}

void SimMmu::empty_frame(Frame& frame) {
  frame.populated = frame.shared = frame.lazy = frame.lost = false;
  std::memset(frame.bytes, static_cast<int>(kTrash), kPageBytes);
}

bool SimMmu::still_lazy(const Frame& frame) const {
  return frame.populated && frame.lazy && frame.lazy_sum == sum_of(frame.bytes);
}

void SimMmu::release(FrameId first, std::span<std::uint32_t> masks) {
  OneStep lock(mutex_);
  for (std::uint32_t& mask : masks) {
    for (std::uint32_t left = mask; left != 0; left &= left - 1) {
      auto bit = static_cast<std::uint32_t>(std::countr_zero(left));
      Frame& frame = frames_[first.value + bit];
      if (frame.populated && one_in(interference_.keep_frame)) {
        mask &= ~(1u << bit);
      } else if (frame.populated) {
        empty_frame(frame);
      }
    }
    first = first + 32;
  }
}

bool SimMmu::register_range(PageRange range) {
  OneStep lock(mutex_);
  if (!space_.any_mapped(range)) return false;
  if (one_in(interference_.refuse_register)) {
    ++refused_registrations_;
    space_.set_registered({range.begin, range.begin + choose_below(range.pages(), random_ >> 40)}, true);
    return false;
  }
  space_.set_registered(range, true);
  return true;
}

void SimMmu::unregister_range(PageRange range) {
  OneStep lock(mutex_);
  if (!one_in(interference_.keep_registered)) space_.set_registered(range, false);
  wake_locked(range);
}

std::size_t SimMmu::scan_registered(PageRange range, std::span<PageRange> found, PageIndex* scanned_to) {
  OneStep lock(mutex_);
  std::size_t runs = 0;
  for (const SimMapping& mapping : space_.mappings()) {
    PageRange part = intersect(mapping.range, range);
    if (!mapping.registered || part.empty()) continue;
    if (runs > 0 && found[runs - 1].end == part.begin) {
      found[runs - 1].end = part.end;
      continue;
    }
    if (runs == found.size()) {
      *scanned_to = part.begin;
      return runs;
    }
    found[runs++] = part;
  }
  *scanned_to = range.end;
  return runs;
}

bool SimMmu::changing() {
  OneStep lock(mutex_);
  if (changing_ != 0) lose_patience();
  return changing_ != 0;
}

MoveResult SimMmu::capture(PageIndex first, FrameId into, std::uint32_t pages) {
  OneStep lock(mutex_);
  if (refuses()) return {0, MoveStatus::kChanging};
  const SimMapping* mapping = space_.mapping_at(first);
  if (mapping == nullptr) return {0, MoveStatus::kHole};
  if (!mapping->writable || mapping->range.end < first + pages) return {0, MoveStatus::kMismatch};
  if (one_in(interference_.no_memory)) return {0, MoveStatus::kNoMemory};
  if (one_in(interference_.busy)) return {0, MoveStatus::kBusy};
  if (one_in(interference_.populate)) populate_some(into, pages);
  std::uint32_t wanted = shortened(pages);
  for (std::uint32_t i = 0; i < wanted; ++i) {
    Frame& frame = frames_[into.value + i];
    SimPage* page = space_.find(first + i);
    if (frame.populated) return {i, MoveStatus::kExists};
    if (page == nullptr) return {i, MoveStatus::kHole};
    if (page->kind == SimPage::Kind::kPoison) return {i, MoveStatus::kMismatch};
    bool zero = page->kind == SimPage::Kind::kZero;
    if (page->pinned || (!zero && !page->exclusive)) return {i, MoveStatus::kBusy};
    if (zero) {
      std::memset(frame.bytes, 0, kPageBytes);
    } else {
      std::memcpy(frame.bytes, page->data->bytes, kPageBytes);
    }
    frame.populated = true;
    frame.lost = false;
    frame.lazy = page->lazy;
    if (frame.lazy) frame.lazy_sum = sum_of(frame.bytes);
    space_.erase(first + i);
  }
  return {wanted, wanted == pages ? MoveStatus::kDone : MoveStatus::kChanging};
}

void SimMmu::populate_some(FrameId first, std::uint32_t frames) {
  Frame& frame = frames_[first.value + choose_below(frames, random_ >> 40)];
  if (frame.populated) return;
  frame.populated = true;
  frame.lost = false;
  std::memset(frame.bytes, 0, kPageBytes);
}

MoveResult SimMmu::install(PageIndex first, FrameId from, std::uint32_t pages) {
  OneStep lock(mutex_);
  if (refuses()) return {0, MoveStatus::kChanging};
  const SimMapping* mapping = space_.mapping_at(first);
  if (mapping == nullptr) return {0, MoveStatus::kHole};
  if (!mapping->registered || !mapping->writable || mapping->range.end < first + pages) {
    return {0, MoveStatus::kMismatch};
  }
  if (one_in(interference_.no_memory)) return {0, MoveStatus::kNoMemory};
  if (one_in(interference_.busy)) return {0, MoveStatus::kBusy};
  std::uint32_t wanted = shortened(pages);
  for (std::uint32_t i = 0; i < wanted; ++i) {
    Frame& frame = frames_[from.value + i];
    if (space_.find(first + i) != nullptr) return {i, MoveStatus::kExists};
    if (frame.lost && !zero_filled(frame.bytes)) {
      frame.populated = true;
      frame.lost = false;
    }
    if (!frame.populated) return {i, MoveStatus::kHole};
    if (frame.shared) return {i, MoveStatus::kBusy};
    SimPage page = SimAddressSpace::memory_page(frame.bytes);
    page.lazy = still_lazy(frame);
    space_.put(first + i, std::move(page));
    empty_frame(frame);
    wake_locked({first + i, first + i + 1});
  }
  return {wanted, wanted == pages ? MoveStatus::kDone : MoveStatus::kChanging};
}

// What copies and fills have in common.
template <typename PutOne>
MoveResult SimMmu::fill_run(PageIndex first, std::uint32_t pages, PutOne put_one) {
  if (refuses()) return {0, MoveStatus::kChanging};
  const SimMapping* mapping = space_.mapping_at(first);
  if (mapping == nullptr || !mapping->registered || mapping->range.end < first + pages) {
    return {0, MoveStatus::kGone};
  }
  if (one_in(interference_.no_memory)) return {0, MoveStatus::kNoMemory};
  std::uint32_t wanted = shortened(pages);
  for (std::uint32_t i = 0; i < wanted; ++i) {
    if (space_.find(first + i) != nullptr) return {i, MoveStatus::kExists};
    space_.put(first + i, put_one(i));
    wake_locked({first + i, first + i + 1});
  }
  return {wanted, wanted == pages ? MoveStatus::kDone : MoveStatus::kChanging};
}

MoveResult SimMmu::install_copy(PageIndex first, const std::byte* from, std::uint32_t pages) {
  OneStep lock(mutex_);
  return fill_run(first, pages, [from](std::uint32_t i) {
    return SimAddressSpace::memory_page(from + std::size_t{i} * kPageBytes);
  });
}

MoveResult SimMmu::fill_zero(PageIndex first, std::uint32_t pages, bool for_write) {
  OneStep lock(mutex_);
  return fill_run(first, pages, [for_write](std::uint32_t) {
    if (for_write) return SimAddressSpace::memory_page(nullptr);
    SimPage zero;
    zero.kind = SimPage::Kind::kZero;
    return zero;
  });
}

MoveStatus SimMmu::poison(PageIndex page) {
  OneStep lock(mutex_);
  MoveResult result = fill_run(page, 1, [](std::uint32_t) {
    SimPage marker;
    marker.kind = SimPage::Kind::kPoison;
    return marker;
  });
  return result.status == MoveStatus::kGone ? MoveStatus::kHole : result.status;
}

void SimMmu::wake_locked(PageRange range) {
  bool any = false;
  for (Waiter& waiter : waiters_) {
    if (range.contains(waiter.page)) any = waiter.woken = true;
  }
  if (any) changed_.signal();
}

void SimMmu::make_own(PageRange range) {
  OneStep lock(mutex_);
  for (PageIndex index = range.begin; index < range.end; index = index + 1) {
    SimPage* page = space_.find(index);
    if (page != nullptr && page->kind == SimPage::Kind::kMemory) SimAddressSpace::make_writable(*page);
  }
}

void SimMmu::wake(PageRange range) {
  OneStep lock(mutex_);
  wake_locked(range);
}

std::size_t SimMmu::scan_present(PageRange range, std::uint64_t max_pages, std::span<PageRange> found,
                                 PageIndex* scanned_to) {
  OneStep lock(mutex_);
  auto& pages = space_.pages();
  std::size_t runs = 0;
  std::uint64_t seen = 0;
  for (auto at = pages.lower_bound(range.begin.value); at != pages.end() && at->first < range.end.value;
       ++at) {
    if (at->second.kind != SimPage::Kind::kMemory) continue;
    PageIndex page{at->first};
    bool extends = runs > 0 && found[runs - 1].end == page;
    if (seen == max_pages || (!extends && runs == found.size())) {
      *scanned_to = page;
      return runs;
    }
    if (extends) {
      found[runs - 1].end = page + 1;
    } else {
      found[runs++] = {page, page + 1};
    }
    ++seen;
  }
  *scanned_to = range.end;
  return runs;
}

std::uint64_t SimMmu::holding(PageIndex first, std::uint32_t pages, std::uint64_t* zero) {
  OneStep lock(mutex_);
  std::uint64_t held = 0;
  *zero = 0;
  for (std::uint32_t i = 0; i < pages; ++i) {
    const SimPage* page = space_.find(first + i);
    if (page == nullptr) continue;
    held |= std::uint64_t{1} << i;
    if (page->kind == SimPage::Kind::kZero) *zero |= std::uint64_t{1} << i;
  }
  return held;
}

Message SimMmu::next_message() {
  OneStep lock(mutex_);
  for (Waiter& waiter : waiters_) {
    if (!waiter.queued) continue;
    waiter.queued = false;
    Message message;
    message.kind = MessageKind::kFault;
    message.range = {waiter.page, waiter.page + 1};
    message.write = waiter.write;
    return message;
  }
  if (queue_.empty()) {
    lose_patience();
    return {};
  }
  Queued first = queue_.front();
  queue_.pop_front();
  changes_[first.change].stage = Stage::kTaken;
  changed_.signal();
  return first.message;
}

void SimMmu::wait_message(std::int64_t timeout_ns) {
  std::uint32_t ticket;
  {
    OneStep lock(mutex_);
    ticket = changed_.ticket();
    if (!queue_.empty()) return;
    for (const Waiter& waiter : waiters_) {
      if (waiter.queued) return;
    }
  }
  changed_.wait(ticket, timeout_ns);
}

MoveStatus SimMmu::fill_child(int child, PageIndex page, SimPage value) {
  OneStep lock(mutex_);
  auto at = children_.find(child);
  if (at == children_.end() || !at->second.open) return MoveStatus::kGone;
  if (one_in(interference_.changing)) return MoveStatus::kChanging;
  const SimMapping* mapping = at->second.space.mapping_at(page);
  if (mapping == nullptr || !mapping->registered) return MoveStatus::kHole;
  if (one_in(interference_.no_memory)) return MoveStatus::kNoMemory;
  if (at->second.space.find(page) != nullptr) return MoveStatus::kExists;
  at->second.space.put(page, std::move(value));
  return MoveStatus::kDone;
}

MoveStatus SimMmu::child_copy(int child, PageIndex page, const std::byte* from) {
  return fill_child(child, page, SimAddressSpace::memory_page(from));
}

MoveStatus SimMmu::child_poison(int child, PageIndex page) {
  SimPage marker;
  marker.kind = SimPage::Kind::kPoison;
  return fill_child(child, page, std::move(marker));
}

void SimMmu::child_close(int child) {
  OneStep lock(mutex_);
  children_[child].open = false;
}

}  // namespace coldpress::os
