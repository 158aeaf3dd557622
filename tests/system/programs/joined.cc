// Proves that mremap() takes a range that is one mapping natively, of which the engine knows a part only:
// cold pages, and beside them pages of a moment ago. Moved, moved with the source kept, grown, shrunk.
//
//   joined MIB [SEED [ROUNDS]]
#include <vector>

#include "pressure.h"

namespace coldtest {
namespace {

constexpr std::size_t kHalf = 96;   // pages
constexpr std::size_t kSpace = 64;  // pages of address space around, so that nothing else touches

class Joined {
 public:
  explicit Joined(std::uint64_t seed) : rng_(seed), keys_(2 * kHalf) {}

  void round(unsigned way, Hog& hog, Digest& digest) {
    Byte* area = map_pages(2 * kHalf + 2 * kSpace, PROT_NONE);
    base_ = area + kSpace * kPageSize;
    bool cold_first = way % 2 == 0;
    map_half(cold_first ? 0 : kHalf);
    hog.sweep();
    map_half(cold_first ? kHalf : 0);
    switch (way / 2 % 4) {
      case 0:
        move(2 * kHalf, MREMAP_MAYMOVE | MREMAP_FIXED);
        break;
      case 1: {
        Byte* kept = base_;
        move(2 * kHalf, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP);
        for (std::size_t i = 0; i < 2 * kHalf; ++i) check_page("kept source", kept + i * kPageSize, 0);
        break;
      }
      case 2:
        move(2 * kHalf + 40, MREMAP_MAYMOVE);
        for (std::size_t i = 2 * kHalf; i < 2 * kHalf + 40; ++i)
          check_page("grown", base_ + i * kPageSize, 0);
        break;
      default:
        move(2 * kHalf - 40, MREMAP_MAYMOVE | MREMAP_FIXED);
    }
    for (std::size_t i = 0; i < std::min(pages_, keys_.size()); ++i) {
      check_page("joined", base_ + i * kPageSize, keys_[i]);
      digest.add(i, keys_[i]);
    }
    munmap(base_, pages_ * kPageSize);
    munmap(area, (2 * kHalf + 2 * kSpace) * kPageSize);
  }

 private:
  void map_half(std::size_t first) {
    Byte* start = base_ + first * kPageSize;
    void* got = mmap(start, kHalf * kPageSize, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    require(got == start, "mmap MAP_FIXED");
    for (std::size_t i = first; i < first + kHalf; ++i)
      fill_page(base_ + i * kPageSize, keys_[i] = rng_.page_key());
  }

  void move(std::size_t pages, int flags) {
    pages_ = pages;
    void* target = (flags & MREMAP_FIXED) != 0 ? map_pages(pages, PROT_NONE) : nullptr;
    void* moved = mremap(base_, 2 * kHalf * kPageSize, pages * kPageSize, flags, target);
    require(moved != MAP_FAILED && (target == nullptr || moved == target), "mremap");
    base_ = static_cast<Byte*>(moved);
  }

  Rng rng_;
  std::vector<std::uint64_t> keys_;
  Byte* base_ = nullptr;
  std::size_t pages_ = 0;
};

}  // namespace
}  // namespace coldtest

int main(int argc, char** argv) {
  using namespace coldtest;
  Arguments arguments = parse_arguments(argc, argv);
  unsigned rounds = argc > 3 ? static_cast<unsigned>(std::atoi(argv[3])) : 24;
  Hog hog(arguments.pages(), arguments.seed);
  Joined joined(arguments.seed + 1);
  Digest digest;
  for (unsigned i = 0; i < rounds; ++i) joined.round(i, hog, digest);
  print_digest("joined", arguments, digest);
  return 0;
}
