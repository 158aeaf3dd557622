// A recorded trace: which pages a program touched, in order. filter.cc says how it was made.
// Not thread-aware.
#pragma once

#include <zstd.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

namespace coldbench {

struct Touch {
  std::uint32_t page;
  bool write;
};

struct Trace {
  std::uint32_t pages = 0;
  std::vector<Touch> touches;

  static Trace read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string packed(std::istreambuf_iterator<char>(file), {});
    auto bytes = ZSTD_getFrameContentSize(packed.data(), packed.size());
    if (bytes > (std::uint64_t{1} << 33)) throw std::runtime_error(path + " is not a trace");
    std::string text(bytes, 0);
    if (ZSTD_decompress(text.data(), bytes, packed.data(), packed.size()) != bytes || text.size() < 8 ||
        text.compare(0, 8, "CPTRACE1") != 0) {
      throw std::runtime_error(path + " is not a trace");
    }
    std::size_t at = 8;
    auto take = [&] {
      std::uint64_t number = 0;
      for (unsigned shift = 0; at < text.size(); shift += 7) {
        auto byte = static_cast<unsigned char>(text[at++]);
        number |= std::uint64_t{byte & 127u} << shift;
        if (byte < 128) return number;
      }
      throw std::runtime_error(path + " ends too early");
    };
    Trace trace;
    trace.pages = static_cast<std::uint32_t>(take());
    trace.touches.resize(take());
    std::uint64_t page = 0;
    for (Touch& touch : trace.touches) {
      std::uint64_t number = take();
      std::uint64_t zigzag = number >> 1;
      page += zigzag >> 1 ^ (0 - (zigzag & 1));
      if (page >= trace.pages) throw std::runtime_error(path + " names a page that it does not have");
      touch = {static_cast<std::uint32_t>(page), (number & 1) != 0};
    }
    return trace;
  }
};

}  // namespace coldbench
