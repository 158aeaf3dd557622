#include "base/log.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace coldpress {
namespace {

std::string text_of(const Text& text) { return std::string(text.view()); }

TEST(Text, StartsEmpty) { EXPECT_EQ(Text().view(), ""); }

TEST(Text, TakesTextAndNumbers) {
  Text text;
  text << "a " << std::string_view("b") << 1 << " " << -2 << " " << 3u << " " << true;
  EXPECT_EQ(text_of(text), "a b1 -2 3 1");
}

TEST(Text, TakesTheEndsOfTheNumbers) {
  Text text;
  text << std::numeric_limits<std::int64_t>::min() << "|" << std::numeric_limits<std::uint64_t>::max() << "|"
       << std::numeric_limits<std::int8_t>::min() << "|" << 0;
  EXPECT_EQ(text_of(text), "-9223372036854775808|18446744073709551615|-128|0");
}

TEST(Text, WritesHexWithoutLeadingZeros) {
  EXPECT_EQ(text_of(Text().hex(0)), "0x0");
  EXPECT_EQ(text_of(Text().hex(0x10)), "0x10");
  EXPECT_EQ(text_of(Text().hex(0xdeadbeef)), "0xdeadbeef");
  EXPECT_EQ(text_of(Text().hex(~std::uint64_t{0})), "0xffffffffffffffff");
}

TEST(Text, WritesBytesInTheLargestUnitThatFits) {
  EXPECT_EQ(text_of(Text().bytes(0)), "0 B");
  EXPECT_EQ(text_of(Text().bytes(1023)), "1023 B");
  EXPECT_EQ(text_of(Text().bytes(1024)), "1.0 KiB");
  EXPECT_EQ(text_of(Text().bytes(1536)), "1.5 KiB");
  EXPECT_EQ(text_of(Text().bytes((1 << 20) - 1)), "1023.9 KiB");
  EXPECT_EQ(text_of(Text().bytes(std::uint64_t{512} << 20)), "512.0 MiB");
  EXPECT_EQ(text_of(Text().bytes(std::uint64_t{3} << 40)), "3.0 TiB");
  EXPECT_EQ(text_of(Text().bytes(std::uint64_t{5000} << 40)), "5000.0 TiB");
}

TEST(Text, CutsWhatDoesNotFit) {
  Text text;
  for (int i = 0; i < 100; ++i) text << "0123456789";
  std::string_view view = text.view();
  ASSERT_GE(view.size(), 500u);
  ASSERT_LT(view.size(), 1000u);
  for (std::size_t i = 0; i < view.size(); ++i) ASSERT_EQ(view[i], static_cast<char>('0' + i % 10));
  std::size_t full = view.size();
  text << 12345 << "more";
  EXPECT_EQ(text.view().size(), full);
}

TEST(Text, CopiesAreIndependent) {
  Text first;
  first << "one";
  Text second = first;
  second << " two";
  EXPECT_EQ(text_of(first), "one");
  EXPECT_EQ(text_of(second), "one two");
}

std::string last_message;
int messages = 0;
void keep_message(std::string_view line) {
  last_message = line;
  ++messages;
}

TEST(Report, GoesToTheSinkOfTheMoment) {
  messages = 0;
  set_message_sink(&keep_message);
  report(Text() << "number " << 7);
  EXPECT_EQ(last_message, "number 7");
  set_message_sink(nullptr);
  report(Text() << "nobody hears");
  EXPECT_EQ(messages, 1);
  EXPECT_EQ(last_message, "number 7");
}

}  // namespace
}  // namespace coldpress
