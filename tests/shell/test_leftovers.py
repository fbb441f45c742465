"""Worktrees of sessions that are over are removed by whoever takes the project next; what may go on keeps its own."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.events import (
    Event,
    RoleFinished,
    SessionEnded,
    SessionResumed,
    SessionSettled,
    SessionStarted,
    SessionStatus,
    Settings,
    encode_event,
)
from actors.git.flows import Repository, SlotReady, Started, inspect, prepare_slot, start
from actors.git.place import mark_landed
from actors.model import Milestone, Task
from actors.paths import ProjectPaths
from actors.surroundings import slots_directory
from supervisor.beginning import journal_beginning
from supervisor.cancelling import cancelling, clear_away, unfinished
from supervisor.journal import Journal
from supervisor.opening import open_project
from tests.git.driver import drive
from tests.repositories import MakeRepository, git

SESSION = "exec-m1-20260101_000000-0badcafe"
OTHER = "exec-m2-20260101_000000-0badcafe"
COMPLETED = SessionStatus.COMPLETED
RESUMED = SessionResumed(Settings(), "boot", 1)


class Left:
    """A project whose session m1 has left a slot with work in it.

    Args:
        folder: A repository.
        slots: The slots directory as configured.
    """

    def __init__(self, folder: Path, slots: str = "") -> None:
        self.paths = ProjectPaths(folder)
        self.paths.active.mkdir(parents=True)
        self.slots = slots
        self.cache = Path(slots_directory(str(folder), slots))
        self.repo = self._slot("m1", SESSION)

    def _slot(self, milestone: str, session: str) -> Repository:
        repo = drive(inspect(str(self.paths.project), milestone, str(self.cache)))
        assert isinstance(repo, Repository), repo
        begun = drive(start(repo))
        assert isinstance(begun, Started), begun
        ready = drive(prepare_slot(repo, 0, begun.base_sha, owner=f"{session}/t1.1"))
        assert isinstance(ready, SlotReady), ready
        Path(ready.path, "work").write_text("half done\n", encoding="utf-8")
        return repo

    def add(self, milestone: str, session: str) -> None:
        """Leave a slot of another session as well."""
        self._slot(milestone, session)

    def journal(self, *facts: Event, milestone: str = "m1", session: str = SESSION) -> None:
        """Journal the session, and these facts."""
        planned = Milestone(milestone, "One", tasks=(Task("t1", "T"),))
        begin = SessionStarted(planned, f"{milestone}.yaml", str(self.paths.project), Settings(), "boot", os.getpid())
        with Journal.open(self.paths.state_db) as journal:
            items = [(session, encode_event(fact)) for fact in (begin, *facts)]
            journal.append(items, time.time(), time.monotonic())  # noqa: TID251 - stored with the records

    def open(self) -> tuple[str, ...]:
        """Take the project and give it back; return what was tidied up."""
        lock, journal, cleared = open_project(self.paths, "a test", lambda _: None, slots=self.slots)
        journal.close()
        lock.close()
        return cleared

    @property
    def names(self) -> list[str]:
        """What is in the slots directory, but for its mark."""
        return sorted(entry.name for entry in self.cache.iterdir() if entry.name != "owner")

    @property
    def archives(self) -> list[str]:
        """The archives' names."""
        return git(self.paths.project, "for-each-ref", "--format=%(refname)", "refs/milestone-archive/").splitlines()


@pytest.fixture
def left(git_repo: MakeRepository) -> Left:
    return Left(git_repo())


@pytest.mark.parametrize(
    "facts",
    [
        (SessionSettled(COMPLETED), SessionEnded(COMPLETED)),
        (SessionEnded(SessionStatus.CANCELLED, "the operator"),),
        (SessionEnded(SessionStatus.FAILED),),
        (SessionEnded(SessionStatus.BLOCKED),),
        (SessionSettled(COMPLETED), RoleFinished("task_executor", "")),
        (SessionSettled(COMPLETED), SessionEnded(SessionStatus.PAUSED, "the roles kept failing")),
        (SessionEnded(SessionStatus.INTERRUPTED), RESUMED, SessionEnded(COMPLETED)),
    ],
    ids=["completed", "cancelled", "failed", "blocked", "cut off", "given up at the end", "resumed and completed"],
)
def test_the_worktree_of_a_session_that_is_over_is_removed_and_its_work_kept(left: Left, facts: tuple[Event]) -> None:
    left.journal(*facts)

    (said,) = left.open()

    assert left.names == []
    assert git(left.paths.project, "worktree", "list", "--porcelain").count("worktree ") == 1
    assert left.archives == [f"refs/milestone-archive/{SESSION}/t1.1"]
    assert git(left.paths.project, "show", f"{left.archives[0]}:work") == "half done"
    assert SESSION in said
    assert left.archives[0] in said
    assert left.open() == ()


@pytest.mark.parametrize(
    "facts",
    [
        (),
        (SessionSettled(SessionStatus.FAILED, "task t1 failed"),),
        (SessionEnded(SessionStatus.INTERRUPTED),),
        (SessionEnded(SessionStatus.PAUSED),),
        (SessionSettled(COMPLETED), RESUMED),
        (SessionEnded(SessionStatus.CANCELLED), RESUMED),
    ],
    ids=["running", "settled", "interrupted", "paused", "resumed", "resumed after its end"],
)
def test_the_worktree_of_a_session_that_may_go_on_stays(left: Left, facts: tuple[Event]) -> None:
    left.journal(*facts)
    before = left.names
    assert left.open() == ()
    assert left.names == before
    assert left.archives == []


def test_the_worktree_of_a_milestone_that_the_journal_does_not_know_stays(left: Left) -> None:
    before = left.names
    assert left.open() == ()
    assert left.names == before


def test_cancelling_a_session_leaves_to_the_others_what_is_theirs(left: Left) -> None:
    """One that has settled may live: its roles write its files, and its git role removes its slots."""
    left.add("m2", OTHER)
    left.journal(SessionSettled(COMPLETED), SessionEnded(COMPLETED), milestone="m2", session=OTHER)
    left.journal(SessionEnded(SessionStatus.INTERRUPTED))
    for session in (SESSION, OTHER):
        left.paths.session_json(session).parent.mkdir(parents=True)
    with Journal.open(left.paths.state_db) as journal:
        ledger = unfinished(left.paths, journal, "m1")
        assert ledger is not None
        journal_beginning(journal, ledger, cancelling(ledger.state, "the operator"))

        (said,) = clear_away(left.paths, journal, ledger.state, "")

    assert SESSION in said
    assert {name.partition("-slot-")[0] for name in left.names} == {"m2"}
    assert left.paths.session_json(SESSION).exists()
    assert not left.paths.session_json(OTHER).exists()
    assert OTHER in "".join(left.open())
    assert (left.names, left.paths.session_json(OTHER).exists()) == ([], True)


def test_what_has_landed_is_not_archived_again(left: Left) -> None:
    left.journal(SessionEnded(COMPLETED))
    mark_landed(left.repo, 0)
    assert left.open() == (f"worktrees of {SESSION}, which is over, were removed",)
    assert (left.names, left.archives) == ([], [])


def test_worktrees_are_found_where_they_are_configured_to_be(git_repo: MakeRepository, tmp_path: Path) -> None:
    left = Left(git_repo(), str(tmp_path / "slots"))
    left.journal(SessionEnded(COMPLETED))
    assert len(left.open()) == 1
    assert left.names == []


def _another_owner(left: Left) -> None:
    (left.cache / "owner").write_text("worktree slots of milestoned for /elsewhere/.git\n", encoding="utf-8")


def _a_merge(left: Left) -> None:
    (left.paths.project / ".git" / "MERGE_HEAD").write_text(left.repo.top, encoding="utf-8")


@pytest.mark.parametrize("hinder", [_another_owner, _a_merge])
def test_what_cannot_be_removed_now_is_left_as_it_is(left: Left, hinder: Callable[[Left], None]) -> None:
    left.journal(SessionEnded(COMPLETED))
    hinder(left)
    before = left.names
    left.open()
    assert left.names == before
    assert left.archives == []
