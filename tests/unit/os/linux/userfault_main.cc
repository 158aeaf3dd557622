// Runs the tests that need userfaultfd; exit status 77 (skipped) where this machine does not allow it.
#include <gtest/gtest.h>

#include <cstdio>

#include "os/linux/userfault.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  coldpress::os::Userfault probe;
  if (auto opened = probe.open({}); !opened) {
    std::string_view why = opened.error().text.view();
    std::fprintf(stderr, "skipped: %.*s\n", static_cast<int>(why.size()), why.data());
    return 77;
  }
  probe.close();
  return RUN_ALL_TESTS();
}
