// One-line messages to the user, without allocation.
//
// Text is a fixed buffer with a tiny formatter; what does not fit is cut.
// report() hands it to the sink that the process installed (nothing before).
// Thread safety: report() may be called by any thread once the sink is set.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace coldpress {

class Text {
 public:
  Text& operator<<(std::string_view text) {
    for (char c : text) put(c);
    return *this;
  }
  Text& operator<<(const char* text) { return *this << std::string_view(text); }
  template <std::integral T>
  Text& operator<<(T number) {
    if constexpr (std::is_signed_v<T>) {
      if (number < 0) {
        put('-');
        return unsigned_number(0 - static_cast<std::uint64_t>(number));
      }
    }
    return unsigned_number(static_cast<std::uint64_t>(number));
  }
  // A byte count in a readable unit: "512.0 MiB".
  Text& bytes(std::uint64_t count);
  Text& hex(std::uint64_t number);
  std::string_view view() const { return {text_, length_}; }

 private:
  void put(char c) {
    if (length_ < sizeof text_) text_[length_++] = c;
  }
  Text& unsigned_number(std::uint64_t number);

  char text_[600];
  std::size_t length_ = 0;
};

using MessageSink = void (*)(std::string_view line);
void set_message_sink(MessageSink sink);
void report(const Text& message);

}  // namespace coldpress
