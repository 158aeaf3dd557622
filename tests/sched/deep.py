#!/usr/bin/env python3
"""Explores for hours: every scenario with higher bounds and ever new seeds. What fails is kept as a
regression test.

deep.py BUILD HOURS      BUILD: the directory of the preset sched
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

KEPT = pathlib.Path(__file__).resolve().parent / "regressions.txt"
EXECUTIONS = 20000


def explore(program, scenario, how, deadline):
    """true: nothing was found, or the time was up."""
    left = deadline - time.monotonic()
    if left <= 0:
        return True
    command = [str(program), "--scenario", scenario, *how]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=left, check=False)
    except subprocess.TimeoutExpired:
        return True
    print(f"{scenario} {' '.join(how)}: {done.stdout.splitlines()[-1] if done.stdout else ''}", flush=True)
    if done.returncode == 0:
        return True
    print(done.stdout, done.stderr, sep="\n", flush=True)
    replay = re.search(r"--replay '([^']*)'", done.stdout)
    if replay:
        with open(KEPT, "a") as file:
            file.write(f"{scenario} {replay[1]}\n")
        print(f"kept in {KEPT}")
    return False


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("hours", type=float)
    args = parser.parse_args()
    if args.hours <= 0:
        parser.error("HOURS must be more than 0")
    program = args.build / "tests/sched/sched_scenarios"
    deadline = time.monotonic() + args.hours * 3600
    listed = subprocess.run([str(program), "--list"], capture_output=True, text=True, check=True)
    scenarios = [(name, int(bound)) for name, bound in (line.split() for line in listed.stdout.splitlines())]
    failed, turn = set(), 0
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        while time.monotonic() < deadline:
            turn += 1
            # Bounds grow slowly: each is some ten times the one before.
            ways = [["--random", str(EXECUTIONS), "--seed", str(turn)]]
            ways.append(["--priorities", str(EXECUTIONS), "--seed", str(turn)])
            todo = [(name, way) for name, _ in scenarios for way in ways]
            todo = [job for job in todo if job[0] not in failed]
            if turn in (10, 100):
                more = 1 if turn == 10 else 2
                todo += [(name, ["--bound", str(bound + more)]) for name, bound in scenarios]
                todo += [(name, ["--bound", "1", "--surprises", str(more)]) for name, _ in scenarios]
            for job, fine in zip(todo, pool.map(lambda job: explore(program, *job, deadline), todo)):
                if not fine:
                    failed.add(job[0])
    sys.exit(f"deep: these failed, as told above: {sorted(failed)}" if failed else 0)


main()
