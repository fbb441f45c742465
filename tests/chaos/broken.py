"""Deliberately broken builds: copies of the packages with a bug planted, which the harness has to catch.

    python -m tests.chaos.broken            every one, until each is caught
    python -m tests.chaos.broken NAME...    these

Owns the bugs. Each is a replacement of text that stands exactly once in a file, so that a bug that can no longer be
planted is noticed. A harness that has never failed proves nothing.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from tests.chaos.draw import KINDS, Odds
from tests.chaos.harness import Plan, run_in

CHECKOUT: Final = Path(__file__).parents[2]

TRIES: Final = 6
"""Seeds after which a bug counts as not caught."""


@attrs.frozen
class Bug:
    """A bug to plant.

    Attributes:
        what: What it does, in a line.
        changes: File, what stands there, what is to stand there.
        caught_by: The invariants one of which it breaks.
        faults: The faults that show it, with their odds.
        containment: Of the tasks.
        kinds: What tasks do, with their odds.
    """

    what: str
    changes: tuple[tuple[str, str, str], ...]
    caught_by: frozenset[str]
    faults: Mapping[str, float]
    containment: str = "auto"
    kinds: Mapping[str, float] = attrs.Factory(lambda: KINDS)


BUGS: Final[Mapping[str, Bug]] = {
    "late journal": Bug(
        "facts are acknowledged before they are in the journal, a few of them at a time",
        (
            (
                "supervisor/journal.py",
                "            self._write(rows)\n",
                (
                    '            self._held = [*getattr(self, "_held", ()), *rows]\n'
                    "            if len(self._held) > 6:\n"
                    "                self._write(self._held)\n"
                    "                self._held = []\n"
                ),
            ),
        ),
        frozenset({"I1", "I2", "I3", "I4", "L1"}),
        {"kill supervisor": 3, "kill everything": 1},
    ),
    "no sweep": Bug(
        "what a former life left of its tasks is not ended before anything is started",
        (
            (
                "supervisor/opening.py",
                "    left = kill_until_gone(lambda: left_behind(sessions, str(paths.project)), SWEEP_SECONDS)\n",
                "    left = tuple(int(one) for one in sessions if not one)\n",
            ),
            (
                "supervisor/runner.py",
                (
                    "        left = linux.kill_until_gone(lambda: left_behind({self._session}, self._project), "
                    "linux.SWEEP_SECONDS)\n        if left:\n            _warn("
                ),
                "        left = ()\n        if left:\n            _warn(",
            ),
        ),
        frozenset({"I3", "I6"}),
        {"kill everything": 1},
        containment="sweep",
        kinds={"daemonising": 1, "deaf": 1},
    ),
    "started again": Bug(
        "a new runner starts what its predecessor had started, under the same attempt id",
        (
            (
                "supervisor/runner.py",
                "if attempt.id not in self._begun and _may_start(state, attempt):",
                "if attempt.id not in self._begun and attempt.path:",
            ),
            (
                "supervisor/runner.py",
                "        if not former:\n            return\n",
                "        if former or state:\n            return\n",
            ),
        ),
        frozenset({"I1", "I3", "L1"}),
        {"kill runner": 1},
        kinds={"long": 1},
    ),
    "accepted, not stated": Bug(
        "a retry or skip is answered, and never becomes a fact",
        (
            (
                "supervisor/desk.py",
                "        run.state(make(task), told=functools.partial(told, task))\n",
                "        told(task, ())\n",
            ),
        ),
        frozenset({"I5"}),
        {"verb": 1},
        kinds={"failing": 1, "long": 1},
    ),
    "edits overwritten": Bug(
        "the milestone file is written from what it was when it was first read",
        (
            (
                "actors/files.py",
                "    for _ in range(_MOST_ROUNDS):\n        data, status = _read(path, most)\n",
                (
                    "    known = update_file.__dict__\n    for _ in range(_MOST_ROUNDS):\n"
                    "        data, status = known.setdefault(path, _read(path, most))\n"
                ),
            ),
            ("actors/files.py", "            if _read(path, most)[0] == data:\n", "            if path.exists():\n"),
        ),
        frozenset({"I8"}),
        {"edit": 4, "kill role": 1},
    ),
    "hooks run": Bug(
        "git runs the user's hooks when milestoned moves a branch",
        (("actors/git/plumbing.py", '    ("core.hooksPath", "/dev/null"),\n', ""),),
        frozenset({"I8"}),
        {"kill role": 1},
    ),
    "no lock": Bug(
        "a second supervising process is let in",
        (
            (
                "supervisor/lock.py",
                "    except BlockingIOError:\n        return False\n",
                "    except BlockingIOError:\n        return True\n",
            ),
        ),
        frozenset({"I7"}),
        {"rival": 1},
    ),
    "secrets told": Bug(
        "the values of secrets are not taken out of what is written",
        (
            (
                "actors/veil.py",
                "    def hide(self, text: str, *, was_cut: bool = False) -> str:\n",
                (
                    "    def hide(self, text: str, *, was_cut: bool = False) -> str:\n        return text\n\n"
                    "    def _hide(self, text: str, *, was_cut: bool = False) -> str:\n"
                ),
            ),
        ),
        frozenset({"I9"}),
        {"kill role": 1},
        kinds={"telling": 1, "plain": 1},
    ),
}
"""The bugs by name."""


def plant(name: str, folder: Path) -> None:
    """Copy the packages to a folder, with a bug.

    Raises:
        AssertionError: What is to be replaced does not stand there once.
    """
    ignored = shutil.ignore_patterns("__pycache__")
    for package in ("actors", "supervisor"):
        shutil.copytree(CHECKOUT / package, folder / package, ignore=ignored)
    shutil.copytree(CHECKOUT / "configs", folder / "supervisor" / "configs", ignore=ignored)
    for file, old, new in BUGS[name].changes:
        path = folder / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{name}: {file} has this {text.count(old)} times: {old!r}"
        path.write_text(text.replace(old, new), encoding="utf-8")


def catch(name: str, folder: Path, *, tries: int = TRIES, rounds: int = 2) -> str:
    """Run a broken build until the checker objects for the right reason.

    Returns:
        What it said first, ``""`` when it never did.
    """
    bug = BUGS[name]
    build = folder / "build"
    plant(name, build)
    for seed in range(1, tries + 1):
        plan = Plan(
            seed,
            rounds,
            Odds(bug.faults, bug.kinds, troubles=8),
            spare=False,
            containment=bug.containment,
            patched=build,
            calm=30.0,
        )
        result = run_in(folder / str(seed), plan, small=False)
        for violation in result.violations:
            if violation.invariant in bug.caught_by:
                return f"seed {seed}: {str(violation).splitlines()[0]}"
    return ""


def main(names: list[str]) -> int:
    """Catch each bug: 0 when all were."""
    say = sys.stdout.write
    if unknown := [name for name in names if name not in BUGS]:
        say(f"there is no bug {unknown[0]!r}; there are: {', '.join(BUGS)}\n")
        return 2
    missed = 0
    for name in names or BUGS:
        folder = Path(tempfile.mkdtemp(prefix="broken-"))
        said = catch(name, folder)
        say(f"{name} ({BUGS[name].what}): {said or 'NOT CAUGHT'}\n")
        sys.stdout.flush()
        missed += not said
        if said:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
