// A program that uses the library with swap devices: swapon, swapoff, limits, while its memory is in use.
//
//   library FILE thread|signal
#include <coldpress/pager.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

#include "content.h"

namespace coldtest {
namespace {

constexpr std::size_t kPages = 96 * kMiB / kPageSize;

void expect(const std::string& answer, const char* begin, const char* what) {
  bool good = *begin == 0 ? answer.empty() : answer.find(begin) == 0;
  if (!good) die("FAILED: %s: answered \"%s\"", what, answer.c_str());
}

std::uint64_t key_of(std::size_t page) { return (mix(page) & ~std::uint64_t{31}) | 3U; }  // random

void verify(const Byte* bytes, std::size_t step) {
  for (std::size_t i = 0; i < kPages; i += step) check_page("region", bytes + i * kPageSize, key_of(i));
}

// What the kernel counts of this process.
std::size_t rss_anon() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) return std::stoul(line.substr(8)) << 10;
  }
  die("FAILED: /proc/self/status has no RssAnon");
}

// Layout messages are followed by the pager's threads, a moment later.
template <typename Holds>
void wait_for(const char* what, Holds holds) {
  for (int tries = 0; !holds(); ++tries) {
    require(tries < 2000, what);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

// Memory that is read before it is written to is memory all the same; and what is given up is not.
void usage(coldpress::Pager& pager) {
  std::size_t before = rss_anon();
  coldpress::Region region = pager.map(kPages * kPageSize);
  auto* words = static_cast<volatile std::uint64_t*>(region.data());
  for (std::size_t i = 0; i < kPages * kPageSize / sizeof *words; i += kPageSize / sizeof *words) {
    words[i] = words[i] + mix(i);
    words[i + 1] = words[i];
  }
  require(rss_anon() < before + 40 * kMiB, "the limit holds for what is read first");
  for (std::size_t i = 0; i < kPages * kPageSize / sizeof *words; i += kPageSize / sizeof *words) {
    require(words[i] == mix(i), "what was written");
  }
  region.drop(0, region.size());
  for (int tries = 0;; ++tries) {
    coldpress::PagerStatistics now = pager.statistics();
    if (now.resident_bytes < kMiB && now.stored_pages == 0) return;
    if (tries == 2000)
      die("FAILED: what was dropped counts: %" PRIu64 " bytes, %" PRIu64 " pages", now.resident_bytes,
          now.stored_pages);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

void groups(coldpress::Pager& pager) {
  using coldpress::Group;
  constexpr std::size_t kSmall = 12 * kMiB;
  auto key = [](std::size_t i) { return mix(i) & ~std::uint64_t{31}; };  // compresses
  auto fill = [&](const coldpress::Region& region) {
    auto* at = static_cast<Byte*>(region.data());
    for (std::size_t i = 0; i < region.size() / kPageSize; ++i) fill_page(at + i * kPageSize, key(i));
  };
  auto check = [&](const coldpress::Region& region) {
    const auto* at = static_cast<const Byte*>(region.data());
    for (std::size_t i = 0; i < region.size() / kPageSize; ++i)
      check_page("group", at + i * kPageSize, key(i));
  };
  {
    // The pager's thread takes it; the owner pays.
    Group owner = pager.group({});
    coldpress::Region of_owner = pager.map(kSmall, owner);
    fill(of_owner);
    expect(pager.reclaim(kSmall / 2), "", "reclaim by another thread");
    std::uint64_t stored = pager.statistics().stored_pages;
    require(stored > kSmall / kPageSize / 4 && owner.statistics().stored_pages >= stored * 3 / 4,
            "what is stored is the owner's");
    check(of_owner);
  }
  Group parent = pager.group({.max_bytes = 10 * kMiB});
  Group small = pager.group({.max_bytes = 4 * kMiB}, parent), other = pager.group({});
  require(parent && small && other, "groups");
  auto stranger = coldpress::Pager::open({.limit_bytes = 8 * kMiB});
  require(!stranger.pager->map(kPageSize, small) && !stranger.pager->group({}, small),
          "another pager's group");
  require(!pager.map(kPageSize, Group()) && !pager.group({}, Group()), "no group");
  coldpress::Region of_other = pager.map(kSmall / 2, other);
  coldpress::Region of_small = pager.map(kSmall, small), of_parent = pager.map(kSmall, parent);
  fill(of_other);
  fill(of_small);
  fill(of_parent);
  require(small.statistics().current_bytes <= 4 * kMiB + 64 * kPageSize, "a group's max");
  require(parent.statistics().current_bytes <= 10 * kMiB + 64 * kPageSize, "a parent's max");
  require(small.statistics().pgsteal > kSmall / kPageSize / 2, "it had to be held");
  require(other.statistics().pgsteal == 0 && other.statistics().current_bytes == kSmall / 2,
          "nobody takes from another group");
  check(of_small);
  check(of_parent);
  check(of_other);
  require(other.statistics().pgmajfault == 0 && small.statistics().pgmajfault > 0, "faults are counted");
  require(other.reclaim(kSmall / 4), "reclaim of a group");
  require(other.statistics().current_bytes <= kSmall / 4, "what was asked for");
  coldpress::GroupLimits limits{.max_bytes = 2 * kMiB, .zswap_writeback = false};
  other.set_limits(limits);
  require(other.limits().max_bytes == 2 * kMiB && !other.limits().zswap_writeback, "limits are told");
  wait_for("a lower max", [&] { return other.statistics().current_bytes <= 2 * kMiB; });
  check(of_other);
  of_other = {};
  wait_for("nothing is left of a region", [&] { return other.statistics().current_bytes == 0; });
  small = {};
  check(of_small);
}

// The limits of groups other than max, where pages may go on to a device.
void limits(coldpress::Pager& pager) {
  using coldpress::Group;
  constexpr std::size_t kBytes = 12 * kMiB;
  expect(pager.swapon("ram:64M"), "", "swapon for groups");
  auto filled = [&](Group& group, bool random) {
    coldpress::Region region = pager.map(kBytes, group);
    auto* at = static_cast<Byte*>(region.data());
    for (std::size_t i = 0; i < kBytes / kPageSize; ++i)
      fill_page(at + i * kPageSize, random ? key_of(i) : compressible_key(i));
    return region;
  };
  auto whole = [&](const coldpress::Region& region, bool random) {
    const auto* at = static_cast<const Byte*>(region.data());
    for (std::size_t i = 0; i < kBytes / kPageSize; ++i)
      check_page("limits", at + i * kPageSize, random ? key_of(i) : compressible_key(i));
  };
  {
    Group high = pager.group({.high_bytes = 5 * kMiB});
    coldpress::Region region = filled(high, false);
    wait_for("high", [&] { return high.statistics().current_bytes <= 5 * kMiB; });
    auto told = high.statistics();
    require(told.events_high > 0 && told.events_max == 0, "high is an event, and no max");
    require(told.peak_bytes > 5 * kMiB && told.peak_bytes <= kBytes + kMiB, "the peak");
    whole(region, false);
    require(high.statistics().some_total_us > 0, "it has waited for pages");
  }
  {
    Group small_pool = pager.group({.max_bytes = 4 * kMiB, .zswap_max_bytes = kMiB / 4});
    coldpress::Region region = filled(small_pool, false);
    wait_for("zswap max", [&] { return small_pool.statistics().stored_bytes <= kMiB / 4; });
    auto told = small_pool.statistics();
    require(told.events_zswap_max > 0 && told.swap_bytes > 0 && told.zswpwb > 0, "the rest is on the device");
    whole(region, false);
  }
  {
    Group no_swap = pager.group({.max_bytes = 4 * kMiB, .swap_max_bytes = 64 * kPageSize});
    coldpress::Region region = filled(no_swap, true);
    auto told = no_swap.statistics();
    require(told.events_swap_max > 0 && told.swap_bytes <= 64 * kPageSize, "swap max");
    require(told.limit_exceeded > 0, "what can go nowhere stays, and is counted");
    whole(region, true);
  }
  {
    Group parent = pager.group({.zswap_writeback = false});
    Group child = pager.group({.max_bytes = 4 * kMiB, .zswap_max_bytes = kMiB / 4}, parent);
    coldpress::Region region = filled(child, false);
    require(child.statistics().zswpwb == 0 && child.statistics().swap_bytes == 0, "a 0 above wins");
    whole(region, false);
    parent.set_limits({});
    child.reclaim(2 * kMiB);
    wait_for("writeback", [&] { return child.statistics().zswpwb > 0; });
    whole(region, false);
  }
  expect(pager.swapoff("ram"), "", "swapoff for groups");
}

int run(const std::string& file, bool signal) {
  using coldpress::Pager;
  coldpress::PagerOptions options{.limit_bytes = 32 * kMiB};
  options.swap = {"ram:"};
  expect(Pager::open(options).error, "swap ram:", "a device without a size");
  options.swap = {"/nonexistent/swap"};
  require(!Pager::open(options).error.empty(), "a device that can not be opened");
  options.swap = {"ram:16M"};
  if (signal) options.fault_path = coldpress::FaultPath::kSignal;
  auto opened = Pager::open(options);
  if (!opened) die("FAILED: open: %s", opened.error.c_str());
  Pager& pager = *opened.pager;
  expect(pager.swapon(file + ",size=256M"), "", "swapon");
  require(!pager.swapon(file).empty(), "a device twice");
  expect(pager.swapoff("ram"), "", "swapoff of a device that is not in use yet");
  require(!pager.swapoff("ram").empty(), "swapoff of a device that is not there");
  expect(pager.set_limit(kMiB), "limit=", "a limit that can not work");

  coldpress::Region region = pager.map(kPages * kPageSize);
  auto* bytes = static_cast<Byte*>(region.data());
  for (std::size_t i = 0; i < kPages; ++i) fill_page(bytes + i * kPageSize, key_of(i));
  verify(bytes, 1);
  auto statistics = pager.statistics();
  require(statistics.swap_pages > kPages / 4 && statistics.pswpin > 0, "the device is in use");
  require(statistics.limit_exceeded == 0, "the limit was held");
  std::vector<coldpress::SwapDevice> devices;
  expect(pager.devices(devices), "", "devices");
  require(devices.size() == 1 && devices[0].name == file && devices[0].pages > 0, "the device and its use");

  // All of it moves while it is read.
  std::atomic<bool> done{false};
  std::thread reader([&] {
    for (std::size_t step = 1; !done; step = step % 7 + 1) verify(bytes, step);
  });
  expect(pager.swapon("ram:128M"), "", "swapon of memory");
  // Cancelled while it is at work, of which this is a small part; sooner it is taken back.
  std::string said = "cancelled";
  for (unsigned tries = 1; said == "cancelled"; ++tries) {
    std::thread waits([&] { said = pager.swapoff(file); });
    usleep(3000 * tries);
    pager.cancel();
    waits.join();
  }
  expect(said, "interrupted", "swapoff that is cancelled");
  require(pager.statistics().swap_pages > 0, "the device is in use");
  expect(pager.swapoff(file), "", "swapoff under load");
  expect(pager.swapoff("ram"), "ENOMEM", "swapoff of what does not fit");
  expect(pager.set("colour=red"), "colour=red can not be set", "what there is not");
  expect(pager.set("codec=zstd:3"), "", "another codec");
  std::string settings;
  expect(pager.settings(settings), "", "settings");
  require(settings.find("\ncodec=zstd:3\n") != std::string::npos, "what was set is told");
  expect(pager.set_limit(160 * kMiB), "", "a higher limit");
  expect(pager.swapoff("ram"), "", "swapoff with room");
  done = true;
  reader.join();
  statistics = pager.statistics();
  require(statistics.swap_pages == 0 && statistics.swap_bytes == 0, "nothing is left on a device");
  verify(bytes, 1);
  require(!pager.reclaim(64 * kMiB).empty(), "what does not compress can not be reclaimed without a device");
  verify(bytes, 1);

  // A clone shares what is cold, and nothing that is written.
  constexpr std::size_t kSmallPages = 2048;
  auto key = [](std::size_t i) { return mix(i) & ~std::uint64_t{31}; };  // compresses
  coldpress::Region first = pager.map(kSmallPages * kPageSize);
  auto* at = static_cast<Byte*>(first.data());
  for (std::size_t i = 0; i < kSmallPages; ++i) fill_page(at + i * kPageSize, key(i));
  first.cold(0, first.size());
  std::uint64_t stored = pager.statistics().stored_bytes;
  coldpress::Region second = first.clone();
  require(bool(second) && second.size() == first.size(), "a clone");
  require(pager.statistics().stored_bytes < stored + stored / 8, "what is cold is shared");
  auto* there = static_cast<Byte*>(second.data());
  for (std::size_t i = 0; i < kSmallPages; i += 2) fill_page(there + i * kPageSize, key(i + kSmallPages));
  second.cold(0, second.size());
  first.willneed(0, first.size());
  for (std::size_t i = 0; i < kSmallPages; ++i) {
    check_page("first", at + i * kPageSize, key(i));
    check_page("clone", there + i * kPageSize, key(i % 2 == 0 ? i + kSmallPages : i));
  }
  require(first.pin(0, kPageSize) && !first.clone(), "no clone of what is pinned");
  first.unpin(0, kPageSize);
  require(bool(first.clone()), "a clone after unpin");
  verify(bytes, 1);
  first = {};
  second = {};
  region = {};
  wait_for("nothing is left", [&] { return pager.statistics().stored_pages == 0; });
  expect(pager.set_limit(32 * kMiB), "", "the limit as it was");
  usage(pager);
  groups(pager);
  limits(pager);
  require(pager.statistics().some_total_us > 0, "the program has waited for pages");
  std::printf("whole\n");
  return 0;
}

}  // namespace
}  // namespace coldtest

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  return coldtest::run(argv[1], std::strcmp(argv[2], "signal") == 0);
}
