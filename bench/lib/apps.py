"""Whole programs, unmodified, at parts of the memory that they take natively."""

import contextlib
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from kernel import Ended, Group, Missing, Zram, Zswap
from restore import Guardian

HERE = pathlib.Path(__file__).resolve().parent.parent / "apps"
# run-ram keeps the compressed pages outside of the limit, as zram does beside its cgroup.
RUN_OPTIONS = {
    "run-thread": ["--swap", "none"],
    "run-ram": ["--swap", "ram:2G", "--max-pool-percent", "1"],
}
MODES = ["zram", "zswap", *RUN_OPTIONS]
PERCENTS = [100, 75, 50, 35]
RUN_TIMEOUT_S = 150
PYTHON = "/usr/bin/python3"


class App:
    """A command line; output that must be the same in every mode; perhaps a client that talks to it."""

    def __init__(self, name, argv, client=None, stdin=None):
        self.name, self.argv, self.client, self.stdin = name, argv, client, stdin


def applications(directory, scale, progress):
    """Makes their input, the larger the smaller `scale`. What is not installed is said and left out."""
    apps = [
        App(
            "CPython objects",
            [
                PYTHON,
                str(HERE / "objects.py"),
                str(300000 // scale),
                str(4000000 // scale // (4 if scale > 3 else 1)),
            ],
        ),
        App("sqlite3 in memory", [PYTHON, str(HERE / "tables.py"), str(600000 // scale)]),
    ]
    if shutil.which("sort"):
        progress("apps: making the input of sort")
        text = pathlib.Path(directory, "lines")
        with open(text, "w") as file:
            for i in range(3000000 // scale):
                file.write(f"{i * 2654435761 % 4294967296:010d} line {i} of the input of sort\n")
        apps.append(App("GNU sort", ["sort", "--parallel=1", "-S", f"{400 // scale}M", str(text)]))
    compiler = subprocess.run(
        ["g++", "-print-prog-name=cc1plus"], capture_output=True, text=True, check=False
    )
    if compiler.returncode == 0 and os.path.isabs(compiler.stdout.strip()):
        source, unit = pathlib.Path(directory, "unit.cc"), pathlib.Path(directory, "unit.ii")
        with open(source, "w") as file:
            subprocess.run([PYTHON, str(HERE / "unit.py"), str(60 // scale)], stdout=file, check=True)
        subprocess.run(["g++", "-E", str(source), "-o", str(unit)], check=True)
        # No heap size of its own choosing: it would be chosen by the memory that the cgroup shows.
        gc = ["--param", "ggc-min-expand=30", "--param", "ggc-min-heapsize=131072"]
        apps.append(
            App("C++ compiler", [compiler.stdout.strip(), "-quiet", "-O1", *gc, str(unit), "-o", "-"])
        )
    if shutil.which("redis-server"):
        path = str(pathlib.Path(directory, "redis"))
        argv = ["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--dir", directory]
        client = [PYTHON, str(HERE / "cache.py"), path, str(180000 // scale), str(150000 // scale)]
        apps.append(App("Redis, Zipf", argv, client=client))
    else:
        progress("left out: Redis: not installed")
    return apps


class Peak(threading.Thread):
    """The largest RssAnon of a process with what the kernel's pool takes beside it."""

    def __init__(self, pid, device):
        super().__init__(daemon=True)
        self.pid, self.device, self.kib, self.done = pid, device, 0, False

    def run(self):
        while not self.done:
            with contextlib.suppress(OSError, ValueError):
                for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
                    if line.startswith("RssAnon:"):
                        pool = self.device.pool_bytes() >> 10 if self.device else 0
                        self.kib = max(self.kib, int(line.split()[1]) + pool)
            time.sleep(0.02)


class Apps:
    def __init__(self, build, progress, deadline):
        self.tool, self.progress, self.deadline = build / "bin/coldpress", progress, deadline

    def run(self, app, mode, limit):
        with contextlib.ExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory())
            stats, group, device = pathlib.Path(directory, "stats.json"), None, None
            argv = app.argv
            if mode in ("zram", "zswap"):
                guardian = stack.enter_context(Guardian())
                group = Group(guardian, f"coldpress-bench-{os.getpid()}")
                group.limit(limit)
                size = 2 << 30
                device = Zram(guardian, size) if mode == "zram" else Zswap(guardian, size, "/var/tmp")
                guardian.undo("kill_group", group.path)
            elif mode in RUN_OPTIONS:
                under = ["run", "--quiet", *RUN_OPTIONS[mode], "--limit", f"{limit >> 10}K"]
                argv = [str(self.tool), *under, "--stats", str(stats), "--", *argv]
            output = stack.enter_context(tempfile.TemporaryFile())
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            start = time.monotonic()
            process = subprocess.Popen(
                argv, stdout=output, stderr=subprocess.PIPE, preexec_fn=group.enter if group else None
            )
            peak = Peak(process.pid, device)
            peak.start()
            told = {}
            try:
                if app.client:
                    client = subprocess.run(
                        app.client, capture_output=True, text=True, timeout=RUN_TIMEOUT_S, check=False
                    )
                    if client.returncode != 0 and group and process.poll() == -signal.SIGKILL:
                        raise Ended(group.how_killed())
                    if client.returncode != 0:
                        raise RuntimeError(f"{app.name}, {mode}: {client.stderr.strip()[-500:]}")
                    told = json.loads(client.stdout)
                _, error = process.communicate(timeout=RUN_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                raise Ended(f"not done after {RUN_TIMEOUT_S} s") from None
            finally:
                peak.done = True
                process.kill()
                process.wait()
            seconds = time.monotonic() - start
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            if process.returncode == -signal.SIGKILL and group:
                raise Ended(group.how_killed())
            if process.returncode != 0:
                raise RuntimeError(f"{app.name}, {mode}: exit {process.returncode}: {error.decode()[-500:]}")
            output.seek(0)
            result = {
                "seconds": told.get("seconds", seconds),
                "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
                "major": after.ru_majflt - before.ru_majflt,
                "p99_us": told.get("p99_us"),
                "peak_mib": peak.kib / 1024,
            }
            if stats.exists():
                counters = json.loads(stats.read_text())
                result["major"], result["limit_exceeded"] = counters["pgmajfault"], counters["limit_exceeded"]
            return result, output.read() if not app.client else b""

    def quiet(self, quick, tiny):
        """What a limit costs that is never near: native and run in turn, with four times the memory."""
        rows = []
        scale = 6 if tiny else 3 if quick else 1
        with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
            for app in applications(directory, scale, self.progress)[: 1 if tiny else None]:
                runs = {"native": [], "run-thread": []}
                first, _ = self.run(app, "native", 0)
                limit = max(int(first["peak_mib"] * 4), 64) << 20
                for repeat in range(2 if tiny else 5 if quick else 7):
                    if time.monotonic() > self.deadline and repeat > 1:
                        break
                    # Who goes first changes, so that neither always finds warmer caches.
                    for mode in sorted(runs, reverse=repeat % 2 == 1):
                        self.progress(f"quiet {repeat + 1}: {app.name}: {mode}")
                        runs[mode].append(self.run(app, mode, limit)[0])
                rows.append({"app": app.name, "runs": runs})
        return rows

    def tried(self, app, mode, limit, ended):
        """run(), begun up to three times: what ends a program in its cgroup does not always come."""
        for _ in range(3):
            if app.client:
                pathlib.Path(app.client[2]).unlink(missing_ok=True)
            try:
                return self.run(app, mode, limit)
            except Ended as reason:
                self.progress(f"{mode}, {app.name}: {reason}: this run is left out")
                ended.append(str(reason))
                if "not done" in str(reason):
                    break
        return None, b""

    def all(self, quick, tiny):
        """A list of {app, percent, mode, runs: [...]}, and what was left out with the reason."""
        repeats = 1 if tiny else 2 if quick else 3
        percents = [80] if tiny else [100, 50] if quick else PERCENTS
        rows, skipped, ended, todo = {}, {}, {}, []
        with tempfile.TemporaryDirectory(dir="/var/tmp") as directory:
            for app in applications(directory, 8 if tiny else 3, self.progress):
                self.progress(f"apps: {app.name}: native")
                native = [self.run(app, "native", 0) for _ in range(1 if tiny else max(repeats, 2))]
                peak = int(max(result["peak_mib"] for result, _ in native) * (1 << 20))
                rows[app.name, 100, "native"] = 0, [result for result, _ in native]
                todo += [(app, percent, peak, native[0][1]) for percent in percents]
            # When the time is up, each has been run as often as the others.
            for repeat in range(repeats):
                for app, percent, peak, expected in todo:
                    # At 100 % nothing needs to go: a little more, since the peak was sampled.
                    limit = peak * percent // 100 + (8 << 20 if percent == 100 else 0)
                    for mode in MODES:
                        if tiny and mode == "zswap":  # that it works is shown by the accesses
                            continue
                        name = f"{mode}, {app.name} at {percent} %"
                        if mode in skipped or any("not done" in reason for reason in ended.get(name, [])):
                            continue
                        if time.monotonic() > self.deadline:
                            skipped.setdefault("further runs of applications", "the time was up")
                            continue
                        self.progress(f"apps {repeat + 1}/{repeats}: {app.name} at {percent} %: {mode}")
                        try:
                            result, output = self.tried(app, mode, limit, ended.setdefault(name, []))
                        except Missing as reason:
                            skipped[mode] = str(reason)
                            self.progress(f"left out: {mode}: {reason}")
                            continue
                        if result is None:
                            continue
                        if output != expected:
                            raise RuntimeError(f"{app.name}, {mode}, {percent} %: WRONG OUTPUT")
                        rows.setdefault((app.name, percent, mode), (limit, []))[1].append(result)
        for name, reasons in ended.items():
            if reasons:
                skipped[name] = f"{reasons[0]} ({len(reasons)} times; each run may begin three times)"
        found = [
            {"app": app, "percent": percent, "mode": mode, "limit_mib": limit >> 20, "runs": runs}
            for (app, percent, mode), (limit, runs) in rows.items()
        ]
        order = [app.name for app, *_ in todo]
        found.sort(key=lambda row: (order.index(row["app"]), row["mode"] != "native", -row["percent"]))
        return found, skipped
