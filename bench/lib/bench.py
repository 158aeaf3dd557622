"""The benchmark beside the kernel; started by script/bench, which builds first.

Writes bench/results/DATE-MACHINE.json and beside it a Markdown table and charts; the JSON after each section,
so that nothing is lost when a later one fails.
"""

import argparse
import datetime
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import charts
import cold
import tables
from apps import Apps
from kernel import Ended, ages_memory, cgroup_version, read
from micro import Micro
from parts import run_parts

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGES = 16384
# For the whole; what is not begun by then is left out.
DEADLINE_S = {"tiny": 240, "quick": 1500, "full": 5400}


def machine():
    """What the figures depend on. No host name: results are committed."""
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())[1])
    version = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return {
        "cpu": cpu[1].strip() if cpu else "unknown",
        "cpus": len(os.sched_getaffinity(0)),
        "memory_mib": memory >> 10,
        "kernel": re.match(r"[\d.]+", os.uname().release)[0],
        "version": version,
        "cgroup": cgroup_version(),
        "huge_pages": read("/sys/kernel/mm/transparent_hugepage/enabled").strip(),
        "damon": ages_memory(),
    }


def slug(text):
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


class Progress:
    def __init__(self):
        self.start = time.monotonic()

    def __call__(self, text):
        print(f"[{time.monotonic() - self.start:6.0f} s] {text}", flush=True)


def draw(result, prefix):
    """The charts; returns their file names with titles."""
    made = []
    for old in prefix.parent.glob(f"{prefix.name}-[a-z]*.svg"):
        old.unlink()

    def save(kind, title, svg):
        if svg:
            path = prefix.parent / f"{prefix.name}-{kind}.svg"
            path.write_text(svg)
            made.append((path.name, title))

    rows = result.get("micro", [])
    latency, throughput = {}, {}
    for row in rows:
        if row["content"] != "real" or row["threads"] != 1 or row["phase"] != "rand.read":
            continue
        throughput.setdefault(row["mode"], []).append(
            (100 * tables.memory_mib(row) / row["mib"], 1e6 / tables.per_op(row) * 1e3)
        )
        if row["overcommit"] != 4:
            continue
        counts = {}
        for run in row["runs"]:
            for edge, count in run["histogram"]:
                counts[edge] = counts.get(edge, 0) + count
        total, seen, line = sum(counts.values()), 0, []
        for edge, count in sorted(counts.items()):
            seen += count
            if edge >= 50 and seen < total:
                line.append((edge / 1000, 1 / (1 - seen / total)))
        latency[row["mode"]] = line
    title = "Random reads at 4 times overcommit: how many take longer"
    save(
        "latency",
        title,
        charts.line_chart(title, "microseconds", "one of so many takes longer", latency, True, True),
    )
    if any(len(line) > 1 for line in throughput.values()):
        title = "Random reads a second over the limit"
        save(
            "throughput",
            title,
            charts.line_chart(
                title,
                "memory in all, pool included, % of the data",
                "reads/s",
                {name: sorted(line) for name, line in throughput.items()},
                False,
                True,
            ),
        )
    series = {}
    for memory in result.get("memory", []):
        if memory["case"].startswith("real, 4x, 1 "):
            series[memory["mode"]] = [(at, (rss + pool) / 1024) for at, rss, pool in memory["kib"]]
    title = "Memory over time, the kernel's pool included"
    save("memory", title, charts.line_chart(title, "seconds", "MiB", series))
    return made


def markdown(result, pictures):
    machine_of = result["machine"]
    out = [
        f"# Benchmark of {result['date']}",
        "",
        f"{machine_of['cpu']}, {machine_of['cpus']} cpus, {machine_of['memory_mib']} MiB, "
        f"Linux {machine_of['kernel']}, "
        f"version {machine_of['version']}. Medians; spread is (largest - smallest) / median.",
        "",
        f"cgroup v{machine_of['cgroup']}"
        + "; DAMON runs on this machine and takes pages that were not used for long" * machine_of["damon"]
        + ".",
        "",
    ]
    for mode, reason in result.get("left_out", {}).items():
        out.append(f"Left out: {mode}: {reason}.\n")
    for name, title in pictures:
        out.append(f"![{title}]({name})\n")
    if result.get("micro"):
        out += ["## Accesses", "", tables.micro_tables(result["micro"])]
    if result.get("cold"):
        out += ["## Cold pages", "", cold.table(result["cold"])]
    if result.get("parts"):
        out += ["## Parts", "", tables.parts_table(result["parts"])]
    if result.get("apps"):
        out += ["## Applications", "", tables.app_table(result["apps"])]
    if result.get("quiet"):
        out += ["## Far from the limit", "", tables.quiet_table(result["quiet"])]
    return "\n".join(out)


def main():
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        default="all",
        choices=["micro", "kernel", "cold", "apps", "quiet", "parts", "all"],
        help="micro: accesses in coldpress's modes; kernel: the same beside zram and zswap; cold: what "
        "pages take that are out; apps; parts",
    )
    parser.add_argument("--quick", action="store_true", help="small and once: a few minutes")
    parser.add_argument("--tiny", action="store_true", help="only shows that the benchmark works")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--output", type=pathlib.Path, help="path without ending (default: in bench/results)")
    parser.add_argument(
        "--minutes", type=float, help="what is not begun by then is left out (default: 90, quick 25)"
    )
    parser.add_argument(
        "--add", type=pathlib.Path, help="puts the section into this result (.json), of the same machine"
    )
    args = parser.parse_args()
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda *_: sys.exit("bench: stopped"))
    progress = Progress()
    result = {
        "format": 1,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "left_out": {},
        "parameters": {"what": args.what, "quick": args.quick, "tiny": args.tiny},
    }
    name = f"{result['date']}-{slug(result['machine']['cpu'])}"
    if args.add:
        result = joined(args, result)
    prefix = args.output or (args.add.with_suffix("") if args.add else fresh(ROOT / "bench/results" / name))
    prefix.parent.mkdir(parents=True, exist_ok=True)
    path = prefix.parent / f"{prefix.name}.json"
    usual_s = DEADLINE_S["tiny" if args.tiny else "quick" if args.quick else "full"]
    deadline = time.monotonic() + (args.minutes * 60 if args.minutes else usual_s)

    def done(section, found, skipped=()):
        result[section] = found
        result["left_out"].update(skipped)
        path.write_text(json.dumps(result, separators=(",", ":")) + "\n")

    pages = args.build / "pages.bin"
    if args.what in ("micro", "kernel", "cold", "all"):
        if not pages.exists():
            progress("micro: dumping pages of running programs")
            subprocess.run([str(ROOT / "bench/dump_pages"), str(pages), str(PAGES)], check=True, timeout=200)
        result["parameters"]["pages"] = hashlib.sha256(pages.read_bytes()).hexdigest()[:16]
    if args.what in ("micro", "kernel", "all"):
        modes = {"micro": ["native", "run-thread", "run-signal", "library-thread", "library-signal"]}.get(
            args.what
        )
        micro = Micro(args.build, pages, progress, deadline)
        rows, result["memory"], skipped = micro.all(args.quick, args.tiny, *([modes] if modes else []))
        done("micro", rows, skipped)
    if args.what in ("cold", "all"):
        done("cold", *cold.Cold(args.build, pages, progress).all(args.quick, args.tiny))
    if args.what in ("parts", "all"):
        done("parts", run_parts(args.build, args.build / "pages.bin", args.quick or args.tiny, progress))
    apps = Apps(args.build, progress, deadline)
    if args.what in ("quiet", "all"):
        done("quiet", apps.quiet(args.quick, args.tiny))
    if args.what in ("apps", "all"):
        done("apps", *apps.all(args.quick, args.tiny))
    text = markdown(result, draw(result, prefix))
    (prefix.parent / f"{prefix.name}.md").write_text(text)
    print(text)
    progress(f"written: {path}")


def joined(args, result):
    """The result that --add names, which is to get a section of this run."""
    try:
        old = json.loads(args.add.read_text())
        machines = [dict(one["machine"], version="") for one in (old, result)]
        sizes = [(one["parameters"]["quick"], one["parameters"]["tiny"]) for one in (old, result)]
    except (ValueError, KeyError) as error:
        sys.exit(f"bench: {args.add} is no result of this benchmark: {error}")
    if machines[0] != machines[1] or sizes[0] != sizes[1]:
        sys.exit(f"bench: {args.add} is of another machine, or of another size (--quick, --tiny)")
    if args.what in old:
        sys.exit(f"bench: {args.add} has this section: {args.what}")
    note = f"run by itself, by version {result['machine']['version']}"
    old["left_out"][f"in one run with the rest: {args.what}"] = note
    return old


def fresh(prefix):
    """A name that no result has yet."""
    for number in ("", *(f"-{i}" for i in range(2, 100))):
        if not (prefix.parent / f"{prefix.name}{number}.json").exists():
            return prefix.parent / f"{prefix.name}{number}"
    sys.exit(f"bench: too many results named {prefix}")


if __name__ == "__main__":
    try:
        main()
    except (Ended, RuntimeError, OSError, subprocess.SubprocessError) as error:
        sys.exit(f"bench: {error}")
