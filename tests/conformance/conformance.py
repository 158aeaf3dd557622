#!/usr/bin/env python3
"""Runs what stands in rows.py and prints the table of cases and results.

conformance.py RELEASE SCHED     the directories of the two builds
Exits 1 when a test fails or is not there.
"""

import argparse
import os
import pathlib
import subprocess
import sys

from rows import ROWS

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TIMEOUT_S = 600


def command(test, release, sched):
    program, name = test.split(":")
    if program == "system":
        return [sys.executable, "-B", str(ROOT / "tests/system/run_case.py"), name]
    if program == "sched":
        return [str(sched / "tests/sched/sched_scenarios"), "--scenario", name]
    if program == "ctest":
        return ["ctest", "--test-dir", str(sched), "-j", str(os.cpu_count()), "-L", name, "--no-tests=error"]
    kind = program.split("_")[0]
    return [str(release / "tests" / kind / program), f"--gtest_filter={name}"]


def simulated(test):
    program = test.split(":")[0]
    return not program.startswith(("system", "unit_os", "model_linux"))


def result(test, release, sched):
    environment = os.environ | {
        "COLDPRESS": str(release / "bin/coldpress"),
        "COLDPRESS_TEST_PROGRAMS": str(release / "tests/system"),
    }
    try:
        done = subprocess.run(
            command(test, release, sched),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"FAILED: {error}"
    if done.returncode == 77:
        return "skipped"
    if done.returncode != 0 or "Running 0 tests" in done.stdout:
        print(done.stdout[-3000:], done.stderr[-3000:], file=sys.stderr)
        return "FAILED"
    return "skipped" if "[  SKIPPED ]" in done.stdout else "holds"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("release", type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument("sched", type=lambda text: pathlib.Path(text).resolve())
    args = parser.parse_args()
    known = {}
    print("| suite | case | on the simulated machine | on real memory |\n|---|---|---|---|")
    for suite, rows in ROWS.items():
        for case, tests in rows:
            if isinstance(tests, str):
                print(f"| {suite} | {case} | - | not here: {tests} |", flush=True)
                continue
            cells = {True: [], False: []}
            for test in tests:
                if test not in known:
                    known[test] = result(test, args.release, args.sched)
                cells[simulated(test)].append(f"{test}: {known[test]}")
            both = " | ".join("<br>".join(cells[side]) or "-" for side in (True, False))
            print(f"| {suite} | {case} | {both} |", flush=True)
    failed = sum(found.startswith("FAILED") for found in known.values())
    sys.exit(f"conformance: {failed} of these failed" if failed else 0)


main()
