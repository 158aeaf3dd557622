// Pagers for C.
#include <string>

#include "api/c_handles.h"
#include "runtime/config.h"

using namespace coldpress;

namespace {

constexpr std::size_t kFirstOptions = 48;

coldpress_status to_options(const coldpress_options& given, PagerOptions& options, coldpress_error* error) {
  auto wrong = [&](const char* text) { return c::say(error, COLDPRESS_INVALID, text); };
  options.limit_bytes = given.limit_bytes;
  switch (given.compression) {
    case COLDPRESS_LZ4:
      break;
    case COLDPRESS_ZSTD:
      options.compression = Compression::kZstd;
      break;
    default:
      return wrong("compression must be COLDPRESS_LZ4 or COLDPRESS_ZSTD");
  }
  if (given.zstd_level != 0) options.zstd_level = given.zstd_level;
  switch (given.fault_path) {
    case COLDPRESS_FAULT_THREAD:
      break;
    case COLDPRESS_FAULT_SIGNAL:
      options.fault_path = FaultPath::kSignal;
      break;
    default:
      return wrong("fault_path must be COLDPRESS_FAULT_THREAD or COLDPRESS_FAULT_SIGNAL");
  }
  if (given.max_pool_percent != 0) options.max_pool_percent = given.max_pool_percent;
  if (given.swap_count != 0 && given.swap == nullptr) return wrong("swap is NULL, and swap_count is not 0");
  // One too many is enough to be told so.
  for (std::size_t i = 0; i < std::min(given.swap_count, runtime::kMaxSwap + 1); ++i) {
    if (given.swap[i] == nullptr) return wrong("a device in swap is NULL");
    options.swap.emplace_back(given.swap[i]);
  }
  return COLDPRESS_OK;
}

// An order; what it answers, "" when it was followed, is the error's text.
template <typename Order>
coldpress_status order(coldpress_pager* pager, coldpress_error* error, coldpress_status failed, Order give) {
  if (pager == nullptr) return c::say(error, COLDPRESS_INVALID, "the pager is NULL");
  if (coldpress_status status = c::usable(pager); status != COLDPRESS_OK) return c::say(error, status);
  return c::guarded(error, [&] {
    std::string answer = give(*pager->pager);
    return c::say(error, answer.empty() ? COLDPRESS_OK : failed, answer);
  });
}

template <typename Order>
coldpress_status text_order(coldpress_pager* pager, const char* text, coldpress_error* error, Order give) {
  if (text == nullptr) return c::say(error, COLDPRESS_INVALID, "the text of the order is NULL");
  return order(pager, error, COLDPRESS_REFUSED, [&](Pager& to) { return give(to, std::string(text)); });
}

}  // namespace

const char* coldpress_status_text(coldpress_status status) {
  switch (status) {
    case COLDPRESS_OK:
      return "done";
    case COLDPRESS_INVALID:
      return "an argument is NULL, of an impossible value, or of another pager";
    case COLDPRESS_OUT_OF_RANGE:
      return "the part is not within the region: offset + bytes may be its size at most";
    case COLDPRESS_IN_CHILD:
      return "this is the child of a fork, and the pager its parent's: open another one here";
    case COLDPRESS_IN_USE:
      return "regions or groups of the pager are still there: unmap and destroy them first";
    case COLDPRESS_NO_MEMORY:
      return "out of memory or address space, or a table of the pager is full";
    case COLDPRESS_REFUSED:
      return "the machine or the pager does not do it";
    case COLDPRESS_INCOMPLETE:
      return "less was done than asked for";
    case COLDPRESS_DAMAGED:
      return "content is lost: touching it raises SIGBUS";
  }
  return "not a status of coldpress";
}

coldpress_status coldpress_open(const coldpress_options* options, coldpress_pager** pager,
                                coldpress_error* error) {
  if (pager == nullptr) return c::say(error, COLDPRESS_INVALID, "there is no place for the pager: NULL");
  *pager = nullptr;
  if (options == nullptr) return c::say(error, COLDPRESS_INVALID, "the options are NULL");
  coldpress_options taken{};
  if (!c::take(options, kFirstOptions, taken)) {
    return c::say(
        error, COLDPRESS_INVALID,
        "the options have an impossible size, or fields that this library does not know: begin with "
        "COLDPRESS_OPTIONS_INIT");
  }
  return c::guarded(error, [&] {
    PagerOptions all;
    if (coldpress_status status = to_options(taken, all, error); status != COLDPRESS_OK) return status;
    auto made = std::make_unique<coldpress_pager>();
    Pager::Opened opened = Pager::open(all);
    if (!opened) return c::say(error, COLDPRESS_REFUSED, opened.error);
    made->pager = std::move(opened.pager);
    *pager = made.release();
    return c::say(error, COLDPRESS_OK);
  });
}

coldpress_status coldpress_close(coldpress_pager* pager) {
  if (pager == nullptr) return COLDPRESS_OK;
  if (coldpress_status status = c::usable(pager); status != COLDPRESS_OK) return status;
  if (pager->in_use.load() != 0) return COLDPRESS_IN_USE;
  delete pager;
  return COLDPRESS_OK;
}

coldpress_status coldpress_set_limit(coldpress_pager* pager, uint64_t bytes, coldpress_error* error) {
  return order(pager, error, COLDPRESS_REFUSED, [&](Pager& to) { return to.set_limit(bytes); });
}

coldpress_status coldpress_reclaim(coldpress_pager* pager, uint64_t bytes, coldpress_error* error) {
  return order(pager, error, COLDPRESS_INCOMPLETE, [&](Pager& to) { return to.reclaim(bytes); });
}

coldpress_status coldpress_writeback(coldpress_pager* pager, uint64_t bytes, coldpress_error* error) {
  return order(pager, error, COLDPRESS_INCOMPLETE, [&](Pager& to) { return to.writeback(bytes); });
}

coldpress_status coldpress_set(coldpress_pager* pager, const char* setting, coldpress_error* error) {
  return text_order(pager, setting, error, [](Pager& to, const std::string& text) { return to.set(text); });
}

coldpress_status coldpress_swapon(coldpress_pager* pager, const char* device, coldpress_error* error) {
  return text_order(pager, device, error, [](Pager& to, const std::string& text) { return to.swapon(text); });
}

coldpress_status coldpress_swapoff(coldpress_pager* pager, const char* device, coldpress_error* error) {
  return text_order(pager, device, error,
                    [](Pager& to, const std::string& text) { return to.swapoff(text); });
}

coldpress_status coldpress_cancel(coldpress_pager* pager) {
  if (pager == nullptr) return COLDPRESS_INVALID;
  if (coldpress_status status = c::usable(pager); status != COLDPRESS_OK) return status;
  pager->pager->cancel();
  return COLDPRESS_OK;
}

coldpress_status coldpress_get_devices(coldpress_pager* pager, coldpress_device* devices, size_t count,
                                       size_t size, size_t* all, coldpress_error* error) {
  if (all != nullptr) *all = 0;
  if (pager == nullptr || all == nullptr || size == 0 || (devices == nullptr && count != 0)) {
    return c::say(error, COLDPRESS_INVALID);
  }
  return order(pager, error, COLDPRESS_REFUSED, [&](Pager& of) {
    std::vector<SwapDevice> found;
    std::string answer = of.devices(found);
    *all = found.size();
    for (std::size_t i = 0; i < std::min(count, found.size()); ++i) {
      const SwapDevice& device = found[i];
      coldpress_device told{{},           device.size_bytes, device.used_bytes,
                            device.pages, device.priority,   device.failing ? 1 : 0};
      device.name.copy(told.name, sizeof told.name - 1);
      c::give(told, reinterpret_cast<char*>(devices) + i * size, size);
    }
    return answer;
  });
}

coldpress_status coldpress_get_settings(coldpress_pager* pager, char* text, size_t bytes,
                                        coldpress_error* error) {
  if (pager == nullptr || text == nullptr) return c::say(error, COLDPRESS_INVALID);
  std::string settings;
  coldpress_status status =
      order(pager, error, COLDPRESS_REFUSED, [&](Pager& of) { return of.settings(settings); });
  if (status != COLDPRESS_OK) return status;
  if (bytes <= settings.size())
    return c::say(error, COLDPRESS_OUT_OF_RANGE, "there is no room for all settings: 1,024 bytes do");
  std::memcpy(text, settings.c_str(), settings.size() + 1);
  return COLDPRESS_OK;
}

coldpress_status coldpress_get_statistics(const coldpress_pager* pager,
                                          coldpress_pager_statistics* statistics, size_t size) {
  if (pager == nullptr || statistics == nullptr || size == 0) return COLDPRESS_INVALID;
  if (coldpress_status status = c::usable(pager); status != COLDPRESS_OK) return status;
  PagerStatistics now = pager->pager->statistics();
  coldpress_pager_statistics told{
      .limit_bytes = now.limit_bytes,
      .resident_bytes = now.resident_bytes,
      .pool_bytes = now.pool_bytes,
      .metadata_bytes = now.metadata_bytes,
      .stored_pages = now.stored_pages,
      .stored_bytes = now.stored_bytes,
      .swap_pages = now.swap_pages,
      .swap_bytes = now.swap_bytes,
      .same_filled_pages = now.same_filled_pages,
      .pgfault = now.pgfault,
      .pgmajfault = now.pgmajfault,
      .zswpin = now.zswpin,
      .zswpout = now.zswpout,
      .pswpin = now.pswpin,
      .pswpout = now.pswpout,
      .written_back_pages = now.written_back_pages,
      .limit_exceeded = now.limit_exceeded,
      .decompress_fail = now.decompress_fail,
      .swap_read_fail = now.swap_read_fail,
      .swap_write_fail = now.swap_write_fail,
      .kept_bytes = now.kept_bytes,
      .swap_total_bytes = now.swap_total_bytes,
      .swap_free_bytes = now.swap_free_bytes,
      .swap_ra = now.swap_ra,
      .swap_ra_hit = now.swap_ra_hit,
      .workingset_refault = now.workingset_refault,
      .workingset_activate = now.workingset_activate,
      .direct_reclaim = now.direct_reclaim,
      .some_avg10 = now.some_avg10,
      .some_avg60 = now.some_avg60,
      .some_avg300 = now.some_avg300,
      .full_avg10 = now.full_avg10,
      .full_avg60 = now.full_avg60,
      .full_avg300 = now.full_avg300,
      .some_total_us = now.some_total_us,
      .full_total_us = now.full_total_us,
  };
  // What the C++ library has counted since this was written is told here, too.
  static_assert(sizeof told == sizeof now);
  c::give(told, statistics, size);
  return COLDPRESS_OK;
}
