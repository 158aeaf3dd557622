"""The engine's parts alone: bench-parts, a Google Benchmark program."""

import json
import os
import subprocess


def run_parts(build, pages, quick, progress):
    progress("parts: codecs, pool, slots, captures and installs")
    command = [
        str(build / "bin/bench-parts"),
        "--benchmark_format=json",
        f"--benchmark_repetitions={3 if quick else 7}",
        f"--benchmark_min_time={0.02 if quick else 0.2}",
    ]
    env = {**os.environ, "COLDPRESS_BENCH_PAGES": str(pages)} if pages.exists() else None
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True, env=env)
    rows, more = {}, {}
    for entry in json.loads(done.stdout)["benchmarks"]:
        if entry["run_type"] == "iteration" and not entry.get("error_occurred"):
            scale = {"ns": 1, "us": 1e3, "ms": 1e6}[entry["time_unit"]]
            time = entry["real_time"] * scale
            if "items_per_second" in entry:
                time = 1e9 / entry["items_per_second"]  # of a page, where one round is many
            name = entry["name"].replace("/real_time", "")
            rows.setdefault(name, []).append(time)
            more[name] = {key: entry[key] for key in ("ratio", "pool_over_stored") if key in entry}
    return [{"name": name, "ns": times, **more[name]} for name, times in rows.items()]
