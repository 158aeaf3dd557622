// Proves that a program goes on, with every byte right, when its memory can not be compressed and
// its limit can therefore not be held.
//
//   incompressible MIB [SEED]
#include <vector>

#include "content.h"

int main(int argc, char** argv) {
  using namespace coldtest;
  Arguments arguments = parse_arguments(argc, argv);
  Rng rng(arguments.seed);
  Byte* base = map_pages(arguments.pages());
  std::vector<std::uint64_t> keys(arguments.pages());
  constexpr std::uint64_t kKindMask = 31;
  constexpr std::uint64_t kRandomKind = 3;  // see word_of
  Digest digest;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    keys[i] = (rng.next() & ~kKindMask) | kRandomKind;
    fill_page(base + i * kPageSize, keys[i]);
  }
  for (unsigned pass = 0; pass < 2; ++pass) {
    for (std::size_t i = 0; i < keys.size(); ++i) {
      check_page("random page", base + i * kPageSize, keys[i]);
      digest.add(i, keys[i]);
    }
  }
  print_digest("incompressible", arguments, digest);
  return 0;
}
