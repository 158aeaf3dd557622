#!/usr/bin/env python3
"""docs/races.md: every bug of the catalogue, and what the last exploration did about it.

races.py RESULTS            prints it; RESULTS is what the tests have written (ctest: sched.*)
races.py RESULTS --check    fails when docs/races.md says something else
"""

import argparse
import difflib
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

# number: what, and where it was; then scenarios, other tests, or why it can not exist here.
MAILS = [
    (
        "000",
        "zswap: writeback of the LRU against invalidation, reuse of the slot, swapoff",
        [
            "writeback_against_reuse",
            "writeback_against_exchange",
            "writeback_against_swapoff",
            "two_writers",
            "failing_writes",
        ],
    ),
    (
        "001",
        "zsmalloc: the list of zspages changed by who reads an object",
        [
            "compaction_against_read",
            "compaction_against_free",
            "compaction_against_store",
            "free_against_store",
            "store_against_compaction",
            "two_compactors_and_a_reader",
        ],
    ),
    (
        "002",
        "zswap: exclusive load into a page that nobody can find",
        ["two_loads", "two_loads_from_device", "two_loads_from_memory", "load_and_store_again"],
    ),
    (
        "003",
        "swap cache: in progress is published before there is something to wait for",
        ["two_faults_at_the_limit", "two_faults_on_one_slot"],
    ),
    (
        "004",
        "swap-in without the swap cache: an entry that is equal again",
        [
            "load_against_reuse",
            "load_against_reuse_marked",
            "load_against_another_page",
            "load_against_another_page_marked",
            "load_against_zap",
            "load_against_zap_marked",
            "load_against_fork",
            "load_against_fork_marked",
            "servers_against_reclaim",
            "servers_against_reclaim_marked",
            "three_loads",
        ],
    ),
]
OWN = [
    ("fork while captured pages are in flight", ["fork_against_capture"]),
    ("MADV_DONTNEED of what is being captured", ["zap_against_capture"]),
    ("adoption against munmap and reuse of the address", ["adoption_against_unmap"]),
    ("mremap of what is being captured", ["move_against_capture"]),
    ("munmap against a fault", ["unmap_against_load"]),
    ("limit lowered during a store", ["limit_against_store"]),
    ("recompression against load, free and writeback",
     ["recompression_against_load", "recompression_against_free", "recompression_against_writeback"]),
    ("a new mapping where a capture has scanned an old one", ["new_mapping_between_runs"]),
    ("reclaim of one group while others fault", ["group_reclaim_against_faults"]),
    ("a group's range moves while it goes out, and the group ends", ["group_moves_and_ends"]),
    ("orders during stores and loads", ["orders_against_stores"]),
    ("faults that find the background about to sleep", ["faults_against_sleep"]),
    ("an end with writes under way", ["end_with_writes_under_way"]),
    (
        "slots taken and given back without a lock",
        ["last_slot", "room_is_seen", "slots_of_two_clusters", "slot_changes_hands"],
    ),
    ("the gate that a fork closes, and what its child believes of the copy",
     ["close_against_operations", "copy_against_operations", "forced_operation_against_close"]),
    ("a run of pages that comes at once", ["run_against_reuse", "run_against_swapoff"]),
    ("a mark in the page table against mremap, a clone, a device that hangs, and damage",
     ["load_against_move", "load_against_clone", "zap_while_the_device_hangs", "run_meets_damage"]),
    ("kept copies of pages that come in runs, against writes, reclaim and their end",
     ["copies_against_reclaim"]),
    ("swapoff twice", ["swapoff_twice"]),
    ("cleaning of segments against a load", ["tidying_against_load"]),
    ("clone against fault and reclaim", ["clone_against_fault"]),
    ("sharers of one slot against writeback", ["sharers_against_writeback"]),
    (
        "calls that fail, one after the other and two at a time",
        [
            "failing_moves",
            "failing_kernel",
            "failing_child",
            "failing_device",
            "lying_device",
            "failing_memory",
            "two_devices",
            "failing_swapoff",
            "failing_clone",
        ],
    ),
]
BUGS = [
    ("1", "writeback writes page A over page B", ["writeback_against_exchange"], ["no_identity_check"]),
    ("2", "a stale copy survives a store that was refused", ["load_and_store_again"], ["keep_copy"]),
    ("3", "the way out on a mismatch leaks a locked folio", ["failing_writes"], ["forget_unlock"]),
    ("4", "the shrinker leaks a reference", "no references: whoever holds the writer's mutex writes", []),
    ("5", "accounting of a store that is half done", ["failing_memory"], ["keep_object"]),
    ("6", "compression context of a cpu that goes away",
     "contexts belong to engine threads, not to cpus", []),
    ("7", "a large unit is loaded from one tier and lies in two",
     ["run_against_reuse"], ["run_equal_is_proof"]),
    ("8", "the shrinker's cursor points at a dying group",
     "cursors are numbers of accounts, looked up each time; one is given again when nothing is left", []),
    ("9", "no group at all", "the process itself is one, and always there", []),
    ("10", "a page is dropped as clean after an exclusive load", ["load_and_store_again"], ["clean_drop"]),
    ("11", "data change while they are compressed", ["load_and_store_again"], ["compress_unlocked"]),
    ("12", "raw entries told by their length",
     "the codec of an entry says raw (unit.zswap, fuzz.zspool)", []),
    ("13", "a device drops its copy when it is read",
     ["two_loads_from_device", "two_loads_from_memory"], ["device_exclusive"]),
    ("14", "two writers of one index", ["recompression_against_free"], ["recompress_unlocked"]),
    ("15", "completion touches what the submitter has freed",
     "completions are taken by the writer, and batches live as long as the store", []),
    ("16", "a reserved block leaks at the end of writeback",
     ["writeback_against_reuse", "failing_device", "two_devices"], ["forget_record"]),
    ("17", "writeback against overwrite or free",
     ["writeback_against_reuse"], ["settle_unchecked", "isolate_victim", "touch_before_lock"]),
    ("18", "read against a change of the slot", ["tidying_against_load"], ["no_pin"]),
    ("18b", "trailing bytes of old buffers reach the disk",
     "tails are zeroed (unit.swap, system tests)", []),
    ("18c", "statistics after a written-back slot is freed",
     "accounts close after every scenario and test", []),
    ("18d", "reset against I/O", ["writeback_against_swapoff", "swapoff_twice"], ["no_wait_for_writes"]),
    ("18e", "a budget of writeback underflows", "there is no such budget", []),
    ("19", "readahead reaches a device that has gone", ["run_against_swapoff"], ["run_unlocked"]),
    ("20", "swapoff against the allocator's list of devices",
     ["writeback_against_swapoff"], ["freeze_nothing"]),
    ("21", "allocation goes on after swapoff has looked", ["writeback_against_swapoff"], ["freeze_nothing"]),
    ("22", "a slot is freed while swapoff frees the maps",
     ["writeback_against_swapoff"], ["free_then_drop"]),
    ("23", "swap-in against swapoff", ["writeback_against_swapoff"], ["no_pin"]),
    ("24", "the count is 0 before the clean-up can be seen", ["writeback_against_swapoff"],
     ["free_then_drop"]),
    ("25", "discard walks a list that changes",
     "who discards has the writer's mutex, and takes the segment off the list first", []),
    ("26", "the count of a slot overflows", "a further slot is made (model.clone)", []),
    ("27", "neighbours in a bitmap", ["slots_of_two_clusters"], ["plain_bits"]),
    ("28", "partial reclaim of a large folio", "no units larger than a page", []),
    ("29", "truncation against a large entry", "no units larger than a page", []),
    ("30", "UFFDIO_MOVE against the kernel's swap cache",
     "the kernel's own; a move that is refused is tried again", []),
    ("31", "slots of hibernation", "none", []),
    ("32", "attribution between groups",
     ["group_reclaim_against_faults", "group_moves_and_ends"], ["lose_payer"]),
    ("33", "a shared page is written in place",
     ["clone_against_fault", "sharers_against_writeback"], ["move_shared"]),
    ("34", "MADV_FREE against direct I/O",
     "the kernel refuses to move pinned pages (model.space, system tests)", []),
    ("35", "a write to swap fails", ["failing_writes", "failing_device"], ["trust_write"]),
    ("36", "free against migration", ["compaction_against_free"], ["free_unpinned"]),
    ("37", "a bit-field under two locks",
     "each byte has one lock; the one with two bit-fields (zswap's codec and age) the slot's", []),
    ("38", "an empty zspage stays on a list",
     ["compaction_against_free", "free_against_store"], ["keep_empty"]),
    ("39", "compaction against free of one handle", ["compaction_against_free"], ["free_unpinned"]),
    ("40", "a mover takes busy for done", ["compaction_against_read"], ["retry_busy"]),
    ("41", "copies of straddling objects", "a zspage is contiguous here (unit.zspool, fuzz.zspool)", []),
]


def page(found, mutants):
    out = [
        "# Races, and what explores them",
        "",
        "Made by `tests/sched/races.py` from the last run of the sched tests; not typed. A scenario runs the",
        "engine's own source on the simulated machine under a controlled scheduler (CONTRIBUTING.md, preset",
        "sched): every schedule with at most so many preemptions; every one with a surprise (a sleeper",
        "wakes, or a weak exchange fails, for no reason) and one preemption, for some none; then some at",
        "random and by priorities, with surprises.",
        "A mutant is the historical mistake, planted; the scenario must find it. What ends in `_marked` is",
        "the same with a mark in the page table ([locking.md](locking.md) compares the two).",
        "",
    ]
    used = set()

    def rows(scenarios):
        told = []
        for name in scenarios:
            used.add(name)
            if name not in found:
                sys.exit(f"races: {name} is not in the results")
            run = found[name]
            caught = "; ".join(
                f"`{m['mutant']}` at bound {m['bound']}, execution {m['executions']:,}"
                for m in mutants.get(name, [])
            )
            told.append(
                f"| `{name}` | {run['bound']} | {run['executions']:,} | {run['surprised']:,} "
                f"| {run['steps']} | {caught or '-'} |"
            )
        return told

    head = ["| scenario | bound | executions | with a surprise | longest | mutants caught |",
            "|---|---:|---:|---:|---:|---|"]
    out += [
        "## The five mails",
        "",
        "Five messages of the kernel's memory-management list (linux-mm), of 2020 to 2024, each on a race",
        "that lost data or hung a machine; the numbers are used in comments and in locking.md.",
        "",
    ]
    for mail, what, scenarios in MAILS:
        out += [f"**{mail}**: {what}.", "", *head, *rows(scenarios), ""]
    out += ["## What only this engine has", "", "| what | scenarios |", "|---|---|"]
    out += [f"| {what} | {', '.join(f'`{s}`' for s in scenarios)} |" for what, scenarios in OWN]
    out += ["", *head]
    for _, scenarios in OWN:
        out += rows(scenarios)
    out += [
        "",
        "## The kernel's other bugs",
        "",
        "| no. | what went wrong there | here | bound | executions | mutant caught |",
        "|---|---|---|---:|---:|---|",
    ]
    for number, what, answer, planted in BUGS:
        if isinstance(answer, str):
            out.append(f"| {number} | {what} | excluded: {answer} | | | |")
            continue
        missing = [name for name in answer if name not in found]
        if missing:
            sys.exit(f"races: {missing} not in the results")
        caught = []
        for mutant in planted:
            by = [m for name in answer for m in mutants.get(name, []) if m["mutant"] == mutant]
            if not by:
                sys.exit(f"races: {mutant}, of bug {number}, was not caught")
            caught += [f"`{mutant}` after {m['executions']:,}" for m in by]
        bounds = "<br>".join(str(found[name]["bound"]) for name in answer)
        runs = "<br>".join(f"{found[name]['executions']:,}" for name in answer)
        names = "<br>".join(f"`{name}`" for name in answer)
        out.append(f"| {number} | {what} | {names} | {bounds} | {runs} | {'<br>'.join(caught) or '-'} |")
    left = sorted(set(found) - used)
    if left:
        sys.exit(f"races: scenarios that are in no table: {left}")
    return "\n".join(out) + "\n"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=pathlib.Path, nargs="+")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    found, mutants = {}, {}
    for path in args.results:
        for line in path.read_text().splitlines():
            row = json.loads(line)
            if "mutant" in row:
                mutants.setdefault(row["scenario"], []).append(row)
            else:
                found[row["scenario"]] = row
    text = page(found, mutants)
    if not args.check:
        print(text, end="")
        return
    path = ROOT / "docs/races.md"
    if path.read_text() != text:
        sys.stdout.writelines(
            difflib.unified_diff(
                path.read_text().splitlines(True), text.splitlines(True), "docs/races.md", "the last run"
            )
        )
        sys.exit("docs/races.md is of another run: tests/sched/races.py RESULTS > docs/races.md")


main()
