"""What the tool tells about a managed program, while it runs and at its end."""

import json
import os
import pathlib
import tempfile

from harness import (
    MIB,
    TOOL,
    Failure,
    as_nobody,
    call,
    case,
    check,
    expect_line,
    need_command,
    need_root,
    program,
    run,
    run_limited,
    run_line,
    say,
    stat_json,
    swapped_out,
)
from watcher import rss_anon

KEYS = {
    "limit_bytes",
    "resident_bytes",
    "pool_bytes",
    "metadata_bytes",
    "rss_anon_bytes",
    "stored_pages",
    "same_filled_pages",
    "pgfault",
    "pgmajfault",
    "zswpin",
    "zswpout",
    "swpin_zero",
    "swpout_zero",
    "reject_compress_poor",
    "decompress_fail",
    "limit_exceeded",
}
LIMIT = 32 * MIB
FILLED = 96  # MiB
VICTIM = ["corrupt_victim", str(FILLED), "4", "catch"]


def check_stats(stats, limit=LIMIT):
    missing = KEYS - stats.keys()
    check(not missing, f"missing: {sorted(missing)}")
    wrong = {key: stats[key] for key in KEYS if not isinstance(stats[key], int) or stats[key] < 0}
    check(not wrong, f"not numbers from 0 up: {wrong}")
    check(stats["limit_bytes"] == limit, f"limit_bytes is {stats['limit_bytes']}, not {limit}")


def with_idle_program(look, options=()):
    """look(process) is called once the program has filled its memory and waits."""

    def talk(process):
        expect_line(process, "filled")
        look(process)
        say(process)
        process.stdout.readline()
        expect_line(process, "walked")
        say(process)

    outcome = run_limited(
        LIMIT, [program(VICTIM[0]), *VICTIM[1:]], interact=talk, options=["--quiet", *options]
    )
    check(outcome.status == 0, outcome.describe())
    return outcome


@case()
def stats_file():
    outcome = run_limited(LIMIT, [program("cold_hot"), "96", "1", "1"])
    check(outcome.stats is not None, f"no file: {outcome.describe()}")
    check_stats(outcome.stats)
    stats = outcome.stats
    check(swapped_out(stats) > 0 and stats["pgmajfault"] > 0, f"nothing was swapped: {stats}")
    check(stats["zswpin"] + stats["swpin_zero"] > 0, f"nothing was swapped in: {stats}")
    check(stats["decompress_fail"] == 0, f"decompress_fail: {stats}")


@case()
def stats_file_of_relative_path():
    """The path is that of the start, wherever the program goes meanwhile."""
    with tempfile.TemporaryDirectory() as directory:
        argv = run_line(
            LIMIT, ["/bin/sh", "-c", "cd / && exit 4"], ["--quiet", "--stats", "stats.json"]
        )
        done = call(argv, cwd=directory)
        check(done.returncode == 4, f"{done}")
        check_stats(json.loads(pathlib.Path(directory, "stats.json").read_text()))


@case()
def stats_file_is_replaced():
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "stats.json")
        path.write_text("x" * 100000)
        done = call(run_line(LIMIT, [need_command("true")], ["--quiet", "--stats", str(path)]))
        check(done.returncode == 0, f"{done}")
        check_stats(json.loads(path.read_text()))


@case()
def stats_of_the_started_program_only():
    """Children do not write over the file of the process that was started."""
    child = f"{program('cold_hot')} 64 1 1 > /dev/null"
    outcome = run_limited(LIMIT, ["/bin/sh", "-c", f"{child}; true"])
    check(outcome.status == 0, outcome.describe())
    check_stats(outcome.stats)
    check(
        outcome.stats["rss_anon_bytes"] < 8 * MIB and outcome.stats["zswpout"] == 0,
        f"not the shell's: {outcome.stats}",
    )


@case()
def stat_command():
    """Counters of a program that waits, and what the kernel says about the same."""

    def look(process):
        stats = stat_json(process.pid)
        check_stats(stats)
        check(
            stats["stored_pages"] + stats["same_filled_pages"] > (FILLED * MIB - 2 * LIMIT) / 4096,
            f"too few pages are stored: {stats}",
        )
        check(0 < stats["pool_bytes"] < LIMIT and stats["metadata_bytes"] > 0, f"pool: {stats}")
        seen = rss_anon(process.pid)
        check(
            abs(stats["rss_anon_bytes"] - seen) < 8 * MIB,
            f"rss_anon_bytes: the kernel shows {seen}: {stats}",
        )
        again = stat_json(process.pid)
        for counter in ("zswpout", "zswpin", "pgfault", "pgmajfault"):
            check(again[counter] >= stats[counter], f"{counter} went down: {stats}, {again}")
        text = call([TOOL, "stat", str(process.pid)])
        check(text.returncode == 0 and text.stderr == "", f"{text}")
        for key in ("limit", "zswpout", "stored_pages"):
            check(key in text.stdout, f"{key} is not told: {text.stdout!r}")

    with_idle_program(look)


def expect_refusal(done, what):
    check(done.returncode != 0, f"{what}: exit 0: {done}")
    check(
        len(done.stderr.splitlines()) == 1 and done.stderr.startswith("coldpress"),
        f"{what}: expected one line from coldpress: {done}",
    )
    check(done.stdout == "", f"{what}: {done}")


@case()
def stat_of_unmanaged_process():
    expect_refusal(call([TOOL, "stat", str(os.getpid())]), "unmanaged")
    expect_refusal(call([TOOL, "stat", str(os.getpid()), "--json"]), "unmanaged, --json")
    gone = run([need_command("true")]).pid
    expect_refusal(call([TOOL, "stat", str(gone)]), "a process that is gone")
    expect_refusal(call([TOOL, "stat", "2"]), "a kernel thread")


@case()
def stat_by_another_user():
    need_root()
    check(os.access(TOOL, os.X_OK), f"{TOOL} is not there")
    if call(as_nobody([TOOL, "--version"])).returncode != 0:
        raise Failure(f"{TOOL} can not be run by another user")

    def look(process):
        check(stat_json(process.pid)["limit_bytes"] == LIMIT, "the owner is refused")
        expect_refusal(call(as_nobody([TOOL, "stat", str(process.pid)])), "another user")

    with_idle_program(look)
