#!/usr/bin/env python3
"""redis-server holding WordNet, natively and under coldpress with half the memory.

Run through script/demo, which installs and builds what this needs. The same
bytes are loaded, the same sequence of GETs is timed, and every value is read
back and checked in both runs; one table compares what was measured.
"""

import sys

sys.dont_write_bytecode = True  # leave no __pycache__ in the source tree

import argparse
import array
import ctypes
import gc
import hashlib
import itertools
import json
import mmap
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import demo_wordnet

KIB, MIB = 1 << 10, 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")

SEED = 20060101  # any constant: key order and popularity must not vary
ZIPF_SKEW = 0.99
GET_SEQUENCE = 1 << 21  # drawn before the clock starts; wraps if exhausted
MIN_NATIVE_RSS = 150 * 1000 * 1000
SAMPLE_SECONDS = 0.020
SETTLE_SECONDS = 0.200  # time coldpress has to get below a limit just reached
REPLY_TIMEOUT = 60
DIGEST = 16


class DemoError(Exception):
    """The demo cannot go on; the text says what to do."""


class Stopped(BaseException):
    """A signal asked the demo to end; unwinds through all clean-up."""

    def __init__(self, signum):
        self.signum = signum


# --- progress ---------------------------------------------------------------

class Progress:
    """One line kept up to date on a terminal, else a line every few seconds."""

    def __init__(self, title, unit=""):
        self.title, self.unit = title, unit
        self.tty = sys.stdout.isatty()
        self.start = self.last = time.monotonic()
        self.text = ""
        if self.tty:
            self._draw("...")

    def _draw(self, text):
        sys.stdout.write(f"\r{self.title}: {text}\x1b[K")
        sys.stdout.flush()

    def update(self, done, total):
        now = time.monotonic()
        if now - self.last < (0.1 if self.tty else 5):
            return
        self.last = now
        text = f"{done:,} of {total:,}{self.unit}"
        if self.tty:
            self._draw(text)
        else:
            print(f"{self.title}: {text}", flush=True)

    def done(self, text):
        if self.tty:
            self._draw(text)
            print(flush=True)
        else:
            print(f"{self.title}: {text}", flush=True)


# --- data -------------------------------------------------------------------

def encode(*args):
    """A command in RESP, the protocol redis-server speaks."""
    out = [b"*%d\r\n" % len(args)]
    for a in args:
        out.append(b"$%d\r\n%s\r\n" % (len(a), a))
    return b"".join(out)


class DataSet:
    """SET commands in a file, and what is needed to check each value.

    The values are rendered before any server runs, so that load time is that
    of redis-server and not of the rendering. The client keeps a digest and the
    length of each value, not the value.
    """

    def __init__(self, wordnet_dir, path, order):
        progress = Progress("WordNet: rendering synsets")
        wordnet = demo_wordnet.WordNet(wordnet_dir)
        total = len(wordnet.synsets)
        self.keys = []
        self.digests = []
        self.bounds = array.array("Q", [0])  # of commands in the file
        self.value_bytes = 0
        whole = hashlib.blake2b(digest_size=DIGEST)
        entries = wordnet.entries()
        if order == "shuffled":
            entries = list(entries)
            random.Random(SEED).shuffle(entries)
        at = 0
        with open(path, "wb", buffering=MIB) as f:
            for key, value in entries:
                command = encode(b"SET", key, value)
                f.write(command)
                at += len(command)
                self.bounds.append(at)
                digest = hashlib.blake2b(value, digest_size=DIGEST).digest()
                self.keys.append(key)
                self.digests.append(digest)
                self.value_bytes += len(value)
                whole.update(key + b"\0" + digest)
                progress.update(len(self.keys), total)
        self.digest = whole.hexdigest()
        self.gets = [encode(b"GET", key) for key in self.keys]
        # Mapped now, or the first of the two loads would pay for it.
        with open(path, "rb") as f:
            self.commands = memoryview(mmap.mmap(
                f.fileno(), 0, prot=mmap.PROT_READ,
                flags=mmap.MAP_PRIVATE | mmap.MAP_POPULATE))
        progress.done(f"{total:,} values, {self.value_bytes / 1e6:.0f} MB, "
                      f"blake2b {self.digest}")

    def popularity(self):
        """Indices of keys to GET: Zipf-like, popular keys anywhere in memory."""
        rng = random.Random(SEED + 1)
        ranked = list(range(len(self.keys)))
        rng.shuffle(ranked)
        weights = itertools.accumulate(
            1 / rank ** ZIPF_SKEW for rank in range(1, len(ranked) + 1))
        return array.array("I", rng.choices(
            ranked, cum_weights=list(weights), k=GET_SEQUENCE))

    def check_order(self):
        """Every key once, in an order unlike that of loading."""
        order = list(range(len(self.keys)))
        random.Random(SEED + 2).shuffle(order)
        return order


# --- the server -------------------------------------------------------------

def proc_status(fd):
    """RssAnon, RssShmem and VmSwap in bytes from an open /proc/PID/status."""
    found = {}
    for line in os.pread(fd, 8192, 0).split(b"\n"):
        name, _, rest = line.partition(b":")
        if name in (b"RssAnon", b"RssShmem", b"VmSwap"):
            found[name] = int(rest.split()[0]) * KIB
    return (found.get(b"RssAnon"), found.get(b"RssShmem", 0),
            found.get(b"VmSwap", 0))


def kernel_faults(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    return int(fields[7]), int(fields[9])  # minflt, majflt


class Sampler(threading.Thread):
    """Watches a process's memory from outside, the way an operator would."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.fd = os.open(f"/proc/{pid}/status", os.O_RDONLY | os.O_CLOEXEC)
        self.samples = []  # (monotonic time, RssAnon, RssShmem, VmSwap)
        self.ended = threading.Event()

    def run(self):
        due = time.monotonic()
        while not self.ended.is_set():
            try:
                status = proc_status(self.fd)
            except OSError:
                return
            if status[0] is None:  # a process that has ended has no memory
                return
            self.samples.append((time.monotonic(), *status))
            due = max(due + SAMPLE_SECONDS, time.monotonic())
            self.ended.wait(max(0, due - time.monotonic()))

    def end(self):
        if not self.ended.is_set():
            self.ended.set()
            if self.ident is not None:
                self.join()
            os.close(self.fd)


def tie_to_parent():
    """In the child: die with the demo, even if that is killed outright."""
    PR_SET_PDEATHSIG = 1
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


LIBC = ctypes.CDLL(None)


class Server:
    """A redis-server of our own, on a socket in our own directory."""

    def __init__(self, name, directory, prefix):
        self.name = name
        self.prefix = prefix
        self.directory = os.path.join(directory, name)
        os.mkdir(self.directory)
        self.path = os.path.join(self.directory, "redis.sock")
        if len(self.path) > 100:  # sockaddr_un holds 108
            raise DemoError(f"{self.path} is too long for a socket; "
                            "set TMPDIR to a shorter directory")
        self.log = os.path.join(self.directory, "redis.log")
        self.errors = os.path.join(self.directory, "stderr")
        self.process = self.socket = self.sampler = None

    def start(self):
        redis = shutil.which("redis-server")
        if redis is None:
            raise DemoError("redis-server not found; "
                            "install it: apt-get install redis-server")
        command = self.prefix + [
            redis, "--port", "0", "--unixsocket", self.path,
            "--save", "", "--appendonly", "no", "--maxmemory", "0",
            "--daemonize", "no", "--dir", self.directory,
            "--loglevel", "notice"]
        with open(self.log, "wb") as log, open(self.errors, "wb") as errors:
            # A session of its own: Ctrl-C is for the demo, which then ends
            # the server itself.
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=errors,
                start_new_session=True, preexec_fn=tie_to_parent)
        self._connect()
        info = self.ask(encode(b"INFO", b"server")).decode()
        self.version = self._field(info, "redis_version")
        self.pid = int(self._field(info, "process_id"))
        self.sampler = Sampler(self.pid)
        self.sampler.start()

    def _field(self, info, name):
        for line in info.splitlines():
            if line.startswith(name + ":"):
                return line.partition(":")[2].strip()
        raise DemoError(f"redis-server's INFO has no {name}")

    def _connect(self):
        deadline = time.monotonic() + 30
        while True:
            if self.process.poll() is not None:
                raise DemoError(self.post_mortem())
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(REPLY_TIMEOUT)
            try:
                self.socket.connect(self.path)
                return
            except (FileNotFoundError, ConnectionRefusedError):
                self.socket.close()
                self.socket = None
            if time.monotonic() > deadline:
                raise DemoError(f"{self.name}: redis-server does not accept "
                                f"connections after 30 s\n{self.log_tail()}")
            time.sleep(0.02)

    def post_mortem(self):
        code = self.process.wait()
        how = (f"signal {signal.Signals(-code).name}" if code < 0
               else f"exit status {code}")
        return f"{self.name}: redis-server ended ({how})\n{self.log_tail()}"

    def lost(self, error):
        """The text for a connection that failed: did the server end?"""
        try:
            self.process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            if isinstance(error, TimeoutError):
                what = f"no reply from redis-server for {REPLY_TIMEOUT} s"
            else:
                what = f"connection to redis-server failed: {error}"
            return DemoError(f"{self.name}: {what}\n{self.log_tail()}")
        return DemoError(self.post_mortem())

    def log_tail(self):
        lines = []
        for path in (self.errors, self.log):
            try:
                with open(path, errors="replace") as f:
                    text = f.read().splitlines()
            except OSError:
                continue
            # Of a crash report the beginning matters: signal and stack.
            crash = next((n for n, line in enumerate(text)
                          if "BUG REPORT START" in line), None)
            lines += text[-15:] if crash is None else text[crash:crash + 30]
        return "\n".join("    " + line for line in lines)

    def error_lines(self):
        with open(self.errors, errors="replace") as f:
            return [line.rstrip() for line in f if line.strip()]

    def ask(self, command):
        """One command with a bulk reply."""
        try:
            self.socket.sendall(command)
            return bytes(Replies(self.socket).bulk())
        except OSError as e:
            raise self.lost(e) from None

    def shut_down(self):
        self.sampler.end()
        try:
            self.socket.sendall(encode(b"SHUTDOWN", b"NOSAVE"))
            rest = self.socket.recv(4096)
        except OSError:
            rest = b""
        if rest:
            raise DemoError(f"{self.name}: redis-server refuses to shut down: "
                            f"{rest[:200]!r}")
        try:
            code = self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            raise DemoError(f"{self.name}: redis-server still runs 30 s after "
                            f"SHUTDOWN\n{self.log_tail()}") from None
        if code != 0:
            raise DemoError(self.post_mortem())

    def kill(self):
        """For clean-up: whatever state it is in, no server stays behind."""
        if self.sampler is not None:
            self.sampler.end()
        if self.socket is not None:
            self.socket.close()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Replies:
    """Reads bulk replies from a socket; views stay valid until the next."""

    def __init__(self, sock):
        self.socket = sock
        self.buffer = bytearray(256 * KIB)
        self.view = memoryview(self.buffer)
        self.start = self.end = 0

    def _more(self, need):
        """Room for `need` bytes from self.start on, then at least one more."""
        if self.start and self.start + need > len(self.buffer):
            rest = self.end - self.start
            self.view[:rest] = bytes(self.view[self.start:self.end])
            self.start, self.end = 0, rest
        if need > len(self.buffer):
            grown = bytearray(2 * need)
            grown[:self.end] = self.view[:self.end]
            self.buffer, self.view = grown, memoryview(grown)
        got = self.socket.recv_into(self.view[self.end:])
        if not got:
            raise ConnectionError("closed by redis-server")
        self.end += got

    def bulk(self):
        if self.start == self.end:
            self.start = self.end = 0
        while True:
            line = self.buffer.find(b"\r\n", self.start, self.end)
            if line >= 0:
                break
            self._more(self.end - self.start + 64)
        head = bytes(self.view[self.start:line])
        if head[:1] != b"$":
            raise DemoError(f"unexpected reply of redis-server: {head[:200]!r}")
        size = int(head[1:])
        if size < 0:
            self.start = line + 2
            return None  # no such key
        head_size = line + 2 - self.start
        need = head_size + size + 2
        while self.end - self.start < need:
            self._more(need)
        at = self.start + head_size
        self.start += need
        return self.view[at:at + size]


# --- what is measured -------------------------------------------------------

LOAD_BATCH = 128
LOAD_AHEAD = 4  # batches sent before their replies are awaited


def load(server, data):
    """Mass insertion: SETs pipelined, replies read while more are under way."""
    total = len(data.keys)
    progress = Progress(f"{server.name}: loading", " values")
    start = time.perf_counter()
    waiting = []
    try:
        for first in range(0, total, LOAD_BATCH):
            last = min(first + LOAD_BATCH, total)
            server.socket.sendall(
                data.commands[data.bounds[first]:data.bounds[last]])
            waiting.append(last - first)
            if len(waiting) >= LOAD_AHEAD:
                expect_ok(server, waiting.pop(0))
            progress.update(last, total)
        for count in waiting:
            expect_ok(server, count)
    except OSError as e:
        raise server.lost(e) from None
    seconds = time.perf_counter() - start
    progress.done(f"{total:,} values in {seconds:.1f} s")
    return seconds


def expect_ok(server, count):
    need = len(b"+OK\r\n") * count
    got = b""
    while len(got) < need:
        part = server.socket.recv(need - len(got))
        if not part:
            raise ConnectionError("closed by redis-server")
        got += part
    if got != b"+OK\r\n" * count:
        raise DemoError(f"{server.name}: SET failed: {got[:200]!r}")


def benchmark(server, data, sequence, seconds):
    """GETs one after the other on one connection; every value is checked.

    Latency is from sending the request to having all of the value; checking
    the digest is outside of it, but inside of the throughput.
    """
    progress = Progress(f"{server.name}: GETs", " s")
    replies = Replies(server.socket)
    send, bulk = server.socket.sendall, replies.bulk
    gets, digests = data.gets, data.digests
    blake2b, clock = hashlib.blake2b, time.perf_counter_ns
    latencies = array.array("Q")
    different = 0
    # With one request at a time, client and server never run at once. On one
    # CPU they hand over in a few us; on two, each waits for an idle CPU to wake
    # up, which in a virtual machine takes longer than the GET and varies from
    # run to run. Only the server's main thread is kept there, none of
    # coldpress's threads.
    cpus = os.sched_getaffinity(0)
    one = {min(cpus)}
    gc.collect()
    gc.disable()  # its pauses are not the server's
    try:
        os.sched_setaffinity(0, one)
        os.sched_setaffinity(server.pid, one)
        start = clock()
        end = start + int(seconds * 1e9)
        after = start
        for index in itertools.cycle(sequence):
            before = clock()
            if before >= end:
                break
            send(gets[index])
            value = bulk()
            after = clock()
            latencies.append(after - before)
            if value is None or blake2b(
                    value, digest_size=DIGEST).digest() != digests[index]:
                different += 1
            if not len(latencies) & 1023:
                progress.update(int((after - start) / 1e9), int(seconds))
        elapsed = (after - start) / 1e9
        os.sched_setaffinity(server.pid, cpus)
    except OSError as e:
        raise server.lost(e) from None
    finally:
        os.sched_setaffinity(0, cpus)
        gc.enable()
    count = len(latencies)
    progress.done(f"{count:,} in {elapsed:.1f} s")
    return {
        "gets": count,
        "gets_different": different,
        "throughput": count / elapsed,
        "latencies": latencies,
    }


CHECK_BATCH = 32


def check_all(server, data):
    """Reads every key once and compares each value with its digest."""
    progress = Progress(f"{server.name}: checking every value")
    order = data.check_order()
    replies = Replies(server.socket)
    identical = done = 0
    first_bad = None
    try:
        for first in range(0, len(order), CHECK_BATCH):
            batch = order[first:first + CHECK_BATCH]
            server.socket.sendall(b"".join([data.gets[i] for i in batch]))
            for i in batch:
                value = replies.bulk()
                if value is not None and hashlib.blake2b(
                        value, digest_size=DIGEST).digest() == data.digests[i]:
                    identical += 1
                elif first_bad is None:
                    first_bad = data.keys[i].decode()
            done += len(batch)
            progress.update(done, len(order))
    except OSError as e:
        raise server.lost(e) from None
    progress.done(f"{identical:,} of {done:,} identical"
                  + (f" (first different: {first_bad})" if first_bad else ""))
    return identical, done


def stat(coldpress, pid):
    """Live counters; None if there are none, the table then shows "-"."""
    command = [coldpress, "stat", str(pid), "--json"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=20,
                              capture_output=True, text=True, check=True)
        found = json.loads(done.stdout)
        if isinstance(found, dict):
            return found
        problem = "not an object"
    except subprocess.CalledProcessError as e:
        problem = (e.stderr.strip().splitlines() or [f"exit {e.returncode}"])[-1]
    except (OSError, ValueError, subprocess.TimeoutExpired) as e:
        problem = str(e)
    print(f"warning: no counters from `coldpress stat {pid} --json`: {problem}")
    return None


def measure(server, data, sequence, seconds, limit=None, coldpress=None):
    server.start()
    r = {"limit": limit, "version": server.version}
    r["load_seconds"] = load(server, data)
    faults = kernel_faults(server.pid)
    loaded = stat(coldpress, server.pid) if coldpress else None
    begin = time.monotonic()
    r.update(benchmark(server, data, sequence, seconds))
    end = time.monotonic()
    r["kernel_faults"] = tuple(
        b - a for a, b in zip(faults, kernel_faults(server.pid)))
    r["stat"] = stat(coldpress, server.pid) if coldpress else None
    r["stat_loaded"] = loaded
    r["identical"], r["checked"] = check_all(server, data)
    r["stat_end"] = stat(coldpress, server.pid) if coldpress else None
    server.shut_down()

    # Only now: sorting a million numbers would keep the sampler from running.
    ordered = sorted(r.pop("latencies"))
    r["p50"] = ordered[len(ordered) // 2] / 1e3
    r["p99"] = ordered[len(ordered) * 99 // 100] / 1e3

    samples = server.sampler.samples
    during = sorted(s[1] for s in samples if begin <= s[0] <= end)
    if not during:
        raise DemoError(f"{server.name}: no sample of memory during the GETs; "
                        "is the machine overloaded? Try again.")
    r["median"] = during[len(during) // 2]
    since = 0
    if limit is not None:
        reached = (s[0] for s in samples if s[1] + s[2] >= limit)
        # Never reached: then the peak over everything counts.
        since = next(reached, -SETTLE_SECONDS) + SETTLE_SECONDS
    # The last sample always counts, should the limit be reached just then.
    counted = [s for s in samples if s[0] >= since] or samples[-1:]
    r["peak"] = max(s[1] for s in counted)
    # The limit is checked with shared memory included, so that memory cannot
    # hide in a memfd; redis-server itself has none.
    r["peak_with_shared"] = max(s[1] + s[2] for s in counted)
    r["shared"] = max(s[2] for s in counted)
    r["swapped"] = max(s[3] for s in samples)
    r["samples"] = len(samples)
    r["longest_gap"] = max(
        (b[0] - a[0] for a, b in zip(samples, samples[1:])), default=0)
    return r


# --- the table --------------------------------------------------------------

def mib(n):
    return "-" if n is None else f"{n / MIB:.1f} MiB"


def number(n):
    return "-" if n is None else f"{n:,.0f}"


def field(stats, name):
    value = (stats or {}).get(name)
    ok = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if ok else None


def stored(stats):
    """(bytes of pages kept compressed, bytes they take), None if not known."""
    pages = field(stats, "stored_pages")
    same = field(stats, "same_filled_pages")
    if pages is None:
        return None, None
    return (pages + (same or 0)) * PAGE, field(stats, "pool_bytes")


def fault_cell(before, after):
    out = []
    for name in ("pgfault", "pgmajfault"):
        a, b = field(before, name), field(after, name)
        out.append(number(None if a is None or b is None else b - a))
    return " / ".join(out)


def table(native, cold):
    whole, pool = stored(cold["stat"])
    metadata = field(cold["stat"], "metadata_bytes")
    ratio = f"{whole / pool:.2f}" if whole and pool else "-"
    rows = [
        ("", "native", "under coldpress"),
        ("memory limit", "none", mib(cold["limit"])),
        ("resident (RssAnon), peak", mib(native["peak"]), mib(cold["peak"])),
        ("resident (RssAnon), median during GETs",
         mib(native["median"]), mib(cold["median"])),
        ("kept compressed", "-", mib(whole)),
        ("memory that takes", "-", mib(pool)),
        ("compression ratio", "-", ratio),
        ("coldpress's own tables", "-", mib(metadata)),
        ("load time", f"{native['load_seconds']:.1f} s",
         f"{cold['load_seconds']:.1f} s"),
        ("GET throughput", f"{native['throughput']:,.0f} /s",
         f"{cold['throughput']:,.0f} /s"),
        ("GET latency, p50", f"{native['p50']:.0f} us",
         f"{cold['p50']:.0f} us"),
        ("GET latency, p99", f"{native['p99']:.0f} us",
         f"{cold['p99']:.0f} us"),
        ("faults during GETs, minor / major",
         " / ".join(number(n) for n in native["kernel_faults"]),
         fault_cell(cold["stat_loaded"], cold["stat"])),
        ("values checked", verdict(native), verdict(cold)),
    ]
    if max(native["shared"], cold["shared"]) >= MIB:
        rows.insert(4, ("resident (RssShmem), peak",
                        mib(native["shared"]), mib(cold["shared"])))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = []
    for n, row in enumerate(rows):
        lines.append("| " + " | ".join((
            row[0].ljust(widths[0]), row[1].rjust(widths[1]),
            row[2].rjust(widths[2]))) + " |")
        if n == 0:
            lines.append(f"|{'-' * (widths[0] + 2)}|"
                         f"{'-' * (widths[1] + 1)}:|"
                         f"{'-' * (widths[2] + 1)}:|")
    return "\n".join(lines)


def verdict(r):
    return f"{r['identical']:,} of {r['checked']:,} identical"


def machine():
    model = "unknown CPU"
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                model = " ".join(line.partition(":")[2].split())
                break
    kernel = ".".join(os.uname().release.split("-")[0].split(".")[:2])
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, Linux {kernel}"


def notes(data, native, cold, seconds, order):
    gap = max(native["longest_gap"], cold["longest_gap"])
    return "\n".join((
        f"redis-server {native['version']} holding {len(data.keys):,} values "
        f"({data.value_bytes / 1e6:.0f} MB) rendered from WordNet 3.0, loaded "
        + ("in the order of its files" if order == "file"
           else "in shuffled order") + ".",
        f"GETs: one connection, no pipelining, client and server on one CPU, "
        f"{seconds:g} s, keys Zipf-like with skew {ZIPF_SKEW}, fixed seed; "
        f"{native['gets']:,} native, {cold['gets']:,} under coldpress.",
        "Faults: natively the kernel's for the process, minor / major; under "
        "coldpress its own counters, pgfault / pgmajfault.",
        "Peak under coldpress is from "
        f"{SETTLE_SECONDS * 1000:.0f} ms after the limit was first reached.",
        f"Memory sampled from outside every {SAMPLE_SECONDS * 1000:.0f} ms "
        f"({native['samples']:,} and {cold['samples']:,} samples, longest gap "
        f"{gap * 1000:.0f} ms).",
        f"{machine()}.",
    ))


def failures(native, cold):
    found = []
    for name, r in (("native", native), ("coldpress", cold)):
        if r["identical"] != r["checked"]:
            found.append(f"{name}: {r['checked'] - r['identical']:,} of "
                         f"{r['checked']:,} values differ")
        if r["gets_different"]:
            found.append(f"{name}: {r['gets_different']:,} of {r['gets']:,} "
                         "timed GETs returned a different value")
    slack = max(cold["limit"] // 20, 16 * MIB)
    if cold["peak_with_shared"] > cold["limit"] + slack:
        found.append(f"coldpress: resident memory reached "
                     f"{mib(cold['peak_with_shared'])}, over the limit of "
                     f"{mib(cold['limit'])} + {mib(slack)}")
    return found


# --- main -------------------------------------------------------------------

def parse_arguments():
    root = os.path.dirname(os.path.dirname(os.path.dirname(
        os.path.abspath(__file__))))
    p = argparse.ArgumentParser(
        prog="script/demo",
        description="Compares redis-server natively and under coldpress with "
                    "half of the memory it takes natively.")
    p.add_argument("--limit-mib", type=int, metavar="N",
                   help="limit under coldpress (default: half of native)")
    p.add_argument("--seconds", type=float, default=20, metavar="N",
                   help="time for GETs in each run (default: 20)")
    p.add_argument("--order", choices=("file", "shuffled"), default="file",
                   help="order of loading: as in WordNet's files, where "
                        "neighbours resemble each other, or shuffled, which "
                        "compresses less well (default: file)")
    p.add_argument("--wordnet", default=demo_wordnet.DEFAULT_DIR,
                   metavar="DIR", help="default: %(default)s")
    p.add_argument("--coldpress", metavar="FILE",
                   default=os.environ.get("COLDPRESS") or os.path.join(
                       root, "build", "release", "bin", "coldpress"),
                   help="default: $COLDPRESS, else build/release/bin/coldpress")
    p.add_argument("--output", metavar="FILE",
                   default=os.path.join(root, "build", "demo.md"),
                   help="default: build/demo.md")
    args = p.parse_args()
    if args.limit_mib is not None and args.limit_mib < 1:
        p.error("--limit-mib must be at least 1")
    if args.seconds < 1:
        p.error("--seconds must be at least 1")
    return args


def run(args, directory):
    if not os.access(args.coldpress, os.X_OK):
        raise DemoError(f"{args.coldpress} is missing or not executable; "
                        "build it: script/build")
    free = shutil.disk_usage(directory).free
    if free < 300 * MIB:
        raise DemoError(f"{directory} has {free // MIB} MiB free, 300 are "
                        "needed; set TMPDIR to a directory with more")

    data = DataSet(args.wordnet, os.path.join(directory, "load"), args.order)
    gc.collect()
    gc.freeze()
    sequence = data.popularity()

    server = Server("native", directory, [])
    try:
        native = measure(server, data, sequence, args.seconds)
    finally:
        server.kill()
    print(f"native: RssAnon {mib(native['median'])}, "
          f"peak {mib(native['peak'])}")
    if native["median"] < MIN_NATIVE_RSS:
        raise DemoError(
            f"redis-server holds only {native['median'] / 1e6:.0f} MB; the "
            f"demo wants {MIN_NATIVE_RSS / 1e6:.0f}. Is {args.wordnet} all "
            "of WordNet 3.0, and is the machine swapping (`free -m`)?")

    limit_mib = args.limit_mib or native["median"] // 2 // MIB
    stats_file = os.path.join(directory, "stats.json")
    server = Server("coldpress", directory, [
        args.coldpress, "run", "--limit", f"{limit_mib}M",
        "--stats", stats_file, "--"])
    print(f"coldpress: limit {limit_mib} MiB")
    try:
        cold = measure(server, data, sequence, args.seconds,
                       limit_mib * MIB, args.coldpress)
        for line in server.error_lines():
            print(f"coldpress: stderr: {line}")
    finally:
        server.kill()

    text = (table(native, cold) + "\n\n"
            + notes(data, native, cold, args.seconds, args.order) + "\n")
    print("\n" + text, flush=True)
    for name, r in (("native", native), ("coldpress", cold)):
        if r["swapped"] >= MIB:
            print(f"warning: {name}: up to {mib(r['swapped'])} of redis-server "
                  "were in the system's swap, so RssAnon is too low; "
                  "free memory and run again")
    exceeded = field(cold["stat_end"], "limit_exceeded")
    if exceeded:
        print(f"note: coldpress counts limit_exceeded = {exceeded:,}")

    found = failures(native, cold)
    if found:
        # Keep the last good table: a failed run must not end up in the README.
        raise DemoError("\n".join(found))
    os.makedirs(os.path.dirname(os.path.abspath(args.output)), exist_ok=True)
    with open(args.output, "w") as f:
        f.write(text)
    print(f"Written to {os.path.relpath(args.output)}.")


def main():
    args = parse_arguments()
    began = time.monotonic()

    def stop(signum, frame):
        raise Stopped(signum)

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for s in signals:
        signal.signal(s, stop)
    directory = None
    try:
        try:
            directory = tempfile.mkdtemp(prefix="coldpress-demo.")
            run(args, directory)
        finally:
            for s in signals:  # a second Ctrl-C must not stop the clean-up
                signal.signal(s, signal.SIG_IGN)
            if directory is not None:
                shutil.rmtree(directory, ignore_errors=True)
    except Stopped as e:
        print(f"\ndemo: stopped by {signal.Signals(e.signum).name}",
              file=sys.stderr)
        return 128 + e.signum
    except (DemoError, demo_wordnet.DataError) as e:
        sys.stdout.flush()
        print(f"demo: FAILED: {e}", file=sys.stderr)
        return 1
    except OSError as e:
        sys.stdout.flush()
        print(f"demo: FAILED: {e}; if the disk is full, set TMPDIR to another "
              "directory", file=sys.stderr)
        return 1
    print(f"Done in {time.monotonic() - began:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
