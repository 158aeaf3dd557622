"""A block device as swap."""

import contextlib
import json
import pathlib
import subprocess
import tempfile

from cases_swap import RANDOM, SCRATCH, used_swap
from harness import (
    MIB,
    Skip,
    TOOL,
    call,
    case,
    check,
    expect_line,
    need_command,
    need_root,
    run_limited,
    run_line,
    say,
)


@contextlib.contextmanager
def loop_device(directory, size):
    """A block device of so many bytes on a file."""
    need_root()
    path = pathlib.Path(directory, "disk")
    with open(path, "wb") as file:
        file.truncate(size)
    made = call([need_command("losetup"), "--find", "--show", str(path)])
    if made.returncode != 0:
        raise Skip(f"no loop device: {made.stderr.strip()}")
    try:
        yield made.stdout.strip()
    finally:
        subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


@case(timeout_s=120, serial=True)
def swap_block_device():
    """A block device that was made for swap serves one process; another's data are left alone."""
    with (
        tempfile.TemporaryDirectory(dir=SCRATCH) as directory,
        loop_device(directory, 128 * MIB) as device,
    ):
        done = call(run_line(64 * MIB, ["/bin/true"], ["--swap", device]))
        check(done.returncode == 2 and "run mkswap" in done.stderr, f"{done}")
        subprocess.run([need_command("mkswap"), device], check=True, capture_output=True)
        done = call(run_line(64 * MIB, ["/bin/true"], ["--swap", f"{device},size=1G"]))
        check(done.returncode == 2 and "smaller than the size given" in done.stderr, f"{done}")

        def look(process):
            expect_line(process, "filled")
            text = call([TOOL, "swaps", str(process.pid), "--json"]).stdout
            (row,) = json.loads(text)["devices"]
            check(row["kind"] == "partition" and row["device"] == device, f"{row}")
            check(row["pages"] > 1000 and 127 * MIB <= row["size_bytes"] < 128 * MIB, f"{row}")
            other = call(run_line(64 * MIB, ["/bin/true"], ["--swap", device]))
            check(other.returncode == 2, f"a device that is in use was taken: {other}")
            say(process)
            expect_line(process, "whole")

        argv = ["/usr/bin/python3", "-c", RANDOM]
        outcome = run_limited(48 * MIB, argv, ["--quiet", "--swap", device], interact=look)
        check(outcome.status == 0, outcome.describe())
        used_swap(outcome, "block device")
