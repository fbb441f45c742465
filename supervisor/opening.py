"""How a process takes a project: its lock, its journal, and what a former life left running.

:func:`open_run` also decides what there is to do and journals its beginning (:mod:`supervisor.beginning`). Refuses to
know processes of its own, terminals and command lines.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import attrs

from actors.paths import ProjectPaths
from supervisor.beginning import (
    CONFIGURATION,
    HELD,
    IO_ERROR,
    AlreadyCompletedError,
    Beginning,
    RunRefusedError,
    Wish,
    decide,
    decide_moved,
    journal_beginning,
    locate,
    read_milestone,
    refuse_unreadable,
    refuse_what_cannot_run,
)
from supervisor.catching_up import catch_up
from supervisor.commits_ahead import refuse_commits_ahead
from supervisor.control_socket import DAEMON, is_listened
from supervisor.journal import Journal, JournalBrokenError, JournalError, JournalFullError
from supervisor.leases import left_behind
from supervisor.ledger import Latest, Ledger, without_collection
from supervisor.leftovers import clear_leftovers
from supervisor.linux import SWEEP_SECONDS, kill_until_gone
from supervisor.lock import LockHeldError, ProjectLock
from supervisor.mounts import network_file_system
from supervisor.projection import seen_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from actors.events import Record, Settings
    from actors.model import Isolation
    from supervisor.journal_reader import JournalReader


@attrs.frozen
class Opening(Beginning):
    """What :func:`open_run` decided, and took.

    Attributes:
        paths: Of the project.
        lock: Held.
        journal: Open for writing, the session's beginning journaled.
    """

    paths: ProjectPaths
    lock: ProjectLock
    journal: Journal


def _take_up(paths: ProjectPaths, milestone_id: str) -> tuple[Journal, Ledger | None]:
    """Verify the journal, and fold the milestone's latest session in the same pass; ``None`` without one."""
    latest = Latest(milestone_id)
    with without_collection():
        journal = Journal.open(paths.state_db, seen=seen_by(paths), told=latest.tell)
    try:
        refuse_unreadable(latest, paths.state_db)
    except RunRefusedError:
        journal.close()
        raise
    return journal, latest.ledger


def open_run(  # noqa: PLR0913 - one parameter per wish
    project: Path,
    milestone_id: str,
    settings: Settings,
    *,
    what: str,
    isolation: Isolation | None = None,
    as_journaled: bool = False,
    may_begin: Callable[[], None] = lambda: None,
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
        may_begin: Is called right before anything is journaled, and raises what keeps it from that.

    Raises:
        RunRefusedError: It cannot start; nothing was changed.
    """
    paths = ProjectPaths(project.resolve())
    wish = Wish(milestone_id, settings, isolation, as_journaled)
    try:
        locate(paths, milestone_id)
    except AlreadyCompletedError:
        opening = _open_moved(paths, wish, what, may_begin)
        if opening is None:
            raise
        return opening
    lock = _acquire(paths, what, milestone_id)
    with refusals(), contextlib.ExitStack() as undo:
        undo.callback(lock.close)
        _refuse_listened(paths)
        # Read under the lock: before it another run could still be writing its last statuses.
        milestone, warnings = read_milestone(paths, milestone_id)
        refuse_what_cannot_run(milestone, settings)
        paths.write_gitignore()
        journal, former = _take_up(paths, milestone_id)
        undo.callback(journal.close)
        sweep(paths, journal)
        known = {summary.id for summary in journal.sessions()}
        refuse_commits_ahead(paths, milestone, former, known, wish)
        catch_up(paths, journal)
        cleared = clear_leftovers(paths, journal, settings.slots_directory)
        ledger, events = decide(paths, milestone, former, wish)
        may_begin()
        journal_beginning(journal, ledger, events)
        undo.pop_all()
    resumed, updated = ledger is former, len(events) > 1
    said = (*warnings, *cleared)
    return Opening(ledger.session, resumed, updated, ledger, said, paths, lock, journal)


def open_project(
    paths: ProjectPaths, what: str, told: Callable[[Record], object], *, slots: str = "", is_lent: bool = False
) -> tuple[ProjectLock, Journal, tuple[str, ...]]:
    """Take a project: its lock, and its journal, verified; end what a former life left running.

    Args:
        paths: Of the project, which has a ``.milestones`` directory.
        what: What takes the lock, for who finds it held.
        told: Is called with each event of the journal, in order; void when this raises.
        slots: The slots directory as configured, ``""`` for the user's cache directory.
        is_lent: Whether the control socket that stands there was handed over to this process.

    Returns:
        Both, and a line for people for each thing that sessions which are over had left.

    Raises:
        RunRefusedError: It cannot be had; nothing was changed.
    """
    lock = _acquire(paths, what)
    with refusals(), contextlib.ExitStack() as undo:
        undo.callback(lock.close)
        if not is_lent:
            _refuse_listened(paths)
        paths.write_gitignore()
        journal = Journal.open(paths.state_db, seen=seen_by(paths), told=told)
        undo.callback(journal.close)
        sweep(paths, journal)
        catch_up(paths, journal)
        cleared = clear_leftovers(paths, journal, slots)
        undo.pop_all()
    return lock, journal, cleared


def _refuse_listened(paths: ProjectPaths) -> None:
    """Refuse a project whose control socket somebody else listens on, although nobody holds its lock.

    That is a service manager, for a daemon that it starts when a client comes. A socket of ours in that place would be
    found by clients until we end, and nobody after that.

    Raises:
        RunRefusedError: Somebody does (75).
    """
    if is_listened(paths.control):
        raise RunRefusedError(
            HELD,
            f"{paths.control} is listened on by a service manager, which starts milestoned for whoever connects",
            "begin it there with: milestonectl start ID; or stop the socket unit first (systemctl list-sockets)",
        )


def _acquire(paths: ProjectPaths, what: str, milestone_id: str = "") -> ProjectLock:
    try:
        return _lock(paths, what)
    except LockHeldError as error:
        hint = (f"begin it there with: milestonectl start {milestone_id}",)
        is_daemon = bool(milestone_id) and error.holder.what == DAEMON
        raise RunRefusedError(HELD, str(error), *(hint if is_daemon else ())) from error


def _lock(paths: ProjectPaths, what: str) -> ProjectLock:
    """Take the project's lock, where locks can be relied upon.

    Raises:
        LockHeldError: Somebody else has it.
        RunRefusedError: It cannot be had here at all.
    """
    if kind := network_file_system(paths.milestones):
        raise RunRefusedError(
            CONFIGURATION,
            f"{paths.milestones} is on a network file system ({kind}): locks and flushes cannot be relied upon there",
            "work in a copy of the repository on a disk of this machine (git clone), or mount one at .milestones",
        )
    try:
        return ProjectLock.acquire(paths, what)
    except OSError as error:
        raise RunRefusedError(
            IO_ERROR, f"{error.filename or paths.milestones} cannot be used: {error.strerror or error}"
        ) from error


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Raise what the system and the journal refuse as a refusal of the run."""
    try:
        yield
    except (JournalFullError, JournalBrokenError, OSError) as error:
        raise RunRefusedError(IO_ERROR, str(error)) from error
    except JournalError as error:
        raise RunRefusedError(CONFIGURATION, str(error)) from error


def _open_moved(paths: ProjectPaths, wish: Wish, what: str, may_begin: Callable[[], None]) -> Opening | None:
    """Go on with a session that was killed after its milestone was moved to the completed ones, before it had ended.

    Returns:
        ``None`` when there is none, or somebody else is at it.
    """
    if not paths.state_db.exists():
        return None
    try:
        lock = _lock(paths, what)
    except LockHeldError:
        return None
    with refusals(), contextlib.ExitStack() as undo:
        undo.callback(lock.close)
        if is_listened(paths.control):  # a service manager will start milestoned, which goes on with it
            return None
        journal, former = _take_up(paths, wish.milestone_id)
        undo.callback(journal.close)
        sweep(paths, journal)
        catch_up(paths, journal)
        cleared = clear_leftovers(paths, journal, wish.settings.slots_directory)
        decided = decide_moved(former, wish)
        if decided is None:
            return None
        ledger, events = decided
        may_begin()
        journal_beginning(journal, ledger, events)
        undo.pop_all()
    return Opening(ledger.session, True, False, ledger, cleared, paths, lock, journal)  # noqa: FBT003 - as above


def sweep(paths: ProjectPaths, journal: JournalReader) -> None:
    """Kill what tasks and roles of former sessions left: nobody supervises it, since the project's lock is ours.

    Raises:
        RunRefusedError: Something of it cannot be killed (75).
    """
    sessions = frozenset(summary.id for summary in journal.sessions())
    left = kill_until_gone(lambda: left_behind(sessions, str(paths.project)), SWEEP_SECONDS)
    if left:
        pids = ", ".join(map(str, left))
        raise RunRefusedError(
            HELD, f"processes of a former session cannot be killed: {pids}", "end them, then run again"
        )
