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

# number, what, and where it was (source, year, commit); then scenarios, other tests, or why it can not exist
# here.
MAILS = [
    (
        "000",
        "zswap: writeback of the LRU against invalidation, reuse of the slot, swapoff",
        "mm/zswap.c, 2024, 5878303c5353",
        [
            "writeback_against_reuse",
            "writeback_against_exchange",
            "writeback_against_swapoff",
            "writeback_against_end_of_group",
            "two_writers",
            "write_is_awaited",
            "failing_writes",
        ],
    ),
    (
        "001",
        "zsmalloc: the list of zspages changed by who reads an object",
        "mm/zsmalloc.c, 2023, d461aac924b9",
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
        "mm/zswap.c, 2024, 25cd241408a2",
        ["two_loads", "two_loads_from_device", "two_loads_from_memory", "load_and_store_again"],
    ),
    (
        "003",
        "swap cache: in progress is published before there is something to wait for",
        "mm/swap_state.c, 2020, 4c6355b25e8b",
        ["two_faults_at_the_limit", "two_faults_on_one_slot", "two_loads_without_memory"],
    ),
    (
        "004",
        "swap-in without the swap cache: an entry that is equal again",
        "mm/memory.c, 2024, 13ddaf26be32",
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
            "three_loads_marked",
            "load_in_place_against_zap",
            "load_in_place_against_fork",
            "load_in_place_against_another_page_marked",
            "servers_in_place_against_reclaim",
            "three_loads_in_place",
            "load_in_place_against_reuse",
            "load_in_place_against_reuse_marked",
            "load_in_place_against_another_page",
            "load_in_place_against_zap_marked",
            "load_in_place_against_fork_marked",
            "servers_in_place_against_reclaim_marked",
            "three_loads_in_place_marked",
        ],
    ),
]
NOTES = {
    "000": "A slot of the same generation still has its entry, so the way out on a mismatch after the lock "
    "is not taken here, and there is no frame to leak; what can leak is the slot's lock (`forget_unlock`) "
    "and the record on the device (`forget_record`).",
    "001": "Nothing is inferred from links: a count says how full a zspage is. `infer_state` looks at it "
    "before it has the lock.",
    "002": "Whoever serves a fault owns the bytes until they are mapped; a thread that a signal takes out of "
    "its sleep only faults again. A charge can not fail; what fails is mapping (`two_loads_without_memory`).",
    "003": "Strict priorities are schedules without a change of priority, a fifth of those by priorities; "
    "that nobody spins is shown by a limit of 0 on sleeps by the clock, and by the limit of steps.",
}
OWN = [
    ("fork while captured pages are in flight", ["fork_against_capture"]),
    ("MADV_DONTNEED of what is being captured", ["zap_against_capture"]),
    ("adoption against munmap and reuse of the address", ["adoption_against_unmap", "adoption_of_what_goes"]),
    ("mremap of what is being captured", ["move_against_capture"]),
    ("munmap against a fault", ["unmap_against_load"]),
    ("limit lowered during a store", ["limit_against_store"]),
    ("recompression against load, free and writeback",
     ["recompression_against_load", "recompression_against_free", "recompression_against_writeback"]),
    ("a new mapping where a capture has scanned an old one", ["new_mapping_between_runs"]),
    ("reclaim of one group while others fault, and faults in one that is full",
     ["group_reclaim_against_faults", "faults_in_a_full_group"]),
    ("a group's range moves while it goes out, and the group ends", ["group_moves_and_ends"]),
    ("orders during stores and loads",
     ["orders_of_the_pool", "orders_of_limits", "orders_of_devices"]),
    ("orders during forks, clones, cleaning, recompression, adoption, swapon and swapoff",
     ["orders_during_fork", "orders_during_clone", "orders_during_tidying", "orders_during_recompression",
      "orders_during_adoption", "orders_during_swapoff"]),
    ("faults that find the background about to sleep", ["faults_against_sleep"]),
    ("an end with I/O under way", ["end_with_writes_under_way", "end_with_reads_under_way"]),
    (
        "slots taken and given back without a lock",
        ["last_slot", "room_is_seen", "slots_of_two_clusters", "slot_changes_hands", "last_share",
         "first_unshare"],
    ),
    ("workers that threads of the program borrow", ["lending_to_two", "lending_to_three"]),
    ("the gate that a fork closes, and what its child believes of the copy",
     ["close_against_operations", "copy_against_operations", "forced_operation_against_close"]),
    ("a run of pages that comes at once", ["run_against_reuse", "run_against_swapoff"]),
    ("a mark in the page table against mremap, a clone, a device that hangs, and damage",
     ["load_against_move_marked", "load_against_clone_marked", "zap_while_the_device_hangs",
      "zap_and_read_while_the_device_hangs", "run_meets_damage"]),
    ("kept copies of pages that come in runs, against writes, reclaim and their end",
     ["copies_against_reclaim"]),
    ("swapoff twice, and after it was refused", ["swapoff_twice", "swapoff_after_a_refusal"]),
    ("cleaning of segments against a load, and against damage",
     ["tidying_against_load", "tidying_against_damage"]),
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
    ("1", "writeback writes page A over page B", "mm/zswap.c, 2023, 04fc7816089c",
     ["writeback_against_exchange"], ["no_identity_check"]),
    ("2", "a stale copy survives a store that was refused", "mm/zswap.c, 2024, 678e54d4bb9a, f9c0f1c32cb5",
     ["load_and_store_again", "copies_against_reclaim"], ["keep_copy", "leak_copy"]),
    ("3", "the way out on a mismatch leaks a locked folio", "mm/zswap.c, 2024, e3b63e966cac",
     ["failing_writes", "writeback_against_reuse"], ["forget_unlock", "forget_record"]),
    ("4", "the shrinker leaks a reference", "mm/zswap.c, 2023",
     "no references: whoever holds the writer's mutex writes", []),
    ("5", "accounting of a store that is half done", "mm/zswap.c, 2025", ["failing_memory"], ["keep_object"]),
    ("6", "compression context of a cpu that goes away", "mm/zswap.c, 2024 to 2025",
     ["lending_to_two", "lending_to_three"], ["ticket_after_look", "back_quietly"]),
    ("7", "a large unit is loaded from one tier and lies in two", "mm/zswap.c, 2024, c63f210d4891",
     ["run_against_reuse"], ["run_equal_is_proof"]),
    ("8", "the shrinker's cursor points at a dying group", "mm/zswap.c, 2024",
     ["writeback_against_end_of_group"], ["empty_group_ends"]),
    ("9", "no group at all", "mm/zswap.c, 2024", "the process itself is one, and always there", []),
    ("10", "a page is dropped as clean after an exclusive load", "mm/zswap.c, a rule",
     ["load_and_store_again"], ["clean_drop"]),
    ("11", "data change while they are compressed", "mm/memory.c, a rule",
     ["load_and_store_again"], ["compress_unlocked"]),
    ("12", "raw entries told by their length", "mm/zswap.c, 2026",
     "the codec of an entry says raw (unit.zswap, fuzz.zspool)", []),
    ("13", "a device drops its copy when it is read", "drivers/block/zram, 2022, e914d8f00391",
     ["two_loads_from_device", "two_loads_from_memory"], ["device_exclusive"]),
    ("14", "two writers of one index", "drivers/block/zram, 2025, ce4be9e4307c",
     ["recompression_against_free"], ["recompress_unlocked"]),
    ("15", "completion touches what the submitter has freed", "drivers/block/zram, 2026, bf62f69574b1",
     "completions are taken by the writer, and batches live as long as the store", []),
    ("16", "a reserved block leaks at the end of writeback", "drivers/block/zram, 2026, 3e8d8eb8d7f5",
     ["writeback_against_reuse", "failing_device", "two_devices"], ["forget_record"]),
    ("17", "writeback against overwrite or free", "drivers/block/zram, a rule",
     ["writeback_against_reuse"], ["settle_unchecked", "isolate_victim", "touch_before_lock"]),
    ("18", "read against a change of the slot", "drivers/block/zram, a rule",
     ["tidying_against_load"], ["no_pin"]),
    ("18b", "trailing bytes of old buffers reach the disk", "drivers/block/zram, 2026, 3bf1c285dc40",
     "tails are zeroed (unit.swap looks for old bytes on the device)", []),
    ("18c", "statistics after a written-back slot is freed", "drivers/block/zram, 2026, b0377ee80429",
     ["writeback_against_end_of_group"], ["forget_charge"]),
    ("18d", "reset against I/O", "drivers/block/zram, 2021 to 2025, 6f1637795f28, 5a4b653655d5, 212fe1c0df4a",
     ["writeback_against_swapoff", "swapoff_twice"], ["no_wait_for_writes"]),
    ("18e", "a budget of writeback underflows", "drivers/block/zram, a rule",
     "what is left of an order is computed from one look at the counter (runtime/control.cc)", []),
    ("19", "readahead reaches a device that has gone", "mm/swap_state.c, 2025 (since 78524b05f1a3)",
     ["run_against_swapoff"], ["run_unlocked"]),
    ("20", "swapoff against the allocator's list of devices", "mm/swapfile.c, 2023, 6fe7d6b99295",
     ["writeback_against_swapoff"], ["freeze_nothing"]),
    ("21", "allocation goes on after swapoff has looked", "mm/swapfile.c, 2024",
     ["writeback_against_swapoff"], ["no_writer_barrier"]),
    ("22", "a slot is freed while swapoff frees the maps", "mm/swapfile.c, 2024, 82b1c07a0af6",
     ["writeback_against_swapoff"], ["free_then_drop"]),
    ("23", "swap-in against swapoff", "mm/memory.c, 2021, 2799e77529c2",
     ["writeback_against_swapoff"], ["no_pin"]),
    ("24", "the count is 0 before the clean-up can be seen", "mm/swapfile.c, 2024",
     "a record and the count of its device change in one section of the store's mutex", []),
    ("25", "discard walks a list that changes", "mm/swapfile.c, 2025",
     "who discards has the writer's mutex, and takes the segment off the list first", []),
    ("26", "the count of a slot overflows", "mm/swapfile.c, 2017",
     ["last_share", "first_unshare"], ["count_wraps", "forget_elsewhere"]),
    ("27", "neighbours in a bitmap", "mm/page_io.c, 2024", ["slots_of_two_clusters"], ["plain_bits"]),
    ("28", "partial reclaim of a large folio", "mm/swapfile.c, 2024 to 2025",
     "no units larger than a page", []),
    ("29", "truncation against a large entry", "shmem, 2026", "no units larger than a page", []),
    ("30", "UFFDIO_MOVE against the kernel's swap cache", "mm/userfaultfd.c, 2025",
     "the kernel's own; here a group of frames is compressed or released by whoever took it off its list, "
     "and who puts a page back finds its frame by the slot, under its lock", []),
    ("31", "slots of hibernation", "mm/swapfile.c, 2026", "none", []),
    ("32", "attribution between groups", "mm/swap_state.c, 2026 (since 2732acda82c9)",
     ["group_reclaim_against_faults", "group_moves_and_ends"], ["lose_payer"]),
    ("33", "a shared page is written in place", "copy on write, 2020 to 2022, CVE-2020-29374",
     ["clone_against_fault", "sharers_against_writeback"], ["move_shared"]),
    ("34", "MADV_FREE against direct I/O", "reclaim, 2022",
     "the kernel refuses to move pinned pages (model.space, system tests)", []),
    ("35", "a write to swap fails", "mm/page_io.c, a rule",
     ["failing_writes", "failing_device"], ["trust_write"]),
    ("36", "free against migration", "mm/zsmalloc.c, 2022, 2505a981114d",
     ["compaction_against_free"], ["free_unpinned"]),
    ("37", "a bit-field under two locks", "mm/zsmalloc.c, 2023, 4b5d1e47b694",
     "each byte has one lock: of zswap's two with bit-fields, codec and age have the slot's, referenced and "
     "kept the mutex", []),
    ("38", "an empty zspage stays on a list", "mm/zsmalloc.c, 2019, 1a87aa03597e",
     ["compaction_against_free", "free_against_store"], ["keep_empty"]),
    ("39", "compaction against free of one handle", "mm/zsmalloc.c, 2016",
     ["compaction_against_free"], ["free_unpinned"]),
    ("40", "a mover takes busy for done", "mm/zsmalloc.c, a rule",
     ["compaction_against_read"], ["retry_busy"]),
    ("41", "copies of straddling objects", "mm/zsmalloc.c, 2015",
     "a zspage is contiguous here (unit.zspool, fuzz.zspool)", []),
]


def page(found, mutants):
    out = [
        "# Races, and what explores them",
        "",
        "Made by `tests/sched/races.py` from the last run of the sched tests; not typed. A scenario runs the",
        "engine's own source on the simulated machine under a controlled scheduler (CONTRIBUTING.md, preset",
        "sched): every schedule with at most so many preemptions; every one with a surprise (a sleeper",
        "wakes, or a weak exchange fails, for no reason) and one preemption, for some none; then some at",
        "random and by priorities (one of two tasks always goes first, or until one of up to five points),",
        "with surprises. A schedule may change before each operation on a lock, an atomic, a futex, the",
        "clock or the machine; not before relaxed loads, stores and additions, which order nothing.",
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
        "that lost data or hung a machine, with the commit that repaired it; the numbers are used in",
        "comments and in locking.md.",
        "",
    ]
    for mail, what, where, scenarios in MAILS:
        out += [f"**{mail}** ({where}): {what}.", *([NOTES[mail]] if mail in NOTES else []), ""]
        out += [*head, *rows(scenarios), ""]
    out += ["## What only this engine has", "", "| what | scenarios |", "|---|---|"]
    out += [f"| {what} | {', '.join(f'`{s}`' for s in scenarios)} |" for what, scenarios in OWN]
    out += ["", *head]
    for _, scenarios in OWN:
        out += rows(scenarios)
    out += [
        "",
        "## The kernel's other bugs",
        "",
        "Where it was: the source, the year, and the commit that repaired it (*since*: that brought it), as",
        "far as known. *A rule*: what the code there is careful of, with no repair of its own.",
        "",
        "| no. | what went wrong there | where it was | here | bound | executions | mutant caught |",
        "|---|---|---|---|---:|---:|---|",
    ]
    for number, what, where, answer, planted in BUGS:
        bug = f"| {number} | {what} | {where} |"
        if isinstance(answer, str):
            out.append(f"{bug} excluded: {answer} | | | |")
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
        out.append(f"{bug} {names} | {bounds} | {runs} | {'<br>'.join(caught) or '-'} |")
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
