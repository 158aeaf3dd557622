"""The benchmark puts back what it changed on the machine, also when it is killed."""

import os
import pathlib
import subprocess
import sys
import tempfile

from harness import REPOSITORY, TOOL, Skip, case, check, need_root, wait_until

SWAPS = pathlib.Path("/proc/swaps")
CONTROL = pathlib.Path("/sys/class/zram-control/hot_add")
GROUPS = ("/sys/fs/cgroup/memory", "/sys/fs/cgroup")


def state():
    """All that the benchmark may touch."""
    zswap = {path.name: path.read_text() for path in pathlib.Path("/sys/module/zswap/parameters").glob("*")}
    groups = [str(path) for root in GROUPS for path in pathlib.Path(root).glob("coldpress-bench-*")]
    devices = sorted(os.listdir("/sys/block"))
    return {"swaps": SWAPS.read_text().split("\n")[1:], "zswap": zswap, "groups": groups, "devices": devices}


def used_swap():
    """KiB."""
    return sum(int(line.split()[3]) for line in SWAPS.read_text().splitlines()[1:])


@case(timeout_s=120, serial=True)
def bench_killed():
    need_root()
    if not CONTROL.exists():
        raise Skip("this kernel has no zram")
    before, used_before = state(), used_swap()
    build = pathlib.Path(TOOL).parent.parent
    with tempfile.TemporaryDirectory() as output:
        process = subprocess.Popen(
            [
                sys.executable,
                "-B",
                str(REPOSITORY / "bench/lib/bench.py"),
                "kernel",
                "--tiny",
                "--build",
                str(build),
                "--output",
                f"{output}/result",
            ],
            stdout=subprocess.DEVNULL,
        )
        try:
            wait_until(
                lambda: used_swap() > used_before + 4096 or process.poll() is not None, "swap in use"
            )
            check(process.poll() is None, "the benchmark ended before it used swap")
        finally:
            process.kill()
            process.wait()
        wait_until(lambda: state() == before, "the machine to be as it was", 60)
