"""What an isolated, power-safe commit costs beside a loop of ``git add -A; git commit``.

Each repetition does both, in turns, in repositories made for it: two files are changed, then either the two
git commands run in the checkout, or a slot is prepared, the change captured in it and landed. Nothing is
deleted while it measures (creating files after deleting many is slow for a while).

Usage: python bench/git.py [REPETITIONS [DIRECTORY]]
In a directory in memory, what flushing costs does not show.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from actors.git import (
    Landed,
    Repository,
    SlotReady,
    Started,
    capture_and_land,
    commit_message,
    inspect,
    prepare_slot,
    start,
)
from actors.model import Milestone, Task
from actors.programs import Finished, Flow, Program

T = TypeVar("T")

BUDGETS = {20: 1.5, 2000: 2.0}


class Driver:
    """Runs the programs of flows and counts them."""

    def __init__(self) -> None:
        self.programs = 0
        self.spent: dict[str, list[float]] = {}

    def __call__(self, program: Program) -> Finished:
        """Run one program."""
        self.programs += 1
        environment = {**os.environ, **{name: value for name, value in program.env if value is not None}}
        for name, value in program.env:
            if value is None:
                environment.pop(name, None)
        began = time.perf_counter()
        done = subprocess.run(
            program.argv,
            cwd=program.cwd,
            env=environment,
            input=program.stdin,
            capture_output=True,
            check=False,
        )
        name = program.argv[1] if program.argv[0] == "git" else program.argv[0]
        self.spent.setdefault(name, []).append((time.perf_counter() - began) * 1000)
        return Finished(done.returncode, done.stdout, done.stderr)

    def drive(self, flow: Flow[T]) -> T:
        """Run a flow to its end."""
        try:
            program = next(flow)
            while True:
                program = flow.send(self(program))
        except StopIteration as stop:
            result: T = stop.value
            return result


def git(folder: Path, *arguments: str) -> None:
    """Run git in a folder."""
    subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=True)


def make_repository(folder: Path, files: int) -> Path:
    """Make a repository with so many files of 400 bytes, 50 in a folder."""
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    for name, value in (("user.name", "Bench"), ("user.email", "bench@example.org")):
        git(folder, "config", name, value)
    for number in range(files):
        file = folder / f"part-{number // 50}" / f"file-{number}.txt"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{number}\n" * 80)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=Begin")
    return folder


def change(folder: str | Path, number: int) -> None:
    """Do a task's work."""
    Path(folder, "part-0", "file-0.txt").write_text(f"changed by {number}\n")
    Path(folder, f"new-{number}.txt").write_text(f"{number}\n")


def loop_step(folder: Path) -> Callable[[int], None]:
    """Return one turn of the plain loop."""

    def step(number: int) -> None:
        change(folder, number)
        git(folder, "add", "-A")
        git(folder, "commit", "--quiet", "--message", f"Do {number}")

    return step


def our_step(driver: Driver, repo: Repository, started: Started) -> Callable[[int], None]:
    """Return one task in a slot."""
    milestone = Milestone("bench", "Bench")
    tips = [started.base_sha]

    def step(number: int) -> None:
        ready = driver.drive(prepare_slot(repo, 0, tips[-1], owner=f"bench/task-{number}.1"))
        if not isinstance(ready, SlotReady):
            raise SystemExit(f"no slot: {ready}")
        change(ready.path, number)
        message = commit_message(milestone, Task(f"task-{number}", f"Do {number}"), "bench")
        identity = started.identity
        flow = capture_and_land(repo, 0, ready.base, message=message, when=1_700_000_000, identity=identity)
        outcome = driver.drive(flow)
        if not isinstance(outcome, Landed):
            raise SystemExit(f"not landed: {outcome}")
        tips.append(outcome.sha)

    return step


def compare(folder: Path, files: int, repetitions: int) -> None:
    """Measure both and print the medians and their ratio."""
    plain = loop_step(make_repository(folder / f"loop-{files}", files))
    driver = Driver()
    top = make_repository(folder / f"ours-{files}", files)
    repo = driver.drive(inspect(str(top), "bench", str(folder / f"cache-{files}")))
    if not isinstance(repo, Repository):
        raise SystemExit(f"no repository: {repo}")
    started = driver.drive(start(repo))
    if not isinstance(started, Started):
        raise SystemExit(f"not started: {started}")
    ours = our_step(driver, repo, started)
    times: dict[Callable[[int], None], list[float]] = {plain: [], ours: []}
    for number in range(repetitions + 3):
        if number == 3:
            driver.programs = 0
            driver.spent.clear()
        for step, spent in times.items():
            began = time.perf_counter()
            step(number)
            spent.append((time.perf_counter() - began) * 1000)
    loop, slot = (statistics.median(spent[3:]) for spent in times.values())
    programs = driver.programs / repetitions
    ratio = statistics.median(b / a for a, b in zip(*(spent[3:] for spent in times.values()), strict=True))
    print(
        f"{files:5} files: loop {loop:6.2f} ms, ours {slot:6.2f} ms ({programs:g} programs); "
        f"ratio {slot / loop:.2f} (median of pairs {ratio:.2f}), budget {BUDGETS[files]}"
    )
    parts = (f"{name} {statistics.median(spent):.2f}" for name, spent in driver.spent.items())
    print(f"             {', '.join(parts)}")


def main() -> None:
    """Measure with 20 and with 2,000 files."""
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    directory = sys.argv[2] if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory(prefix="bench-git-", dir=directory) as folder:
        for files in BUDGETS:
            compare(Path(folder), files, repetitions)


if __name__ == "__main__":
    main()
