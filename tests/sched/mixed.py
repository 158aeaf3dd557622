#!/usr/bin/env python3
"""An object of the other build must not link: it would run on real atomics beside tasks on fibers.

mixed.py COMPILER SOURCE_DIR LIBRARIES...      the libraries of the preset sched
"""

import pathlib
import subprocess
import sys
import tempfile

PROGRAM = """
#include "swap/slot_clusters.h"
int main() {
  coldpress::swap::SlotClusters clusters;
  std::uint32_t first = 0;
  return static_cast<int>(clusters.take(1, &first));
}
"""


def main():
    compiler, source, *libraries = sys.argv[1:]
    with tempfile.TemporaryDirectory() as directory:
        program = pathlib.Path(directory, "program.cc")
        program.write_text(PROGRAM)
        for defines, links in (["-DCOLDPRESS_SCHED=1"], True), ([], False):
            linked = subprocess.run(
                [compiler, "-std=c++20", *defines, f"-I{source}/src", str(program), *libraries,
                 "-o", f"{directory}/program"],
                capture_output=True, text=True, check=False,
            )
            if (linked.returncode == 0) != links or (not links and "coldpress_sync_" not in linked.stderr):
                sys.exit(f"mixed: built with {defines}, it ends with {linked.returncode}:\n{linked.stderr}")
    print("an object of the other build does not link")


main()
