// Keeps 4 GiB of data under a limit of 512 MiB and verifies all of it.
//   larger_than_limit [GIBIBYTES [LIMIT_MIBIBYTES]]
#include <coldpress/pager.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

// Text-like records: what a log or a cache holds.
static std::uint64_t word_at(std::size_t index) {
  std::uint64_t record = index / 16;
  return index % 16 == 0 ? record : 0x2020746e65766520u + (record >> 7) % 251 * (index % 16);
}

int main(int argc, char** argv) {
  std::size_t bytes = (argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 4) << 30;
  std::uint64_t limit = (argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 512) << 20;

  auto opened = coldpress::Pager::open({.limit_bytes = limit});
  if (!opened) {
    std::fprintf(stderr, "%s\n", opened.error.c_str());
    return 1;
  }
  coldpress::Region region = opened.pager->map(bytes);
  if (!region) return 1;

  auto* words = static_cast<std::uint64_t*>(region.data());
  std::size_t count = bytes / sizeof *words;
  for (std::size_t i = 0; i < count; ++i) words[i] = word_at(i);
  for (std::size_t i = 0; i < count; ++i) {
    if (words[i] != word_at(i)) {
      std::fprintf(stderr, "wrong word at %zu\n", i);
      return 1;
    }
  }
  auto s = opened.pager->statistics();
  std::printf("%zu MiB verified; resident %llu MiB, pool %llu MiB, tables %llu MiB, limit %llu MiB\n",
              bytes >> 20, (unsigned long long)s.resident_bytes >> 20, (unsigned long long)s.pool_bytes >> 20,
              (unsigned long long)s.metadata_bytes >> 20, (unsigned long long)s.limit_bytes >> 20);
  return 0;
}
