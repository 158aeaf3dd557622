// With --print-preload-library this program says what find_preload_library() finds from where it lies
// (see preload_file_test.cc); without, it runs the tests.
#include <gtest/gtest.h>

#include <cstdio>
#include <string_view>

#include "cli/preload_file.h"

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--print-preload-library") {
    std::puts(coldpress::cli::find_preload_library().c_str());
    return 0;
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
