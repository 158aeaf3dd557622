// From what perf tells of a program's page faults (bench/record_trace) on standard input to a trace of pages
// on standard output.
//
// Of several threads the one with the most faults is kept. Pages are numbered by address, so that
// neighbours stay neighbours as far as that matters, and gaps go. Left out is what is never written: program
// text and files, which are never swapped.
//
// The trace, packed with zstd: "CPTRACE1", the number of pages, the number of touches, then each touch as a
// variable-length number: the difference to the page before, zigzag, times two, plus one for a write.
#include <zstd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

constexpr unsigned kPageShift = 12;
constexpr std::uint64_t kWriteFault = 2, kFetchFault = 16;  // the processor's error code

struct Touch {
  std::uint64_t page;
  bool write;
};

// The number after `name` in a line, if it is there.
std::optional<std::uint64_t> number_after(const char* line, const char* name) {
  const char* found = std::strstr(line, name);
  if (found == nullptr) return std::nullopt;
  return std::strtoull(found + std::strlen(name), nullptr, 16);
}

void put(std::string& out, std::uint64_t number) {
  while (number >= 128) {
    out.push_back(static_cast<char>((number & 127) | 128));
    number >>= 7;
  }
  out.push_back(static_cast<char>(number));
}

}  // namespace

int main() {
  std::unordered_map<unsigned long, std::vector<Touch>> threads;
  char line[512];
  while (std::fgets(line, sizeof line, stdin) != nullptr) {
    if (std::strstr(line, "LOST") != nullptr) {
      std::fputs("trace-filter: events were lost: the trace would have holes\n", stderr);
      return 1;
    }
    // "1234 exceptions:page_fault_user: address=0x7f.. ip=0x.. error_code=0x6"
    auto address = number_after(line, "address="), code = number_after(line, "error_code=");
    if (!address || !code || (*code & kFetchFault) != 0) continue;
    threads[std::strtoul(line, nullptr, 10)].push_back({*address >> kPageShift, (*code & kWriteFault) != 0});
  }
  std::vector<Touch> touches;
  for (auto& [tid, own] : threads) {
    if (own.size() > touches.size()) touches = std::move(own);
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
