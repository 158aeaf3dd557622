#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/machine.h"

namespace coldpress::cli {

int doctor(bool json) {
  bool can_run = true;
  nlohmann::ordered_json findings = nlohmann::ordered_json::array();
  for (const Finding& finding : examine_machine()) {
    can_run = can_run && (finding.good || !finding.needed);
    if (json) {
      findings.push_back({{"name", finding.name},
                          {"good", finding.good},
                          {"needed", finding.needed},
                          {"detail", finding.detail},
                          {"remedy", finding.good ? "" : finding.remedy}});
      continue;
    }
    fmt::print("{:7} {:24} {}\n",
               finding.good     ? "ok"
               : finding.needed ? "MISSING"
                                : "less",
               finding.name, finding.detail);
    if (!finding.good) fmt::print("        {:24} -> {}\n", "", finding.remedy);
  }
  if (json) {
    nlohmann::ordered_json all{{"can_run", can_run}, {"findings", findings}};
    fmt::print("{}\n", all.dump(2));
  } else {
    fmt::print("{}\n", can_run ? "coldpress run works here." : "coldpress run does not work here yet.");
  }
  return can_run ? 0 : 1;
}

}  // namespace coldpress::cli
