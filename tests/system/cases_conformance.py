"""The kernel's own cases of zswap and zram on real memory, and those beyond (tests/conformance/rows.py)."""

import contextlib
import json
import os
import pathlib
import signal
import sys
import tempfile

from cases_orders import COMPRESSIBLE, order, told, with_filled
from cases_swap import SCRATCH
from harness import (
    MIB,
    TOOL,
    call,
    case,
    check,
    expect_line,
    program,
    run,
    run_limited,
    run_line,
    say,
    stat_json,
    wait_until,
)

PAGE = 4096


@case(timeout_s=120, serial=True)
def swapin_nozswap():
    """zswap.max=0: nothing rests in the pool, which is only passed through; content comes from the device."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:

        def look(pid):
            order("set", pid, "zswap.max=0")
            order("set", pid, "limit=24M")
            wait_until(lambda: stat_json(pid)["swap_pages"] * PAGE > 52 * MIB, "pages on the device")
            wait_until(lambda: stat_json(pid)["stored_bytes"] == 0, "an empty pool")
            stat = stat_json(pid)
            check(stat["zswpwb"] >= stat["swap_pages"], f"{stat}")
            before = stat["pswpin"]
            rest.append(lambda: stat_json(pid)["pswpin"] - before)

        def talk(process):
            expect_line(process, "filled")
            look(process.pid)
            say(process)
            expect_line(process, "whole")
            loads.append(rest[0]())
            say(process)

        rest, loads = [], []
        argv = [*COMPRESSIBLE[:2], COMPRESSIBLE[2] + "sys.stdin.readline()"]
        options = ["--quiet", "--swap", f"{directory}/swap,size=256M"]
        outcome = run(run_line(200 * MIB, argv, options), interact=talk)
        check(outcome.status == 0, outcome.describe())
        check(loads[0] * PAGE >= 24 * MIB, f"{loads[0]} pages came from the device")


@case(timeout_s=120, serial=True)
def pressure():
    """The time that a program waits for its pages is told; of one that has its memory there is none."""

    def talk(process):
        expect_line(process, "filled")
        say(process)
        expect_line(process, "whole")

    calm, pressed = (
        run_limited(limit, COMPRESSIBLE, ["--quiet", "--swap", "none"], interact=talk)
        for limit in (400 * MIB, 24 * MIB)
    )
    check(calm.status == pressed.status == 0, pressed.describe())
    check(calm.stats["some_total_us"] == calm.stats["full_total_us"] == 0, f"{calm.stats}")
    some, full = pressed.stats["some_total_us"], pressed.stats["full_total_us"]
    # Ten thousand loads, of a microsecond at least.
    check(pressed.stats["pgmajfault"] * 0.5 < some < pressed.watcher.seconds * 2e6, f"{pressed.stats}")
    check(full <= some, f"{pressed.stats}")


@case(timeout_s=120, serial=True)
def zswapin():
    """Without a device all of it comes back from the pool."""

    def talk(process):
        expect_line(process, "filled")
        say(process)
        expect_line(process, "whole")

    outcome = run_limited(24 * MIB, COMPRESSIBLE, ["--quiet", "--swap", "none"], interact=talk)
    check(outcome.status == 0, outcome.describe())
    check(outcome.stats["zswpin"] * PAGE >= 24 * MIB, f"{outcome.stats}")
    check(outcome.stats["pswpin"] == outcome.stats["pswpout"] == 0, f"{outcome.stats}")


ZEROS_AND_TEXT = """
import sys
zeros = [bytearray(b"\\0" * (1 << 16)) for _ in range(400)]
text = [bytearray(("%08d, and so on. " % i).encode() * 4096) for i in range(400)]
print("filled", flush=True)
sys.stdin.readline()
whole = not any(map(any, zeros)) and all(b.startswith(b"%08d, " % i) for i, b in enumerate(text))
print("whole" if whole else "WRONG", flush=True)
"""


@case(timeout_s=120, serial=True)
def space_saved():
    """What is stored takes less than it was, all that the engine needs for it counted; zeros take nothing."""

    def look(pid):
        order("reclaim", pid, "40M")
        stat = stat_json(pid)
        check(stat["same_filled_pages"] > 4000 and stat["stored_pages"] > 2000, f"{stat}")
        out = (stat["stored_pages"] + stat["same_filled_pages"]) * PAGE
        taken = stat["pool_bytes"] + stat["metadata_bytes"] + stat["frame_bytes"]
        print(f"{out / MIB:.1f} MiB take {taken / MIB:.1f}")
        check(out > 4 * taken, f"{out} bytes take {taken}")

    with_filled([*COMPRESSIBLE[:2], ZEROS_AND_TEXT], ["--swap", "none"], look)


def storm(rounds, *options):
    argv = [program("storm"), "24", "80", "10", str(rounds)]  # 80 alive at a time, 10 generations
    native = run(argv)
    check(native.status == 0, f"native run failed: {native.describe()}")
    outcome = run_limited(native.watcher.peak // 2, argv, ["--quiet", *options])
    check(outcome.status == 0 and outcome.last_line() == b"whole", outcome.describe())
    check(outcome.stats["zswpout"] + outcome.stats["swpout_zero"] > 1000, f"{outcome.stats}")
    return outcome


@case(timeout_s=240, serial=True)
def fork_storm():
    """Eighty processes share what is in one pool, and generations what they have inherited."""
    storm(3, "--swap", "none")


@case(timeout_s=240, serial=True)
def fork_storm_device():
    """The same with the most of it on a device."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        device = f"{directory}/swap,size=128M"
        outcome = storm(1, "--swap", device, "--max-pool-percent", "5")
        check(outcome.stats["pswpout"] > 1000, f"{outcome.stats}")


EVERY_TIER = """
import os, signal, sys
zeros = [bytearray(b"\\0" * (1 << 16)) for _ in range(200)]
random = [os.urandom(1 << 16) for _ in range(400)]
text = [bytearray(("%08d, and so on. " % i).encode() * 4096) for i in range(400)]
print("filled", flush=True)
end = sys.stdin.readline().strip()
if end == "exec":
    os.execv(sys.executable, [sys.executable, "-c", "print('again', flush=True); input()"])
if end == "thread":
    import threading
    threading.Thread(target=lambda: os._exit(7)).start()
    threading.Event().wait()
if end == "_exit":
    os._exit(7)
if end == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if end == "segv":
    os.kill(os.getpid(), signal.SIGSEGV)
sys.exit(7)
"""


@case(timeout_s=240, serial=True)
def ends_in_every_tier():
    """Whichever way a program ends, with pages in memory, in the pool, as zeros and on a device, nothing is
    left: the device is free for the next one, and a program that follows by exec has it empty."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        device = f"{directory}/swap"
        expected = {"exit": 7, "_exit": 7, "thread": 7, "kill": -signal.SIGKILL, "segv": -signal.SIGSEGV}
        for end, status in (expected | {"exec": 0}).items():

            def talk(process, end=end):
                expect_line(process, "filled")
                pid = process.pid
                order("writeback", pid, "4M")
                stat = stat_json(pid)
                tiers = ("resident_bytes", "stored_pages", "same_filled_pages", "swap_pages")
                check(all(stat[tier] > 500 for tier in tiers), f"{stat}")
                say(process, end)
                if end != "exec":
                    return
                expect_line(process, "again")
                stat = wait_until(lambda: call_stat(pid), "the engine of the next program")
                check(stat["swap_pages"] == stat["stored_pages"] == stat["pgfault"] == 0, f"{stat}")
                devices = json.loads(told("swaps", str(pid), "--json"))["devices"]
                check([row["device"] for row in devices] == [device], f"{devices}")
                check(devices[0]["used_bytes"] == devices[0]["pages"] == 0, f"{devices}")
                say(process)

            options = ["--quiet", "--swap", f"{device},size=128M"]
            argv = [str(pathlib.Path(sys.executable).resolve()), "-c", EVERY_TIER]
            outcome = run(run_line(30 * MIB, argv, options), interact=talk)
            check(outcome.status == status, f"{end}: {outcome.describe()}")
            holders = list(who_has_open(device))
            check(not holders, f"{end}: {holders} have the device open")


def who_has_open(path):
    """Threads come and go meanwhile."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError):
                    directory = f"/proc/{pid}/task/{task}/fd"
                    links = [f"{directory}/{fd}" for fd in os.listdir(directory)]
                    yield from (link for link in links if link_of(link).startswith(path))


def link_of(path):
    try:
        return os.readlink(path)
    except OSError:
        return ""


def call_stat(pid):
    done = call([TOOL, "stat", str(pid), "--json"])
    return json.loads(done.stdout) if done.returncode == 0 else None
