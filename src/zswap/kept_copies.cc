#include "zswap/kept_copies.h"

#include <algorithm>
#include <bit>

#include "sync/explore.h"

namespace coldpress::zswap {

bool KeptCopies::init(MemorySource& source, std::int64_t limit_pages) {
  constexpr std::int64_t kFewest = 1 << 10, kMost = 1 << 22;
  auto places = static_cast<std::uint64_t>(std::clamp(limit_pages / 2, kFewest, kMost));
  sync::name_object(bytes_, "bytes of kept copies");
  return places_.init(source, std::bit_floor(places));
}

bool KeptCopies::wanted(std::size_t bytes, std::int64_t limit_pages) {
  constexpr std::uint32_t kProbe = 32;
  if (serving_ < kAll / 4 * 3 && ++turn_ % kProbe != 0) return false;
  return bytes_.load(sync::kRelaxed) + bytes <= most_bytes(limit_pages);
}

std::uint32_t KeptCopies::put(PageIndex page, std::uint32_t entry) {
  if (!in_use_ && !places_.grow_to(places_.capacity())) return entry;
  in_use_ = true;
  std::uint64_t& place = place_of(page);
  std::uint32_t sent_away = vacate(place);
  place = tag_of(page) | entry;
  ++count_;
  return sent_away;
}

std::uint32_t KeptCopies::take(PageIndex page) {
  if (!in_use_) return 0;
  std::uint64_t& place = place_of(page);
  bool is_it = static_cast<std::uint32_t>(place) != 0 && (place & ~kPassedBy) >> 32 << 32 == tag_of(page);
  return is_it ? vacate(place) : 0;
}

std::uint32_t KeptCopies::vacate(std::uint64_t& place) {
  auto entry = static_cast<std::uint32_t>(place);
  if (entry != 0) --count_;
  place = 0;
  return entry;
}

std::uint32_t KeptCopies::sweep(std::size_t& places, bool all) {
  for (; in_use_ && places > 0; --places) {
    std::uint64_t& place = places_[hand_];
    hand_ = (hand_ + 1) & (places_.capacity() - 1);
    if (place == 0) continue;
    if (all || (place & kPassedBy) != 0) {
      --places;
      return vacate(place);
    }
    place |= kPassedBy;
  }
  return 0;
}

void KeptCopies::served(bool served) {
  constexpr std::int32_t kMemory = 16;
  serving_ += ((served ? kAll : 0) - serving_) / kMemory;
}

}  // namespace coldpress::zswap
