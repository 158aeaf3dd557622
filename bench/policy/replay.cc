// Touches real memory as a trace says: what an engine makes of it, beside what bench-policy says it would.
//
//   coldpress run --limit SIZE --swap ram:2G --max-pool-percent 1 --stats FILE -- bench-replay TRACE
#include <sys/mman.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstring>

#include "trace.h"

namespace {

constexpr std::size_t kPageBytes = 4096, kWord = sizeof(std::uint64_t);

// Compresses about as pages of programs do.
void fill(char* page, std::uint64_t number) {
  for (std::uint64_t at = 0; at < kPageBytes; at += kWord) {
    std::uint64_t word = (at * 2654435761u + number * (at % 64 == 0 ? 977 : 1)) & 0xffffff;
    std::memcpy(page + at, &word, kWord);
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::string path;
  CLI::App app("Touches real memory as a recorded trace says");
  app.add_option("TRACE", path)->required()->check(CLI::ExistingFile);
  CLI11_PARSE(app, argc, argv);
  coldbench::Trace trace = coldbench::Trace::read(path);
  void* mapped =
      mmap(nullptr, trace.pages * kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return 1;
  auto* memory = static_cast<char*>(mapped);
  std::vector<bool> filled(trace.pages);
  std::uint64_t sum = 0;
  for (const coldbench::Touch& touch : trace.touches) {
    char* page = memory + touch.page * kPageBytes;
    if (!filled[touch.page]) fill(page, touch.page);
    filled[touch.page] = true;
    std::uint64_t word = 0;
    std::memcpy(&word, page + kWord, kWord);
    sum += word;
    ++word;
    if (touch.write) std::memcpy(page + kWord, &word, kWord);
  }
  std::printf("%u pages, %zu touches, sum %llu\n", trace.pages, trace.touches.size(),
              static_cast<unsigned long long>(sum));
  return 0;
}
