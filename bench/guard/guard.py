#!/usr/bin/env python3
"""Guards against getting slower unnoticed: instructions per fault and per eviction, counted by callgrind.

  guard.py PROGRAM            compares with guard.json; fails when more than 5 % above (exit 1)
  guard.py PROGRAM --update   writes guard.json

On the simulated machine, so that the count is the same on every run of the same program. It differs between
compilers: guard.json says by which the committed figures were made, and another one is skipped (exit 77).
"""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

FIGURES = pathlib.Path(__file__).with_name("guard.json")
PAGES = 1000
TOLERANCE = 0.05


def instructions(program, function):
    with tempfile.TemporaryDirectory() as directory:
        done = subprocess.run(
            [
                "valgrind",
                "--tool=callgrind",
                f"--toggle-collect={function}",
                f"--callgrind-out-file={directory}/out",
                program,
                str(PAGES),
            ],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    if done.returncode != 0:
        sys.exit(f"guard: {done.stderr[-1000:]}")
    return int(re.search(r"Collected : (\d+)", done.stderr)[1]) / PAGES


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if shutil.which("valgrind") is None:
        print("guard: valgrind is not installed")
        sys.exit(77)
    compiler = subprocess.run(
        ["g++", "-dumpfullversion"], capture_output=True, text=True, check=True
    ).stdout.strip()
    now = {name: round(instructions(sys.argv[1], f"{name}_pages")) for name in ("fault", "evict")}
    if "--update" in sys.argv:
        FIGURES.write_text(json.dumps({"compiler": compiler, "instructions": now}, indent=1) + "\n")
        print(f"guard: written: {now}")
        return
    committed = json.loads(FIGURES.read_text())
    if committed["compiler"] != compiler:
        print(f"guard: the figures are g++ {committed['compiler']}'s, this is g++ {compiler}")
        sys.exit(77)
    failed = False
    for name, figure in committed["instructions"].items():
        change = now[name] / figure - 1
        print(f"instructions per {name}: {now[name]:,} ({change:+.1%} of {figure:,})")
        failed = failed or change > TOLERANCE
        if change < -TOLERANCE:
            print(f"  faster: run {sys.argv[0]} {sys.argv[1]} --update, so that it stays so")
    if failed:
        sys.exit(f"guard: more than {TOLERANCE:.0%} above: find out why, or explain and --update")


if __name__ == "__main__":
    main()
