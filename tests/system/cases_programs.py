"""Real programs: what they put out must not differ by a byte from a native run."""

import pathlib
import random
import sys
import tempfile

import redis_client
from harness import (
    HERE,
    MIB,
    case,
    check,
    check_held,
    compare_under_limits,
    need_command,
    run,
    run_limited,
    wait_until,
)

WORKLOADS = HERE / "workloads"


@case(timeout_s=240, serial=True)
def cpython():
    """CPython builds and walks an object graph."""
    # Not sys.executable's name: a version manager's wrapper is a script.
    python = str(pathlib.Path(sys.executable).resolve())
    compare_under_limits([python, str(WORKLOADS / "object_graph.py"), "32000"])


@case(timeout_s=240, serial=True)
def perl():
    """perl fills, sorts and changes a hash of strings."""
    compare_under_limits(
        [need_command("perl"), str(WORKLOADS / "words.pl"), "28000"],
        env={"PATH": "/usr/bin:/bin", "PERL_HASH_SEED": "0", "PERL_PERTURB_KEYS": "0"},
    )


def write_lines(path, count):
    rng = random.Random(7)
    with open(path, "w", encoding="ascii") as file:
        for number in range(count):
            key = f"{rng.getrandbits(64):016x}"
            file.write(
                f"{key} line {number} " + f"{key[:4]} and so on " * (20 + number % 60) + "\n"
            )


@case(timeout_s=240, serial=True)
def gnu_sort():
    """GNU sort, with two threads, of a file that fits its buffer but not its limit."""
    sort = need_command("sort")
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory, "lines")
        write_lines(path, 120000)
        compare_under_limits(
            [sort, "-S", "300M", "--parallel=2", "-T", directory, str(path)],
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        )


KEYS = 60000


def redis_value(key, generation):
    return f"value {key} in generation {generation}; " * (20 + key % 40)


def use_redis(directory, digest):
    """Loads keys, changes a part of them while a snapshot is written, reads all back."""

    def talk(process):
        with redis_client.Client(f"{directory}/redis.sock") as redis:
            redis.pipeline(("SET", f"key:{key}", redis_value(key, 0)) for key in range(KEYS))
            redis.call("BGSAVE")
            redis.pipeline(("SET", f"key:{key}", redis_value(key, 1)) for key in range(0, KEYS, 3))
            redis.pipeline(("DEL", f"key:{key}") for key in range(1, KEYS, 7))
            for key in range(KEYS):
                expected = None if key % 7 == 1 else redis_value(key, 1 if key % 3 == 0 else 0)
                redis.expect(("GET", f"key:{key}"), expected)
            wait_until(
                lambda: "rdb_bgsave_in_progress:0" in redis.call("INFO", "persistence"),
                "the snapshot",
                60,
            )
            check(
                "rdb_last_bgsave_status:ok" in redis.call("INFO", "persistence"),
                "the snapshot failed",
            )
            digest.append(redis.call("DEBUG", "DIGEST"))
            redis.send("SHUTDOWN", "NOSAVE")
        check(process.wait(timeout=60) == 0, "redis-server did not end well")

    return talk


def snapshot_digest(server, directory):
    """What another, native redis-server reads from the snapshot."""
    digest = []

    def talk(_):
        with redis_client.Client(f"{directory}/redis.sock") as redis:
            wait_until(
                lambda: "\nloading:0" in redis.call("INFO", "persistence"), "redis-server to load"
            )
            digest.append(redis.call("DEBUG", "DIGEST"))
            redis.send("SHUTDOWN", "NOSAVE")

    run(server, interact=talk, cwd=directory)
    return digest[0]


@case(timeout_s=240, serial=True)
def redis():
    """redis-server: load, fork for a snapshot, overwrite, delete, read back."""
    server = [
        need_command("redis-server"),
        "--port",
        "0",
        "--unixsocket",
        "redis.sock",
        "--save",
        "",
        "--enable-debug-command",
        "local",
        "--logfile",
        "redis.log",
    ]
    digests = []
    with tempfile.TemporaryDirectory() as directory:
        native = run(server, interact=use_redis(directory, digests), cwd=directory)
        check(native.status == 0, f"native run failed: {native.describe()}")
        peak = native.watcher.peak
        native_snapshot = snapshot_digest(server, directory)
    print(
        f"native: peak RssAnon {peak / MIB:.1f} MiB in {native.watcher.seconds:.1f} s", flush=True
    )
    for fraction in (2, 4):
        what = f"1/{fraction}"
        with tempfile.TemporaryDirectory() as directory:
            outcome = run_limited(
                peak // fraction, server, interact=use_redis(directory, digests), cwd=directory
            )
            check(outcome.status == 0, f"{what}: {outcome.describe()}")
            check(
                snapshot_digest(server, directory) == native_snapshot,
                f"{what}: the snapshot differs",
            )
        check(digests[-1] == digests[0], f"{what}: the data differ: {digests}")
        check(outcome.stats["zswpout"] > 0, f"{what}: nothing was swapped out: {outcome.stats}")
        check_held(outcome, peak // fraction, what)
