"""How a run begins: what there is to do, whose it is, and what is journaled first.

:func:`open_run` reads the milestone, takes the project's lock and the journal, ends what a former life left running,
and journals a new session or the next life of the unfinished one. Refuses to know processes of its own, terminals and
command lines: refusals are raised as :class:`RunRefusedError` with the lines for people and the exit code that a
command line gives.
"""

from __future__ import annotations

import contextlib
import os
import time
from datetime import datetime
from typing import TYPE_CHECKING, Final

import attrs

from actors.events import (
    Event,
    MilestoneUpdated,
    SessionEnded,
    SessionResumed,
    SessionStarted,
    SessionStatus,
    encode_event,
)
from actors.execution import missing_agents
from actors.files import read_milestone_file
from actors.model import FileStatus, Isolation, Milestone, Task
from actors.paths import ProjectPaths, new_session_id
from actors.state import Phase, SessionState
from supervisor.environment import SESSION_MARK
from supervisor.fleet import SWEEP_SECONDS
from supervisor.journal import Journal, JournalBrokenError, JournalError, JournalFullError
from supervisor.ledger import Ledger
from supervisor.linux import boot_id, find_marked, kill_until_gone
from supervisor.lock import LockHeldError, ProjectLock
from supervisor.projection import replace_file, seen_by, session_json

if TYPE_CHECKING:
    from pathlib import Path

    from actors.events import Settings

FAILED, USAGE, BROKEN, IO_ERROR, HELD, CONFIGURATION = 1, 2, 70, 74, 75, 78
"""Exit codes of refusals (design, section 7)."""

RESUMABLE: Final = frozenset({SessionStatus.RUNNING, SessionStatus.PAUSED, SessionStatus.INTERRUPTED})


class RunRefusedError(Exception):
    """The run cannot start.

    Attributes:
        lines: For people: what is wrong, where, and what to do.
        code: Exit code for a command line.
    """

    def __init__(self, code: int, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.code = code


class AlreadyCompletedError(RunRefusedError):
    """There is nothing to do: the milestone is completed. Not a failure: the code is 0."""


@attrs.frozen
class Opening:
    """What :func:`open_run` decided.

    Attributes:
        paths: Of the project.
        lock: Held.
        journal: Open for writing, the session's beginning journaled.
        session: Session id.
        resumed: Whether an unfinished session was taken up.
        updated: Whether it executes a newer snapshot from here on.
        ledger: The session's fold.
    """

    paths: ProjectPaths
    lock: ProjectLock
    journal: Journal
    session: str
    resumed: bool
    updated: bool
    ledger: Ledger


def read_milestone(paths: ProjectPaths, milestone_id: str) -> Milestone:
    """Read the active milestone file of this id.

    Raises:
        RunRefusedError: It is not there (1) or not valid (2).
        AlreadyCompletedError: It stands among the completed ones.
    """
    try:
        path = paths.file(milestone_id)
    except ValueError as error:
        raise RunRefusedError(USAGE, f"no milestone id: {error}") from error
    if not path.exists():
        if (paths.completed / f"{milestone_id}.yaml").exists():
            line = f"milestone {milestone_id} is completed already: {paths.completed / f'{milestone_id}.yaml'}"
            raise AlreadyCompletedError(0, line)
        known = sorted(item.stem for item in paths.active.glob("*.yaml")) if paths.active.is_dir() else []
        hint = f"active milestones here: {', '.join(known)}" if known else "there is none yet: milestonectl init"
        raise RunRefusedError(FAILED, f"milestone not found: {path}", hint)
    reading = read_milestone_file(path)
    if reading.milestone is None:
        raise RunRefusedError(USAGE, *(str(problem) for problem in reading.problems))
    return reading.milestone


def _definition(milestone: Milestone) -> Milestone:
    """Strip what a run itself changes in the file: what is left is the author's."""
    tasks = tuple(attrs.evolve(task, status=FileStatus.PENDING) for task in milestone.tasks)
    return attrs.evolve(milestone, tasks=tasks, status="", declared_percentage=None)


def _changed_completed(state: SessionState, milestone: Milestone) -> list[str]:
    """List completed tasks that a newer snapshot defines differently or no longer has."""
    plain = attrs.evolve

    def same(one: Task, other: Task | None) -> bool:
        return other is not None and plain(one, status=FileStatus.PENDING) == plain(other, status=FileStatus.PENDING)

    return [
        key
        for key, task in state.tasks.items()
        if task.phase is Phase.COMPLETED and not same(state.milestone.by_id[key], milestone.by_id.get(key))
    ]


def _set_by_hand(state: SessionState, milestone: Milestone) -> bool:
    """Tell whether a person has cancelled, brought back or completed a task in the file itself."""
    for task in milestone.tasks:
        known = state.tasks.get(task.id)
        phase = None if known is None else known.phase
        if phase is Phase.PENDING and task.status in {FileStatus.CANCELLED, FileStatus.COMPLETED}:
            return True
        if phase is Phase.SKIPPED and task.status is not FileStatus.CANCELLED:
            return True
    return False


def _update(state: SessionState, milestone: Milestone, *, as_journaled: bool) -> tuple[Event, ...]:
    edited = _definition(state.milestone) != _definition(milestone) or _set_by_hand(state, milestone)
    if as_journaled or not edited:
        return ()
    changed = _changed_completed(state, milestone)
    if changed:
        raise RunRefusedError(
            USAGE,
            f"{milestone.id} was edited: completed tasks of the unfinished session changed: {', '.join(changed)}",
            f"undo the edit, or go on with what session {state.session} began with: "
            f"milestonectl run {milestone.id} --as-journaled",
        )
    return (MilestoneUpdated(milestone),)


def _same_isolation(ledger: Ledger, wanted: Isolation | None) -> Isolation:
    began = ledger.state.settings.isolation
    if wanted is not None and wanted is not began:
        raise RunRefusedError(
            USAGE,
            f"session {ledger.session} began with isolation {began.value}, and its unfinished work is there",
            f"go on without --isolation: milestonectl run {ledger.state.milestone.id}",
        )
    return began


def _unfinished(journal: Journal, milestone_id: str) -> Ledger | None:
    for summary in reversed(journal.sessions()):
        if summary.milestone_id == milestone_id:
            ledger = Ledger(summary.id, journal.records(summary.id))
            return ledger if ledger.state.status in RESUMABLE else None
    return None


def open_run(
    project: Path,
    milestone_id: str,
    settings: Settings,
    *,
    what: str,
    isolation: Isolation | None = None,
    as_journaled: bool = False,
) -> Opening:
    """Take the project and journal the beginning of a session, or of its next life.

    Args:
        project: Directory that holds ``.milestones``.
        milestone_id: Which milestone.
        settings: How to run.
        isolation: Where attempts run, over ``settings``; a resumed session goes on as it began, and is refused
            with another.
        what: What takes the lock, for who finds it held (``milestonectl run milestone-001``).
        as_journaled: Go on with the journaled snapshot although the file was edited.

    Raises:
        RunRefusedError: It cannot start; nothing was changed.
    """
    paths = ProjectPaths(project.resolve())
    try:
        milestone = read_milestone(paths, milestone_id)
    except AlreadyCompletedError:
        _end_settled(paths, milestone_id, what)
        raise
    missing = missing_agents(milestone, settings)
    if missing:
        raise RunRefusedError(CONFIGURATION, *missing)
    try:
        lock = ProjectLock.acquire(paths, what)
    except LockHeldError as error:
        raise RunRefusedError(HELD, str(error)) from error
    except OSError as error:
        raise RunRefusedError(IO_ERROR, f"{paths.milestones} cannot be used: {error}") from error
    try:
        return _open_locked(paths, lock, milestone, settings, isolation, as_journaled=as_journaled)
    except BaseException as error:
        lock.close()
        if isinstance(error, JournalFullError | JournalBrokenError | OSError):
            raise RunRefusedError(IO_ERROR, str(error)) from error
        if isinstance(error, JournalError):
            raise RunRefusedError(CONFIGURATION, str(error)) from error
        raise


def _end_settled(paths: ProjectPaths, milestone_id: str, what: str) -> None:
    """End a session that was killed after its milestone was moved to the completed ones, and before it said so."""
    if not paths.state_db.exists():
        return
    try:
        lock = ProjectLock.acquire(paths, what)
    except LockHeldError:
        return  # whoever holds it is about to say so itself
    with contextlib.closing(lock), Journal.open(paths.state_db, seen=seen_by(paths)) as journal:
        ledger = _unfinished(journal, milestone_id)
        settled = None if ledger is None else ledger.state.settled
        if ledger is not None and settled is not None and settled.status is SessionStatus.COMPLETED:
            fact = encode_event(SessionEnded(settled.status, settled.reason))
            wall = time.time()  # noqa: TID251 - stored with the record
            for record in journal.append([(ledger.session, fact)], wall, time.monotonic()):
                ledger.state.apply(record)
            replace_file(paths.session_json(ledger.session), session_json(ledger.state))


def _sweep(journal: Journal) -> None:
    """Kill what tasks of former sessions left: nobody supervises it, since the project's lock is ours."""
    marks = frozenset(summary.id for summary in journal.sessions())
    left = kill_until_gone(lambda: find_marked(SESSION_MARK, marks), SWEEP_SECONDS)
    if left:
        pids = ", ".join(map(str, left))
        raise RunRefusedError(
            HELD, f"processes of a former session cannot be killed: {pids}", "end them, then run again"
        )


def _open_locked(
    paths: ProjectPaths,
    lock: ProjectLock,
    milestone: Milestone,
    settings: Settings,
    isolation: Isolation | None,
    *,
    as_journaled: bool,
) -> Opening:
    paths.write_gitignore()
    journal = Journal.open(paths.state_db, seen=seen_by(paths))
    try:
        _sweep(journal)
        ledger = _unfinished(journal, milestone.id)
        events: tuple[Event, ...]
        if ledger is None:
            settings = attrs.evolve(settings, isolation=isolation or settings.isolation)
            session = new_session_id(milestone.id, datetime.now(), os.urandom(4).hex())  # noqa: DTZ005 - local, for people
            ledger = Ledger(session)
            path = paths.file(milestone.id).relative_to(paths.project)
            project = str(paths.project)
            events = (SessionStarted(milestone, str(path), project, settings, boot_id(), os.getpid()),)
            resumed = False
        else:
            settings = attrs.evolve(settings, isolation=_same_isolation(ledger, isolation))
            update = _update(ledger.state, milestone, as_journaled=as_journaled)
            events = (SessionResumed(settings, boot_id(), os.getpid()), *update)
            resumed = True
        facts = tuple((ledger.session, encode_event(event)) for event in events)
        wall = time.time()  # noqa: TID251 - stored with the records
        for record in journal.append(facts, wall, time.monotonic()):
            ledger.state.apply(record)
    except BaseException:
        journal.close()
        raise
    return Opening(paths, lock, journal, ledger.session, resumed, len(events) > 1, ledger)
