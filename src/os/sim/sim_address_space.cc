#include "os/sim/sim_address_space.h"

#include <cstring>

#include "base/check.h"

namespace coldpress::os {

void SimAddressSpace::split_at(PageIndex page) {
  auto next = mappings_.upper_bound(page.value);
  if (next == mappings_.begin()) return;
  SimMapping& low = std::prev(next)->second;
  if (low.range.begin == page || low.range.end <= page) return;
  SimMapping high = low;
  high.range.begin = page;
  low.range.end = page;
  mappings_[page.value] = high;
}

void SimAddressSpace::map(PageRange range, bool writable) {
  COLDPRESS_CHECK(!range.empty() && !any_mapped(range));
  mappings_[range.begin.value] = {range, false, writable};
}

void SimAddressSpace::unmap(PageRange range) {
  split_at(range.begin);
  split_at(range.end);
  mappings_.erase(mappings_.lower_bound(range.begin.value), mappings_.lower_bound(range.end.value));
  drop(range);
}

void SimAddressSpace::move(PageRange from, PageIndex to, bool keep_source) {
  PageRange target{to, to + from.pages()};
  const SimMapping* source = mapping_at(from.begin);
  COLDPRESS_CHECK(source != nullptr && from.end <= source->range.end && !any_mapped(target));
  SimMapping copy = *source;
  copy.range = target;
  mappings_[to.value] = copy;
  for (auto at = pages_.lower_bound(from.begin.value); at != pages_.end() && at->first < from.end.value;) {
    pages_[to.value + (at->first - from.begin.value)] = std::move(at->second);
    at = pages_.erase(at);
  }
  if (!keep_source) unmap(from);
}

void SimAddressSpace::grow(PageIndex page, std::uint64_t by) {
  SimMapping& mapping = std::prev(mappings_.upper_bound(page.value))->second;
  COLDPRESS_CHECK(mapping.range.contains(page) && !any_mapped({mapping.range.end, mapping.range.end + by}));
  mapping.range.end = mapping.range.end + by;
}

void SimAddressSpace::protect(PageRange range, bool writable) {
  split_at(range.begin);
  split_at(range.end);
  auto end = mappings_.lower_bound(range.end.value);
  for (auto at = mappings_.lower_bound(range.begin.value); at != end; ++at) at->second.writable = writable;
}

void SimAddressSpace::set_registered(PageRange range, bool registered) {
  split_at(range.begin);
  split_at(range.end);
  auto end = mappings_.lower_bound(range.end.value);
  for (auto at = mappings_.lower_bound(range.begin.value); at != end; ++at) {
    at->second.registered = registered;
  }
}

void SimAddressSpace::drop(PageRange range) {
  pages_.erase(pages_.lower_bound(range.begin.value), pages_.lower_bound(range.end.value));
}

SimAddressSpace SimAddressSpace::fork() {
  for (auto& [index, page] : pages_) page.exclusive = false;
  SimAddressSpace child = *this;
  // Pins are the parent's: the kernel copies pinned pages at once, and the parent's stay exclusive.
  for (auto& [index, page] : pages_) {
    if (!page.pinned) continue;
    page.exclusive = true;
    SimPage& copy = child.pages_[index];
    copy.pinned = false;
    copy.exclusive = true;
    if (copy.data) copy.data = std::make_shared<SimBuffer>(*copy.data);
  }
  return child;
}

const SimMapping* SimAddressSpace::mapping_at(PageIndex page) const {
  auto next = mappings_.upper_bound(page.value);
  if (next == mappings_.begin()) return nullptr;
  const SimMapping& mapping = std::prev(next)->second;
  return mapping.range.contains(page) ? &mapping : nullptr;
}

bool SimAddressSpace::any_mapped(PageRange range) const {
  if (mapping_at(range.begin) != nullptr) return true;
  auto next = mappings_.lower_bound(range.begin.value);
  return next != mappings_.end() && next->first < range.end.value;
}

bool SimAddressSpace::any_registered(PageRange range) const {
  for (const auto& [begin, mapping] : mappings_) {
    if (mapping.registered && !intersect(mapping.range, range).empty()) return true;
  }
  return false;
}

std::vector<SimMapping> SimAddressSpace::mappings() const {
  std::vector<SimMapping> all;
  for (const auto& [begin, mapping] : mappings_) all.push_back(mapping);
  return all;
}

SimPage* SimAddressSpace::find(PageIndex page) {
  auto at = pages_.find(page.value);
  return at == pages_.end() ? nullptr : &at->second;
}

std::byte* SimAddressSpace::make_writable(SimPage& page) {
  if (page.kind == SimPage::Kind::kZero) {
    page.kind = SimPage::Kind::kMemory;
    page.data = std::make_shared<SimBuffer>();
  } else if (!page.exclusive && page.data.use_count() > 1) {
    page.data = std::make_shared<SimBuffer>(*page.data);
  }
  page.exclusive = true;
  page.lazy = false;
  return page.data->bytes;
}

SimPage SimAddressSpace::memory_page(const std::byte* content) {
  SimPage page;
  page.data = std::make_shared<SimBuffer>();
  if (content != nullptr) std::memcpy(page.data->bytes, content, kPageBytes);
  return page;
}

}  // namespace coldpress::os
