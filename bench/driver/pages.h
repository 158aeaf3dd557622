// Pages with content that is known, so that every page read can be checked, and that compresses as memory
// does: from a file of real pages (bench/dump_pages), or random, or zero. For the benchmark driver; const
// after construction, so any thread may read.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace coldbench {

inline constexpr std::size_t kPageBytes = 4096;

[[noreturn]] inline void die(const std::string& what) {
  std::fprintf(stderr, "driver: %s\n", what.c_str());
  std::exit(1);
}

inline std::uint64_t mix(std::uint64_t value) {  // splitmix64
  value += 0x9e3779b97f4a7c15;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

// "random", "zero", or the name of a file of pages.
class Pages {
 public:
  explicit Pages(const std::string& kind) : kind_(kind) {
    if (kind == "random" || kind == "zero") return;
    int fd = open(kind.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0 || status.st_size < static_cast<off_t>(kPageBytes)) {
      die("no pages in " + kind + ": make it with bench/dump_pages");
    }
    count_ = static_cast<std::size_t>(status.st_size) / kPageBytes;
    void* mapped = mmap(nullptr, count_ * kPageBytes, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    close(fd);
    if (mapped == MAP_FAILED) die("can not map " + kind);
    pages_ = static_cast<const char*>(mapped);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  // The content of page `index` after `version` writes. The first two words say which page and version it is,
  // except in pages of zeros.
  void fill(void* page, std::uint64_t index, std::uint64_t version) const {
    auto* words = static_cast<std::uint64_t*>(page);
    if (pages_ != nullptr) {
      std::memcpy(page, source(index), kPageBytes);
    } else if (kind_ == "zero") {
      std::memset(page, 0, kPageBytes);
      return;
    } else {
      for (std::size_t i = 2; i < kPageBytes / 8; ++i) words[i] = mix(index << 16 ^ i);
    }
    words[0] = index;
    words[1] = version;
  }
  // A write of the program: the smallest that changes the page.
  void write(void* page, std::uint64_t version) const {
    static_cast<volatile std::uint64_t*>(page)[1] = kind_ == "zero" ? 0 : version;
  }
  bool is(const void* page, std::uint64_t index, std::uint64_t version) const {
    const auto* words = static_cast<const std::uint64_t*>(page);
    if (kind_ == "zero") {
      static const char zeros[kPageBytes] = {};
      return std::memcmp(page, zeros, kPageBytes) == 0;
    }
    if (words[0] != index || words[1] != version) return false;
    if (pages_ != nullptr) return std::memcmp(words + 2, source(index) + 16, kPageBytes - 16) == 0;
    for (std::size_t i = 2; i < kPageBytes / 8; ++i) {
      if (words[i] != mix(index << 16 ^ i)) return false;
    }
    return true;
  }

 private:
  const char* source(std::uint64_t index) const { return pages_ + index % count_ * kPageBytes; }

  std::string kind_;
  const char* pages_ = nullptr;
  std::size_t count_ = 0;
};

}  // namespace coldbench
