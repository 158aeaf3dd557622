#!/usr/bin/env python3
"""A failure has itself again: what sched_scenarios prints of one names the scenario, how it was searched and
the seed, and the command that it gives fails in the same way, step for step.

replays.py PROGRAM
"""

import re
import subprocess
import sys
import tempfile

# With a mutant, since the engine fails in no scenario.
CASES = [
    ("two_loads", "exclusive_load", ["--bound", "1"], ["depth first, bound 1, surprises 0"]),
    ("compaction_against_read", "list_at_access", ["--random", "500", "--seed", "7"],
     ["at random", "seed 7"]),
    ("two_loads", "leak_on_retry", ["--priorities", "2000", "--seed", "3"], ["by priorities", "seed 3"]),
]


def failure_of(output):
    """What failed, and its steps."""
    return output.split("\n", 1)[1].split("\nagain: ")[0]


def kept_line_fails(program, what, command):
    """As a line of regressions.txt, after one that holds."""
    replay = re.search(r"--replay '([^']*)'", command)[1]
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(f"two_loads -\n{what} {replay}\n")
        file.flush()
        done = subprocess.run(
            [program, "--regressions", file.name], capture_output=True, text=True, check=False
        )
    good = done.returncode == 1 and "2 schedules replayed, 1 failures" in done.stdout
    if not good:
        print(f"kept as {what} {replay}, it does not fail:", done.stdout, done.stderr, sep="\n")
    return good


def main():
    program, problems = sys.argv[1], 0
    for scenario, mutant, how, says in CASES:
        command = [program, "--scenario", scenario, "--mutant", mutant, *how]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        again = re.search(r"^again: (.*)$", found.stdout, re.MULTILINE)
        head = found.stdout.split("\n", 1)[0]
        if found.returncode != 1 or not again:
            print(f"{' '.join(command)}: found nothing, or does not say how to have it again")
            problems += 1
            continue
        problems += sum(part not in head for part in [scenario, mutant, *says])
        print(head, again[1], sep="\n")
        replayed = subprocess.run(again[1], shell=True, capture_output=True, text=True, check=False)
        if replayed.returncode != 1 or failure_of(replayed.stdout) != failure_of(found.stdout):
            print("this has something else:", replayed.stdout, sep="\n")
            problems += 1
        problems += not kept_line_fails(program, f"{scenario}+{mutant}", again[1])
    sys.exit(f"{problems} problems" if problems else 0)


main()
