// reclaim_order PATH: orders to reclaim while three threads bring back what goes as fast as it goes. Each
// ends.
#include <coldpress/pager.h>

#include <atomic>
#include <cstdio>
#include <thread>
#include <vector>

#include "content.h"

using namespace coldtest;

int main(int argc, char** argv) {
  if (argc != 2) die("usage: reclaim_order thread|signal");
  coldpress::PagerOptions options{.limit_bytes = 32 * kMiB};
  if (std::string_view(argv[1]) == "signal") options.fault_path = coldpress::FaultPath::kSignal;
  auto opened = coldpress::Pager::open(options);
  if (!opened) die("%s", opened.error.c_str());
  constexpr std::size_t kPages = 48 * kMiB / kPageSize;
  auto region = opened.pager->map(kPages * kPageSize);
  auto* bytes = static_cast<Byte*>(region.data());
  auto page = [&](std::size_t i) { return bytes + i * kPageSize; };
  auto key = [](std::size_t i) { return (mix(i) & ~31ull) | 5; };
  for (std::size_t i = 0; i < kPages; ++i) fill_page(page(i), key(i));
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  for (std::uint64_t id = 0; id < 3; ++id) {
    readers.emplace_back([&, id] {
      Rng random(id);
      while (!stop) {
        std::size_t i = random.below(kPages);
        check_page("region", page(i), key(i));
      }
    });
  }
  for (std::size_t i = 1; i <= 6; ++i) (void)opened.pager->reclaim(3 * i * kMiB);
  stop = true;
  for (std::thread& reader : readers) reader.join();
  for (std::size_t i = 0; i < kPages; ++i) check_page("region", page(i), key(i));
  std::puts("whole");
}
