#!/usr/bin/env python3
"""Explores for hours: every scenario with seeds that no run before had, and with higher bounds. What fails
is kept as a regression test.

deep.py BUILD HOURS               BUILD: the directory of the preset sched
deep.py BUILD HOURS --seed N      with the seeds of the run that began with N
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

KEPT = pathlib.Path(__file__).resolve().parent / "regressions.txt"
MOST_HOURS = 500  # a longer wait for a program is refused by poll(2)
CHANCE = [["--random", "20000"], ["--priorities", "20000"]]
GROWTH = 10  # a bound takes some ten times the one before
# A bound that takes so many times what was expected, and so many seconds, is given up.
PATIENCE, LEAST = 4, 60


class Way:
    """A way to search one scenario, again and again: with the next seed, or with the next bound."""

    def __init__(self, scenario, options, number, growth=1):
        self.scenario, self.options, self.number, self.growth = scenario, options, number, growth
        self.spent, self.expected = 0.0, 0.0  # seconds: of all searches, and of the next one
        self.executions = None  # of the last bound

    def command(self):
        return ["--scenario", self.scenario, *self.options, str(self.number)]

    def searched(self, seconds, told):
        """false: there is no more to search. When a bound adds no execution, no higher one does."""
        counted = re.search(r"(\d+) executions", told)
        before, self.executions = self.executions, counted and counted[1]
        self.number += 1
        self.spent += seconds
        self.expected = seconds * self.growth
        return self.growth == 1 or self.executions != before


class Exploration:
    """Each way gets the same time, so that bounds that are cheap grow first."""

    def __init__(self, program, seconds, seed, kept, clock):
        self.program, self.kept, self.clock = program, kept, clock
        self.deadline = clock() + seconds
        self.failed, self.lock = set(), threading.Lock()
        listed = subprocess.run([program, "--list"], capture_output=True, text=True, check=True)
        scenarios = [line.split() for line in listed.stdout.splitlines()]
        self.waiting = [Way(name, [*kind, "--seed"], seed) for kind in CHANCE for name, _ in scenarios]
        self.waiting += [Way(name, ["--bound"], int(bound), GROWTH) for name, bound in scenarios]
        self.waiting += [Way(name, ["--bound", "1", "--surprises"], 1, GROWTH) for name, _ in scenarios]

    def take(self):
        """What will have had the least time after one more search; None: nothing can be done in time."""
        with self.lock:
            left = self.deadline - self.clock()
            able = [way for way in self.waiting if way.expected < left and way.scenario not in self.failed]
            if not able:
                return None
            way = min(able, key=lambda way: way.spent + way.expected)
            self.waiting.remove(way)
            return way

    def work(self):
        while way := self.take():
            begun = self.clock()
            limit = self.deadline - begun
            if way.growth > 1:
                limit = min(limit, max(PATIENCE * way.expected, LEAST))
            command = way.command()
            try:
                done = subprocess.run(
                    [self.program, *command], capture_output=True, text=True, timeout=limit, check=False
                )
            except subprocess.TimeoutExpired:
                print(f"{' '.join(command)}: not to its end in {limit:.0f} s", flush=True)
                continue
            told = done.stdout.splitlines()[-1] if done.stdout else ""
            print(f"{' '.join(command)}: {told}", flush=True)
            if done.returncode != 0:
                self.fail(way.scenario, done)
            elif way.searched(self.clock() - begun, told):
                with self.lock:
                    self.waiting.append(way)

    def fail(self, scenario, done):
        print(done.stdout, done.stderr, sep="\n", flush=True)
        with self.lock:
            replay = re.search(r"--replay '([^']*)'", done.stdout)
            if scenario not in self.failed and replay:
                line = f"{scenario} {replay[1]}"
                if not self.kept.exists() or line not in self.kept.read_text().splitlines():
                    with open(self.kept, "a") as file:
                        file.write(f"{line}\n")
                print(f"kept in {self.kept}", flush=True)
            self.failed.add(scenario)


def main(arguments=None, clock=time.monotonic):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("hours", type=float)
    parser.add_argument("--seed", type=int, help="the first one; else by the clock")
    parser.add_argument("--kept", type=pathlib.Path, default=KEPT, help="the file for what fails")
    args = parser.parse_args(arguments)
    if not 0 < args.hours <= MOST_HOURS:
        parser.error(f"HOURS must be more than 0, and {MOST_HOURS} at most")
    # Microseconds, since a run that makes a search in each of them does not exist.
    seed = time.time_ns() // 1000 if args.seed is None else args.seed
    print(f"the seeds again: {sys.argv[0]} {args.build} {args.hours:g} --seed {seed}", flush=True)
    program = args.build / "tests/sched/sched_scenarios"
    exploration = Exploration(program, args.hours * 3600, seed, args.kept, clock)
    workers = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(workers) as pool:
        for worker in [pool.submit(exploration.work) for _ in range(workers)]:
            worker.result()
    failed = sorted(exploration.failed)
    sys.exit(f"deep: these failed, as told above: {failed}" if failed else 0)


if __name__ == "__main__":
    main()
