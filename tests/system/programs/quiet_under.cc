// Shows a program that stays under its limit and asks for huge pages. It stops twice, so that the
// driver can look at it: nothing of it may be managed then, and its huge pages must be whole.
//
//   quiet_under MIB [SEED]     "idle" on stdout, waits for a line on stdin; "used" and again
#include <vector>

#include "content.h"

int main(int argc, char** argv) {
  using namespace coldtest;
  constexpr std::size_t kHugePage = 2 * kMiB;
  Arguments arguments = parse_arguments(argc, argv);
  Rng rng(arguments.seed);
  Byte* mapped = map_pages((arguments.bytes + kHugePage) / kPageSize);
  Byte* base = mapped + (-reinterpret_cast<std::uintptr_t>(mapped) % kHugePage);
  if (madvise(base, arguments.bytes, MADV_HUGEPAGE) != 0 && errno != EINVAL) die("FAILED: MADV_HUGEPAGE");
  std::vector<std::uint64_t> keys(arguments.pages());
  for (std::size_t i = 0; i < keys.size(); ++i) fill_page(base + i * kPageSize, keys[i] = rng.page_key());
  Digest digest;
  for (const char* stop : {"idle", "used"}) {
    meet_driver(stop);
    for (std::size_t i = 0; i < keys.size(); ++i) {
      check_page("quiet page", base + i * kPageSize, keys[i]);
      digest.add(i, keys[i]);
    }
  }
  print_digest("quiet_under", arguments, digest);
  return 0;
}
