// What a model test prints when the engine stops the process.
// One thread, before the tests start.
#pragma once

#include <string>

namespace coldpress::testing {

// Set by the test: which run this is, so that it can be repeated.
std::string& running_now();

}  // namespace coldpress::testing
