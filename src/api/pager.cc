#include "coldpress/pager.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <utility>

#include "api/implementation.h"
#include "os/linux/syscalls.h"

namespace coldpress {
Pager::Pager(std::unique_ptr<Implementation> implementation) : implementation_(std::move(implementation)) {}

Pager::~Pager() = default;

Pager::Opened Pager::open(const PagerOptions& options) {
  runtime::Config config;
  if (options.limit_bytes < runtime::kMinLimitBytes) return {nullptr, "limit_bytes must be at least 8 MiB"};
  config.limit_bytes = options.limit_bytes / kPageBytes * kPageBytes;
  if (options.compression == Compression::kZstd) {
    if (options.zstd_level < -7 || options.zstd_level > 19 || options.zstd_level == 0) {
      return {nullptr, "zstd_level must be -7 to 19, and not 0"};
    }
    config.codec = {codec::Kind::kZstd, options.zstd_level};
  }
  if (options.fault_path == FaultPath::kSignal) config.fault_path = runtime::FaultPath::kSignal;
  if (options.max_pool_percent > 100) return {nullptr, "max_pool_percent must be at most 100"};
  config.max_pool_percent = options.max_pool_percent;
  for (const std::string& device : options.swap) {
    if (config.swap_count == runtime::kMaxSwap) {
      return {nullptr, "at most " + std::to_string(runtime::kMaxSwap) +
                           " swap devices to begin with; others by swapon()"};
    }
    if (Text problem = runtime::parse_swap(device, config.swap[config.swap_count++]);
        !problem.view().empty()) {
      return {nullptr, plain(problem)};
    }
  }
  config.check_accounts = std::getenv("COLDPRESS_CHECK_ACCOUNTS") != nullptr;
  auto created = runtime::Engine::create(config, runtime::Mode::kLibrary, {});
  if (!created) return {nullptr, std::string(created.error().text.view())};
  auto implementation = std::make_unique<Implementation>(created.value());
  return {std::unique_ptr<Pager>(new Pager(std::move(implementation))), ""};
}

Region Pager::map_for(std::size_t bytes, unsigned group) {
  Region region;
  if (bytes == 0 || bytes > (std::size_t{1} << 46)) return region;
  bytes = bytes_to_pages(bytes) * kPageBytes;
  void* data = os::map_region(bytes);
  if (data == nullptr) return region;
  PageIndex first = page_of(reinterpret_cast<std::uint64_t>(data));
  PageRange range{first, first + bytes / kPageBytes};
  using Adopted = vm::Space::Adopted;
  Adopted adopted = Adopted::kLater;
  // Each of these waits for a moment without a change of mappings by other threads, for milliseconds.
  for (int tries = 0; adopted == Adopted::kLater && tries < 1000; ++tries) {
    adopted = implementation_->engine->operate(
        [&](vm::Space& space, vm::Worker& worker) { return space.adopt(range, worker); });
  }
  // Only now: until the range is adopted, a message may come of what was there before.
  bool given =
      adopted == Adopted::kYes && implementation_->engine->operate([&](vm::Space& space, vm::Worker&) {
        return space.give_to(range, static_cast<memgroup::AccountId>(group));
      });
  if (!given) {
    os::sys_munmap(data, bytes);
    return region;
  }
  region.pager_ = this;
  region.data_ = data;
  region.bytes_ = bytes;
  return region;
}

std::string Pager::set_limit(std::uint64_t bytes) {
  return implementation_->order(runtime::Order::kSet, "limit=" + std::to_string(bytes), 0);
}

std::string Pager::reclaim(std::uint64_t bytes) {
  return implementation_->order(runtime::Order::kReclaim, "", bytes);
}

std::string Pager::writeback(std::uint64_t bytes) {
  return implementation_->order(runtime::Order::kWriteBack, "", bytes);
}

std::string Pager::set(const std::string& setting) {
  return implementation_->order(runtime::Order::kSet, setting, 0);
}

std::string Pager::swapon(const std::string& device) {
  return implementation_->order(runtime::Order::kSwapOn, device, 0);
}

std::string Pager::swapoff(const std::string& device) {
  return implementation_->order(runtime::Order::kSwapOff, device, 0);
}

void Pager::cancel() { implementation_->cancels.fetch_add(1); }

PagerStatistics Pager::statistics() const {
  implementation_->engine->refresh_gauges_now();
  const memgroup::Stats& s = implementation_->engine->stats();
  auto percent = [](std::uint64_t hundredths) { return static_cast<double>(hundredths) / 100; };
  return {s.limit_bytes,
          s.resident_bytes,
          s.pool_bytes,
          s.metadata_bytes,
          s.stored_pages,
          s.stored_bytes,
          s.swap_pages,
          s.swap_bytes,
          s.same_filled_pages,
          s.pgfault,
          s.pgmajfault,
          s.zswpin,
          s.zswpout,
          s.pswpin,
          s.pswpout,
          s.written_back_pages,
          s.limit_exceeded,
          s.decompress_fail,
          s.swap_read_fail,
          s.swap_write_fail,
          s.kept_bytes,
          s.swap_total_bytes,
          s.swap_free_bytes,
          s.swap_ra,
          s.swap_ra_hit,
          s.workingset_refault,
          s.workingset_activate,
          s.direct_reclaim,
          percent(s.some_avg10),
          percent(s.some_avg60),
          percent(s.some_avg300),
          percent(s.full_avg10),
          percent(s.full_avg60),
          percent(s.full_avg300),
          s.some_total_us,
          s.full_total_us};
}

std::string Pager::devices(std::vector<SwapDevice>& devices) const {
  runtime::Told told;
  devices.clear();
  std::string answer = implementation_->order(runtime::Order::kDevices, "", 0, &told);
  for (std::size_t i = 0;
       answer.empty() && i < std::min<std::uint64_t>(told.devices.count, std::size(told.devices.rows)); ++i) {
    const runtime::DeviceRows::Row& row = told.devices.rows[i];
    devices.push_back({std::string(row.name, strnlen(row.name, sizeof row.name)), row.size_bytes,
                       row.used_bytes, row.pages, row.priority,
                       row.state == runtime::DeviceRows::State::kFailing});
  }
  return answer;
}

std::string Pager::settings(std::string& settings) const {
  runtime::Told told;
  std::string answer = implementation_->order(runtime::Order::kSettings, "", 0, &told);
  settings = answer.empty() ? std::string(told.settings, strnlen(told.settings, sizeof told.settings)) : "";
  return answer;
}

struct Region::Part {
  PageRange pages;
  char* start;
  std::size_t bytes;
};

Region::Part Region::part(std::size_t offset, std::size_t bytes, bool widen) const {
  if (offset > bytes_) offset = bytes_;
  if (bytes > bytes_ - offset) bytes = bytes_ - offset;
  std::size_t begin = offset / kPageBytes, end = (offset + bytes) / kPageBytes;
  if (widen) {
    end = bytes_to_pages(offset + bytes);
  } else {
    begin = bytes_to_pages(offset);
  }
  if (end < begin) end = begin;
  PageIndex first = page_of(reinterpret_cast<std::uint64_t>(data_));
  return {{first + begin, first + end},
          static_cast<char*>(data_) + begin * kPageBytes,
          (end - begin) * kPageBytes};
}

Region::Region(Region&& other) noexcept { *this = std::move(other); }

Region& Region::operator=(Region&& other) noexcept {
  if (this != &other) {
    reset();
    pager_ = std::exchange(other.pager_, nullptr);
    data_ = std::exchange(other.data_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

Region::~Region() { reset(); }

void Region::reset() {
  // The engine hears of it from the kernel, as of every unmapping.
  if (data_ != nullptr) os::sys_munmap(data_, bytes_);
  data_ = nullptr;
}

void Region::cold(std::size_t offset, std::size_t bytes) {
  Part p = part(offset, bytes, true);
  if (p.bytes == 0) return;
  pager_->implementation_->in_slices(p.pages, [](vm::Space& space, PageRange slice, vm::Worker& worker) {
    space.page_out(slice, worker);
    return true;
  });
}

void Region::deactivate(std::size_t offset, std::size_t bytes) {
  Part p = part(offset, bytes, true);
  if (p.bytes == 0) return;
  pager_->implementation_->in_slices(p.pages, [](vm::Space& space, PageRange slice, vm::Worker&) {
    space.make_old(slice);
    return true;
  });
}

void Region::willneed(std::size_t offset, std::size_t bytes) {
  Part p = part(offset, bytes, true);
  if (p.bytes == 0) return;
  pager_->implementation_->in_slices(p.pages, [](vm::Space& space, PageRange slice, vm::Worker& worker) {
    space.page_in(slice, worker);  // what is damaged shows when it is touched
    return true;
  });
}

bool Region::pin(std::size_t offset, std::size_t bytes) {
  Part p = part(offset, bytes, true);
  if (p.bytes == 0) return true;
  bool pinned = pager_->implementation_->engine->operate(
      [&](vm::Space& space, vm::Worker&) { return space.set_pinned(p.pages, true); });
  return pinned && pager_->implementation_->in_slices(
                       p.pages, [](vm::Space& space, PageRange slice, vm::Worker& worker) {
                         return space.page_in(slice, worker, true);
                       });
}

void Region::unpin(std::size_t offset, std::size_t bytes) {
  Part p = part(offset, bytes, true);
  if (p.bytes == 0) return;
  pager_->implementation_->engine->operate(
      [&](vm::Space& space, vm::Worker&) { return space.set_pinned(p.pages, false); });
}

Region Region::clone() {
  if (pager_ == nullptr) return {};
  PageRange from = part(0, bytes_, true).pages;
  auto account = pager_->implementation_->engine->operate([&](vm::Space& space, vm::Worker&) {
    std::uint64_t to_next = 0;
    return space.account_of(from.begin, &to_next);
  });
  Region copy = pager_->map_for(bytes_, account);
  if (!copy) return {};
  PageIndex to = copy.part(0, bytes_, true).pages.begin;
  using Cloned = vm::Space::Cloned;
  constexpr unsigned kPatience = 1000;  // milliseconds for one page, as of a fork that goes on
  PageIndex done = from.begin;
  for (unsigned futile = 0; futile < kPatience;) {
    PageIndex before = done;
    Cloned cloned = pager_->implementation_->engine->operate(
        [&](vm::Space& space, vm::Worker& worker) { return space.clone(from, to, done, worker); });
    if (cloned == Cloned::kAll) return copy;
    if (cloned == Cloned::kRefused) break;
    if (cloned == Cloned::kMakeOwn) pager_->implementation_->make_own();
    if (done > before || pager_->implementation_->engine->space().paused()) {
      futile = 0;  // a fork may take its time
    } else {
      ++futile;
      sync::sleep_ns(1'000'000);
    }
  }
  return {};
}

bool Region::drop(std::size_t offset, std::size_t bytes) {
  Part p = part(offset, bytes, false);
  return p.bytes == 0 || os::sys_madvise(p.start, p.bytes, MADV_DONTNEED) == 0;
}

}  // namespace coldpress
