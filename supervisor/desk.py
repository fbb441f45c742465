"""Answers what clients ask of whoever supervises a project: a daemon, or a run of one session.

What a verb wants becomes a fact in the journal, which the roles act on like on any other; the answer is given when the
fact is durable, or, for what begins or ends a session, when that has happened. So an order that was answered survives
the death of anything.

Answering happens in the control server's thread, what it leads to is heard in others. Refuses to know sockets, and
how anything is shown.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, Protocol, assert_never

from actors.events import Event, SessionPaused, SessionStatus, SessionUnpaused, TaskRetried, TaskSkipped
from actors.problems import closest, did_you_mean
from actors.state import Phase
from supervisor import protocol
from supervisor.control import RefusedCallError
from supervisor.gathering import Gathering
from supervisor.journal_reader import JournalReader
from supervisor.protocol import (
    Cancel,
    Events,
    Named,
    Pause,
    Request,
    Resume,
    Retry,
    Shutdown,
    Skip,
    Start,
    Status,
    Stop,
)

if TYPE_CHECKING:
    from actors.events import Record
    from actors.paths import ProjectPaths
    from actors.state import SessionState
    from supervisor.control import Source, Ticket
    from supervisor.session_run import Over, SessionRun

ALL: Final = "all"

NO_SUCH_NAME: Final = 1
NOT_RUNNING: Final = 7
"""Exit codes as of ``supervisorctl`` (reference: supervisorctl, section 1)."""

BY_HAND: Final = "by a person, with milestonectl"
"""Who it was that paused, skipped or stopped, for people who read it later."""

_ENDED_WORDS: Final = {SessionStatus.INTERRUPTED: "stopped", SessionStatus.CANCELLED: "cancelled"}

Told = Callable[[int, str], None]
"""Is called once, from any thread, with an exit code and a word or why not; must not block."""


class House(Protocol):
    """Who supervises the project; called in the control server's thread, never blocks."""

    @property
    def what(self) -> str:
        """What this process is (``milestonectl run milestone-001``)."""

    @property
    def paths(self) -> ProjectPaths:
        """Of the project."""

    def live(self) -> Sequence[SessionRun]:
        """Return the sessions that live now."""

    def begin(self, milestone_id: str, told: Told, *, wait: bool) -> None:
        """Begin a session of a milestone, or go on with its unfinished one.

        Args:
            milestone_id: Which one.
            told: Answers.
            wait: Answer when its children are ready; else when its beginning is journaled.
        """

    def shut_down(self, reason: str) -> None:
        """End this process in order."""


class ProjectDesk:
    """The desk (:class:`supervisor.control.Desk`) of a project.

    Args:
        house: Not gone before the server that asks us is.
        version: Of the distribution.
    """

    def __init__(self, house: House, version: str) -> None:
        self._house = house
        self._version = version
        self._lock = threading.Lock()  # of what is below: asked for in one thread, answered in others
        self._waiting: dict[str, list[Told]] = {}
        self._ends: dict[str, Over] = {}
        self._leaving: list[Ticket] = []
        self._is_closed = False

    def answer(self, request: Request, ticket: Ticket) -> None:
        """Take a request; in the server's thread."""
        match request:
            case Status():
                ticket.done(self._status())
            case Start(names=names, wait=wait):
                gathering = Gathering(ticket, names)
                for name in gathering.names:
                    self._begin(name, functools.partial(gathering.put, name), wait=wait)
            case Stop(names=names, wait=wait):
                self._end(names, ticket, final=False, wait=wait)
            case Cancel(names=names, wait=wait):
                self._end(names, ticket, final=True, wait=wait)
            case Pause(names=names):
                self._state(names, ticket, SessionPaused(f"paused {BY_HAND}", by_hand=True), "paused")
            case Resume(names=names):
                self._state(names, ticket, SessionUnpaused(), "resumed")
            case Retry(tasks=(), session=session):
                run = self._one(session)
                run.look(lambda state: self._retry(run, _failed(state), ticket))
            case Retry(tasks=tasks, session=session):
                self._retry(self._one(session), tasks, ticket)
            case Skip(tasks=tasks, session=session):
                run = self._one(session)
                _each(run, tasks, ticket, lambda task: TaskSkipped(task, f"skipped {BY_HAND}"), "skipped")
            case Shutdown(wait=wait):
                self._shut_down(ticket, wait=wait)
            case Events():
                raise RefusedCallError(protocol.USAGE, "events are followed, not answered")
            case _:
                assert_never(request)

    def follow(self, request: Events) -> Source:
        """Return where records come from; in the server's thread."""
        if not request.session:
            return _Journal(self._house.paths, None, lambda: self._is_closed)
        session = self._one(request.session).session
        return _Journal(self._house.paths, session, lambda: session not in {run.session for run in self._house.live()})

    def began(self, session: str) -> None:
        """Take notice of a session that lives now; from any thread."""
        with self._lock:
            self._ends.pop(session, None)

    def ended(self, session: str, over: Over) -> None:
        """Answer those who wait for a session's end; from any thread, once nothing of it lives."""
        with self._lock:
            self._ends[session] = over
            waiting = self._waiting.pop(session, ())
        for told in waiting:
            _tell_end(told, over)

    def closed(self) -> None:
        """Answer those who wait for the end of it all; from any thread, once the project was given back."""
        with self._lock:
            self._is_closed = True
            leaving, self._leaving = self._leaving, []
        for ticket in leaving:
            ticket.done("shut down")

    # --- sessions ------------------------------------------------------------------------------------------------

    def _status(self) -> dict[str, object]:
        sessions = [{"id": run.session, "milestone_id": run.milestone.id} for run in self._house.live()]
        return {
            "pid": os.getpid(),
            "what": self._house.what,
            "version": self._version,
            "project": str(self._house.paths.project),
            "sessions": sessions,
        }

    def _split(self, names: Sequence[str]) -> tuple[dict[str, SessionRun], tuple[Named, ...]]:
        """Part names that stand for a live session, or several, from those that stand for nothing.

        Raises:
            RefusedCallError: There is no name, and not one session alone that lives.
        """
        live = self._house.live()
        if not names:
            run = self._one("")
            return {run.milestone.id: run}, ()
        known = {name: run for run in live for name in (run.session, run.milestone.id)}
        found: dict[str, SessionRun] = {}
        others: list[Named] = []
        for name in names:
            if name == ALL:
                found |= {run.milestone.id: run for run in live}
            elif name in known:
                found[name] = known[name]
            else:
                others.append(Named(name, NO_SUCH_NAME, f"no such session{did_you_mean(closest(name, known))}"))
        return found, tuple(others)

    def _one(self, name: str) -> SessionRun:
        """Return the live session of this name; ``""`` stands for the only one.

        Raises:
            RefusedCallError: There is none, or more than one.
        """
        live = self._house.live()
        if name:
            found, others = self._split((name,))
            for other in others:
                raise RefusedCallError(other.code, f"{other.name}: {other.text}")
            live = tuple(found.values())
        if not live:
            raise RefusedCallError(NOT_RUNNING, "no session lives here", "begin one with: milestonectl start ID")
        if len(live) > 1:
            ids = ", ".join(run.milestone.id for run in live)
            raise RefusedCallError(protocol.USAGE, f"several sessions live: name one of {ids}, or all")
        return live[0]

    def _begin(self, name: str, told: Told, *, wait: bool) -> None:
        for run in self._house.live():
            if name in {run.session, run.milestone.id}:
                told(0, "already started")
                return
        self._house.begin(name, told, wait=wait)

    def _state(self, names: Sequence[str], ticket: Ticket, event: Event, word: str) -> None:
        found, others = self._split(names)
        gathering = Gathering(ticket, found, others)
        for name, run in found.items():

            def told(refusals: Sequence[str], name: str = name) -> None:
                gathering.put(name, *_verdict(refusals, word))

            run.state(event, told=told)

    def _end(self, names: Sequence[str], ticket: Ticket, *, final: bool, wait: bool) -> None:
        found, others = self._split(names)
        gathering = Gathering(ticket, found, others)
        for name, run in found.items():
            told = functools.partial(gathering.put, name)
            with self._lock:
                over = self._ends.get(run.session)
                if over is None and wait:
                    self._waiting.setdefault(run.session, []).append(told)
            if over is not None:
                _tell_end(told, over)
                continue

            def durable(_: Sequence[str], told: Told = told) -> None:
                if not wait:
                    told(0, "ending")

            run.request_stop(f"{'cancelled' if final else 'stopped'} {BY_HAND}", final=final, told=durable)

    def _shut_down(self, ticket: Ticket, *, wait: bool) -> None:
        if wait:
            with self._lock:
                self._leaving.append(ticket)
        else:
            ticket.done("ending")
        self._house.shut_down(f"shut down {BY_HAND}")

    # --- tasks ---------------------------------------------------------------------------------------------------

    def _retry(self, run: SessionRun, tasks: Sequence[str], ticket: Ticket) -> None:
        _each(run, tasks, ticket, TaskRetried, "to be attempted again")


def _each(run: SessionRun, tasks: Iterable[str], ticket: Ticket, make: Callable[[str], Event], word: str) -> None:
    """State a fact for each task, and answer when all are durable; all of this in the order of the names."""
    gathering = Gathering(ticket, tasks)

    def told(task: str, refusals: Sequence[str]) -> None:
        code, text = _verdict(refusals, word)
        known = run.milestone.by_id
        hint = "" if task in known else did_you_mean(closest(task, known))
        gathering.put(task, code, text + hint)

    for task in gathering.names:
        run.state(make(task), told=functools.partial(told, task))


class _Journal:
    """Records as the journal has them (:class:`supervisor.control.Source`), of a session or of all."""

    def __init__(self, paths: ProjectPaths, session: str | None, over: Callable[[], bool]) -> None:
        self._reader = JournalReader.open(paths.state_db)
        self._session = session
        self._is_over = over

    def page(self, after: int, most: int) -> Sequence[Record]:
        return tuple(itertools.islice(self._reader.records(self._session, after), most))

    def is_over(self) -> bool:
        return self._is_over()

    def close(self) -> None:
        self._reader.close()


def _tell_end(told: Told, over: Over) -> None:
    told(0, _ENDED_WORDS.get(over.status, over.status.value))


def _failed(state: SessionState) -> tuple[str, ...]:
    return tuple(key for key, task in state.tasks.items() if task.phase is Phase.FAILED)


def _verdict(refusals: Sequence[str], word: str) -> tuple[int, str]:
    """Return exit code and text: the word when it was admitted, else why not."""
    if not refusals:
        return 0, word
    return NO_SUCH_NAME, refusals[0].partition(": ")[2] or refusals[0]
