#include "cli/preload_file.h"

#include <unistd.h>

#include <filesystem>

namespace coldpress::cli {

std::string find_preload_library() {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::path tool = fs::read_symlink("/proc/self/exe", error);
  if (error) return "";
  fs::path prefix = tool.parent_path().parent_path();
  for (const char* place :
       {"lib/libcoldpress-preload.so", COLDPRESS_LIBDIR "/coldpress/libcoldpress-preload.so",
        "lib/coldpress/libcoldpress-preload.so"}) {
    fs::path candidate = prefix / place;
    if (access(candidate.c_str(), R_OK) == 0) return fs::weakly_canonical(candidate).string();
  }
  return "";
}

}  // namespace coldpress::cli
