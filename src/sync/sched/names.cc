#include "sync/sched/names.h"

#include <algorithm>
#include <cstring>

#include "base/log.h"

namespace coldpress::sched {
namespace {
constinit Names the_names;
}

Names& names() { return the_names; }

void Names::begin(bool wanted) {
  wanted_ = wanted;
  count_ = 0;
}

void Names::add(const Range& range) {
  if (!wanted_ || count_ == kMost || range.first == nullptr) return;
  ranges_[count_++] = range;
}

bool Names::find(const void* object, char (&text)[kMostLetters + 1]) const {
  auto at = reinterpret_cast<std::uintptr_t>(object);
  for (std::uint32_t i = count_; i > 0; --i) {
    const Range& range = ranges_[i - 1];
    std::uintptr_t offset = at - reinterpret_cast<std::uintptr_t>(range.first);  // huge when before it
    std::size_t within = offset % range.stride;
    if (offset / range.stride >= range.count || within >= range.bytes) continue;
    Text name;
    name << range.name;
    if (range.count > 1) name << " " << range.number + offset / range.stride;
    if (within > 0) name << "+" << within;
    std::size_t length = std::min<std::size_t>(name.view().size(), kMostLetters);
    std::memcpy(text, name.view().data(), length);
    text[length] = '\0';
    return true;
  }
  return false;
}

}  // namespace coldpress::sched
