"""Somebody kills a git that the role has asked something: that is no answer, and it is asked again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from actors.git.flows import (
    CommitSpec,
    Landed,
    Repository,
    SlotReady,
    Started,
    capture_and_land,
    inspect,
    prepare_slot,
    start,
)
from actors.git.plumbing import Refusal
from actors.git_integration import _redone
from actors.programs import Finished, Flow, Program
from tests.git.driver import drive, execute
from tests.git.project import AUTHOR, SESSION, WHEN, MakeProject, Project, message, write
from tests.repositories import MakeRepository, git

KILLED = Finished(-9, b"", b"")


class Killer:
    """Kills one program: the one with this number, before it has done anything or after it has done all."""

    def __init__(self, number: int, *, after: bool) -> None:
        self._left = number
        self._after = after
        self.killed = False

    def __call__(self, program: Program) -> Finished:
        """Run a program, or be its end."""
        self._left -= 1
        if self._left != 0:
            return execute(program)
        self.killed = True
        if self._after:
            execute(program)
        return KILLED


def each_kill(do: Callable[[Killer], None], *, after: bool) -> int:
    """Do something with each of its programs killed once; return how many there are."""
    number = 0
    while True:
        killer = Killer(number + 1, after=after)
        do(killer)
        if not killer.killed:
            return number
        number += 1


@pytest.mark.parametrize("after", [False, True])
def test_a_repository_is_found_and_a_branch_begun_whichever_git_is_killed(
    git_repo: MakeRepository, tmp_path: Path, after: bool
) -> None:
    folder = git_repo()

    def begin(killer: Killer) -> None:
        repo = drive(_redone(lambda: inspect(str(folder), "milestone-001", str(tmp_path / "cache"))), killer)
        assert isinstance(repo, Repository), repo
        assert isinstance(drive(_redone(lambda: start(repo)), killer), Started)
        git(folder, "branch", "--delete", "--force", repo.branch)

    assert each_kill(begin, after=after) > 3


@pytest.mark.parametrize("after", [False, True])
def test_work_lands_once_whichever_git_is_killed(make_project: MakeProject, after: bool) -> None:
    project = make_project()
    tasks = iter(range(1000))

    def work(killer: Killer) -> None:
        task = f"task-{next(tasks)}"
        ready = drive(_redone(lambda: prepare_slot(project.repo, 0, project.tip, owner=f"{SESSION}/{task}.1")), killer)
        assert isinstance(ready, SlotReady), ready
        write(ready.path, f"{task}.txt", "made\n")
        spec = CommitSpec(message(task), WHEN, AUTHOR, "")
        landed = drive(_redone(lambda: capture_and_land(project.repo, 0, ready.base, spec)), killer)
        assert type(landed).__name__ in {"Landed", "AlreadyLanded"}, (landed, killer.killed)
        assert project.commits()[-1] == task

    number = each_kill(work, after=after)
    assert number > 1
    assert project.commits() == [f"task-{one}" for one in range(number + 1)]


def test_what_is_killed_again_and_again_is_refused_in_the_end(project: Project) -> None:
    asked: list[Program] = []

    def kill(program: Program) -> Finished:
        asked.append(program)
        return KILLED

    assert isinstance(drive(_redone(lambda: inspect(str(project.folder), "milestone-001", "/nowhere")), kill), Refusal)
    assert len(asked) == 3


def test_a_refusal_without_a_kill_is_not_asked_for_again() -> None:
    made: list[int] = []

    def flow() -> Flow[Refusal]:
        made.append(1)
        yield Program(("false",), "/")
        return Refusal("no")

    assert drive(_redone(flow), lambda _: Finished(1, b"", b"")) == Refusal("no")
    assert made == [1]


def test_landed_is_what_a_flow_that_is_not_disturbed_says(project: Project) -> None:
    ready = project.slot()
    write(ready.path, "a.txt", "a\n")
    spec = CommitSpec(message("a"), WHEN, AUTHOR, "")
    assert isinstance(drive(_redone(lambda: capture_and_land(project.repo, 0, ready.base, spec))), Landed)


def test_a_program_that_took_too_long_is_not_run_again() -> None:
    """Its host has ended it; whatever it was, it would take as long another time."""
    ran: list[Program] = []

    def slow() -> Flow[Refusal]:
        done: Finished = yield Program(("sleep", "1000"), "/")
        return Refusal(f"it ended with {done.code}")

    def killed_by_host(program: Program) -> Finished:
        ran.append(program)
        return Finished(-9, b"", b"\nran out of time and was killed", by_host=True)

    assert drive(_redone(slow), killed_by_host) == Refusal("it ended with -9")
    assert len(ran) == 1
