"""Answers what clients ask of a run: one session, supervised by this process.

What a verb wants becomes a fact in the journal, which the roles act on like on any other; the answer is given when the
fact is durable, or, for what ends the session, when nothing of it lives. So an order that was answered survives the
death of anything.

Answering happens in the control server's thread, what it leads to is heard in the hub's. Refuses to know sockets, and
how anything is shown.
"""

from __future__ import annotations

import functools
import itertools
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, assert_never

import attrs

from actors.events import Event, SessionPaused, SessionStatus, SessionUnpaused, TaskRetried, TaskSkipped
from actors.problems import closest, did_you_mean
from actors.state import Phase
from supervisor import protocol
from supervisor.control import RefusedCallError
from supervisor.journal_reader import JournalReader
from supervisor.protocol import Cancel, Events, Named, Pause, Request, Resume, Retry, Skip, Status, Stop

if TYPE_CHECKING:
    from actors.events import Record
    from actors.paths import ProjectPaths
    from actors.state import SessionState
    from supervisor.control import Source, Ticket
    from supervisor.run import MilestoneRun, Over

ALL: Final = "all"

NO_SUCH_NAME: Final = 1
NOT_RUNNING: Final = 7
"""Exit codes as of ``supervisorctl`` (reference: supervisorctl, section 1)."""

BY_HAND: Final = "by a person, with milestonectl"
"""Who it was that paused, skipped or stopped, for people who read it later."""

_ENDED_WORDS: Final = {SessionStatus.INTERRUPTED: "stopped", SessionStatus.CANCELLED: "cancelled"}


@attrs.frozen
class _Waiting:
    ticket: Ticket
    names: tuple[str, ...]
    others: tuple[Named, ...]


class RunDesk:
    """The desk (:class:`supervisor.control.Desk`) of a run.

    Args:
        run: Not closed before the server that asks us is.
        what: What this process is (``milestonectl run milestone-001``).
        version: Of the distribution.
    """

    def __init__(self, run: MilestoneRun, what: str, version: str) -> None:
        self._run = run
        self._what = what
        self._version = version
        self._lock = threading.Lock()  # of the two below: answers are asked for in one thread and given in another
        self._waiting: list[_Waiting] = []
        self._over: Over | None = None

    def answer(self, request: Request, ticket: Ticket) -> None:
        """Take a request; in the server's thread."""
        match request:
            case Status():
                ticket.done(self._status())
            case Stop(names=names, wait=wait):
                self._end(names, ticket, final=False, wait=wait)
            case Cancel(names=names, wait=wait):
                self._end(names, ticket, final=True, wait=wait)
            case Pause(names=names):
                self._state(names, ticket, SessionPaused(f"paused {BY_HAND}"), "paused")
            case Resume(names=names):
                self._state(names, ticket, SessionUnpaused(), "resumed")
            case Retry(tasks=(), session=session):
                self._require(session)
                self._run.look(lambda state: self._retry(_failed(state), ticket))
            case Retry(tasks=tasks, session=session):
                self._require(session)
                self._retry(tasks, ticket)
            case Skip(tasks=tasks, session=session):
                self._require(session)
                self._each(tasks, ticket, lambda task: TaskSkipped(task, f"skipped {BY_HAND}"), "skipped")
            case Events():
                raise RefusedCallError(protocol.USAGE, "events are followed, not answered")
            case _:
                assert_never(request)

    def follow(self, request: Events) -> Source:
        """Return where records come from; in the server's thread."""
        if request.session:
            self._require(request.session)
        return _Journal(self._run.paths, self._run.session, lambda: self._over is not None)

    def ended(self, over: Over) -> None:
        """Answer those who wait for the end; from any thread, once nothing of the session lives."""
        with self._lock:
            self._over = over
            waiting, self._waiting = self._waiting, []
        for one in waiting:
            self._tell_ended(one, over)

    # --- the session as a whole ----------------------------------------------------------------------------------

    @property
    def _names(self) -> tuple[str, ...]:
        return (self._run.session, self._run.milestone.id)

    def _status(self) -> dict[str, object]:
        session = {"id": self._run.session, "milestone_id": self._run.milestone.id}
        return {
            "pid": os.getpid(),
            "what": self._what,
            "version": self._version,
            "project": str(self._run.paths.project),
            "sessions": [session],
        }

    def _split(self, names: Sequence[str]) -> tuple[tuple[str, ...], tuple[Named, ...]]:
        """Part names that stand for our session from those that stand for nothing."""
        asked = tuple(dict.fromkeys(names)) or (self._run.milestone.id,)
        ours = tuple(name for name in asked if name in {*self._names, ALL})
        others = (name for name in asked if name not in ours)
        hint = {name: did_you_mean(closest(name, self._names)) for name in asked}
        return ours, tuple(Named(name, NO_SUCH_NAME, f"no such session{hint[name]}") for name in others)

    def _require(self, session: str) -> None:
        ours, others = self._split((session,) if session else ())
        if not ours:
            raise RefusedCallError(NO_SUCH_NAME, *(f"{one.name}: {one.text}" for one in others))

    def _state(self, names: Sequence[str], ticket: Ticket, event: Event, word: str) -> None:
        ours, others = self._split(names)
        if not ours:
            ticket.done(others)
            return

        def told(refusals: Sequence[str]) -> None:
            code, text = _verdict(refusals, word)
            ticket.done((*others, *(Named(name, code, text) for name in ours)))

        self._run.state(event, told=told)

    def _end(self, names: Sequence[str], ticket: Ticket, *, final: bool, wait: bool) -> None:
        ours, others = self._split(names)
        if not ours:
            ticket.done(others)
            return
        waiting = _Waiting(ticket, ours, others)
        with self._lock:
            over = self._over
            if over is None and wait:
                self._waiting.append(waiting)
        if over is not None:
            self._tell_ended(waiting, over)
            return

        def told(_: Sequence[str]) -> None:
            if not wait:
                ticket.done((*others, *(Named(name, 0, "ending") for name in ours)))

        self._run.request_stop(f"{'cancelled' if final else 'stopped'} {BY_HAND}", final=final, told=told)

    def _tell_ended(self, waiting: _Waiting, over: Over) -> None:
        text = _ENDED_WORDS.get(over.status, over.status.value)
        waiting.ticket.done((*waiting.others, *(Named(name, 0, text) for name in waiting.names)))

    # --- tasks ---------------------------------------------------------------------------------------------------

    def _retry(self, tasks: Sequence[str], ticket: Ticket) -> None:
        self._each(tasks, ticket, TaskRetried, "to be attempted again")

    def _each(self, tasks: Sequence[str], ticket: Ticket, make: Callable[[str], Event], word: str) -> None:
        """State a fact for each task, and answer when all are durable; all of this in the order of the names."""
        named = tuple(dict.fromkeys(tasks))
        results: dict[str, Named] = {}
        if not named:
            ticket.done(())

        def told(task: str, refusals: Sequence[str]) -> None:
            code, text = _verdict(refusals, word)
            known = self._run.milestone.by_id
            hint = "" if task in known else did_you_mean(closest(task, known))
            results[task] = Named(task, code, text + hint)
            if len(results) == len(named):
                ticket.done(tuple(results[one] for one in named))

        for task in named:
            self._run.state(make(task), told=functools.partial(told, task))


class _Journal:
    """Records of a session as the journal has them (:class:`supervisor.control.Source`)."""

    def __init__(self, paths: ProjectPaths, session: str, over: Callable[[], bool]) -> None:
        self._reader = JournalReader.open(paths.state_db)
        self._session = session
        self._is_over = over

    def page(self, after: int, most: int) -> Sequence[Record]:
        return tuple(itertools.islice(self._reader.records(self._session, after), most))

    def is_over(self) -> bool:
        return self._is_over()

    def close(self) -> None:
        self._reader.close()


def _failed(state: SessionState) -> tuple[str, ...]:
    return tuple(key for key, task in state.tasks.items() if task.phase is Phase.FAILED)


def _verdict(refusals: Sequence[str], word: str) -> tuple[int, str]:
    """Return exit code and text: the word when it was admitted, else why not."""
    if not refusals:
        return 0, word
    return NO_SUCH_NAME, refusals[0].partition(": ")[2] or refusals[0]
