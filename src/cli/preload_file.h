// Where the preload library lies: beside the tool, in the build tree or where it was installed.
// No state: any thread may call.
#pragma once

#include <string>

namespace coldpress::cli {

// Absolute path, or "" when it is in none of the places looked at.
std::string find_preload_library();

}  // namespace coldpress::cli
