// madvise() that speaks of use to come: PAGEOUT lets memory go though nothing presses, WILLNEED brings it
// back, COLD says what goes first; the content stays.
//
//   advice MIB [SEED]
#include <sys/mman.h>

#include <cstring>

#include "content.h"

namespace coldtest {
namespace {

std::size_t rss_anon() {
  FILE* file = std::fopen("/proc/self/status", "r");
  require(file != nullptr, "/proc/self/status");
  char line[256];
  std::size_t kib = 0;
  while (std::fgets(line, sizeof line, file) != nullptr) std::sscanf(line, "RssAnon: %zu", &kib);
  std::fclose(file);
  return kib * 1024;
}

// Pages of the range that are in memory.
std::size_t resident(Byte* base, std::size_t pages) {
  static Byte found[1 << 16];
  // Touched here: on the signal path the kernel can not write to what is not there.
  if (pages > sizeof found) die("FAILED: too many pages");
  std::memset(found, 0, pages);
  require(mincore(base, pages * kPageSize, found) == 0, "mincore");
  std::size_t count = 0;
  for (std::size_t i = 0; i < pages; ++i) count += found[i] & 1U;
  return count;
}

int run(int argc, char** argv) {
  Arguments arguments = parse_arguments(argc, argv);
  std::size_t pages = arguments.pages(), half = pages / 2;
  Rng rng(arguments.seed);
  std::uint64_t first = rng.next();
  auto key_of = [&](std::size_t page) { return mix(first + page) | 8U; };  // compresses
  Byte* base = map_pages(pages);
  for (std::size_t i = 0; i < pages; ++i) fill_page(base + i * kPageSize, key_of(i));
  std::size_t before = rss_anon();
  bool managed = argc > 3 && std::strcmp(argv[3], "managed") == 0;

  require(madvise(base, half * kPageSize, MADV_PAGEOUT) == 0, "MADV_PAGEOUT");
  std::size_t left = resident(base, half), gone = before - rss_anon();
  if (managed && left > half / 16) die("FAILED: %zu of %zu pages stayed", left, half);
  if (managed && gone < half * kPageSize / 3) die("FAILED: RssAnon went down by %zu bytes only", gone);
  require(resident(base + half * kPageSize, pages - half) == pages - half, "the other half stays");

  require(madvise(base, half / 2 * kPageSize, MADV_WILLNEED) == 0, "MADV_WILLNEED");
  std::size_t back = resident(base, half / 2);
  if (managed && back < half / 2) die("FAILED: %zu of %zu pages came back", back, half / 2);
  for (std::size_t i = 0; i < pages; ++i) check_page("after PAGEOUT", base + i * kPageSize, key_of(i));

  require(madvise(base, pages * kPageSize, MADV_COLD) == 0, "MADV_COLD");
  for (std::size_t i = 0; i < pages; ++i) check_page("after COLD", base + i * kPageSize, key_of(i));
  // Advice about what is not there is refused as the kernel refuses it.
  require(munmap(base, pages * kPageSize) == 0, "munmap");
  require(madvise(base, kPageSize, MADV_PAGEOUT) == -1 && errno == ENOMEM, "advice about nothing");
  require(madvise(base + 1, kPageSize, MADV_COLD) == -1 && errno == EINVAL, "an address between pages");
  Digest digest;
  digest.add(0, first);
  print_digest("advice", arguments, digest);
  return 0;
}

}  // namespace
}  // namespace coldtest

int main(int argc, char** argv) { return coldtest::run(argc, argv); }
