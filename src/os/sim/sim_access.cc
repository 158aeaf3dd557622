// The program's side of the simulated machine: accesses and their faults; and what tests look at.
#include <cstring>

#include "base/check.h"
#include "os/sim/sim_mmu.h"

namespace coldpress::os {
namespace {
// A fault that is served so often without effect is a livelock of the engine.
constexpr unsigned kFaultsAtMost = 1 << 20;
}  // namespace

template <typename Use>
Access SimMmu::access(PageIndex index, bool write, Use use) {
  for (unsigned faults = 0;; ++faults) {
    COLDPRESS_CHECK(faults < kFaultsAtMost);
    {
      OneStep lock(mutex_);
      const SimMapping* mapping = space_.mapping_at(index);
      if (mapping == nullptr || (write && !mapping->writable)) return Access::kSegv;
      SimPage* page = space_.find(index);
      if (page == nullptr && !mapping->registered) {
        SimPage fresh;
        fresh.kind = SimPage::Kind::kZero;
        page = &space_.put(index, std::move(fresh));
      }
      if (page != nullptr) {
        if (page->kind == SimPage::Kind::kPoison) return Access::kSigbus;
        use(*page);
        return Access::kOk;
      }
    }
    if (fault_handler_ != nullptr) {
      fault_handler_->on_fault(index, write);
    } else {
      sleep_on_fault(index, write);
    }
  }
}

void SimMmu::sleep_on_fault(PageIndex page, bool write) {
  std::list<Waiter>::iterator self;
  {
    OneStep lock(mutex_);
    // The kernel looks again after it has queued the fault; here both are one step.
    const SimMapping* mapping = space_.mapping_at(page);
    if (mapping == nullptr || !mapping->registered || space_.find(page) != nullptr) return;
    self = waiters_.insert(waiters_.end(), Waiter{page, write});
  }
  changed_.signal();
  for (;;) {
    std::uint32_t ticket;
    {
      OneStep lock(mutex_);
      ticket = changed_.ticket();
      if (self->woken) {
        waiters_.erase(self);
        return;
      }
    }
    changed_.wait(ticket);
  }
}

Access SimMmu::read(PageIndex page, std::size_t offset, void* into, std::size_t bytes) {
  return access(page, false, [&](SimPage& found) {
    if (found.kind == SimPage::Kind::kZero) {
      std::memset(into, 0, bytes);
    } else {
      std::memcpy(into, found.data->bytes + offset, bytes);
    }
  });
}

Access SimMmu::write(PageIndex page, std::size_t offset, const void* from, std::size_t bytes) {
  return access(page, true, [&](SimPage& found) {
    std::memcpy(SimAddressSpace::make_writable(found) + offset, from, bytes);
  });
}

Access SimMmu::child_read(int child, PageIndex index, void* into) {
  OneStep lock(mutex_);
  auto at = children_.find(child);
  COLDPRESS_CHECK(at != children_.end() && !at->second.open);
  if (at->second.space.mapping_at(index) == nullptr) return Access::kSegv;
  SimPage* page = at->second.space.find(index);
  if (page != nullptr && page->kind == SimPage::Kind::kPoison) return Access::kSigbus;
  if (page == nullptr || page->kind == SimPage::Kind::kZero) {
    std::memset(into, 0, kPageBytes);
  } else {
    std::memcpy(into, page->data->bytes, kPageBytes);
  }
  return Access::kOk;
}

void SimMmu::child_exit(int child) {
  OneStep lock(mutex_);
  children_.erase(child);
}

void SimMmu::interfere(const SimInterference& how, std::uint64_t seed) {
  OneStep lock(mutex_);
  interference_ = how;
  random_ = seed;
  chances_ = 0;
}

std::uint64_t SimMmu::chances() {
  OneStep lock(mutex_);
  return chances_;
}

std::uint64_t SimMmu::refused_registrations() {
  OneStep lock(mutex_);
  return refused_registrations_;
}

bool SimMmu::take_lazy(PageIndex index) {
  OneStep lock(mutex_);
  SimPage* page = space_.find(index);
  if (page == nullptr || !page->lazy) return false;
  space_.erase(index);
  return true;
}

bool SimMmu::take_lazy_frame(FrameId id) {
  OneStep lock(mutex_);
  Frame& frame = frames_[id.value];
  if (!still_lazy(frame)) return false;
  frame.populated = frame.shared = frame.lazy = false;
  frame.lost = true;
  std::memset(frame.bytes, 0, kPageBytes);  // a hole that the engine reads is filled with zeros
  return true;
}

void SimMmu::unshare_frames() {
  OneStep lock(mutex_);
  for (Frame& frame : frames_) frame.shared = false;
}

std::size_t SimMmu::queued_messages() {
  OneStep lock(mutex_);
  return queue_.size();
}

std::uint64_t SimMmu::resident_pages() {
  OneStep lock(mutex_);
  std::uint64_t count = 0;
  for (auto& [index, page] : space_.pages()) count += page.kind == SimPage::Kind::kMemory ? 1 : 0;
  return count;
}

std::uint64_t SimMmu::populated_frames() {
  OneStep lock(mutex_);
  std::uint64_t count = 0;
  for (const Frame& frame : frames_) count += frame.populated ? 1 : 0;
  return count;
}

bool SimMmu::present(PageIndex page) {
  OneStep lock(mutex_);
  return space_.find(page) != nullptr;
}

bool SimMmu::mapped(PageRange range) {
  OneStep lock(mutex_);
  return space_.any_mapped(range);
}

std::vector<SimMapping> SimMmu::mappings() {
  OneStep lock(mutex_);
  return space_.mappings();
}

}  // namespace coldpress::os
