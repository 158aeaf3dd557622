// reclaim_order PATH: orders to reclaim while three threads bring back what goes as fast as it goes. Each
// ends.
#include <atomic>
#include <cstdio>
#include <thread>
#include <vector>

#include "pager_path.h"

using namespace coldtest;

int main(int argc, char** argv) {
  auto pager = open_pager(argc, argv, 32 * kMiB);
  constexpr std::size_t kPages = 48 * kMiB / kPageSize;
  auto region = pager->map(kPages * kPageSize);
  auto* bytes = static_cast<Byte*>(region.data());
  auto page = [&](std::size_t i) { return bytes + i * kPageSize; };
  for (std::size_t i = 0; i < kPages; ++i) fill_page(page(i), compressible_key(i));
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  for (std::uint64_t id = 0; id < 3; ++id) {
    readers.emplace_back([&, id] {
      Rng random(id);
      while (!stop) {
        std::size_t i = random.below(kPages);
        check_page("region", page(i), compressible_key(i));
      }
    });
  }
  for (std::size_t i = 1; i <= 6; ++i) (void)pager->reclaim(3 * i * kMiB);
  stop = true;
  for (std::thread& reader : readers) reader.join();
  for (std::size_t i = 0; i < kPages; ++i) check_page("region", page(i), compressible_key(i));
  std::puts("whole");
}
