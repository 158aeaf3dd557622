// From valgrind's lackey (--trace-mem=yes) on standard input to a trace of pages on standard output.
//
// Kept is which page is touched, and whether for writing, each time it is not among the last kRecent pages:
// what any memory of more pages than that would serve anyway. Pages are numbered by address, so that
// neighbours stay neighbours as far as that matters, and gaps go. Left out: stacks, and program text read as
// data.
//
// The trace, packed with zstd: "CPTRACE1", the number of pages, the number of touches, then each touch as a
// variable-length number: the difference to the page before, zigzag, times two, plus one for a write.
#include <zstd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

constexpr std::size_t kRecent = 64;
constexpr std::uint64_t kStackFrom = 0x1ff0000000ull;  // valgrind's main stack
constexpr unsigned kPageShift = 12;

struct Touch {
  std::uint64_t page;
  bool write;
};

class Recent {
 public:
  // Whether the page is among the last ones; it is now.
  bool seen(std::uint64_t page, bool write) {
    for (std::size_t i = 0; i < count_; ++i) {
      if (pages_[i].page != page) continue;
      bool known = pages_[i].write || !write;
      Touch touch{page, pages_[i].write || write};
      std::memmove(pages_ + 1, pages_, i * sizeof *pages_);
      pages_[0] = touch;
      return known;
    }
    if (count_ < kRecent) ++count_;
    std::memmove(pages_ + 1, pages_, (count_ - 1) * sizeof *pages_);
    pages_[0] = {page, write};
    return false;
  }

 private:
  Touch pages_[kRecent];
  std::size_t count_ = 0;
};

void put(std::string& out, std::uint64_t number) {
  while (number >= 128) {
    out.push_back(static_cast<char>((number & 127) | 128));
    number >>= 7;
  }
  out.push_back(static_cast<char>(number));
}

}  // namespace

int main() {
  std::vector<Touch> touches;
  Recent recent;
  char line[256];
  while (std::fgets(line, sizeof line, stdin) != nullptr) {
    // " L 04222c80,8": load, store, modify; "I  ..." is an instruction.
    if (line[0] != ' ' || (line[1] != 'L' && line[1] != 'S' && line[1] != 'M')) continue;
    std::uint64_t address = std::strtoull(line + 3, nullptr, 16);
    if (address >= kStackFrom) continue;
    bool write = line[1] != 'L';
    std::uint64_t page = address >> kPageShift;
    if (!recent.seen(page, write)) touches.push_back({page, write});
  }
  // What is never written is text, or a file: not a page that is ever swapped.
  std::unordered_map<std::uint64_t, bool> written;
  for (const Touch& touch : touches) written[touch.page] = written[touch.page] || touch.write;
  std::vector<std::uint64_t> pages;
  for (const auto& [page, ever] : written) {
    if (ever) pages.push_back(page);
  }
  std::sort(pages.begin(), pages.end());
  std::unordered_map<std::uint64_t, std::uint64_t> number;
  for (std::size_t i = 0; i < pages.size(); ++i) number[pages[i]] = i;
  std::erase_if(touches, [&](const Touch& touch) { return !written[touch.page]; });
  std::string out = "CPTRACE1";
  put(out, pages.size());
  put(out, touches.size());
  std::uint64_t before = 0;
  for (const Touch& touch : touches) {
    auto difference = static_cast<std::int64_t>(number[touch.page] - before);
    before = number[touch.page];
    auto zigzag = static_cast<std::uint64_t>(difference << 1 ^ difference >> 63);
    put(out, zigzag << 1 | (touch.write ? 1 : 0));
  }
  std::string packed(ZSTD_compressBound(out.size()), 0);
  std::size_t bytes = ZSTD_compress(packed.data(), packed.size(), out.data(), out.size(), 19);
  bool good = ZSTD_isError(bytes) == 0 && std::fwrite(packed.data(), 1, bytes, stdout) == bytes;
  return good && std::fflush(stdout) == 0 ? 0 : 1;
}
