// The monitor: watches memory use, adopts, reclaims in the background. And the servers' loop.
#include <algorithm>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "os/linux/syscalls.h"
#include "runtime/engine.h"
#include "sync/futex.h"

namespace coldpress::runtime {
namespace {

constexpr std::int64_t kLongestTickNs = 50 * kMillisecond;
constexpr std::int64_t kShortestTickNs = kMillisecond;
// Between tries to reach a high mark that can not be reached.
constexpr std::int64_t kFirstPauseNs = kMillisecond, kLongestPauseNs = 100 * kMillisecond;
constexpr std::int64_t kTrashAgeNs = 10 * kMillisecond, kGiveBackNs = 100 * kMillisecond;
// How fast a program can fill memory natively, for the time that it is safe to look away.
constexpr std::int64_t kFillBytesPerSecond = std::int64_t{4} << 30;

}  // namespace

void Engine::monitor_entry(void* engine) { static_cast<Engine*>(engine)->monitor(); }

void Engine::server_entry(void* argument) {
  auto* server = static_cast<Server*>(argument);
  server->engine->serve(*server->worker);
}

void Engine::monitor() {
  if (mode_ == Mode::kProcess) {
    Descriptors keep;
    descriptors(keep);
    os::close_all_but(keep.fd);
  }
  if (restart_servers_) {
    restart_servers_ = false;
    if (!start_servers()) {
      report(Text() << "forked process " << os::sys_getpid() << " can not start its threads: stopped");
      __builtin_trap();
    }
  }
  while (!stopping_.load()) {
    std::uint32_t ticket = pressure_.ticket();
    auto remap_first = [&] {
      if (request_.load() != Request::kRemap) return;
      answer_remap();
      finish_request();
    };
    remap_first();
    while (!gate_.begin()) {
      // What is asked for may be what the forking thread waits for.
      gate_.wait_open(kMillisecond);
      remap_first();
      if (request_.load() != Request::kNone) {
        gate_.force_begin();
        answer_request();
        // Whoever waits for a page that was put aside meanwhile may hold a lock that the fork needs.
        if (active_.load()) serve_pending(monitor_worker_);
        gate_.end();
      }
    }
    answer_request();
    watch();
    PageRange shared[vm::Space::kMaxShared];
    std::size_t shared_count = 0;
    if (active_.load()) {
      serve_pending(monitor_worker_);
      shared_count = space_.take_shared(shared);
    }
    gate_.end();
    // Outside of the gate: this can sleep on a fault, which nobody serves while a fork waits for the gate.
    for (std::size_t i = 0; i < shared_count; ++i) mmu_.make_own(shared[i]);
    space_.turns().sleep(pressure_, ticket, [&] { return shared_count > 0 ? kShortestTickNs : tick_ns(); });
  }
}

void Engine::watch() {
  refresh_usage();
  if (active_.load()) {
    devices_.check_children(space_);
    space_.tidy_devices(monitor_worker_);
    mmu_.empty_trash(kTrashAgeNs);
    if (devices_.offer_again()) {
      space_.offer_swap(true);
      device_came();
    }
  }
  if (group_.usage() > group_.high() && !space_.hopeless()) {
    if (!active_.load() && !try_to_activate()) return;
    if (mode_ == Mode::kProcess) adopt_everything();
    reclaim_to_low();
    // A program that outgrew reclaim natively did so in ranges that are new: look again at once.
    if (mode_ == Mode::kProcess && group_.usage() > group_.high()) adopt_everything();
  }
  if (active_.load()) {
    space_.watch_groups(monitor_worker_);
    space_.recompress_some(monitor_worker_);
    space_.compact_pool();  // what that has left sparse; reclaim need not come by
    std::int64_t now = sync::now_ns();
    if (now - given_back_ns_ >= kGiveBackNs) {
      space_.give_back_rest();
      given_back_ns_ = now;
    }
    // All threads of the process but the engine's own.
    if (lost_.due(now)) {
      std::size_t all = view_.thread_count(), own = server_count_ + 1;
      lost_.update(now, static_cast<std::uint32_t>(all > own ? all - own : 0));
      lost_.tell(*stats_);
    }
  }
  look_for_order();
  refresh_gauges();
}

void Engine::reclaim_to_low() {
  if (sync::now_ns() < reclaim_again_ns_ && group_.usage() < group_.limit()) return;
  std::int64_t until = sync::now_ns() + kMonitorSliceNs;
  bool held = space_.reclaim_to(std::max<std::int64_t>(group_.low(), 0), monitor_worker_, until);
  reclaim_pause_ns_ = held ? 0 : std::clamp(reclaim_pause_ns_ * 2, kFirstPauseNs, kLongestPauseNs);
  reclaim_again_ns_ = sync::now_ns() + reclaim_pause_ns_;
}

// Better unmanaged and whole than half managed; said once, since this state does not end.
bool Engine::try_to_activate() {
  if (activation_failed_) return false;
  if (auto status = activate(); !status) {
    activation_failed_ = true;
    report(status.error().text);
    group_.set_limit(~std::uint64_t{0} >> 14);
  }
  return !activation_failed_;
}

// Time until the program could have filled what is left below the high mark.
std::int64_t Engine::tick_ns() const {
  std::int64_t room_bytes = std::max<std::int64_t>(group_.high() - group_.usage(), 0) << kPageShift;
  std::int64_t tick = room_bytes / (kFillBytesPerSecond / 1'000'000'000 + 1);
  if (mode_ == Mode::kLibrary) {
    // Every page passes the engine: pressure() tells, but a fault that found the monitor awake does not.
    if (room_bytes > 0 || space_.hopeless()) return kLongestTickNs;
    // Above high, where reclaim has paused: when it looks again.
    return std::clamp(reclaim_again_ns_ - sync::now_ns(), kShortestTickNs, kLongestTickNs);
  }
  return std::clamp(tick, kShortestTickNs, active_.load() ? 4 * kMillisecond : kLongestTickNs);
}

void Engine::refresh_usage() {
  if (mode_ == Mode::kLibrary) {
    // Space counts everything but its own tables.
    auto metadata = static_cast<std::int64_t>(space_.metadata_pages());
    space_.charge_uncounted(metadata - std::exchange(metadata_charged_, metadata));
    return;
  }
  group_.set_usage(view_.rss_anon_pages());
  usage_read_at_.store(sync::now_ns(), sync::kRelaxed);
}

bool Engine::keep_going() {
  Request asked = request_.load(sync::kRelaxed);
  bool waits = asked != Request::kNone && asked != Request::kAdvise;  // advice needs reclaim itself
  if (gate_.closed() || stopping_.load(sync::kRelaxed) || waits || order_waits()) return false;
  if (mode_ == Mode::kProcess && sync::now_ns() - usage_read_at_.load(sync::kRelaxed) > kMillisecond) {
    refresh_usage();
  }
  return true;
}

void Engine::refresh_gauges() {
  if (active_.load()) {
    space_.update_gauges();
    return;
  }
  std::uint64_t bytes = static_cast<std::uint64_t>(group_.usage()) << kPageShift;
  stats_->rss_anon_bytes.store(bytes, sync::kRelaxed);
  stats_->resident_bytes.store(bytes, sync::kRelaxed);
  if (bytes > stats_->peak_rss_anon_bytes.load(sync::kRelaxed)) {
    stats_->peak_rss_anon_bytes.store(bytes, sync::kRelaxed);
  }
}

void Engine::refresh_gauges_now() {
  os::SignalsHeld held;
  begin_operation();
  refresh_gauges();
  end_operation();
}

// Every private anonymous writable mapping, whoever made it. Left out: the engine's own memory and image,
// thread stacks (the kernel could not deliver a signal on one that is out), executable ones (the
// kernel moves pages between mappings of equal protection only).
void Engine::adopt_everything() {
  // With half of the reserve left, nothing grows that is not known, or not fast.
  constexpr std::int64_t kPause = 2 * kMillisecond, kCalmPause = 20 * kMillisecond;
  std::int64_t now = sync::now_ns();
  bool calm = group_.usage() < (group_.high() + group_.limit()) / 2;
  if (now - adopted_at_ < (calm ? kCalmPause : kPause)) return;
  std::size_t blocks = 0;
  bool have_blocks = false, later = false;
  // The C library's own variables (its .bss is an anonymous mapping without a name) are read by the memcpy()
  // that the engine itself uses: out, they would stop it for ever.
  char library[256] = {};
  PageIndex library_end{};
  // A thread stack has a guard below it; so do the cached stacks of threads that have ended and the ones of
  // threads about to start, which no list of threads shows. The kernel's write at a thread's exit can not
  // wait for a page.
  PageRange guard;
  constexpr std::uint64_t kMaxGuardPages = 16;
  PageIndex library_code = page_of(
      reinterpret_cast<std::uint64_t>(static_cast<void* (*)(void*, const void*, std::size_t)>(&std::memcpy)));
  view_.for_each_mapping({maps_buffer_, kMapsBufferBytes}, [&](const os::Mapping& mapping) {
    if (mapping.file && mapping.name.size() < sizeof library) {
      if (mapping.range.contains(library_code)) mapping.name.copy(library, sizeof library - 1);
      if (mapping.name == library) library_end = mapping.range.end;
    }
    if (!mapping.readable && !mapping.writable && !mapping.file) {
      guard = mapping.range;
      return;
    }
    if (!mapping.readable || !mapping.writable || mapping.executable || mapping.shared || mapping.file)
      return;
    if (mapping.name.starts_with("[stack") || mapping.name.starts_with("[v") ||
        mapping.name.starts_with("/") || mapping.name.starts_with("[anon:coldpress")) {
      return;
    }
    if (!intersect(mapping.range, memory_.range()).empty()) return;
    if (!intersect(mapping.range, image_).empty()) return;
    bool guarded = guard.end == mapping.range.begin && guard.pages() <= kMaxGuardPages;
    guard = {};
    if (mapping.range.begin == library_end || guarded) return;
    if (later || space_.managed(mapping.range)) return;  // whole; what overlaps in part is adopted in part
    if (!have_blocks) {
      blocks = view_.thread_blocks({thread_blocks_, 4096});
      have_blocks = true;
    }
    for (std::size_t i = 0; i < blocks; ++i) {
      if (mapping.range.contains(page_of(thread_blocks_[i]))) return;
    }
    later = space_.adopt(mapping.range, monitor_worker_) == vm::Space::Adopted::kLater;
  });
  adopted_at_ = sync::now_ns();
}

void Engine::serve_pending(vm::Worker& worker) {
  if (worker.pending_count == 0) return;
  memgroup::Waiting thread(lost_);
  space_.handle_pending(worker);
}

void Engine::serve(vm::Worker& worker) {
  while (!servers_stopping_.load(sync::kRelaxed)) {
    if (worker.pending_count == 0) mmu_.wait_message(sync::kForever);
    if (!gate_.begin()) {
      fork_duty(worker);
      continue;
    }
    os::Message fault;
    if (space_.take_message(worker, &fault)) {
      memgroup::Waiting thread(lost_);
      space_.handle_fault(fault.range.begin, fault.write, worker);
    }
    serve_pending(worker);
    gate_.end();
  }
}

}  // namespace coldpress::runtime
