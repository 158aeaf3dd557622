"""Tests of deep.py, with a program in place of sched_scenarios that prints like it and finds what it is told
to. The clock goes on by a minute with each search, and nothing depends on how long anything takes."""

import contextlib
import io
import os
import re
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import deep

# What --list prints is in the file `scenarios`; each search leaves a line in the file `searches`.
PROGRAM = r"""#!/bin/sh
here=$(dirname "$0")
[ "$1" = --list ] && exec cat "$here/scenarios"
echo "$*" >>"$here/searches"
case $2 in
broken)
  printf 'FAILED broken: it breaks\nagain: %s --scenario broken --replay %s\n' "$0" "'4:1,$3'"
  exit 1 ;;
crashing) exit 3 ;;
endless) kill -STOP $$ ;;
esac
# A bound of more than 4 adds nothing.
[ "$3" = --bound ] && count=$4 && [ "$count" -gt 4 ] && count=4
echo '  came by "some mark"'
echo "$2: ${count:-100} executions, 1000 steps, up to 20 in one"
"""


class DeepTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.build = Path(directory.name)
        self.kept = self.build / "regressions.txt"
        self.place = self.build / "tests/sched"
        self.place.mkdir(parents=True)
        program = self.place / "sched_scenarios"
        program.write_text(PROGRAM)
        program.chmod(0o755)

    def deep(self, scenarios: str, *options: str, hours=50 / 60, workers=1, clock=None) -> int | str:
        """What it ended with."""
        (self.place / "scenarios").write_text(scenarios)
        (self.place / "searches").write_text("")
        arguments = [str(self.build), str(hours), "--kept", str(self.kept), *options]
        self.printed = io.StringIO()
        with (
            mock.patch.object(os, "sched_getaffinity", return_value=range(workers)),
            contextlib.redirect_stdout(self.printed),
            contextlib.redirect_stderr(self.printed),
            self.assertRaises(SystemExit) as end,
        ):
            deep.main(arguments, clock or (lambda: 60 * len(self.searches())))
        return end.exception.code

    def searches(self) -> list[str]:
        return (self.place / "searches").read_text().splitlines()

    def seeds(self) -> list[int]:
        return [int(seed) for seed in re.findall(r"--seed (\d+)", "\n".join(self.searches()))]

    def test_seeds_are_new_in_each_run(self) -> None:
        self.assertEqual(self.deep("one 2\n"), 0)
        first = self.seeds()
        self.assertGreater(len(set(first)), 5)
        self.assertEqual(self.deep("one 2\n"), 0)
        self.assertTrue(self.seeds())
        self.assertFalse(set(first) & set(self.seeds()))

    def test_no_search_is_made_twice(self) -> None:
        self.assertEqual(self.deep("one 2\ntwo 3\n"), 0)
        self.assertEqual(len(self.searches()), len(set(self.searches())))

    def test_seed_repeats_a_run(self) -> None:
        self.assertEqual(self.deep("one 2\ntwo 3\n"), 0)
        first = self.searches()
        again = re.search(r"--seed (\d+)$", self.printed.getvalue().splitlines()[0])
        self.assertEqual(self.deep("one 2\ntwo 3\n", "--seed", again[1]), 0)
        self.assertEqual(self.searches(), first)
        self.assertEqual(min(self.seeds()), int(again[1]))

    def test_bounds_grow_until_they_add_nothing(self) -> None:
        self.assertEqual(self.deep("one 2\n", hours=100 / 60), 0)
        bounds = [line for line in self.searches() if re.search(r"--bound \d+$", line)]
        self.assertEqual(bounds, [f"--scenario one --bound {bound}" for bound in (2, 3, 4, 5)])
        self.assertIn("--scenario one --bound 1 --surprises 2", self.searches())

    def test_a_bound_that_would_take_too_long_is_left_out(self) -> None:
        self.assertEqual(self.deep("one 2\n", hours=deep.GROWTH / 60), 0)
        self.assertEqual(sum("--bound 2" in line for line in self.searches()), 1)
        self.assertFalse([line for line in self.searches() if "--bound 3" in line])

    def test_what_fails_is_kept_once(self) -> None:
        self.kept.write_text("other 1:1\n")
        self.assertIn("['broken']", self.deep("one 2\nbroken 2\n", "--seed", "7"))
        self.assertEqual(self.kept.read_text(), "other 1:1\nbroken 4:1,--random\n")
        self.assertEqual(sum("broken" in line for line in self.searches()), 1)
        self.assertGreater(sum("one" in line for line in self.searches()), 10)
        self.assertIn("FAILED broken: it breaks", self.printed.getvalue())
        self.assertIn("['broken']", self.deep("one 2\nbroken 2\n", "--seed", "7"))
        self.assertEqual(self.kept.read_text(), "other 1:1\nbroken 4:1,--random\n")

    def test_what_two_find_is_kept_once(self) -> None:
        self.assertIn("['broken']", self.deep("broken 2\n", workers=2))
        self.assertRegex(self.kept.read_text(), r"\Abroken 4:1,--(random|priorities)\n\Z")

    def test_what_fails_without_a_replay_is_told(self) -> None:
        self.assertIn("['crashing']", self.deep("crashing 2\n"))
        self.assertFalse(self.kept.exists())

    def test_hours_are_respected(self) -> None:
        self.assertEqual(self.deep("one 2\n", hours=40.5 / 60), 0)
        self.assertEqual(len(self.searches()), 40)

    def test_a_search_ends_with_the_time(self) -> None:
        # Here time stands still: the four ways to search have the same time left, and do not end in it.
        self.assertEqual(self.deep("endless 2\n", hours=0.02 / 3600, clock=lambda: 0), 0)
        self.assertEqual(self.printed.getvalue().count("not to its end"), 4)

    def test_hours_that_are_none_are_refused(self) -> None:
        for hours in ("0", "-1", "nan", "inf", "1e9", "many"):
            self.assertEqual(self.deep("one 2\n", hours=hours), 2, hours)
            self.assertFalse(self.searches(), hours)


if __name__ == "__main__":
    unittest.main()
