#include "cli/preload_file.h"

#include <gtest/gtest.h>
#include <stdio.h>

#include "unit/cli/temporary_directory.h"

namespace coldpress::cli {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryDirectory;

// A copy of this program as PREFIX/bin/tool: the search begins where the running file lies.
class PreloadFile : public ::testing::Test {
 protected:
  PreloadFile() : prefix_(fs::canonical(directory_.path())) {
    fs::create_directories(prefix_ / "bin");
    fs::copy_file("/proc/self/exe", prefix_ / "bin/tool");
  }
  std::string found() const {
    std::string command = "'" + (prefix_ / "bin/tool").string() + "' --print-preload-library";
    FILE* pipe = popen(command.c_str(), "r");
    char line[4096] = {};
    if (fgets(line, sizeof line, pipe) == nullptr) line[0] = 0;
    EXPECT_EQ(pclose(pipe), 0);
    std::string path(line);
    if (!path.empty() && path.back() == '\n') path.pop_back();
    return path;
  }

  TemporaryDirectory directory_;
  fs::path prefix_;
};

constexpr char kName[] = "libcoldpress-preload.so";

TEST_F(PreloadFile, IsNotFoundWhereThereIsNone) { EXPECT_EQ(found(), ""); }

TEST_F(PreloadFile, IsFoundInABuildTree) {
  std::string path = directory_.write(std::string("lib/") + kName, "");
  EXPECT_EQ(found(), prefix_ / "lib" / kName);
}

TEST_F(PreloadFile, IsFoundWhereItIsInstalled) {
  directory_.write(std::string("lib/coldpress/") + kName, "");
  EXPECT_EQ(found(), prefix_ / "lib/coldpress" / kName);
}

TEST_F(PreloadFile, IsFoundThroughALinkToTheTool) {
  directory_.write(std::string("lib/") + kName, "");
  fs::create_directories(prefix_ / "elsewhere");
  fs::create_symlink(prefix_ / "bin/tool", prefix_ / "elsewhere/tool");
  std::string command =
      "'" + (prefix_ / "elsewhere/tool").string() + "' --print-preload-library | grep -q " + kName;
  EXPECT_EQ(system(command.c_str()), 0);
}

}  // namespace
}  // namespace coldpress::cli
