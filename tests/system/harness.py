"""What the system tests share: the tool, cases, running a program natively or under a limit.

A case is a function marked with @case. It passes by returning, fails by raising, and is skipped
by raising Skip with the reason (something that this machine lacks).
"""

import contextlib
import ctypes
import dataclasses
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

from watcher import Watcher

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
# Every managed process checks at its exit that what it has counted agrees.
os.environ["COLDPRESS_CHECK_ACCOUNTS"] = "1"

TOOL = os.environ.get("COLDPRESS", str(REPOSITORY / "build/release/bin/coldpress"))
PROGRAMS = pathlib.Path(
    os.environ.get("COLDPRESS_TEST_PROGRAMS", REPOSITORY / "build/release/tests/system")
)
MIB = 1024 * 1024
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
MAX_TEXT = 4000  # of a failure
MIN_SAMPLES = 20  # of memory after the grace time, for a limit to count as held
RUN_TIMEOUT_S = 100  # of one program


class Failure(Exception):
    """The product did not do what it should."""


class Skip(Exception):
    """The machine lacks what the case needs."""


@dataclasses.dataclass
class Case:
    run: object
    timeout_s: int
    serial: bool


CASES = {}


def case(timeout_s=60, serial=False):
    """Registers a case under its function's name; serial: heavy in memory or time."""

    def register(function):
        CASES[function.__name__] = Case(function, timeout_s, serial)
        return function

    return register


def check(good, message):
    if not good:
        raise Failure(message)


def program(name):
    path = PROGRAMS / name
    check(path.exists(), f"test program {path} is not built")
    return str(path)


def size(byte_count):
    return f"{byte_count // 1024}K"


def run_line(limit, argv, options=()):
    """The command line that starts argv under a limit (bytes, or a text as it stands)."""
    text = limit if isinstance(limit, str) else size(limit)
    return [TOOL, "run", "--limit", text, *options, "--", *argv]


def tool_lines(stderr):
    """The lines that the tool or its engine wrote into a program's stderr."""
    return [line for line in stderr.splitlines() if re.match(r"coldpress\b", line)]


@dataclasses.dataclass
class Outcome:
    pid: int
    status: int  # as subprocess has it: negative is a signal
    stdout: bytes
    stderr: str
    watcher: Watcher
    stats: dict | None = None

    def last_line(self):
        return self.stdout.rstrip(b"\n").rpartition(b"\n")[2]

    def describe(self):
        return (
            f"status {self.status}, stdout ends {self.stdout[-600:]!r}, "
            f"stderr ends {self.stderr[-1500:]!r}"
        )


def run(argv, interact=None, timeout_s=RUN_TIMEOUT_S, stdin=b"", env=None, cwd=None):
    """Runs argv to its end, watched from outside.

    interact(process), if given, speaks with the program over process.stdin and process.stdout;
    otherwise stdin's bytes are its input.
    """
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
        files[0].write(stdin)
        files[0].seek(0)
        process = subprocess.Popen(
            argv,
            env=env,
            cwd=cwd,
            stderr=files[2],
            stdin=subprocess.PIPE if interact else files[0],
            stdout=subprocess.PIPE if interact else files[1],
        )
        stack.callback(end, process)
        with Watcher(process.pid) as watcher:
            talked = b""
            try:
                if interact:
                    interact(process)
                    talked, _ = process.communicate(timeout=timeout_s)
                status = process.wait(timeout=timeout_s)
            except subprocess.TimeoutExpired as expired:
                raise Failure(
                    f"{argv} goes on for {timeout_s} s: {where_it_is(process.pid)}"
                ) from expired
        for file in files:
            file.seek(0)
        return Outcome(
            process.pid,
            status,
            talked or files[1].read(),
            files[2].read().decode(errors="replace"),
            watcher,
        )


def where_it_is(pid):
    """Tells a program that hangs from one that is slow, and where its threads are."""

    def faults():
        done = call([TOOL, "stat", str(pid), "--json"])
        return json.loads(done.stdout)["pgfault"] if done.returncode == 0 else None

    before = faults()
    time.sleep(1)
    threads = []
    for task in sorted(pathlib.Path(f"/proc/{pid}/task").glob("*")):
        with contextlib.suppress(OSError):
            name, rest = (task / "stat").read_text().partition("(")[2].rsplit(")", 1)
            threads.append(f"{name} {rest.split()[0]} {(task / 'wchan').read_text()}")
    return f"faults {before}, a second later {faults()}; threads: {', '.join(threads)}"


def children_of(parent):
    for entry in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(entry.read_text().rpartition(")")[2].split()[1]) == parent:
                yield int(entry.parent.name)


def adopt_orphans():
    """What programs leave behind becomes this process's child, so that it can be ended."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end(process):
    """No program, nor a child of it, outlives its run."""
    if process.poll() is None:
        process.kill()
        process.wait()
    while orphans := list(children_of(os.getpid())):
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def run_limited(limit, argv, options=("--quiet",), **how):
    """Runs argv under a limit; the outcome has the statistics that were written at exit."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)  # the program may be another user when it ends
        path = pathlib.Path(directory, "stats.json")
        outcome = run(run_line(limit, argv, [*options, "--stats", str(path)]), **how)
        if path.exists() and path.stat().st_size > 0:  # empty until the exit, which a kill prevents
            try:
                outcome.stats = json.loads(path.read_text())
            except ValueError as error:
                raise Failure(f"statistics are not JSON: {error}: {outcome.describe()}") from error
        return outcome


def swapped_out(stats):
    return stats["zswpout"] + stats["swpout_zero"] + stats.get("same_filled_pages", 0)


def check_held(outcome, limit, what):
    """The rule that the product is for."""
    verdict = outcome.watcher.judge(limit)
    print(f"{what}: {verdict}; stats {outcome.stats}", flush=True)
    check(verdict.held, f"{what}: the limit was not held: {verdict}")
    # A run that ends within the grace time is only judged by what it was all the time.
    watched = verdict.judged
    if outcome.watcher.peak <= verdict.allowed:
        watched = len(outcome.watcher.samples)
    check(watched >= MIN_SAMPLES, f"{what}: the run was too short to judge: {verdict}")


def compare_under_limits(
    argv, fractions=(2, 4), options=(), whole_output=True, needs_stats=True, **how
):
    """A program's output natively, and at parts of its native peak, must be the same bytes.

    needs_stats=False is for programs after which no file can be opened any more.
    """
    native = run(argv, **how)
    check(native.status == 0, f"native run failed: {native.describe()}")
    peak = native.watcher.peak
    print(
        f"native: peak RssAnon {peak / MIB:.1f} MiB in {native.watcher.seconds:.1f} s", flush=True
    )
    for fraction in fractions:
        limit = peak // fraction
        what = f"limit {limit / MIB:.1f} MiB (1/{fraction})"
        outcome = run_limited(limit, argv, options=["--quiet", *options], **how)
        print(f"{what}: ran {outcome.watcher.seconds:.1f} s", flush=True)
        check(outcome.status == 0, f"{what}: {outcome.describe()}")
        if whole_output:
            check(outcome.stdout == native.stdout, f"{what}: output differs: {outcome.describe()}")
        else:
            check(
                outcome.last_line() == native.last_line(),
                f"{what}: digest differs: {outcome.describe()}",
            )
        check(outcome.stderr == native.stderr, f"{what}: stderr differs: {outcome.describe()}")
        if needs_stats or outcome.stats is not None:
            check(outcome.stats is not None, f"{what}: no statistics were written")
            check(
                swapped_out(outcome.stats) > 0, f"{what}: nothing was swapped out: {outcome.stats}"
            )
        check_held(outcome, limit, what)
    return outcome


def expect_line(process, expected):
    """Waits for a program's word on stdout."""
    line = process.stdout.readline().decode().strip()
    check(line == expected, f"the program said {line!r}, expected {expected!r}")


def say(process, word="go"):
    process.stdin.write(f"{word}\n".encode())
    process.stdin.flush()


def call(argv, **how):
    """A short command with its output as text."""
    return subprocess.run(
        argv,
        capture_output=True,
        text=True,
        timeout=60,
        errors="replace",
        stdin=subprocess.DEVNULL,
        **how,
    )


def stat_json(pid):
    done = call([TOOL, "stat", str(pid), "--json"])
    check(done.returncode == 0, f"coldpress stat: {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def wait_until(condition, what, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        time.sleep(0.02)
    raise Failure(f"waited {timeout_s} s for {what}")


def need_command(name):
    for directory in os.environ.get("PATH", "/usr/bin:/bin").split(":"):
        path = pathlib.Path(directory, name)
        if path.exists():
            return str(path)
    raise Skip(f"{name} is not installed")


def need_root():
    if os.geteuid() != 0:
        raise Skip("needs root, to become another user")


def as_nobody(argv):
    return [need_command("setpriv"), "--reuid=65534", "--regid=65534", "--clear-groups", *argv]


def main(names):
    if not os.access(TOOL, os.X_OK):
        print(f"FAILED: {TOOL} is not there; set COLDPRESS", file=sys.stderr)
        return 1
    adopt_orphans()
    for name in names:
        try:
            CASES[name].run()
            print(f"{name}: passed")
        except Skip as reason:
            print(f"{name}: skipped: {reason}")
            return 77
        except (Failure, subprocess.TimeoutExpired) as failure:
            print(f"{name}: FAILED: {str(failure)[:MAX_TEXT]}", file=sys.stderr)
            return 1
    return 0
