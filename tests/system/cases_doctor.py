"""coldpress doctor: can this user on this machine use the tool, and if not, what to do."""

import json
import os
import pathlib

from harness import TOOL, Skip, as_nobody, call, case, check, need_command, need_root, run_line

SYSCTL = pathlib.Path("/proc/sys/vm/unprivileged_userfaultfd")
DEVICE = "/dev/userfaultfd"


@case()
def doctor():
    """It says yes exactly where run works."""
    works = call(run_line("64M", [need_command("true")], ["--quiet"])).returncode == 0
    done = call([TOOL, "doctor"])
    check((done.returncode == 0) == works, f"run works: {works}, but doctor: {done}")
    check("userfaultfd" in done.stdout, f"{done}")
    machine = call([TOOL, "doctor", "--json"])
    check(machine.returncode == done.returncode, f"{machine}")
    report = json.loads(machine.stdout)
    check(isinstance(report, dict) and report, f"{machine}")


def need_no_access():
    need_root()
    if SYSCTL.read_text().strip() != "0":
        raise Skip(f"{SYSCTL} lets every user in")
    if os.path.exists(DEVICE) and call(as_nobody(["test", "-r", DEVICE])).returncode == 0:
        raise Skip(f"{DEVICE} lets every user in")


@case()
def doctor_without_access():
    need_no_access()
    done = call(as_nobody([TOOL, "doctor"]))
    check(done.returncode not in (0, 126, 127) and done.returncode > 0, f"{done}")
    told = done.stdout + done.stderr
    remedies = [
        word
        for word in ("vm.unprivileged_userfaultfd", DEVICE, "CAP_SYS_PTRACE", "setcap")
        if word in told
    ]
    check(remedies, f"no remedy is told: {done}")
    machine = call(as_nobody([TOOL, "doctor", "--json"]))
    check(machine.returncode == done.returncode, f"{machine}")
    json.loads(machine.stdout)


@case()
def run_without_access():
    """A limit that nobody will hold is not taken silently."""
    need_no_access()
    done = call(as_nobody(run_line("64M", [need_command("true")], ["--quiet"])))
    check(done.returncode != 0, f"{done}")
    check(len(done.stderr.splitlines()) == 1 and "userfaultfd" in done.stderr, f"{done}")
