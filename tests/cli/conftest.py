"""Fixtures for tests of commands: a project, `milestonectl` in this process, journals written fact by fact."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from actors.events import Event, SessionStarted, Settings, encode_event
from actors.files import read_milestone_file
from actors.paths import ProjectPaths
from supervisor.cli import run_command
from supervisor.journal import Journal
from supervisor.lock import ProjectLock
from tests.e2e.stage import Done, Project
from tests.repositories import MakeRepository

SMALL = """\
id: small
title: A small one
tasks:
  - {id: one, title: First, run: "true"}
  - {id: two, title: Second, run: "true", depends_on: [one], estimated_hours: 1}
  - {id: three, title: Third, run: "true", depends_on: [one]}
"""


class Ctl(Protocol):
    """`milestonectl` in this process."""

    def __call__(self, *words: str) -> Done:
        """Run a command and return what it printed and its exit code."""
        ...


@pytest.fixture
def project(git_repo: MakeRepository, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """Yield a project in a repository with one commit; the test stands in it."""
    made = Project(git_repo())
    monkeypatch.chdir(made.path)
    yield made
    made.end_all()


@pytest.fixture
def ctl(capsys: pytest.CaptureFixture[str]) -> Ctl:
    """Return a function that runs `milestonectl` in this process."""

    def call(*words: str) -> Done:
        capsys.readouterr()
        code = run_command(words)
        printed = capsys.readouterr()
        return Done(code, printed.out, printed.err)

    return call


class Journalist(Protocol):
    """Writes a session's facts into a project's journal."""

    def __call__(
        self, milestone: str, *facts: Event, session: str = "", pid: int | None = None, daemon: bool = False
    ) -> str:
        """Begin a session of a milestone and add the facts; return its id."""
        ...


@pytest.fixture
def journal(project: Project) -> Journalist:
    """Return a function that journals a session of an active milestone."""
    numbers = iter(range(1, 1000))

    def write(milestone: str, *facts: Event, session: str = "", pid: int | None = None, daemon: bool = False) -> str:
        paths = ProjectPaths(project.path)
        read = read_milestone_file(paths.file(milestone)).milestone
        assert read is not None
        name = session or f"exec-{milestone}-20260101_000000-{next(numbers):08x}"
        source = f".milestones/active/{milestone}.yaml"
        begin = SessionStarted(read, source, str(project.path), Settings(), "boot", pid or os.getpid(), daemon=daemon)
        opened = Journal.open(paths.state_db)
        try:
            opened.append(
                tuple((name, encode_event(fact)) for fact in (begin, *facts)),
                time.time(),  # noqa: TID251 - the journal holds wall-clock times
                time.monotonic(),
            )
        finally:
            opened.close()
        return name

    return write


@pytest.fixture
def supervised(project: Project) -> Iterator[Callable[[], None]]:
    """Return a function that makes this process the one that supervises the project."""
    held: list[ProjectLock] = []
    yield lambda: held.append(ProjectLock.acquire(ProjectPaths(project.path), "a test"))
    for lock in held:
        lock.close()


@pytest.fixture
def small(project: Project) -> Path:
    """Write a milestone of three tasks."""
    return project.write("small", SMALL)


Json = dict[str, Any]
