"""The kernel's own compressed swap, driven for comparison: zram and zswap under a memory cgroup.

A device of its own (never one that exists) is made, used with the highest priority, and removed;
parameters are put back (restore.py). Needs root, and says in words what is missing otherwise.
"""

import os
import pathlib
import subprocess

ZRAM_CONTROL = pathlib.Path("/sys/class/zram-control")
ZSWAP = pathlib.Path("/sys/module/zswap/parameters")
V1 = pathlib.Path("/sys/fs/cgroup/memory")
V2 = pathlib.Path("/sys/fs/cgroup")
SWAP_PRIORITY = "32000"


class Missing(Exception):
    """Why a comparison is left out."""


class Ended(Exception):
    """A run that did not come to its end, and why."""


def ages_memory():
    """Whether DAMON runs: it takes pages, of files too, that were not used for a while."""
    states = pathlib.Path("/sys/kernel/mm/damon/admin/kdamonds").glob("*/state")
    return any(read(state).strip() == "on" for state in states)


def cgroup_version():
    return 1 if (V1 / "memory.limit_in_bytes").exists() else 2


def need_root():
    if os.geteuid() != 0:
        raise Missing("not root")


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, timeout=100)
    if done.returncode != 0:
        raise Missing(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


class Group:
    """A memory cgroup with a limit."""

    def __init__(self, guardian, name):
        need_root()
        try:
            self.make(guardian, name)
        except OSError as error:
            raise Missing(f"no memory cgroup can be made here: {error}") from error

    def make(self, guardian, name):
        if cgroup_version() == 1:
            self.path, self.limit_file, self.events = V1 / name, "memory.limit_in_bytes", "memory.oom_control"
        elif "memory" in read(V2 / "cgroup.controllers").split():
            self.path, self.limit_file, self.events = V2 / name, "memory.max", "memory.events"
            children = V2 / "cgroup.subtree_control"
            if "memory" not in read(children).split():
                guardian.undo("write", children, "-memory")
                children.write_text("+memory")
        else:
            raise Missing("no memory cgroup is mounted")
        guardian.undo("remove_group", self.path)
        self.path.mkdir()
        # Reclaim the program's memory, not its text.
        if cgroup_version() == 1:
            (self.path / "memory.swappiness").write_text("100")
        else:
            swappiness = pathlib.Path("/proc/sys/vm/swappiness")
            guardian.undo("write", swappiness, read(swappiness).strip())
            swappiness.write_text("100")

    def limit(self, byte_count):
        (self.path / self.limit_file).write_text(str(byte_count))

    def enter(self):
        """For the child, between fork and exec."""
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def how_killed(self):
        """What ended a program in here by SIGKILL."""
        for line in read(self.path / self.events).splitlines():
            if line.split()[:1] == ["oom_kill"] and int(line.split()[1]) > 0:
                return "ended by the kernel's OOM killer"
        return "killed, not by the OOM killer of its cgroup"


def read(path):
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ""


class Zram:
    """Swap on a zram device with lz4."""

    compressor = "lz4"

    def __init__(self, guardian, byte_count):
        need_root()
        if not (ZRAM_CONTROL / "hot_add").exists():
            raise Missing("this kernel has no zram module loaded (modprobe zram)")
        # Else what goes out would meet zswap first.
        if read(ZSWAP / "enabled").strip() == "Y":
            guardian.undo("write", ZSWAP / "enabled", "Y")
            (ZSWAP / "enabled").write_text("N")
        number = guardian.add_zram(ZRAM_CONTROL)
        self.sys = pathlib.Path(f"/sys/block/zram{number}")
        device = f"/dev/zram{number}"
        if "lz4" not in read(self.sys / "comp_algorithm"):
            raise Missing("this kernel's zram has no lz4")
        (self.sys / "comp_algorithm").write_text("lz4")
        guardian.undo("write", self.sys / "reset", "1")
        (self.sys / "disksize").write_text(str(byte_count))
        run("mkswap", device)
        guardian.undo("command", "swapoff", device)
        run("swapon", "--priority", SWAP_PRIORITY, device)

    def pool_bytes(self):
        return int(read(self.sys / "mm_stat").split()[2])

    def stored_bytes(self):
        return int(read(self.sys / "mm_stat").split()[0])


class Zswap:
    """zswap with the pool as large as it gets, before a swap file. With lz4 where the kernel has it."""

    def __init__(self, guardian, byte_count, directory):
        need_root()
        if not ZSWAP.exists():
            raise Missing("this kernel has no zswap")
        file = pathlib.Path(directory) / f"coldpress-bench-{os.getpid()}.swap"
        guardian.undo("unlink", file)
        try:
            with open(file, "wb") as made:
                os.fchmod(made.fileno(), 0o600)
                os.posix_fallocate(made.fileno(), 0, byte_count)
        except OSError as error:
            raise Missing(f"no swap file of {byte_count >> 20} MiB in {directory}: {error}") from error
        run("mkswap", str(file))
        for key, value in (("enabled", "Y"), ("compressor", "lz4"), ("max_pool_percent", "50")):
            guardian.undo("write", ZSWAP / key, read(ZSWAP / key).strip())
            try:
                (ZSWAP / key).write_text(value)
            except OSError as error:
                if key != "compressor":
                    raise Missing(f"zswap's {key}: {error}") from error
        self.compressor = read(ZSWAP / "compressor").strip()
        guardian.undo("command", "swapoff", file)
        run("swapon", "--priority", SWAP_PRIORITY, str(file))

    def pool_bytes(self):
        for line in read("/proc/meminfo").splitlines():
            if line.startswith("Zswap:"):
                return int(line.split()[1]) << 10
        return 0
