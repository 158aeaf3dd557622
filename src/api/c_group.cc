// Groups for C.
#include "api/c_handles.h"

using namespace coldpress;

namespace {

constexpr std::size_t kFirstLimits = 48;

[[nodiscard]] bool to_limits(const coldpress_group_limits* given, GroupLimits& limits) {
  if (given == nullptr) return true;
  coldpress_group_limits taken{};
  if (!c::take(given, kFirstLimits, taken)) return false;
  if ((taken.zswap_writeback != 0 && taken.zswap_writeback != 1) || taken.reserved != 0) return false;
  limits = {.max_bytes = taken.max_bytes,
            .high_bytes = taken.high_bytes,
            .zswap_max_bytes = taken.zswap_max_bytes,
            .swap_max_bytes = taken.swap_max_bytes,
            .zswap_writeback = taken.zswap_writeback == 1};
  return true;
}

}  // namespace

coldpress_status coldpress_group_create(coldpress_pager* pager, const coldpress_group_limits* limits,
                                        const coldpress_group* parent, coldpress_group** group) {
  if (group == nullptr) return COLDPRESS_INVALID;
  *group = nullptr;
  GroupLimits wanted;
  if (pager == nullptr || !to_limits(limits, wanted)) return COLDPRESS_INVALID;
  if (parent != nullptr && parent->pager != pager) return COLDPRESS_INVALID;
  if (coldpress_status status = c::usable(pager); status != COLDPRESS_OK) return status;
  return c::guarded(nullptr, [&] {
    auto made = std::make_unique<coldpress_group>();
    made->pager = pager;
    made->group =
        parent == nullptr ? pager->pager->group(wanted) : pager->pager->group(wanted, parent->group);
    if (!made->group) return COLDPRESS_NO_MEMORY;
    pager->in_use.fetch_add(1);
    *group = made.release();
    return COLDPRESS_OK;
  });
}

void coldpress_group_destroy(coldpress_group* group) {
  if (group == nullptr) return;
  coldpress_pager* pager = group->pager;
  delete group;
  pager->in_use.fetch_sub(1);
}

coldpress_status coldpress_group_set_limits(coldpress_group* group, const coldpress_group_limits* limits) {
  GroupLimits wanted;
  if (group == nullptr || !to_limits(limits, wanted)) return COLDPRESS_INVALID;
  if (coldpress_status status = c::usable(group->pager); status != COLDPRESS_OK) return status;
  group->group.set_limits(wanted);
  return COLDPRESS_OK;
}

coldpress_status coldpress_group_get_limits(const coldpress_group* group, coldpress_group_limits* limits,
                                            size_t size) {
  if (group == nullptr || limits == nullptr || size < kFirstLimits) return COLDPRESS_INVALID;
  if (coldpress_status status = c::usable(group->pager); status != COLDPRESS_OK) return status;
  GroupLimits now = group->group.limits();
  coldpress_group_limits told{.struct_size = size,
                              .max_bytes = now.max_bytes,
                              .high_bytes = now.high_bytes,
                              .zswap_max_bytes = now.zswap_max_bytes,
                              .swap_max_bytes = now.swap_max_bytes,
                              .zswap_writeback = now.zswap_writeback ? 1 : 0,
                              .reserved = 0};
  c::give(told, limits, size);
  return COLDPRESS_OK;
}

coldpress_status coldpress_group_reclaim(coldpress_group* group, uint64_t bytes) {
  if (group == nullptr) return COLDPRESS_INVALID;
  if (coldpress_status status = c::usable(group->pager); status != COLDPRESS_OK) return status;
  return group->group.reclaim(bytes) ? COLDPRESS_OK : COLDPRESS_INCOMPLETE;
}

coldpress_status coldpress_group_get_statistics(const coldpress_group* group,
                                                coldpress_group_statistics* statistics, size_t size) {
  if (group == nullptr || statistics == nullptr || size == 0) return COLDPRESS_INVALID;
  if (coldpress_status status = c::usable(group->pager); status != COLDPRESS_OK) return status;
  GroupStatistics now = group->group.statistics();
  coldpress_group_statistics told{
      .current_bytes = now.current_bytes,
      .peak_bytes = now.peak_bytes,
      .resident_bytes = now.resident_bytes,
      .stored_pages = now.stored_pages,
      .stored_bytes = now.stored_bytes,
      .swap_bytes = now.swap_bytes,
      .events_high = now.events_high,
      .events_max = now.events_max,
      .events_swap_max = now.events_swap_max,
      .events_zswap_max = now.events_zswap_max,
      .limit_exceeded = now.limit_exceeded,
      .pgfault = now.pgfault,
      .pgmajfault = now.pgmajfault,
      .zswpin = now.zswpin,
      .zswpout = now.zswpout,
      .zswpwb = now.zswpwb,
      .pswpin = now.pswpin,
      .pgsteal = now.pgsteal,
      .workingset_refault = now.workingset_refault,
      .some_avg10 = now.some_avg10,
      .some_avg60 = now.some_avg60,
      .some_avg300 = now.some_avg300,
      .some_total_us = now.some_total_us,
  };
  // What the C++ library has counted since this was written is told here, too.
  static_assert(sizeof told == sizeof now);
  c::give(told, statistics, size);
  return COLDPRESS_OK;
}
