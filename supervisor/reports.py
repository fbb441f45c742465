"""Answers what `milestonectl status` shows, in the process that supervises, from what that has in memory.

A thread of its own, which is started by the first question: a session with many tasks takes a while to be written down,
and neither the hub nor the other clients wait for that. A session that lives is a copy of the hub's fold, taken in the
hub's thread, so an order that was answered is seen; what is over is folded from the journal once and kept.

Owns the thread and the copies. Refuses to know what is concluded (:mod:`supervisor.sessions`) and who asks.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from typing import TYPE_CHECKING, Final

from actors.state import decode_state, encode_state
from supervisor.finding import completed_ids, known_ids
from supervisor.journal_errors import JournalError
from supervisor.selection import select
from supervisor.sessions import InMemory, Sessions, SessionView, Shown, open_journal
from supervisor.shortage import refusal, starting_threads
from supervisor.status_document import document

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import msgspec

    from actors.paths import ProjectPaths
    from actors.state import SessionState
    from supervisor.control import Ticket
    from supervisor.protocol import Describe
    from supervisor.session_run import SessionRun

LOOK_SECONDS: Final = 3.0
"""Longest wait for the hub to let its fold be looked at; who asks has the journal to look into himself."""

MOST_KEPT: Final = 12_000
"""How much is kept in memory of sessions that are over: each of their tasks counts 1, each session ``OVERHEAD``."""

OVERHEAD: Final = 20
"""What a session counts beside its tasks: thousands of small ones would else be kept."""

_BUSY: Final = 75
_BROKEN: Final = 70
_UNREADABLE: Final = 78
_CLOSE_SECONDS: Final = 5.0
_LOOK_AGAIN: Final = 0.2


class Kept(dict[tuple[str, int], SessionView]):
    """Sessions that are over, by id and last event: the latest ones, and no more than ``MOST_KEPT`` of them.

    Who asks for all asks in the same order each time, so that to keep what was asked for last would be to keep nothing.
    """

    def __setitem__(self, key: tuple[str, int], view: SessionView) -> None:
        """Keep a session instead of what it was before it was resumed, and let go of those that ended first."""
        for former in [kept for kept in self if kept[0] == key[0]]:
            del self[former]
        super().__setitem__(key, view)
        while self and sum(OVERHEAD + len(one.state.tasks) for one in self.values()) > MOST_KEPT:
            del self[min(self, key=lambda kept: kept[1])]


class Reports:
    """Describes the sessions of a project to whoever asks.

    Args:
        paths: The project.
        live: Returns the sessions that live; may be called from any thread.
    """

    def __init__(self, paths: ProjectPaths, live: Callable[[], Sequence[SessionRun]]) -> None:
        self._paths = paths
        self._live = live
        self._asked: queue.SimpleQueue[tuple[Describe, Ticket] | None] = queue.SimpleQueue()
        self._ended = Kept()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    def describe(self, request: Describe, ticket: Ticket) -> None:
        """Take a question; in the control server's thread."""
        if self._closing.is_set():
            ticket.failed(_BUSY, "the supervising process ends")
            return
        try:
            if self._thread is None:
                self._thread = self._started()
        except OSError as error:
            ticket.failed(_BUSY, refusal(error))
        else:
            self._asked.put((request, ticket))

    def close(self) -> None:
        """End the thread; from any thread but its own."""
        self._closing.set()
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join(_CLOSE_SECONDS)

    def _started(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="reports", daemon=True)
        with starting_threads():
            thread.start()
        return thread

    # --- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (asked := self._asked.get()) is not None:
            request, ticket = asked
            try:
                ticket.done(self._described(request))
            except TimeoutError as error:
                ticket.failed(_BUSY, str(error))
            except JournalError as error:
                ticket.failed(_UNREADABLE, str(error))
            except Exception as error:  # noqa: BLE001 - a defect behind one question must not end the thread
                ticket.failed(_BROKEN, f"a defect of milestoned: {type(error).__name__}: {error}")

    def _described(self, request: Describe) -> dict[str, object]:
        memory = {run.session: copy for run in self._live() if (copy := self._copy(run)) is not None}
        journal = open_journal(self._paths)
        try:
            sessions = Sessions(self._paths, journal, memory, self._ended)
            now = time.time()  # noqa: TID251 - shown to people
            active, completed = known_ids(self._paths), completed_ids(self._paths)
            answer = select(
                self._paths.project, sessions, request.names, now, active, completed, everything=request.everything
            )
            return document(answer)
        finally:
            if journal is not None:
                journal.close()

    def _copy(self, run: SessionRun) -> InMemory | None:
        """Copy the fold of a session that lives; ``None`` when it has ended meanwhile.

        Raises:
            TimeoutError: The hub has other things to do, or has ended.
        """
        copied: queue.SimpleQueue[msgspec.Raw] = queue.SimpleQueue()

        def look(state: SessionState) -> None:
            copied.put(encode_state(state))

        raw: msgspec.Raw | None = None
        deadline = time.monotonic() + LOOK_SECONDS
        while raw is None:
            if run not in self._live():
                return None
            if self._closing.is_set() or time.monotonic() >= deadline:
                raise TimeoutError(f"{run.session} cannot be looked at now")
            run.look(look)  # again and again: a hub that has not taken the session up yet does not remember who asked
            with contextlib.suppress(queue.Empty):
                raw = copied.get(timeout=_LOOK_AGAIN)
        roles = run.report().roles
        shown = {one.role: Shown(one.state, one.pid, one.cpu_percent, one.rss_bytes) for one in roles}
        return InMemory(decode_state(raw), shown)
