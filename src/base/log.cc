#include "base/log.h"

namespace coldpress {
namespace {
MessageSink message_sink = nullptr;
}  // namespace

void set_message_sink(MessageSink sink) { message_sink = sink; }

void report(const Text& message) {
  if (message_sink != nullptr) message_sink(message.view());
}

Text& Text::unsigned_number(std::uint64_t number) {
  char digits[20];
  int count = 0;
  do {
    digits[count++] = static_cast<char>('0' + number % 10);
    number /= 10;
  } while (number != 0);
  while (count > 0) put(digits[--count]);
  return *this;
}

Text& Text::hex(std::uint64_t number) {
  *this << "0x";
  bool started = false;
  for (int shift = 60; shift >= 0; shift -= 4) {
    unsigned digit = (number >> shift) & 15;
    started = started || digit != 0 || shift == 0;
    if (started) put("0123456789abcdef"[digit]);
  }
  return *this;
}

Text& Text::bytes(std::uint64_t count) {
  const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  std::uint64_t rest = 0;
  while (unit < 4 && count >= 1024) {
    rest = count % 1024;
    count /= 1024;
    ++unit;
  }
  *this << count;
  if (unit > 0) *this << "." << rest * 10 / 1024;
  return *this << " " << units[unit];
}

}  // namespace coldpress
