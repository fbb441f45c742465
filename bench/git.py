"""What an isolated, power-safe commit costs beside a loop of ``git add -A; git commit``.

Each repetition does both, in turns, in repositories made for it: two files are changed, then either the two
git commands run in the checkout, or a slot is prepared, the change captured in it and landed. Nothing is
deleted while it measures (creating files after deleting many is slow for a while).

Usage: python bench/git.py [REPETITIONS [DIRECTORY [FILES...]]]
In a directory in memory, what flushing costs does not show.
"""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import attrs

from actors.git.flows import (
    CommitSpec,
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
from actors.programs import DONE, Finished, Flow, Program, Work

T = TypeVar("T")

BUDGETS = {20: 1.5, 2000: 2.0}
WARM_UP = 20
"""Turns before it counts: git hashes files again that are as young as its index, by the second."""


def run(argv: Sequence[str], cwd: str, environment: Mapping[str, str] | None = None, stdin: bytes = b"") -> Finished:
    """Run a program as a role's host does: its output goes to memory, not through pipes."""
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(os.fdopen(os.memfd_create(name), "r+b")) for name in ("in", "out", "err")]
        files[0].write(stdin)
        files[0].seek(0)
        process = subprocess.Popen(
            argv, cwd=cwd, env=environment, stdin=files[0], stdout=files[1], stderr=files[2], start_new_session=True
        )
        code = process.wait()
        for file in files[1:]:
            file.seek(0)
        return Finished(code, files[1].read(), files[2].read())


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
        done = run(program.argv, program.cwd, environment, program.stdin)
        name = program.argv[1] if program.argv[0] == "git" else program.argv[0]
        self.spent.setdefault(name, []).append((time.perf_counter() - began) * 1000)
        return done

    def beside(self, work: Work) -> Finished:
        """Do it in a thread."""
        thread = threading.Thread(target=work.do)
        thread.start()
        thread.join()
        return DONE

    def drive(self, flow: Flow[T]) -> T:
        """Run a flow to its end; what it does beside the loop is done in a thread, as in a role."""
        try:
            due = next(flow)
            while True:
                due = flow.send(self.beside(due) if isinstance(due, Work) else self(due))
        except StopIteration as stop:
            result: T = stop.value
            return result


def git(folder: Path, *arguments: str) -> None:
    """Run git in a folder."""
    done = run(("git", *arguments), str(folder))
    if done.code:
        raise SystemExit(f"git {arguments[0]} in {folder}: {done.stderr.decode()}")


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
        flow = capture_and_land(repo, 0, ready.base, CommitSpec(message, 1_700_000_000, identity))
        outcome = driver.drive(flow)
        if not isinstance(outcome, Landed):
            raise SystemExit(f"not landed: {outcome}")
        tips.append(outcome.sha)

    return step


def processor_seconds() -> float:
    """Return what this process and its children took of the processors so far."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


@attrs.define
class Turns:
    """What the turns of one of the two took, in milliseconds."""

    wall: list[float] = attrs.Factory(list)
    processor: list[float] = attrs.Factory(list)

    def take(self, step: Callable[[int], None], number: int) -> None:
        """Measure one turn."""
        used, began = processor_seconds(), time.perf_counter()
        step(number)
        self.wall.append((time.perf_counter() - began) * 1000)
        self.processor.append((processor_seconds() - used) * 1000)


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
    loop_turns, our_turns = Turns(), Turns()
    for number in range(-WARM_UP, repetitions):
        if number == 0:
            driver.programs = 0
            driver.spent.clear()
            loop_turns, our_turns = Turns(), Turns()
        loop_turns.take(plain, number)
        our_turns.take(ours, number)
    report(files, loop_turns, our_turns, driver)


def report(files: int, loop: Turns, ours: Turns, driver: Driver) -> None:
    """Print medians and ratios."""
    pairs = statistics.median(b / a for a, b in zip(loop.wall, ours.wall, strict=True))
    # The kernel counts in ticks: only the sum of many turns says something.
    processor = sum(ours.processor) / sum(loop.processor)
    print(
        f"{files:5} files: loop {statistics.median(loop.wall):6.2f} ms, ours {statistics.median(ours.wall):6.2f} ms "
        f"({driver.programs / len(ours.wall):g} programs against 2); ratio of pairs {pairs:.2f}, "
        f"of processor time {processor:.2f}; budget {BUDGETS.get(files, '-')}"
    )
    parts = (f"{name} {statistics.median(spent):.2f}" for name, spent in driver.spent.items())
    print(f"             {', '.join(parts)}")


def main() -> None:
    """Measure with 20 and with 2,000 files, or with as many as is said."""
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    directory = sys.argv[2] if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory(prefix="bench-git-", dir=directory) as folder:
        for files in map(int, sys.argv[3:]) if len(sys.argv) > 3 else BUDGETS:
            compare(Path(folder), files, repetitions)


if __name__ == "__main__":
    main()
