// The program's side of the simulated machine: changes of its mappings, in the kernel's stages (sim_mmu.h).
#include "base/check.h"
#include "os/sim/sim_mmu.h"

namespace coldpress::os {

void SimMmu::map(PageRange range, bool writable) {
  OneStep lock(mutex_);
  space_.map(range, writable);
}

void SimMmu::grow(PageIndex page, std::uint64_t by) {
  OneStep lock(mutex_);
  space_.grow(page, by);
}

void SimMmu::protect(PageRange range, bool writable) {
  OneStep lock(mutex_);
  space_.protect(range, writable);
}

void SimMmu::set_page_pinned(PageIndex index, bool pinned) {
  OneStep lock(mutex_);
  SimPage* page = space_.find(index);
  if (page == nullptr || page->kind != SimPage::Kind::kMemory) return;
  if (pinned) SimAddressSpace::make_writable(*page);  // the kernel makes it the process's own first
  page->pinned = pinned;
}

ChangeId SimMmu::start(Change change) {
  changing_ += change.messages.size();
  ChangeId id = next_change_++;
  changes_[id] = std::move(change);
  return id;
}

ChangeId SimMmu::begin_unmap(PageRange range) {
  OneStep lock(mutex_);
  bool announced = space_.any_registered(range);
  space_.unmap(range);
  if (!announced) return 0;
  Change change;
  change.range = range;
  change.messages.push_back({.kind = MessageKind::kUnmap, .range = range});
  return start(std::move(change));
}

ChangeId SimMmu::begin_remove(PageRange range, bool lazily) {
  OneStep lock(mutex_);
  const SimMapping* mapping = space_.mapping_at(range.begin);
  COLDPRESS_CHECK(mapping != nullptr && range.end <= mapping->range.end);
  Change change;
  change.range = range;
  change.drops = true;
  change.lazily = lazily;
  change.messages.push_back({.kind = MessageKind::kRemove, .range = range});
  bool registered = mapping->registered;
  ChangeId id = start(std::move(change));
  if (registered) return id;
  --changing_;
  changes_[id].stage = Stage::kReleased;
  advance_locked(id);
  return 0;
}

ChangeId SimMmu::begin_remap(PageRange from, PageIndex to, bool keep_source) {
  OneStep lock(mutex_);
  bool registered = space_.mapping_at(from.begin)->registered;
  space_.move(from, to, keep_source);
  if (!registered) return 0;
  Change change;
  change.range = from;
  change.messages.push_back({.kind = MessageKind::kRemap, .range = from, .target = to});
  if (!keep_source) change.messages.push_back({.kind = MessageKind::kUnmap, .range = from});
  return start(std::move(change));
}

ChangeId SimMmu::begin_fork(int* child) {
  OneStep lock(mutex_);
  *child = next_child_++;
  children_[*child].space = space_.fork();
  for (Frame& frame : frames_) frame.shared = frame.populated;
  Change change;
  change.messages.push_back({.kind = MessageKind::kFork, .child = *child});
  ChangeId id = start(std::move(change));
  if (!late_forks_) enqueue(id, changes_[id]);
  return id;
}

void SimMmu::enqueue(ChangeId id, Change& change) {
  queue_.push_back({id, change.messages[change.next]});
  change.stage = Stage::kQueued;
  changed_.signal();
}

bool SimMmu::advance(ChangeId id) {
  OneStep lock(mutex_);
  return advance_locked(id);
}

bool SimMmu::advance_locked(ChangeId id) {
  auto at = changes_.find(id);
  if (at == changes_.end()) return true;
  Change& change = at->second;
  switch (change.stage) {
    case Stage::kBegun:
      enqueue(id, change);
      return false;
    case Stage::kQueued:
      return false;
    case Stage::kTaken:
      --changing_;
      if (++change.next < change.messages.size()) {
        change.stage = Stage::kBegun;
        return false;
      }
      if (change.drops) {
        change.stage = Stage::kReleased;
        return false;
      }
      break;
    case Stage::kReleased:
      if (!change.lazily) {
        space_.drop(change.range);
        break;
      }
      for (auto page = space_.pages().lower_bound(change.range.begin.value);
           page != space_.pages().end() && page->first < change.range.end.value; ++page) {
        // Shared pages are left alone, as by the kernel.
        SimPage& found = page->second;
        if (found.kind == SimPage::Kind::kMemory && found.exclusive && !found.pinned) found.lazy = true;
      }
      break;
  }
  changes_.erase(at);
  changed_.signal();
  return true;
}

void SimMmu::run(ChangeId id) {
  for (;;) {
    std::uint32_t ticket;
    {
      OneStep lock(mutex_);
      ticket = changed_.ticket();
      if (advance_locked(id)) return;
      if (changes_[id].stage != Stage::kQueued) continue;
    }
    changed_.wait(ticket);
  }
}

}  // namespace coldpress::os
