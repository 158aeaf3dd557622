"""Files stay small, headers say what they are for, and every source has its test."""

import re
import statistics

from tree import CODE_FOLDERS, Finding, Tree, read

MOST_LINES = 400
LONGEST_LINE = 110

# Longer files, and why.
LONG_FILES: dict[str, str] = {}

# Sources that no unit test of their name covers, and what does.
COVERED_BY = {
    "src/sync/sched/": "tests/sched/tool/finds_test.cc", "src/vm/clone.cc": "tests/model/space_clone_test.cc",
    "src/swap/areas.cc": "tests/unit/swap/device_store_test.cc",
    "src/swap/cleaning.cc": "tests/unit/swap/device_store_test.cc",
    "src/vm/accounts.cc": "tests/model", "src/vm/capture.cc": "tests/model",
    "src/vm/shrinker.cc": "tests/model/space_swap_test.cc",
    "src/vm/groups.cc": "tests/model/space_groups_test.cc",
    "src/vm/load.cc": "tests/sched/scenarios/pins.cc",
    "src/vm/readahead.cc": "tests/model/space_readahead_test.cc",
    "src/vm/writeback.cc": "tests/model/space_swap_test.cc",
    "src/runtime/control.cc": "tests/system/cases_orders.py",
    "src/runtime/settings.cc": "tests/system/cases_orders.py",
    "src/runtime/swap_devices.cc": "tests/system/cases_swap.py",
    "src/cli/managed.cc": "tests/system/cases_orders.py", "src/cli/order.cc": "tests/system/cases_orders.py",
    "src/cli/top.cc": "tests/system/cases_orders.py", "src/cli/pool.cc": "tests/system/cases_orders.py",
    "src/cli/swaps.cc": "tests/system/cases_orders.py",
    "src/vm/recompress.cc": "tests/model/space_recompress_test.cc",
    "src/vm/fault.cc": "tests/model",
    "src/vm/fork.cc": "tests/model",
    "src/vm/layout.cc": "tests/model",
    "src/vm/reclaim.cc": "tests/model", "src/vm/space.cc": "tests/model", "src/os/sim/": "tests/model",
    "src/runtime/engine.cc": "tests/system/cases_transparency.py",
    "src/runtime/fork.cc": "tests/system/cases_programs.py",
    "src/runtime/monitor.cc": "tests/system/cases_content.py",
    "src/runtime/remap.cc": "tests/system/programs/joined.cc",
    "src/runtime/signal_path.cc": "tests/system/cases_transparency.py",
    "src/preload/": "tests/system/cases_transparency.py",
    "src/cli/main.cc": "tests/system/cases_input.py", "src/cli/run.cc": "tests/system/cases_input.py",
    "src/cli/stat.cc": "tests/system/cases_stats.py", "src/cli/doctor.cc": "tests/system/cases_doctor.py",
    "src/cli/machine.cc": "tests/system/cases_doctor.py", "src/api/": "tests/system/cases_library.py",
}


def run(tree: Tree) -> list[Finding]:
    findings, lengths = [], []
    for path in tree.files(CODE_FOLDERS, {".cc", ".h", ".c", ".py"}):
        name, lines = tree.name(path), read(path).splitlines()
        lengths.append(len(lines))
        if len(lines) > MOST_LINES and name not in LONG_FILES:
            findings.append(Finding(name, MOST_LINES, f"{len(lines)} lines: split it at a seam, or give a "
                                                      "reason in LONG_FILES of tests/tidy/check_sizes.py"))
        for number, line in enumerate(lines, 1):
            if len(line) > LONGEST_LINE:
                findings.append(Finding(name, number, f"{len(line)} columns: break it at {LONGEST_LINE}"))
        if path.suffix == ".h":
            findings += check_header(name, lines)
    for path in tree.sources():
        findings += check_covered(tree, path)
    print(f"{len(lengths)} files, median {statistics.median(lengths):.0f} lines, longest {max(lengths)}")
    return findings


def check_header(name: str, lines: list[str]) -> list[Finding]:
    findings = []
    comment = 0
    while comment < len(lines) and lines[comment].startswith("//"):
        comment += 1
    if comment < 2:
        findings.append(Finding(name, 1, "begin the header with a comment (two lines at least): what it is "
                                         "for, who may call it from which thread"))
    if not any(re.fullmatch(r"#\s*pragma once", line.strip()) for line in lines[:60]):
        findings.append(Finding(name, 1, "add #pragma once"))
    return findings


def check_covered(tree: Tree, path) -> list[Finding]:
    name = tree.name(path)
    if path.suffix != ".cc":
        return []
    test = tree.root / "tests/unit" / path.relative_to(tree.root / "src").with_name(path.stem + "_test.cc")
    if test.exists():
        return []
    for covered, by in COVERED_BY.items():
        if name == covered or (covered.endswith("/") and name.startswith(covered)):
            if (tree.root / by).exists():
                return []
            return [Finding(name, 1, f"is said to be covered by {by}, which does not exist")]
    return [Finding(name, 1, f"write {tree.name(test)}, or say in COVERED_BY of tests/tidy/check_sizes.py "
                             "what covers it")]
