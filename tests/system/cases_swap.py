"""Swap devices: pages that go beyond the pool, to files and to memory, and what becomes of them there."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile

from harness import (
    MIB,
    TOOL,
    call,
    case,
    check,
    check_held,
    compare_under_limits,
    expect_line,
    need_root,
    program,
    run,
    run_limited,
    run_line,
    say,
    stat_json,
    tool_lines,
    wait_until,
)

SMALL_POOL = ["--max-pool-percent", "10"]
SCRATCH = "/var/tmp"  # a disk, most likely


def used_swap(outcome, what):
    written, read = outcome.stats["pswpout"], outcome.stats["pswpin"]
    print(f"{what}: {written} pages to swap, {read} back", flush=True)
    check(written > 100 and read > 100, f"{what}: swap was not used: {outcome.stats}")


RANDOM = """
import hashlib, os, sys
blocks = [os.urandom(1 << 16) for _ in range(1500)]
sums = [hashlib.md5(block).digest() for block in blocks]
print("filled", flush=True)
sys.stdin.readline()
whole = all(hashlib.md5(block).digest() == want for block, want in zip(blocks, sums))
print("whole" if whole else "WRONG", flush=True)
"""


@case(timeout_s=120, serial=True)
def swap_auto():
    """What does not compress goes to a file that nobody sees; the limit is held; nothing is left."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        seen = set()

        def look(process):
            expect_line(process, "filled")
            seen.update(os.listdir(directory))
            say(process)
            expect_line(process, "whole")

        environment = os.environ | {"TMPDIR": directory}
        argv = ["/usr/bin/python3", "-c", RANDOM]
        outcome = run_limited(48 * MIB, argv, interact=look, env=environment)
        check(outcome.status == 0, outcome.describe())
        check(outcome.stats["limit_exceeded"] == 0, f"{outcome.stats}")
        used_swap(outcome, "auto")
        check_held(outcome, 48 * MIB, "auto")
        check(not tool_lines(outcome.stderr), outcome.describe())
        check(not seen and not os.listdir(directory), f"files in the directory: {seen}")


@contextlib.contextmanager
def small_file_system(size):
    """A directory with so much space, or whatever a later remount gives it."""
    need_root()
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "swap", directory], check=True)
        try:
            yield directory
        finally:
            subprocess.run(["umount", "--lazy", directory], check=True)


def taken(directory):
    status = os.statvfs(directory)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


@case(timeout_s=120, serial=True)
def swap_auto_bounds():
    """The automatic file is made when it is needed, and takes half of what is free at most."""
    with small_file_system("64M") as directory:

        def look(process):
            expect_line(process, "begun")
            check(taken(directory) == 0, f"{taken(directory)} bytes before there is need")
            say(process)
            expect_line(process, "filled")
            most = taken(directory)
            check(8 * MIB < most <= 32 * MIB, f"it takes {most / MIB:.0f} MiB of 64")
            say(process)
            expect_line(process, "whole")

        argv = ["/usr/bin/python3", "-c", "print('begun', flush=True); input()\n" + RANDOM]
        environment = os.environ | {"TMPDIR": directory}
        outcome = run_limited(48 * MIB, argv, interact=look, env=environment)
        check(outcome.status == 0, outcome.describe())
        check(outcome.stats["limit_exceeded"] > 0, "all of it fitted: this proves nothing")


@case(timeout_s=120, serial=True)
def swap_auto_of_a_limit():
    """The automatic file has four times the limit at most, however much is free."""
    with small_file_system("400M") as directory:

        def look(process):
            expect_line(process, "filled")
            text = call([TOOL, "swaps", str(process.pid), "--json"]).stdout
            (device,) = json.loads(text)["devices"]
            check(device["device"] == "auto" and device["state"] == "ready", f"{device}")
            check(60 * MIB <= device["size_bytes"] <= 64 * MIB, f"{device}")
            check(taken(directory) <= 64 * MIB + 4096, f"it takes {taken(directory)}")
            say(process)
            expect_line(process, "whole")

        environment = os.environ | {"TMPDIR": directory}
        argv = ["/usr/bin/python3", "-c", RANDOM]
        outcome = run_limited(16 * MIB, argv, ["--quiet"], interact=look, env=environment)
        check(outcome.status == 0, outcome.describe())


GIVES_UP = """
import hashlib, os, sys
def fill():
    blocks = [os.urandom(1 << 16) for _ in range(900)]
    return blocks, [hashlib.md5(block).digest() for block in blocks]
blocks, sums = fill()
print("filled", flush=True)
sys.stdin.readline()
del blocks, sums
print("given up", flush=True)
sys.stdin.readline()
blocks, sums = fill()
whole = all(hashlib.md5(block).digest() == want for block, want in zip(blocks, sums))
print("whole" if whole else "WRONG", flush=True)
sys.stdin.readline()
"""


@case(timeout_s=120, serial=True)
def swap_write_refused():
    """A file system that is full when a page is to be written: counted, said once, and the page stays."""
    with small_file_system("120M") as directory:
        counted = []

        def look(process):
            expect_line(process, "filled")
            say(process)
            expect_line(process, "given up")
            # What nobody needs there any more was given back; somebody else takes it.
            wait_until(lambda: taken(directory) < 30 * MIB, "holes in the file")
            with contextlib.suppress(OSError):
                fd = os.open(pathlib.Path(directory, "other"), os.O_CREAT | os.O_WRONLY)
                with contextlib.suppress(OSError):
                    while os.write(fd, bytes(1 << 20)) > 0:
                        pass
                os.close(fd)
            say(process)
            expect_line(process, "whole")
            counted.append(stat_json(process.pid))
            say(process)

        options = ["--swap", f"{directory}/swap,size=80M", *SMALL_POOL]
        argv = ["/usr/bin/python3", "-c", GIVES_UP]
        outcome = run(run_line(24 * MIB, argv, options), interact=look)
        check(outcome.status == 0, outcome.describe())
        check(counted[0]["swap_write_fail"] > 0, f"nothing was refused: {counted[0]}")
        said = [line for line in tool_lines(outcome.stderr) if "refused a write" in line]
        check(len(said) == 1, f"expected one message: {outcome.describe()}")


@case(timeout_s=120, serial=True)
def swap_auto_again():
    """Too little space for the file is said once; when there is enough, it is made."""
    with small_file_system("24M") as directory:

        def look(process):
            expect_line(process, "filled")
            check(taken(directory) == 0, "a file of less than 16 MiB was made")
            subprocess.run(["mount", "-o", "remount,size=400M", directory], check=True)
            wait_until(lambda: taken(directory) > MIB, "the file", timeout_s=40)
            say(process)
            expect_line(process, "whole")

        argv = ["/usr/bin/python3", "-c", RANDOM]
        environment = os.environ | {"TMPDIR": directory}
        outcome = run_limited(48 * MIB, argv, ["--quiet"], interact=look, env=environment)
        check(outcome.status == 0, outcome.describe())
        said = [line for line in tool_lines(outcome.stderr) if "too little space" in line]
        check(len(said) == 1, f"expected one message: {outcome.describe()}")


def compare_with_swap(argv, option, fractions=(3,), **how):
    outcome = compare_under_limits(argv, fractions, ["--swap", option, *SMALL_POOL], **how)
    used_swap(outcome, option)


@case(timeout_s=240, serial=True)
def swap_churn():
    """Every call by which a program changes its memory, with most of it on a device."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        compare_with_swap([program("churn"), "128"], f"{directory}/swap,size=512M", whole_output=False)


@case(timeout_s=240, serial=True)
def swap_churn_signal():
    argv = [program("churn"), "96", "7", "1200"]
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        option = ["--swap", f"{directory}/swap,size=512M", "--fault-path", "signal", *SMALL_POOL]
        outcome = compare_under_limits(argv, [3], option, whole_output=False)
        used_swap(outcome, "signal")


@case(timeout_s=240, serial=True)
def swap_ram():
    """A device in memory, outside of the limit."""
    compare_with_swap([program("cold_hot"), "96"], "ram:256M")


@case(timeout_s=240, serial=True)
def swap_cleaning():
    """A device that is hardly larger than what it must hold: segments are cleaned, nothing is lost."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        compare_with_swap([program("churn"), "128"], f"{directory}/swap,size=80M", whole_output=False)


@case(timeout_s=240, serial=True)
def swap_fork_tree():
    """Children, and theirs, read what their parents have written, while the parents go on."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        native = run([program("fork_tree"), "32"])
        check(native.status == 0, f"native run failed: {native.describe()}")
        limit = native.watcher.peak // 2
        options = ["--quiet", "--swap", "auto", *SMALL_POOL]
        environment = os.environ | {"TMPDIR": directory}
        outcome = run_limited(limit, [program("fork_tree"), "32"], options, env=environment)
        check(outcome.status == 0, outcome.describe())
        check(outcome.last_line() == native.last_line(), outcome.describe())
        used_swap(outcome, "fork tree")
        check_held(outcome, limit, "fork tree")


@case(timeout_s=240, serial=True)
def swap_early_child():
    """Children whose first faults are of pages on the parent's device."""
    compare_under_limits([program("early_child"), "48"], [2], ["--swap", "auto", *SMALL_POOL])


SECRETS = """
import os, sys
MARK = b"this must not be readable on a disk. "
pages = [MARK * 50 + os.urandom(2000) for _ in range(20000)]
print("filled", flush=True)
sys.stdin.readline()
print("whole" if all(page.startswith(MARK) for page in pages) else "WRONG", flush=True)
"""


@case(timeout_s=120, serial=True)
def swap_secret():
    """Nothing of the program's memory can be read on the device."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        path = pathlib.Path(directory, "swap")
        content = []

        def look(process):
            expect_line(process, "filled")
            content.append(path.read_bytes())
            say(process)
            expect_line(process, "whole")

        options = ["--quiet", "--swap", f"{path},size=256M", *SMALL_POOL]
        outcome = run_limited(24 * MIB, ["/usr/bin/python3", "-c", SECRETS], options, interact=look)
        check(outcome.status == 0, outcome.describe())
        used_swap(outcome, "secrets")
        check(path.stat().st_mode & 0o777 == 0o600, "the file is readable for others")
        written = sum(1 for at in range(0, len(content[0]), 4096) if any(content[0][at : at + 64]))
        check(written > 1000, f"only {written} blocks were written: this proves nothing")
        for found in (b"must not be readable", b"this must", b"on a disk"):
            check(found not in content[0], f"{found} can be read on the device")


def damage_swap(damage):
    """Runs a program with most of its memory on a file, damages the file, and has the program look."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        path = pathlib.Path(directory, "swap")

        def look(process):
            expect_line(process, "filled")
            damage(path)
            with contextlib.suppress(BrokenPipeError):  # it met the damage on its way to the read
                say(process)

        options = ["--swap", f"{path},size=256M"]
        argv = ["/usr/bin/python3", "-c", RANDOM]
        outcome = run(run_line(40 * MIB, argv, options), interact=look)
    check(b"WRONG" not in outcome.stdout, f"wrong bytes: {outcome.describe()}")
    check(outcome.status == -signal.SIGBUS, f"expected SIGBUS: {outcome.describe()}")
    lines = [line for line in tool_lines(outcome.stderr) if "SIGBUS" in line]
    check(len(lines) == 1, f"expected one message: {outcome.describe()}")


@case(timeout_s=120, serial=True)
def swap_truncated():
    """Somebody cuts the file off."""
    damage_swap(lambda path: os.truncate(path, 1 * MIB))


@case(timeout_s=120, serial=True)
def swap_scribbled():
    """Somebody writes into the file."""

    def scribble(path):
        with open(path, "r+b") as file:
            for at in range(1 * MIB, 64 * MIB, 1 * MIB):
                file.seek(at)
                file.write(b"x" * (512 << 10))

    damage_swap(scribble)


@case(timeout_s=120, serial=True)
def swap_full():
    """A device that is too small: the rest stays in memory, that is said once, and nothing is lost."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        options = ["--swap", f"{directory}/swap,size=8M"]
        outcome = run_limited(48 * MIB, [program("incompressible"), "128"], options)
        check(outcome.status == 0, outcome.describe())
        check(outcome.stats["limit_exceeded"] > 0, f"limit_exceeded does not tell: {outcome.stats}")
        check(outcome.stats["pswpout"] > 100, f"{outcome.stats}")
        check(len(tool_lines(outcome.stderr)) == 2, outcome.describe())


@case(timeout_s=60)
def swap_in_use():
    """One file serves one process; data of others are never overwritten."""
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        path = pathlib.Path(directory, "swap")
        inner = [TOOL, "run", "--quiet", "--limit", "64M", "--swap", str(path), "--", "/bin/true"]
        nested = ["/bin/sh", "-c", f"{' '.join(inner)}; exit $?"]
        outer = run_line(64 * MIB, nested, ["--quiet", "--swap", f"{path},size=64M"])
        done = call(outer)
        check(done.returncode == 2, f"a file that is in use was taken: {done}")
        check(re.search("in use by another process", done.stderr), done.stderr)
        precious = pathlib.Path(directory, "precious")
        precious.write_text("data\n" * 10000)
        done = call(run_line(64 * MIB, ["/bin/true"], ["--swap", str(precious)]))
        check(done.returncode == 2 and "not swap" in done.stderr, f"{done}")
        check(precious.read_text() == "data\n" * 10000, "it was overwritten")
