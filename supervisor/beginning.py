"""How a session begins, or goes on: what there is to do, what speaks against it, and what is journaled first.

Owns the decision. Refuses to know who holds the project, who writes the journal and who supervises: refusals are raised
as :class:`RunRefusedError` with the lines for people and the exit code that a command line gives.
"""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from actors.editor import set_statuses
from actors.events import (
    Event,
    MilestoneUpdated,
    SessionResumed,
    SessionStarted,
    SessionStatus,
    encode_event,
)
from actors.execution import missing_agents
from actors.failpoints import at
from actors.files import move_file, read_milestone_file, update_file
from actors.model import FileStatus, Isolation, Milestone, Task
from actors.paths import new_session_id
from actors.preflight import without_statuses
from actors.state import Phase, SessionState
from actors.surroundings import boot_id
from actors.veil import Veil
from supervisor.api_errors import SupervisionError
from supervisor.finding import NoMilestoneError, find_milestone
from supervisor.ladder import refusal
from supervisor.ledger import Ledger
from supervisor.told_secrets import secrets_told

if TYPE_CHECKING:
    from actors.events import Settings
    from actors.paths import ProjectPaths
    from supervisor.journal import Journal
    from supervisor.ledger import Latest

FAILED, USAGE, BROKEN, IO_ERROR, HELD, CONFIGURATION = 1, 2, 70, 74, 75, 78
"""Exit codes of refusals (design, section 7)."""

RESUMABLE: Final = frozenset({SessionStatus.RUNNING, SessionStatus.PAUSED, SessionStatus.INTERRUPTED})


class RunRefusedError(SupervisionError):
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
class Wish:
    """What somebody wants executed, and how.

    Attributes:
        milestone_id: Which milestone.
        settings: How to run.
        isolation: Where attempts run, over ``settings``; a resumed session goes on as it began, and is refused with
            another.
        as_journaled: Go on with the journaled snapshot although the file was edited.
        daemon: Whether a daemon supervises, which takes the session up again when it starts.
    """

    milestone_id: str
    settings: Settings
    isolation: Isolation | None = None
    as_journaled: bool = False
    daemon: bool = False


@attrs.frozen
class Beginning:
    """What a session, or its next life, begins with.

    Attributes:
        session: Session id.
        resumed: Whether an unfinished session was taken up.
        updated: Whether it executes a newer snapshot from here on.
        ledger: The session's fold.
        warnings: What is odd about the file, a line each, with its place.
    """

    session: str
    resumed: bool
    updated: bool
    ledger: Ledger
    warnings: tuple[str, ...]


def locate(paths: ProjectPaths, milestone_id: str) -> Path:
    """Return the active milestone file of this id.

    Raises:
        RunRefusedError: It is not there (1).
        AlreadyCompletedError: It stands among the completed ones.
    """
    try:
        return find_milestone(paths, milestone_id)
    except NoMilestoneError as error:
        if error.is_completed:
            raise AlreadyCompletedError(0, *error.lines) from error
        raise RunRefusedError(FAILED, *error.lines) from error


def read_milestone(paths: ProjectPaths, milestone_id: str) -> tuple[Milestone, tuple[str, ...]]:
    """Read the active milestone file of this id.

    Returns:
        What it says, and what is odd about it.

    Raises:
        RunRefusedError: It is not there (1) or not valid (2).
        AlreadyCompletedError: It stands among the completed ones.
    """
    path = locate(paths, milestone_id)
    reading = read_milestone_file(path)
    if reading.milestone is None:
        raise RunRefusedError(USAGE, *(str(problem) for problem in reading.problems))
    if reading.milestone.id != milestone_id:
        raise RunRefusedError(
            USAGE,
            f"{path}: the file's id is {reading.milestone.id!r}, and its name says {milestone_id!r}",
            "a milestone's file is named after its id: rename the file, or change the id",
        )
    return reading.milestone, tuple(str(problem) for problem in reading.problems)


def changed_completed(state: SessionState, milestone: Milestone) -> list[str]:
    """List completed tasks that a newer snapshot defines differently or no longer has."""
    plain = attrs.evolve

    def same(one: Task, other: Task | None) -> bool:
        return other is not None and plain(one, status=FileStatus.PENDING) == plain(other, status=FileStatus.PENDING)

    return [
        key
        for key, task in state.tasks.items()
        if task.phase is Phase.COMPLETED and not same(state.milestone.by_id[key], milestone.by_id.get(key))
    ]


def refuse_unreadable(latest: Latest, path: Path) -> None:
    """Refuse to go on with a session that holds what this version cannot read.

    Raises:
        RunRefusedError: It does (78).
    """
    if latest.unreadable:
        raise RunRefusedError(
            CONFIGURATION,
            f"{path}: the latest session of {latest.milestone_id} cannot be read: {latest.unreadable}",
            "install the version that wrote it, or a later one",
        )


def _set_by_hand(state: SessionState, milestone: Milestone) -> bool:
    """Tell whether a person has cancelled, brought back or completed a task in the file itself."""
    for task in milestone.tasks:
        known = state.tasks.get(task.id)
        phase = None if known is None else known.phase
        open_still = known is not None and (phase is Phase.PENDING or (known.is_live and not known.retried))
        if open_still and task.status in {FileStatus.CANCELLED, FileStatus.COMPLETED}:
            return True
        skipped_by_hand = phase is Phase.SKIPPED and known is not None and not known.reason
        if skipped_by_hand and task.status is not FileStatus.CANCELLED:
            return True
    return False


def _update(state: SessionState, milestone: Milestone, *, as_journaled: bool) -> tuple[Event, ...]:
    edited = without_statuses(state.milestone) != without_statuses(milestone) or _set_by_hand(state, milestone)
    if as_journaled or not edited:
        return ()
    changed = changed_completed(state, milestone)
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


def _make_up(paths: ProjectPaths, milestone: Milestone, state: SessionState) -> Milestone:
    """Write the completions that a finished session could not write into the milestone file.

    Without this the next session would take the file's word for it, and execute completed tasks again.

    Returns:
        What the file says then.

    Raises:
        AlreadyCompletedError: Nothing is left to do; the file was moved.
    """
    path = paths.file(milestone.id)
    changed = set(changed_completed(state, milestone))
    done = [key for key, task in state.tasks.items() if task.phase is Phase.COMPLETED and key not in changed]
    whole = state.status is SessionStatus.COMPLETED and set(done) >= {
        task.id for task in milestone.tasks if task.status is not FileStatus.CANCELLED
    }
    update_file(
        path,
        lambda data: set_statuses(
            data,
            milestone="completed" if whole else None,
            tasks=dict.fromkeys(done, "completed"),
            path=str(path),
        ),
    )
    at("session.made_up")
    if whole:
        move_file(path, paths.completed_file(milestone.id))
    return read_milestone(paths, milestone.id)[0]


def decide(
    paths: ProjectPaths, milestone: Milestone, ledger: Ledger | None, wish: Wish
) -> tuple[Ledger, tuple[Event, ...]]:
    """Decide whether the milestone's latest session goes on or another one begins.

    Args:
        paths: Of the project.
        milestone: What the file says.
        ledger: Fold of the milestone's latest session, which nobody supervises; ``None`` without one.
        wish: What is wanted.

    Returns:
        The session's fold so far, and the facts to journal first.

    Raises:
        RunRefusedError: It cannot go on like this.
        AlreadyCompletedError: Nothing is left to do.
    """
    settings = wish.settings
    if ledger is not None and ledger.state.status in RESUMABLE:
        settings = attrs.evolve(settings, isolation=_same_isolation(ledger, wish.isolation))
        update = _update(ledger.state, milestone, as_journaled=wish.as_journaled)
        return ledger, (_resumed(settings, wish), *update)
    if ledger is not None and ledger.state.unwritten:
        milestone = _make_up(paths, milestone, ledger.state)
    settings = attrs.evolve(settings, isolation=wish.isolation or settings.isolation)
    session = new_session_id(milestone.id, datetime.now(), os.urandom(4).hex())  # noqa: DTZ005 - for people
    path = str(paths.file(milestone.id).relative_to(paths.project))
    # Who cancels a session gives up what it had landed, too, where somebody has taken that off the branch.
    is_carried = ledger is not None and ledger.state.status is not SessionStatus.CANCELLED
    landed = ledger.state.last_landed if ledger is not None and is_carried else ""
    started = SessionStarted(milestone, path, str(paths.project), settings, boot_id(), os.getpid(), wish.daemon, landed)
    return Ledger(session), (started,)


def decide_moved(ledger: Ledger | None, wish: Wish) -> tuple[Ledger, tuple[Event, ...]] | None:
    """Decide whether the latest session goes on of a milestone whose file was moved to the completed ones.

    It does when everything was killed between that and the session's end: worktrees may be left, commits not pushed.

    Args:
        ledger: Fold of the milestone's latest session, which nobody supervises; ``None`` without one.
        wish: What is wanted.

    Returns:
        As :func:`decide`; ``None`` when nothing is left to do.

    Raises:
        RunRefusedError: It cannot go on like this.
    """
    if ledger is None or ledger.state.status not in RESUMABLE:
        return None
    if any(task.phase not in {Phase.COMPLETED, Phase.SKIPPED} for task in ledger.state.tasks.values()):
        return None  # whoever moved the file was not this session
    settings = attrs.evolve(wish.settings, isolation=_same_isolation(ledger, wish.isolation))
    return ledger, (_resumed(settings, wish),)


def _resumed(settings: Settings, wish: Wish) -> SessionResumed:
    return SessionResumed(settings, boot_id(), os.getpid(), wish.daemon)


def refuse_what_cannot_run(milestone: Milestone, settings: Settings) -> None:
    """Refuse what could never end well: a containment or an agent runner that is not there, a secret told.

    Raises:
        RunRefusedError: With the reason.
    """
    uncontained = refusal(settings.containment)
    if uncontained:
        raise RunRefusedError(CONFIGURATION, *uncontained)
    missing = missing_agents(milestone, settings)
    if missing:
        raise RunRefusedError(CONFIGURATION, *missing)
    told = [(task.id, name) for task in milestone.tasks for name, _ in task.env if name in settings.secrets]
    if told:
        raise RunRefusedError(
            USAGE,
            *(f"task {task} sets {name} in its env, and secrets: says that its value is one" for task, name in told),
            "what stands in a milestone file is journaled: set the variable in the environment of milestonectl instead",
        )
    held = tuple(secrets_told(milestone, settings, Veil.of(os.environ, settings.secrets)))
    if held:
        raise RunRefusedError(
            USAGE,
            *held,
            "what stands there is journaled: have it read the variable instead, or take the name out of secrets",
        )


def journal_beginning(journal: Journal, ledger: Ledger, events: tuple[Event, ...]) -> None:
    """Journal what a session, or its next life, begins with; all of it or nothing.

    Raises:
        RunRefusedError: A fact contradicts what is known.
        JournalError: It could not be written.
    """
    wall, mono = time.time(), time.monotonic()  # noqa: TID251 - stored with the records
    judged = ledger.admit([encode_event(event) for event in events], journal.last_seq + 1, wall, mono)
    if judged.refusals:
        raise RunRefusedError(
            USAGE,
            *judged.refusals,
            f"go on with what the session began with: milestonectl run {ledger.state.milestone.id} --as-journaled",
        )
    journal.append([(ledger.session, fact) for fact, _ in judged.admitted], wall, mono)
    at("session.begun")
