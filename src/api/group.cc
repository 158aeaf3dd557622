#include <algorithm>
#include <utility>

#include "api/implementation.h"

namespace coldpress {
namespace {

std::int64_t to_bytes(std::uint64_t bytes) {
  return static_cast<std::int64_t>(std::min<std::uint64_t>(bytes, memgroup::kNoLimit));
}

std::int64_t to_pages(std::uint64_t bytes) {
  return bytes == kNoLimit ? memgroup::kNoLimit : static_cast<std::int64_t>(bytes >> kPageShift);
}

std::uint64_t from_pages(std::int64_t pages) {
  return pages == memgroup::kNoLimit ? kNoLimit : static_cast<std::uint64_t>(pages) << kPageShift;
}

std::uint64_t count(const sync::Atomic<std::int64_t>& gauge) {
  return static_cast<std::uint64_t>(std::max<std::int64_t>(gauge.load(sync::kRelaxed), 0));
}

memgroup::Limits to_limits(const GroupLimits& limits) {
  return {to_pages(limits.max_bytes), to_pages(limits.high_bytes), to_pages(limits.swap_max_bytes),
          to_bytes(limits.zswap_max_bytes), limits.zswap_writeback};
}

}  // namespace

Group Pager::make_group(const GroupLimits& limits, unsigned parent) {
  os::SignalsHeld held;  // a fault could need the lock
  Group group;
  group.number_ = implementation_->engine->group().accounts().open(static_cast<memgroup::AccountId>(parent),
                                                                   to_limits(limits));
  if (group.number_ != 0) group.pager_ = this;
  return group;
}

Group::Group(Group&& other) noexcept { *this = std::move(other); }

Group& Group::operator=(Group&& other) noexcept {
  if (this != &other) {
    reset();
    pager_ = std::exchange(other.pager_, nullptr);
    number_ = std::exchange(other.number_, 0);
  }
  return *this;
}

Group::~Group() { reset(); }

void Group::reset() {
  if (pager_ == nullptr) return;
  // In the child of a fork there is no engine, and who held its locks is not there to let go.
  if (!pager_->implementation_->engine->running()) return;
  pager_->implementation_->engine->operate([&](vm::Space& space, vm::Worker&) {
    space.close_group(static_cast<memgroup::AccountId>(number_));
    return true;
  });
  pager_ = nullptr;
}

void Group::set_limits(const GroupLimits& limits) {
  if (pager_ == nullptr) return;
  runtime::Engine& engine = *pager_->implementation_->engine;
  engine.group().accounts().set_limits(static_cast<memgroup::AccountId>(number_), to_limits(limits));
  engine.look_now();
}

GroupLimits Group::limits() const {
  if (pager_ == nullptr) return {};
  memgroup::Limits limits =
      pager_->implementation_->engine->group().accounts().limits(static_cast<memgroup::AccountId>(number_));
  return {from_pages(limits.max), from_pages(limits.high),
          limits.zswap_max_bytes == memgroup::kNoLimit ? kNoLimit
                                                       : static_cast<std::uint64_t>(limits.zswap_max_bytes),
          from_pages(limits.swap_max), limits.writeback};
}

bool Group::reclaim(std::uint64_t bytes) {
  constexpr int kPatience = 1000;
  constexpr std::int64_t kSliceNs = 50'000'000;  // signals and forks wait no longer
  if (pager_ == nullptr) return false;
  auto number = static_cast<memgroup::AccountId>(number_);
  const memgroup::Account& account = pager_->implementation_->engine->group().accounts()[number];
  std::int64_t target =
      std::max<std::int64_t>(account.usage() - static_cast<std::int64_t>(bytes >> kPageShift), 0);
  // Each of these ends early when a fork, or a fault that was met on the way, wants to go on.
  bool possible = true;
  for (int tries = 0; account.usage() > target && possible && tries < kPatience; ++tries) {
    possible = pager_->implementation_->engine->operate([&](vm::Space& space, vm::Worker& worker) {
      return space.reclaim_group(number, target, worker, sync::now_ns() + kSliceNs);
    });
  }
  return account.usage() <= target;
}

GroupStatistics Group::statistics() const {
  if (pager_ == nullptr) return {};
  os::SignalsHeld held;  // a fault could need the lock of the pressure's averages
  memgroup::Account& a =
      pager_->implementation_->engine->group().accounts()[static_cast<memgroup::AccountId>(number_)];
  memgroup::Pressure::Told::Line some = a.pressure.told().some;
  auto percent = [&](int window) { return static_cast<double>(some.average[window]) / 100; };
  auto usage = static_cast<std::uint64_t>(std::max<std::int64_t>(a.usage(), 0));
  return {usage << kPageShift,
          count(a.peak) << kPageShift,
          count(a.resident) << kPageShift,
          count(a.stored),
          count(a.stored_bytes),
          count(a.swapped) << kPageShift,
          a.reached_high,
          a.reached_max,
          a.reached_swap_max,
          a.reached_zswap_max,
          a.limit_exceeded,
          a.pgfault,
          a.pgmajfault,
          a.zswpin,
          a.zswpout,
          a.zswpwb,
          a.pswpin,
          a.pgsteal,
          a.workingset_refault,
          percent(0),
          percent(1),
          percent(2),
          some.total_us};
}

}  // namespace coldpress
