// The dynamic shrinker, zswap's: without waiting for the pool to be full, what is coldest in it goes on to a
// device, as fast as pages are captured. For each part of the memory in use that reclaim takes, it takes the
// same part of the pool's objects, less
//  - as many as came back from devices since the last look: that many too many were taken;
//  - the more, the better they compress: each frees only its compressed size.
// Source: mm/zswap.c of Linux 6.8 and later, zswap_shrinker_count().
#include <algorithm>

#include "vm/space.h"

namespace coldpress::vm {

using memgroup::AccountId;
namespace {

constexpr std::uint64_t kFractions = 256;            // of an object, in the credit
constexpr std::uint64_t kAtOnce = 128 * kFractions;  // about a segment

}  // namespace

// Each look forgets what it was told of loads.
std::uint64_t Space::shrinkable(AccountId account) {
  std::uint64_t objects = zswap_.listed(account);
  std::uint64_t loads = shrinker_.device_loads[account].exchange(0, sync::kRelaxed);
  if (!may_write_back(account) || objects <= loads) {
    // What is not accounted for yet protects the next ones.
    if (loads > objects)
      shrinker_.device_loads[account].fetch_add(static_cast<std::uint32_t>(loads - objects), sync::kRelaxed);
    return 0;
  }
  const memgroup::Stats& stats = group_->stats();
  std::uint64_t stored = std::max<std::uint64_t>(stats.stored_pages.load(sync::kRelaxed), 1);
  std::uint64_t bytes = stats.stored_bytes.load(sync::kRelaxed);
  return (objects - loads) * std::min(bytes, stored * kPageBytes) / (stored * kPageBytes);
}

// By the background, for what was captured meanwhile.
void Space::shrink_pool(Worker& worker) {
  std::uint32_t captured = shrinker_.captured.exchange(0, sync::kRelaxed);
  if (captured == 0 || !has_swap() || swap_full()) return;
  std::uint64_t objects = 0;
  for (std::size_t i = 0; i < group_->accounts().end(); ++i) objects += shrinkable(static_cast<AccountId>(i));
  std::int64_t in_use = group_->usage() - static_cast<std::int64_t>(zswap_.pool().held_pages());
  in_use = std::max<std::int64_t>(in_use, captured);
  std::uint64_t credit = shrinker_.credit.load(sync::kRelaxed) +
                         objects * captured * kFractions / static_cast<std::uint64_t>(in_use);
  if (credit >= kAtOnce && write_back(WritebackNeed::kShrink, worker)) credit -= kAtOnce;
  shrinker_.credit.store(std::min(credit, 2 * kAtOnce), sync::kRelaxed);
}

}  // namespace coldpress::vm
