// Regions for C.
#include "api/c_handles.h"

using namespace coldpress;

namespace {

// Whether a call on the part can be served.
coldpress_status usable(const coldpress_region* region, std::size_t offset, std::size_t bytes) {
  if (region == nullptr) return COLDPRESS_INVALID;
  std::size_t size = region->region.size();
  if (offset > size || bytes > size - offset) return COLDPRESS_OUT_OF_RANGE;
  return c::usable(region->pager);
}

using Hint = void (Region::*)(std::size_t, std::size_t);

coldpress_status give(coldpress_region* region, std::size_t offset, std::size_t bytes, Hint hint) {
  coldpress_status status = usable(region, offset, bytes);
  if (status == COLDPRESS_OK) (region->region.*hint)(offset, bytes);
  return status;
}

// What `map` gives, in a handle; `none`: what it means that it gives nothing.
template <typename Map>
coldpress_status make_region(coldpress_pager* pager, coldpress_status none, coldpress_region** region,
                             Map map) {
  if (coldpress_status status = c::usable(pager); status != COLDPRESS_OK) return status;
  return c::guarded(nullptr, [&] {
    auto made = std::make_unique<coldpress_region>();
    made->pager = pager;
    made->region = map();
    if (!made->region) return none;
    pager->in_use.fetch_add(1);
    *region = made.release();
    return COLDPRESS_OK;
  });
}

}  // namespace

coldpress_status coldpress_map(coldpress_pager* pager, size_t bytes, const coldpress_group* group,
                               coldpress_region** region) {
  if (region == nullptr) return COLDPRESS_INVALID;
  *region = nullptr;
  if (pager == nullptr || bytes == 0) return COLDPRESS_INVALID;
  if (group != nullptr && group->pager != pager) return COLDPRESS_INVALID;
  return make_region(pager, COLDPRESS_NO_MEMORY, region, [&] {
    return group == nullptr ? pager->pager->map(bytes) : pager->pager->map(bytes, group->group);
  });
}

void coldpress_unmap(coldpress_region* region) {
  if (region == nullptr) return;
  coldpress_pager* pager = region->pager;
  delete region;
  pager->in_use.fetch_sub(1);
}

void* coldpress_region_data(const coldpress_region* region) {
  return region == nullptr ? nullptr : region->region.data();
}

size_t coldpress_region_size(const coldpress_region* region) {
  return region == nullptr ? 0 : region->region.size();
}

coldpress_status coldpress_region_cold(coldpress_region* region, size_t offset, size_t bytes) {
  return give(region, offset, bytes, &Region::cold);
}

coldpress_status coldpress_region_deactivate(coldpress_region* region, size_t offset, size_t bytes) {
  return give(region, offset, bytes, &Region::deactivate);
}

coldpress_status coldpress_region_willneed(coldpress_region* region, size_t offset, size_t bytes) {
  return give(region, offset, bytes, &Region::willneed);
}

coldpress_status coldpress_region_pin(coldpress_region* region, size_t offset, size_t bytes) {
  if (coldpress_status status = usable(region, offset, bytes); status != COLDPRESS_OK) return status;
  return region->region.pin(offset, bytes) ? COLDPRESS_OK : COLDPRESS_DAMAGED;
}

coldpress_status coldpress_region_unpin(coldpress_region* region, size_t offset, size_t bytes) {
  return give(region, offset, bytes, &Region::unpin);
}

coldpress_status coldpress_region_drop(coldpress_region* region, size_t offset, size_t bytes) {
  if (coldpress_status status = usable(region, offset, bytes); status != COLDPRESS_OK) return status;
  return region->region.drop(offset, bytes) ? COLDPRESS_OK : COLDPRESS_REFUSED;
}

coldpress_status coldpress_region_clone(coldpress_region* region, coldpress_region** clone) {
  if (clone == nullptr) return COLDPRESS_INVALID;
  *clone = nullptr;
  if (region == nullptr) return COLDPRESS_INVALID;
  return make_region(region->pager, COLDPRESS_REFUSED, clone, [&] { return region->region.clone(); });
}
