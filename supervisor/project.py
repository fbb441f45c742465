"""A project in this process: what it holds once, however many sessions run in it.

That is the lock, the journal with its one writer (the hub), the fork server, the sampler and the file that children
print to. Sessions come and go (:mod:`supervisor.session_run`).

It takes no signal handlers and configures no logging. Refuses to know milestones, terminals and command lines.
"""

from __future__ import annotations

import contextlib
import queue
import time
from typing import TYPE_CHECKING, Final, Self

from supervisor.beginning import (
    BROKEN,
    HELD,
    IO_ERROR,
    AlreadyCompletedError,
    Beginning,
    RunRefusedError,
    Wish,
    decide,
    decide_moved,
    read_milestone,
    refuse_unreadable,
    refuse_what_cannot_run,
)
from supervisor.cancelling import DONE, cancelling, clear_away, unfinished
from supervisor.commits_ahead import refuse_commits_ahead
from supervisor.conduct import PRELOAD
from supervisor.hub import Hub
from supervisor.journal_errors import JournalBrokenError, JournalError
from supervisor.journal_reader import JournalReader
from supervisor.ledger import Ledger, latest_in
from supervisor.notices import Escalated
from supervisor.opening import open_project, refusals
from supervisor.printout import Printout
from supervisor.sampling import Sampler
from supervisor.shortage import starting_threads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actors.events import Event, Record
    from actors.paths import ProjectPaths
    from supervisor.journal import Journal
    from supervisor.lock import ProjectLock

LOCK_SECONDS: Final = 2.0
"""Seconds between two looks at whether the project's lock is still ours."""

BEGIN_SECONDS: Final = 30.0
"""Longest time that the hub has to journal the beginning of a session."""


class Project:
    """A project that this process holds.

    Args:
        paths: Of the project.
        lock: Held; this object owns it from here on, and the journal too.
        journal: Open for writing.
        printout: File that children print to.

    Attributes:
        paths: Of the project.
        hub: The writer of its journal.
        sampler: Measures what its children use.
        printout: File that children print to.
        lock_lost: Whether somebody took the lock's file away.
        cleared: What sessions that are over had left when the project was taken, a line each.

    Raises:
        OSError: The file cannot be made; lock and journal were given back.
    """

    def __init__(self, paths: ProjectPaths, lock: ProjectLock, journal: Journal, printout: Path) -> None:
        self.paths = paths
        self.lock_lost = False
        self.cleared: tuple[str, ...] = ()
        self.printout = printout
        self._lock = lock
        self._closed = False
        with contextlib.ExitStack() as undo:
            undo.callback(lock.close)
            undo.callback(journal.close)
            # What a child prints (a crash, as a rule) is for who looks after it, not for the terminal.
            self._printout = Printout(printout)
            undo.callback(self._printout.close)
            self.hub = Hub(journal, PRELOAD, self._printout.descriptor)
            undo.pop_all()
        self.sampler = Sampler()

    @classmethod
    def open(
        cls,
        paths: ProjectPaths,
        what: str,
        told: Callable[[Record], object],
        *,
        slots: str = "",
        is_lent: bool = False,
    ) -> Self:
        """Take a project; see :func:`supervisor.opening.open_project`.

        Raises:
            RunRefusedError: It cannot be had.
        """
        lock, journal, cleared = open_project(paths, what, told, slots=slots, is_lent=is_lent)
        try:
            paths.all_logs.mkdir(mode=0o700, parents=True, exist_ok=True)
            project = cls(paths, lock, journal, paths.all_logs / "children.log")
        except OSError as error:
            journal.close()
            lock.close()
            raise RunRefusedError(IO_ERROR, f"{paths.all_logs} cannot be used: {error}") from error
        project.cleared = cleared
        return project

    def start(self) -> None:
        """Start the threads and the fork server; returns at once.

        Raises:
            OSError: The system lets no more threads be started.
        """
        with starting_threads():
            self.sampler.start()
            self.hub.start()
        self.hub.call_at(time.monotonic() + LOCK_SECONDS, self._look_at_lock)

    def begin(self, wish: Wish) -> Beginning:
        """Journal the beginning of a session, or of the next life of the milestone's latest one.

        No session of the milestone may live: so its journal can be folded here, in the caller's thread. Blocks.

        Raises:
            RunRefusedError: It cannot start; nothing was changed.
            AlreadyCompletedError: There is nothing to do.
        """
        try:
            milestone, warnings = read_milestone(self.paths, wish.milestone_id)
        except AlreadyCompletedError:
            moved = decide_moved(self._fold_latest(wish.milestone_id)[0], wish)
            if moved is None:
                raise
            self._journal(*moved)
            return Beginning(moved[0].session, resumed=True, updated=False, ledger=moved[0], warnings=())
        refuse_what_cannot_run(milestone, wish.settings)
        former, known = self._fold_latest(wish.milestone_id)
        refuse_commits_ahead(self.paths, milestone, former, known, wish)
        ledger, events = decide(self.paths, milestone, former, wish)
        self._journal(ledger, events)
        return Beginning(ledger.session, ledger is former, len(events) > 1, ledger, warnings)

    def cancel(self, name: str, reason: str, slots: str) -> tuple[str, ...] | None:
        """End the session of a name for good that does not live; blocks, as :meth:`begin`.

        Returns:
            What became of it, a line each; ``None`` where there is nothing to cancel.

        Raises:
            RunRefusedError: It cannot be; nothing was changed.
        """
        with refusals():
            with JournalReader.open(self.paths.state_db) as reader:
                ledger = unfinished(self.paths, reader, name)
            if ledger is None:
                return None
            self._journal(ledger, cancelling(ledger.state, reason))
            with JournalReader.open(self.paths.state_db) as reader:
                return (DONE, *clear_away(self.paths, reader, ledger.state, slots))

    def _fold_latest(self, milestone_id: str) -> tuple[Ledger | None, frozenset[str]]:
        """Return the fold of the milestone's latest session, ``None`` without one, and the ids of all sessions."""
        try:
            with JournalReader.open(self.paths.state_db) as reader:
                latest = latest_in(reader, milestone_id)
                known = frozenset(one.id for one in reader.sessions())
        except JournalError as error:
            raise RunRefusedError(IO_ERROR, str(error)) from error
        refuse_unreadable(latest, self.paths.state_db)
        return latest.ledger, known

    def _journal(self, ledger: Ledger, events: tuple[Event, ...]) -> None:
        """Have facts journaled in the hub's thread, and wait for that."""
        told: queue.SimpleQueue[Exception | Escalated | None] = queue.SimpleQueue()
        self.hub.begin_session(ledger, events, told.put)
        try:
            failure = told.get(timeout=BEGIN_SECONDS)
        except queue.Empty:
            raise RunRefusedError(BROKEN, f"the journal of {self.paths.project} is not written any more") from None
        match failure:
            case None:
                pass
            case RunRefusedError():
                raise failure
            case Escalated(reason=reason, broken=broken):
                line = f"the journal of {self.paths.project} is not written any more: {reason}"
                raise RunRefusedError(self.code_of(broken=broken), line)
            case _:
                raise RunRefusedError(IO_ERROR, str(failure)) from failure

    def cut_printout(self) -> None:
        """Keep what children print within its bound."""
        with contextlib.suppress(OSError):  # a full disk, say: it is cut next time
            self._printout.cut()

    def end(self, timeout: float) -> None:
        """End the hub, the fork server and whatever children are left.

        Args:
            timeout: Seconds that the hub's thread has to end.
        """
        self.hub.close(timeout)
        self.sampler.stop()

    def close(self) -> bool:
        """Give lock and file back, after :meth:`end`; closing twice does nothing.

        Returns:
            Whether everything was given back. ``False`` when the hub's thread hangs: it may still act on the project,
            so they stay with it until this process ends, or until a later call finds it ended.
        """
        if self.hub.is_alive():
            return False
        if not self._closed:
            self._closed = True
            self._lock.close()
            self._printout.close()
        return True

    def disown(self) -> None:
        """Let go of lock and children in a process that was forked from ours, so that our end is seen."""
        if not self._closed:
            self._lock.disown()
            self.hub.disown()

    def has_printed(self) -> bool:
        """Tell whether the file that children print to holds anything."""
        return not self._printout.is_empty()

    def code_of(self, *, broken: bool) -> int:
        """Return the exit code of a failure that nothing can go on after."""
        return HELD if self.lock_lost else BROKEN if broken else IO_ERROR

    def _look_at_lock(self) -> None:
        """End everything once the lock that others would find is another one: somebody else may act on the project."""
        if self._lock.still_ours():
            self.hub.look_at_journal()
            self.hub.call_at(time.monotonic() + LOCK_SECONDS, self._look_at_lock)
            return
        self.lock_lost = True
        reason = (
            f"{self._lock.path} was removed or replaced while the project was held: another process may act on it now,"
            " so everything was ended; see who removes it"
        )
        try:
            self.hub.look_at_journal()
        except JournalBrokenError as gone:  # removed together: what it held is saved all the same
            reason = f"{reason}; {gone}"
        self.hub.give_up(reason)
