"""Settings of a running process: they are told as they were set, and do what they say."""

from cases_orders import COMPRESSIBLE, order, quiet, told, with_filled
from harness import (
    MIB,
    case,
    check,
    expect_line,
    run,
    run_line,
    say,
    stat_json,
    wait_until,
)


@case(timeout_s=120, serial=True)
def order_settings():
    """What is set is told, in the words in which it can be set; what was refused is not."""

    def settings(pid):
        return dict(line.split("=") for line in told("set", str(pid)).splitlines())

    def look(pid):
        before = settings(pid)
        check(before["limit"] == str(200 * MIB) and before["codec"] == "lz4", f"{before}")
        others = {
            "limit": str(100 * MIB),
            "high": str(90 * MIB),
            "swap.max": str(64 * MIB),
            "zswap.max": str(33 * MIB + 4097),
            "max_pool_percent": "31",
            "accept_threshold_percent": "83",
            "writeback": "0",
            "shrinker": "1",
            "recompress_percent": "7",
            "readahead": "3",
            "enabled": "0",
            "codec": "zstd:-3",
        }
        check(set(others) == set(before), f"{before}")
        check(not {key for key in others if others[key] == before[key]}, "nothing that changes")
        order("set", pid, *[f"{key}={value}" for key, value in others.items()])
        check(settings(pid) == others, f"{settings(pid)}")
        order("set", pid, "readahead=17", status=1, says="can not be set")
        order("set", pid, *[f"{key}={value}" for key, value in before.items()])
        check(settings(pid) == before, f"{settings(pid)}")

    with_filled(COMPRESSIBLE, ["--swap", "none"], look)


PASSES = """
import sys
blocks = [bytearray(("%08d, and so on. " % i).encode() * 4096) for i in range(800)]
print("filled", flush=True)
while sys.stdin.readline().strip() == "pass":
    good = all(b == b[:21] * 4096 and b.startswith(b"%08d, " % i) for i, b in enumerate(blocks))
    print("whole" if good else "WRONG", flush=True)
"""


@case(timeout_s=120, serial=True)
def order_readahead():
    """readahead=1: each page comes by itself; 16: most come along with others."""

    def passes(process, pages):
        order("set", process.pid, f"readahead={pages}")
        before = stat_json(process.pid)
        say(process, "pass")
        expect_line(process, "whole")
        after = stat_json(process.pid)
        return tuple(after[name] - before[name] for name in ("swap_ra", "pgmajfault"))

    def talk(process):
        expect_line(process, "filled")
        along, by_themselves = passes(process, 1)
        check(along == 0 and by_themselves > 5000, f"{along} came along, {by_themselves} did not")
        along, by_themselves = passes(process, 16)
        check(along > 4 * by_themselves, f"{along} came along, {by_themselves} did not")
        say(process, "end")

    outcome = run(run_line(24 * MIB, [*COMPRESSIBLE[:2], PASSES], ["--quiet"]), interact=talk)
    check(outcome.status == 0, outcome.describe())


# Half of each page repeats, which lz4 finds; the other half has only sixteen different bytes: zstd uses that.
HEXADECIMAL = COMPRESSIBLE[2].replace(
    "os.urandom(1 << 10) * 64",
    'b"".join(os.urandom(1024).hex().encode() + b"x" * 2048 for _ in range(16))',
)


@case(timeout_s=120, serial=True)
def order_recompress():
    """recompress_percent=0: nothing is packed harder; again 20: what stays cold is."""

    def look(pid):
        order("set", pid, "recompress_percent=0")
        order("reclaim", pid, "40M")
        before = stat_json(pid)
        check(before["stored_pages"] > 2000 and before["recompressed_pages"] == 0, f"{before}")
        order("set", pid, "recompress_percent=20")
        wait_until(lambda: stat_json(pid)["recompressed_pages"] > 1000, "pages that are packed harder")
        after = stat_json(pid)
        saved = after["recompress_saved_bytes"]
        check(saved > 0 and after["stored_bytes"] <= before["stored_bytes"] - saved // 2, f"{after}")

    with_filled([*COMPRESSIBLE[:2], HEXADECIMAL], ["--swap", "none"], look)


@case(timeout_s=120, serial=True)
def order_accept_threshold():
    """A pool that has outgrown its share is written back down to the threshold, and no further."""

    def look(pid):
        order("set", pid, "accept_threshold_percent=30", "limit=40M", "max_pool_percent=10")
        wait_until(lambda: stat_json(pid)["zswpwb"] > 200, "writeback")
        # What is left is what the threshold says, and what came to the pool since.
        wait_until(lambda: stat_json(pid)["pool_bytes"] < 2 * MIB, "the threshold", 40)
        wait_until(lambda: quiet(pid, "zswpwb"), "the end of it", 40)
        # Three tenths of a tenth of the limit; a segment more than was needed may have been under way.
        left = stat_json(pid)["pool_bytes"]
        check(left > 512 << 10, f"all went: {left} bytes are left")

    with_filled(COMPRESSIBLE, ["--swap", "ram:256M"], look)
