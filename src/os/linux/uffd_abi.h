// What <linux/userfaultfd.h> and <linux/fs.h> of Debian 12 (Linux 6.1) do not know yet.
// Values are the kernel's ABI (UFFDIO_MOVE: 6.8, UFFDIO_POISON: 6.6, PAGEMAP_SCAN: 6.7).
#pragma once

#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include <cstdint>

namespace coldpress::os::abi {

inline constexpr std::uint64_t kFeaturePoison = 1 << 14;
inline constexpr std::uint64_t kFeatureWpAsync = 1 << 15;
inline constexpr std::uint64_t kFeatureMove = 1 << 16;

struct UffdioMove {
  std::uint64_t dst, src, len, mode;
  std::int64_t move;
};
inline constexpr std::uint64_t kMoveDontWake = 1, kMoveAllowSrcHoles = 2;
inline constexpr unsigned long kUffdioMove = _IOWR(0xAA, 0x05, UffdioMove);

struct UffdioPoison {
  std::uint64_t start, len, mode;
  std::int64_t updated;
};
inline constexpr unsigned long kUffdioPoison = _IOWR(0xAA, 0x08, UffdioPoison);

struct PageRegion {
  std::uint64_t start, end, categories;
};
struct PagemapScan {
  std::uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
  std::uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
inline constexpr std::uint64_t kPageWpAllowed = 1 << 0, kPagePresent = 1 << 3, kPagePfnZero = 1 << 5;
inline constexpr std::uint64_t kPagemapPresent = std::uint64_t{1} << 63,
                               kPagemapSwapped = std::uint64_t{1} << 62;
inline constexpr int kMadvPopulateWrite = 23;
inline constexpr unsigned long kPagemapScan = _IOWR('f', 16, PagemapScan);

}  // namespace coldpress::os::abi
