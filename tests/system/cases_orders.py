"""Orders to a running process: set, reclaim, swapon, swapoff; and top."""

import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

from cases_swap import RANDOM, SCRATCH
from harness import (
    MIB,
    TOOL,
    as_nobody,
    call,
    case,
    check,
    expect_line,
    need_root,
    program,
    run,
    run_line,
    say,
    stat_json,
    wait_until,
)
from watcher import rss_anon

PYTHON = ["/usr/bin/python3", "-c", RANDOM]
COMPRESSIBLE = PYTHON[:2] + [RANDOM.replace("os.urandom(1 << 16)", "os.urandom(1 << 10) * 64")]


def order(command, pid, *words, status=0, says=""):
    done = call([TOOL, command, str(pid), *words])
    text = f"{command} {words}: exit {done.returncode}: {done.stderr}"
    check(done.returncode == status, text)
    check(re.search(says, done.stderr) is not None, text)


def quiet(pid, counter):
    """Whether it stays as it is for a moment."""
    before = stat_json(pid)[counter]
    time.sleep(0.3)
    return stat_json(pid)[counter] == before


def with_filled(argv, options, look, limit=200 * MIB):
    """look(pid) once the program has filled its memory; then it verifies all of it."""

    def talk(process):
        expect_line(process, "filled")
        look(process.pid)
        say(process)
        expect_line(process, "whole")

    outcome = run(run_line(limit, argv, ["--quiet", *options]), interact=talk)
    check(outcome.status == 0, outcome.describe())


@case(timeout_s=120, serial=True)
def order_limit():
    """A lower limit is reached at once; a wrong one is refused, and nothing changes."""

    def look(pid):
        order("set", pid, "limit=48M")
        wait_until(lambda: rss_anon(pid) < 52 * MIB, "the lower limit")
        check(stat_json(pid)["limit_bytes"] == 48 * MIB, "limit_bytes does not tell")
        order("set", pid, "limit=1M", status=1, says="at least")
        order("set", pid, "colour=red", status=1, says="can not be set")
        order("set", pid, "limit=many", status=2, says="not a size")
        check(stat_json(pid)["limit_bytes"] == 48 * MIB, "a refused order changed the limit")

    with_filled(COMPRESSIBLE, ["--swap", "none"], look)


@case(timeout_s=120, serial=True)
def order_reclaim():
    """Memory is compressed ahead of need."""

    def look(pid):
        before = rss_anon(pid)
        order("reclaim", pid, "40M")
        after = rss_anon(pid)
        check(after < before - 30 * MIB, f"{before / MIB:.0f} MiB, then {after / MIB:.0f}")
        order("reclaim", pid, "0", status=2, says="not a size")

    with_filled(COMPRESSIBLE, ["--swap", "none"], look)


@case(timeout_s=120, serial=True)
def order_codec():
    """Another codec for what goes from now on, or none; what is there loads as before."""

    def look(pid):
        order("reclaim", pid, "30M")
        before = stat_json(pid)
        order("set", pid, "codec=zstd:3")
        order("reclaim", pid, "30M")
        after = stat_json(pid)
        first = before["stored_bytes"] / before["stored_pages"]
        pages = after["stored_pages"] - before["stored_pages"]
        second = (after["stored_bytes"] - before["stored_bytes"]) / max(pages, 1)
        print(f"{first:.0f} bytes a page, then {second:.0f}")
        check(pages > 1000, f"{pages} pages were stored: this proves nothing")
        order("set", pid, "codec=gzip", status=1, says="not known")
        order("set", pid, "enabled=0")
        before = stat_json(pid)["zswpout"]
        order("reclaim", pid, "4M", status=1, says="not all of it")
        check(stat_json(pid)["zswpout"] == before, "pages were compressed all the same")
        order("set", pid, "enabled=1")
        order("reclaim", pid, "4M")
        check(stat_json(pid)["zswpout"] > before + 500, "nothing is compressed again")

    with_filled(COMPRESSIBLE, ["--swap", "none"], look)


def told(*words):
    done = call([TOOL, *words])
    check(done.returncode == 0 and not done.stderr, f"{words}: exit {done.returncode}: {done.stderr}")
    return done.stdout


def all_devices(pid, path):
    """What `swaps` says of a file and of memory with a higher priority, which is filled first."""
    devices = {row["device"]: row for row in json.loads(told("swaps", str(pid), "--json"))["devices"]}
    check(set(devices) == {path, "ram"}, f"{devices}")
    ram, file = devices["ram"], devices[path]
    check(ram["kind"] == "ram" and ram["priority"] == 5 and ram["size_bytes"] == 16 * MIB, f"{ram}")
    check(file["kind"] == "file" and file["size_bytes"] >= 255 * MIB, f"{file}")
    check(ram["used_bytes"] >= 15 * MIB and ram["pages"] > 3000, f"the higher priority: {ram}")
    check(0 < file["used_bytes"] <= file["size_bytes"] and file["pages"] > 0, f"{file}")
    check(ram["state"] == file["state"] == "ready", f"{devices}")
    stat = stat_json(pid)
    check(stat["swap_total_bytes"] == ram["size_bytes"] + file["size_bytes"], "swap_total_bytes")
    check(0 < stat["swap_free_bytes"] < stat["swap_total_bytes"], "swap_free_bytes")
    check(re.search(rf"^{re.escape(path)} +file ", told("swaps", str(pid)), re.M) is not None, "as text")


@case(timeout_s=120, serial=True)
def order_swap():
    """A device is given, taken away under load, and given again; refused where the rest does not fit."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        path = pathlib.Path(directory, "swap")

        def look(pid):
            order("swapon", pid, f"{path},size=256M")
            order("swapon", pid, f"{path},size=256M", status=1, says="in use")
            order("swapon", pid, "ram:16M,prio=5")
            order("set", pid, "limit=48M", "max_pool_percent=20")
            wait_until(lambda: stat_json(pid)["swap_pages"] > 5000, "pages on the device")
            wait_until(lambda: rss_anon(pid) < 56 * MIB, "the lower limit")
            order("swapoff", pid, str(path), status=1, says="ENOMEM")
            check(stat_json(pid)["swap_pages"] > 1000, "a refused swapoff emptied the device")
            all_devices(pid, str(path))
            order("swapoff", pid, "ram")
            order("set", pid, "limit=200M", "max_pool_percent=100")
            order("swapoff", pid, str(path))
            check(stat_json(pid)["swap_pages"] == 0, "pages are left on it")
            order("swapoff", pid, str(path), status=1, says="not a swap device")
            path.write_bytes(b"")  # nobody needs it any more
            order("swapon", pid, "ram:64M")

        with_filled(PYTHON, ["--swap", "none"], look)


@case(timeout_s=120, serial=True)
def order_writeback():
    """writeback=0 keeps compressed pages from the device; 1 lets them go."""

    def look(pid):
        order("set", pid, "writeback=0", "max_pool_percent=5")
        order("reclaim", pid, "60M")
        before = stat_json(pid)
        check(before["zswpout"] > 5000, f"{before['zswpout']} pages were stored: this proves nothing")
        check(before["zswpwb"] == 0 and before["swap_pages"] == 0, f"pages went to the device: {before}")
        order("set", pid, f"zswap.max={before['stored_bytes'] // 2}")
        order("reclaim", pid, "200M", status=1, says="not all of it")
        check(stat_json(pid)["zswpwb"] == 0, "pages went to the device")
        order("set", pid, "zswap.max=max")
        order("set", pid, "swap.max=many", status=1, says="not a size")
        before = stat_json(pid)
        check(before["zswap_max_hit"] > 0 == before["swap_max_hit"], f"events: {before}")
        order("set", pid, "writeback=1", "swap.max=1M", "limit=24M")
        wait_until(lambda: stat_json(pid)["swap_pages"] > 100, "pages on the device")
        call([TOOL, "reclaim", str(pid), "2M"])  # as far as it gets
        check(stat_json(pid)["swap_pages"] <= 256, "swap.max did not hold")
        check(stat_json(pid)["swap_max_hit"] > 0, "swap.max was not met: this proves nothing")
        order("set", pid, "swap.max=max", "zswap.max=256K", "high=20M")
        wait_until(lambda: stat_json(pid)["zswpwb"] > 500, "pages on the device")
        wait_until(lambda: stat_json(pid)["stored_bytes"] < MIB, "what the pool may hold")

    with_filled(COMPRESSIBLE, ["--swap", "ram:256M"], look)


@case(timeout_s=120, serial=True)
def order_proactive_writeback():
    """So much of the pool goes to a device as was asked for, and is counted; never what may not."""

    def look(pid):
        order("writeback", pid, "many", status=2, says="not a size")
        order("writeback", pid, "0", status=2, says="not a size")
        order("writeback", pid, "8M", status=1, says="no swap device")
        order("swapon", pid, "ram:256M")
        order("reclaim", pid, "60M")
        before = stat_json(pid)
        check(before["zswpwb_proactive"] == 0, f"nobody asked for it: {before}")
        check(before["stored_bytes"] > 16 * MIB, "too little is compressed: this proves nothing")
        check(before["zswap_incomp"] > 1000, f"zswap_incomp is {before['zswap_incomp']}")
        order("set", pid, "writeback=0")
        wait_until(lambda: quiet(pid, "zswpwb"), "the end of what was on its way")
        before = stat_json(pid)
        order("writeback", pid, "8M", status=1, says="no swap device that may")
        check(stat_json(pid)["zswpwb"] == before["zswpwb"], "pages went to the device")
        order("set", pid, "writeback=1")
        order("writeback", pid, "8M")
        after = stat_json(pid)
        gone = before["stored_bytes"] - after["stored_bytes"]
        check(8 * MIB <= gone < 14 * MIB, f"{gone / MIB:.1f} MiB went")
        check(1000 < after["zswpwb_proactive"] <= after["zswpwb"], f"{after}")

    with_filled(PYTHON, ["--swap", "none"], look)


@case(timeout_s=120)
def order_pool():
    """The classes of the pool add up to its figures; packed, there is nothing left to pack."""

    def look(pid):
        order("reclaim", pid, "60M")
        for options in ([], ["--compact"]):
            done = call([TOOL, "pool", str(pid), "--json", *options])
            check(done.returncode == 0, done.stderr)
            classes, stats = json.loads(done.stdout)["classes"], stat_json(pid)
            check(len({c["object_bytes"] for c in classes}) == len(classes) > 50, f"{classes}")
            objects, pages = sum(c["objects"] for c in classes), sum(c["pages"] for c in classes)
            check(5000 < objects == stats["stored_pages"], f"{objects} objects: {stats}")
            check(pages * 4096 == stats["pool_bytes"], f"{pages} pages, pool {stats['pool_bytes']}")
            check(all(c["objects"] <= c["zspages"] * c["zspage_objects"] for c in classes), f"{classes}")
            check(all(sum(c["by_tenth"]) == c["zspages"] for c in classes), f"{classes}")
        freeable = sum(c["freeable_pages"] for c in classes)
        check(freeable == 0, f"{freeable} pages could be freed still")
        text = call([TOOL, "pool", str(pid)]).stdout.splitlines()[-1].split()
        sparse = [c for c in classes if sum(c["by_tenth"][:10]) > 1]
        check(not sparse, f"packed, each class has one that is not full at most: {sparse}")
        check(text == ["all", str(objects), str(pages), "0"], f"{text}")

    with_filled(COMPRESSIBLE, ["--swap", "none"], look)


@case(timeout_s=120)
def order_pool_far_from_the_limit():
    """Where nothing is managed yet the pool is shown, and empty; and packed, and empty."""

    def look(pid):
        for options in ([], ["--compact"]):
            done = call([TOOL, "pool", str(pid), *options])
            check(done.returncode == 0, done.stderr)
            check(done.stdout.splitlines()[-1].split() == ["all", "0", "0", "0"], done.stdout)

    with_filled(COMPRESSIBLE, ["--swap", "none"], look, limit=4096 * MIB)


def swap_pages(pid):
    done = call([TOOL, "stat", str(pid), "--json"])  # not managed yet, right after its start
    return json.loads(done.stdout)["swap_pages"] if done.returncode == 0 else 0


@case(timeout_s=120, serial=True)
def order_swapoff_under_load():
    """Everything is moved off while the program goes on touching it."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        path = pathlib.Path(directory, "swap")
        argv = [program("churn"), "96", "7", "3000"]
        native = run(argv)
        rounds = []

        def talk(process):
            wait_until(lambda: swap_pages(process.pid) > 500, "pages on the device")
            for _ in range(3):
                for words in (
                    ["set", f"limit={native.watcher.peak}"],
                    ["swapoff", str(path)],
                    ["swapon", f"{path},size=256M"],
                    ["set", f"limit={native.watcher.peak // 3}"],
                ):
                    done = call([TOOL, words[0], str(process.pid), words[1]])
                    if process.poll() is not None:
                        return  # it was done meanwhile
                    check(done.returncode == 0, f"{words}: {done.stderr}")
                    if words[0] == "swapoff":
                        rounds.append(swap_pages(process.pid))

        options = ["--quiet", "--swap", f"{path},size=256M", "--max-pool-percent", "10"]
        outcome = run(run_line(native.watcher.peak // 3, argv, options), interact=talk)
        check(outcome.status == 0, outcome.describe())
        check(outcome.last_line() == native.last_line(), outcome.describe())
        check(rounds and not any(rounds), f"swap_pages after each swapoff: {rounds}")


@case(timeout_s=120, serial=True)
def order_swapoff_interrupted():
    """^C ends a swapoff: the device stays in use, and goes when that is wanted again."""

    def look(pid):
        order("set", pid, "limit=48M", "max_pool_percent=5")
        wait_until(lambda: swap_pages(pid) > 6000, "pages on the device")
        # Above its limit there is room for none, with nowhere to go.
        wait_until(lambda: quiet(pid, "swap_pages"), "the end of the reclaim")
        # With nothing to go on to the other device, what does not fit waits for a second.
        order("set", pid, "writeback=0")
        before = swap_pages(pid)
        tool = subprocess.Popen([TOOL, "swapoff", str(pid), "ram2"], stderr=subprocess.PIPE, text=True)
        wait_until(lambda: swap_pages(pid) < before, "the first pages that come back")
        tool.send_signal(signal.SIGINT)
        said = tool.communicate()[1]
        check("interrupted: ram2 stays in use" in said, f"it was not interrupted: {said!r}")
        before = swap_pages(pid)
        check(before > 0, "nothing is left on the device")
        order("set", pid, "writeback=1", "limit=40M")
        wait_until(lambda: swap_pages(pid) > before + 500, "more pages on the device")
        order("set", pid, "limit=200M")
        order("swapoff", pid, "ram2")
        wait_until(lambda: swap_pages(pid) <= 4096, "only what the other device holds")

    with_filled(PYTHON, ["--swap", "ram:16M", "--swap", "ram:128M,prio=9"], look)


@case(timeout_s=60)
def order_manners():
    """Who may order, what there is to order, and what top shows."""
    need_root()

    def look(pid):
        done = call(as_nobody([TOOL, "set", str(pid), "limit=100M"]))
        check(done.returncode == 2 and "another user" in done.stderr, f"{done}")
        shown = call([TOOL, "top", "--rounds", "1"])
        check(re.search(rf"^ *{pid} ", shown.stdout, re.M) is not None, shown.stdout)

    with_filled(COMPRESSIBLE, ["--swap", "none"], look)
    order("set", 1, "limit=100M", status=2, says="not managed")
    order("reclaim", 999999999, "1M", status=2, says="no process")


@case(timeout_s=60)
def order_to_a_stopped_process():
    """It says that nobody answers, and the order does not come back later."""

    def look(pid):
        os.kill(pid, signal.SIGSTOP)
        done = call([TOOL, "set", str(pid), "limit=100M"])
        os.kill(pid, signal.SIGCONT)
        check(done.returncode == 1 and "stopped" in done.stderr, f"{done}")
        order("set", pid, "limit=150M")
        check(stat_json(pid)["limit_bytes"] == 150 * MIB, "the old order came late")

    with_filled(COMPRESSIBLE, ["--swap", "none"], look)
