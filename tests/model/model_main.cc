// Failed checks of the engine go to standard error, with what the test says of itself; its other messages too
// when COLDPRESS_MODEL_TRACE is set.
#include "model_main.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "base/log.h"

namespace coldpress::testing {

std::string& running_now() {
  static std::string text;
  return text;
}

}  // namespace coldpress::testing

int main(int argc, char** argv) {
  coldpress::set_message_sink([](std::string_view line) {
    bool check = line.find("check failed") != std::string_view::npos;
    if (!check && std::getenv("COLDPRESS_MODEL_TRACE") == nullptr) return;
    std::fprintf(stderr, "coldpress: %.*s\n", static_cast<int>(line.size()), line.data());
    if (check) std::fprintf(stderr, "%s\n", coldpress::testing::running_now().c_str());
  });
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
