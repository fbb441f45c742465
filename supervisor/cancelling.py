"""Cancelling a session that nobody supervises: its end is journaled, and what it left is cleared away.

What lives is cancelled by whoever supervises it. A session that was interrupted, or that cannot go on (a branch that
lost its commits), has nobody who would end it; this does, in the project's journal, as if it had been taken up for
nothing else: its attempts are over, nothing of it is executed again, and the next run begins another session with the
rest, on the branch as it stands.

Owns the facts of such an end, and the words in the milestone file. Refuses to know who holds the project and who writes
the journal.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

from actors.editor import EditError, set_statuses
from actors.events import (
    AttemptEnded,
    Event,
    Outcome,
    SessionEnded,
    SessionResumed,
    SessionSettled,
    SessionStatus,
    StopRequested,
)
from actors.files import FileChangedError, update_file
from actors.model import FileStatus
from actors.past_sessions import milestone_of_session
from actors.reader import read
from actors.state import Stage
from actors.surroundings import boot_id
from supervisor.absent import is_past_session, why_absent
from supervisor.addressees import NO_SUCH_NAME, NOT_RUNNING
from supervisor.beginning import journal_beginning, refuse_unreadable
from supervisor.catching_up import catch_up
from supervisor.journal_errors import JournalMissingError
from supervisor.journal_reader import JournalReader
from supervisor.ledger import Ledger, latest_in
from supervisor.leftovers import clear_leftovers
from supervisor.opening import open_project, refusals
from supervisor.protocol import Named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.paths import ProjectPaths
    from actors.state import SessionState
    from supervisor.journal import Journal

DONE: Final = "cancelled"
NOTHING: Final = "there is nothing to cancel: its latest session is over"

_OVER: Final = frozenset({SessionStatus.COMPLETED, SessionStatus.CANCELLED})
_MAY_RUN: Final = frozenset({Stage.GRANTED, Stage.PREPARED, Stage.STARTED})


def unfinished(paths: ProjectPaths, journal: JournalReader, name: str) -> Ledger | None:
    """Return the fold of a milestone's latest session that neither completed nor was cancelled.

    Args:
        paths: Of the project.
        journal: Of the project.
        name: A milestone, or a session; of a session that was not its milestone's latest nothing is left to end.

    Raises:
        JournalError: The journal cannot be read.
        RunRefusedError: The session is of a newer version.
    """
    milestone = milestone_of_session(name) if is_past_session(paths, name) else name
    latest = latest_in(journal, milestone)
    refuse_unreadable(latest, paths.state_db)
    ledger = latest.ledger
    if ledger is None or ledger.state.status in _OVER or name not in {milestone, ledger.session}:
        return None
    return ledger


def cancelling(state: SessionState, reason: str) -> tuple[Event, ...]:
    """Return the facts that end a session for good of which no process lives.

    Args:
        state: Its fold.
        reason: Who cancelled it, for people.
    """
    attempts = (task.attempt for task in state.tasks.values() if task.attempt is not None)
    return (
        SessionResumed(state.settings, boot_id(), os.getpid()),
        StopRequested(reason, final=True),
        *(AttemptEnded(one.id, Outcome.CANCELLED, detail=reason) for one in attempts if one.stage in _MAY_RUN),
        SessionSettled(SessionStatus.CANCELLED, reason),
        SessionEnded(SessionStatus.CANCELLED, reason),
    )


def cancel_here(paths: ProjectPaths, names: Sequence[str], reason: str, slots: str) -> tuple[Named, ...] | None:
    """Cancel sessions of a project that nobody supervises.

    Args:
        paths: Of the project.
        names: Sessions or milestones, as they were typed.
        reason: As of :func:`cancelling`.
        slots: The slots directory as configured, ``""`` for the user's cache directory.

    Returns:
        What became of each; ``None`` when of no name there is anything to cancel, and nothing was touched.

    Raises:
        RunRefusedError: The project cannot be had.
    """
    with refusals():
        try:
            with JournalReader.open(paths.state_db) as reader:
                if not any(unfinished(paths, reader, name) for name in names):
                    return None
        except JournalMissingError:
            return None
        lock, journal, _ = open_project(paths, "milestonectl cancel", lambda _: None, slots=slots)
        with contextlib.closing(lock), contextlib.closing(journal):
            return tuple(_cancel_one(paths, journal, name, reason, slots) for name in dict.fromkeys(names))


def _cancel_one(paths: ProjectPaths, journal: Journal, name: str, reason: str, slots: str) -> Named:
    ledger = unfinished(paths, journal, name)
    if ledger is None:
        why = why_absent(paths, name)
        return Named(name, NOT_RUNNING, NOTHING) if why else Named(name, NO_SUCH_NAME, "no such session")
    journal_beginning(journal, ledger, cancelling(ledger.state, reason))
    return Named(name, 0, "; ".join((DONE, *clear_away(paths, journal, ledger.state, slots))))


def clear_away(paths: ProjectPaths, journal: JournalReader, state: SessionState, slots: str) -> tuple[str, ...]:
    """Bring up to date what shows a session whose end was journaled, and remove its worktrees.

    Those of others are left alone: they may live, and have owners of their own.

    Returns:
        What became of them, and what could not be done, a line each.

    Raises:
        JournalError: The journal cannot be read.
    """
    catch_up(paths, journal, only=state.session)
    return (*write_back(paths, state), *clear_leftovers(paths, journal, slots, only=state.milestone.id))


def write_back(paths: ProjectPaths, state: SessionState) -> tuple[str, ...]:
    """Say in the milestone file that nobody executes it; return why that could not be, a line at the most."""
    path = paths.file(state.milestone.id)

    def edit(data: bytes) -> bytes:
        reading = read(data, str(path))
        if reading.milestone is None:
            return data
        under_way = [task.id for task in reading.milestone.tasks if task.status is FileStatus.IN_PROGRESS]
        tasks = dict.fromkeys(under_way, "pending")
        return set_statuses(data, milestone=DONE, tasks=tasks, path=str(path), reading=reading)

    try:
        update_file(path, edit)
    except FileNotFoundError:
        return ()
    except (EditError, FileChangedError, OSError) as error:
        return (f"the statuses in {path} stay as they are: {error}",)
    return ()
