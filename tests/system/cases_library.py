"""Programs that use the library."""

import tempfile

from cases_swap import SCRATCH
from harness import call, case, check, program


def with_devices(path):
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        done = call([program("library"), f"{directory}/swap", path])
        check(done.returncode == 0, f"exit {done.returncode}: {done.stdout} {done.stderr}")
        check(done.stdout == "whole\n", done.stdout)


@case(timeout_s=120, serial=True)
def library_swap():
    """Devices and limits of a pager, changed while its memory is in use."""
    with_devices("thread")


@case(timeout_s=120, serial=True)
def library_swap_signal():
    with_devices("signal")
