// library_interrupted PATH: as interrupted, in a region, whose functions the threads call meanwhile.
#include "interrupts.h"
#include "pager_path.h"

using namespace coldtest;

int main(int argc, char** argv) {
  auto pager = open_pager(argc, argv, 24 * kMiB);
  constexpr std::size_t kBytes = 64 * kMiB, kPart = kMiB;
  auto region = pager->map(kBytes);
  auto group = pager->group({.max_bytes = 8 * kMiB});
  auto small = pager->map(kMiB / 4, group);
  std::memset(small.data(), 1, small.size());
  {
    Interrupts interrupts(static_cast<Byte*>(region.data()), kBytes / kPageSize);
    touch_in_threads(interrupts, 3, 12000, [&](std::uint64_t id, std::uint64_t turn) {
      std::size_t at = mix(id << 32 | turn) % (kBytes - kPart);
      switch (turn % 9) {
        case 0:
          return region.cold(at, kPart);
        case 1:
          return region.willneed(at, kPart / 8);
        case 2:
          (void)region.pin(at, kPart / 8);
          return region.unpin(at, kPart / 8);
        case 3:
          return region.deactivate(at, kPart);
        case 4:
          (void)pager->statistics();
          return;
        case 5:
          (void)group.statistics();
          group.set_limits({.max_bytes = 8 * kMiB + turn % 3 * kMiB});
          return;
        case 6:
          (void)pager->group({});
          return;
        case 7:
          if (turn % 4 != 0) return;
          (void)small.clone();
          return;
        default:
          (void)pager->reclaim(kMiB / 4);
      }
    });
    interrupts.check();
  }
  std::puts("whole");
}
