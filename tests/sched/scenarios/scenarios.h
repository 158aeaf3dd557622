// The scenarios, by file. A test program explores each as far as it says, and each of its mutants.
// Pure functions: any thread may call.
#pragma once

#include <vector>

#include "sched/explore/explore.h"

namespace coldpress::testing {

std::vector<Scenario> writeback_scenarios();  // after mail 000
std::vector<Scenario> pool_scenarios();       // after mail 001
std::vector<Scenario> load_scenarios();       // after mails 002 and 003
std::vector<Scenario> pin_scenarios();        // after mail 004
std::vector<Scenario> slot_scenarios();       // slots taken and given back without a lock
std::vector<Scenario> layout_scenarios();     // what only this engine has
std::vector<Scenario> background_scenarios();
std::vector<Scenario> order_scenarios();    // settings that change, devices that come and go
std::vector<Scenario> clone_scenarios();    // page words that share slots
std::vector<Scenario> gate_scenarios();     // the gate of operations, and the fork check
std::vector<Scenario> failure_scenarios();  // calls that fail

}  // namespace coldpress::testing
