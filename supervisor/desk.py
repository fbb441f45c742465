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
from supervisor.absent import is_past_session, why_absent
from supervisor.addressees import ALL, NO_SUCH_NAME, NOT_RUNNING, Addressee, find_addressees, roles_of
from supervisor.control import RefusedCallError
from supervisor.gathering import Gathering
from supervisor.journal_reader import JournalReader
from supervisor.protocol import (
    Cancel,
    Describe,
    Events,
    Named,
    Pause,
    Pid,
    Reload,
    Request,
    Restart,
    Resume,
    Retry,
    Shutdown,
    Signal,
    Skip,
    Start,
    Status,
    Stop,
    Update,
)
from supervisor.reports import Reports
from supervisor.role_orders import (
    Told,
    find_pid,
    restart_role,
    signal_number,
    signal_role,
    start_role,
    stop_role,
)
from supervisor.updating import begin_update

if TYPE_CHECKING:
    from actors.events import Record
    from actors.paths import ProjectPaths
    from actors.state import SessionState
    from supervisor.control import Source, Ticket
    from supervisor.session_run import Over, SessionRun

NOT_OF_A_ROLE: Final = "that is done to a session, not to a role"

BY_HAND: Final = "by a person, with milestonectl"
"""Who it was that paused, skipped or stopped, for people who read it later."""

HANGS: Final = "a thread of milestoned hangs: the project stays locked until this process has ended"
"""What those are told who wait for an end that does not come."""

_NONE_LIVES: Final = "no session lives here"
_BEGIN_ONE: Final = "begin one with: milestonectl start ID"

_WITH_OPTION: Final = "say which with --session, one of {}"
"""What to do where several sessions live and the names that were typed are those of tasks."""

_FAILED: Final = 1

_ENDED_WORDS: Final = {SessionStatus.INTERRUPTED: "stopped", SessionStatus.CANCELLED: "cancelled"}


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

    def restart(self, run: SessionRun, told: Told, *, wait: bool) -> None:
        """End a session in order and go on with it; answers as :meth:`begin`."""

    def cancel_past(self, name: str, told: Told) -> None:
        """End a session for good that does not live.

        Args:
            name: The session, or its milestone.
            told: Answers.
        """

    def reload(self, ticket: Ticket) -> None:
        """Read the configuration again, and answer with what came of it, a :class:`Named` for each session."""

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
        self._reports = Reports(house.paths, house.live)
        self._lock = threading.Lock()  # of what is below: asked for in one thread, answered in others
        self._waiting: dict[str, list[Told]] = {}
        self._leaving: list[Ticket] = []
        self._is_closed = False

    def answer(self, request: Request, ticket: Ticket) -> None:
        """Take a request; in the server's thread."""
        match request:
            case Status():
                ticket.done(self._status())
            case Describe():
                self._reports.describe(request, ticket)
            case Start(names=names, wait=wait):
                self._start(names, ticket, wait=wait)
            case Stop(names=names, wait=wait):
                self._each_addressee(names, ticket, functools.partial(self._stop, wait=wait))
            case Restart(names=names, wait=wait):
                self._restart_names(names, ticket, wait=wait)
            case Cancel(names=names, wait=wait):
                self._cancel_names(names, ticket, wait=wait)
            case Signal(signal=signal, names=names):
                self._signal(signal, names, ticket)
            case Pid(names=()):
                ticket.done((Named(self._house.what, 0, str(os.getpid())),))
            case Pid(names=names):
                self._each_role(names, ticket, find_pid)
            case Pause(names=names):
                event = SessionPaused(f"paused {BY_HAND}", by_hand=True)
                self._each_addressee(names, ticket, functools.partial(_state, event=event, word="paused"))
            case Resume(names=names):
                self._each_addressee(names, ticket, functools.partial(_state, event=SessionUnpaused(), word="resumed"))
            case Retry(tasks=(), session=session):
                run = self._one(session, _WITH_OPTION)
                run.look(
                    lambda state: _retry(run, _failed(state), ticket),
                    lambda: ticket.failed(NOT_RUNNING, f"session {run.session} has ended meanwhile"),
                )
            case Retry(tasks=tasks, session=session):
                _retry(self._one(session, _WITH_OPTION), tasks, ticket)
            case Skip(tasks=tasks, session=session):
                run = self._one(session, _WITH_OPTION)
                _each(run, tasks, ticket, lambda task: TaskSkipped(task, f"skipped {BY_HAND}"), "skipped")
            case Update(session=session, apply=apply):
                begin_update(self._one(session), ticket, apply=apply)
            case Reload():
                self._house.reload(ticket)
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

    def ended(self, session: str, over: Over) -> None:
        """Answer those who wait for a session's end; from any thread, once the house does not name it as living."""
        with self._lock:
            waiting = self._waiting.pop(session, ())
        for told in waiting:
            _tell_end(told, over)

    def hangs(self, why: str) -> None:
        """Answer those who wait for the end of a session, or of it all, that it has not come; from any thread.

        Args:
            why: One line.
        """
        with self._lock:
            waiting, self._waiting = self._waiting, {}
            leaving, self._leaving = self._leaving, []
        for several in waiting.values():
            for told in several:
                told(_FAILED, why)
        for ticket in leaving:
            ticket.failed(_FAILED, why)

    def closed(self) -> None:
        """Answer those who wait for the end of it all; from any thread, once the project was given back."""
        with self._lock:
            self._is_closed = True
            leaving, self._leaving = self._leaving, []
        for ticket in leaving:
            ticket.done("shut down")
        self._reports.close()

    # --- sessions ------------------------------------------------------------------------------------------------

    def _status(self) -> dict[str, object]:
        return {
            "pid": os.getpid(),
            "what": self._house.what,
            "version": self._version,
            "project": str(self._house.paths.project),
            "sessions": [run.report() for run in self._house.live()],
        }

    def _addressees(self, names: Sequence[str]) -> tuple[tuple[Addressee, ...], tuple[Named, ...]]:
        """Find what names stand for; no name stands for the only session that lives.

        Raises:
            RefusedCallError: There is no name, and not one session alone that lives.
        """
        return self._found(names or (self._one("", "name one of {}, or all").milestone.id,), self._house.live())

    def _found(
        self, names: Sequence[str], live: Sequence[SessionRun]
    ) -> tuple[tuple[Addressee, ...], tuple[Named, ...]]:
        return find_addressees(names, live, functools.partial(why_absent, self._house.paths))

    def _each_addressee(self, names: Sequence[str], ticket: Ticket, work: Callable[[Addressee, Told], None]) -> None:
        """Have something done about everything that is named, and answer when all has happened."""
        addressees, others = self._addressees(names)
        gathering = Gathering(ticket, (addressee.name for addressee in addressees), others, names)
        for addressee in addressees:
            work(addressee, functools.partial(gathering.put, addressee.name))

    def _each_role(self, names: Sequence[str], ticket: Ticket, work: Callable[[SessionRun, str, Told], None]) -> None:
        """Have something done about every child that is named, by itself or with its session."""
        addressees, others = self._addressees(names)
        roles = roles_of(addressees)
        gathering = Gathering(ticket, (addressee.name for addressee in roles), others, names)
        for addressee in roles:
            work(addressee.run, addressee.role, functools.partial(gathering.put, addressee.name))

    def _one(self, name: str, how: str = "name one of {}") -> SessionRun:
        """Return the live session of this name; ``""`` stands for the only one.

        Args:
            name: Of a session or a milestone.
            how: What to do where several live, with a place for their names.

        Raises:
            RefusedCallError: There is none, or more than one.
        """
        live = self._house.live()
        if name:
            found, others = self._found((name,), live)
            for other in others:
                raise RefusedCallError(other.code, f"{other.name}: {other.text}")
            live = tuple(dict.fromkeys(addressee.run for addressee in found))
        if not live:
            raise RefusedCallError(NOT_RUNNING, _NONE_LIVES, _BEGIN_ONE)
        if len(live) > 1:
            ids = ", ".join(run.milestone.id for run in live)
            raise RefusedCallError(protocol.USAGE, f"several sessions live: {how.format(ids)}")
        return live[0]

    def _start(self, names: Sequence[str], ticket: Ticket, *, wait: bool) -> None:
        self._refuse_all_of_nothing(names)
        live = self._house.live()
        # `all` are the children that should run and do not, as for supervisorctl: sessions that live run already.
        sessions = self._beginnable(names)
        addressees, others = self._found([name for name in names if name not in sessions], live)
        roles = tuple({addressee.name: addressee for addressee in roles_of(addressees)}.values())
        gathering = Gathering(ticket, (*sessions, *(addressee.name for addressee in roles)), others, names)
        for name in dict.fromkeys(sessions):
            told = functools.partial(gathering.put, name)
            if any(name in {run.session, run.milestone.id} and not run.is_ending for run in live):
                told(0, "already started")
            else:
                self._house.begin(name, told, wait=wait)
        for addressee in roles:
            start_role(addressee.run, addressee.role, functools.partial(gathering.put, addressee.name), wait=wait)

    def _stop(self, addressee: Addressee, told: Told, *, wait: bool) -> None:
        if addressee.role:
            stop_role(addressee.run, addressee.role, told, wait=wait)
        else:
            self._end(addressee.run, told, final=False, wait=wait)

    def _cancel_names(self, names: Sequence[str], ticket: Ticket, *, wait: bool) -> None:
        """Cancel what is named; of a session that does not live the house knows whether there is anything to end."""
        addressees, others = self._addressees(names)
        past = [one.name for one in others if one.code == NOT_RUNNING and ":" not in one.name]
        rest = [one for one in others if one.name not in past]
        gathering = Gathering(ticket, (*(addressee.name for addressee in addressees), *past), rest, names)
        for addressee in addressees:
            self._cancel(addressee, functools.partial(gathering.put, addressee.name), wait=wait)
        for name in past:
            self._house.cancel_past(name, functools.partial(gathering.put, name))

    def _cancel(self, addressee: Addressee, told: Told, *, wait: bool) -> None:
        if addressee.role:
            told(protocol.USAGE, NOT_OF_A_ROLE)
        else:
            self._end(addressee.run, told, final=True, wait=wait)

    def _refuse_all_of_nothing(self, names: Sequence[str]) -> None:
        if ALL in names and not self._house.live():
            raise RefusedCallError(NOT_RUNNING, _NONE_LIVES, _BEGIN_ONE)

    def _beginnable(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the names that stand, or may stand, for a session as a whole that lives or can be begun."""
        live = {run.session for run in self._house.live()}
        return tuple(
            name
            for name in dict.fromkeys(names)
            if ":" not in name and name != ALL and (name in live or not is_past_session(self._house.paths, name))
        )

    def _restart_names(self, names: Sequence[str], ticket: Ticket, *, wait: bool) -> None:
        """Stop what is named and start it again; a session that does not live is begun, or gone on with."""
        self._refuse_all_of_nothing(names)
        live = {name for run in self._house.live() for name in (run.session, run.milestone.id)}
        begun = [name for name in self._beginnable(names) if name not in live]
        rest = [name for name in names if name not in begun]
        addressees, others = self._addressees(rest) if rest or not begun else ((), ())
        gathering = Gathering(ticket, (*begun, *(addressee.name for addressee in addressees)), others, names)
        for name in begun:
            self._house.begin(name, functools.partial(gathering.put, name), wait=wait)
        for addressee in addressees:
            self._restart(addressee, functools.partial(gathering.put, addressee.name), wait=wait)

    def _restart(self, addressee: Addressee, told: Told, *, wait: bool) -> None:
        if addressee.role:
            restart_role(addressee.run, addressee.role, told, wait=wait)
        else:
            self._house.restart(addressee.run, told, wait=wait)

    def _signal(self, name: str, names: Sequence[str], ticket: Ticket) -> None:
        number = signal_number(name)
        if number is None:
            raise RefusedCallError(NO_SUCH_NAME, f"there is no signal {name!r}")

        def send(run: SessionRun, role: str, told: Told) -> None:
            signal_role(run, role, number, told)

        self._each_role(names, ticket, send)

    def _end(self, run: SessionRun, told: Told, *, final: bool, wait: bool) -> None:
        with self._lock:
            is_alive = run in self._house.live()  # else it has ended since it was found, and nobody tells of that again
            if is_alive and wait:
                self._waiting.setdefault(run.session, []).append(told)
        if not is_alive:
            _tell_end(told, run.over)
            return

        def durable(_: Sequence[str]) -> None:
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


def _state(addressee: Addressee, told: Told, *, event: Event, word: str) -> None:
    """State a fact about a session."""
    if addressee.role:
        told(protocol.USAGE, NOT_OF_A_ROLE)
    else:
        addressee.run.state(event, told=lambda refusals: told(*_verdict(refusals, word)))


def _retry(run: SessionRun, tasks: Sequence[str], ticket: Ticket) -> None:
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
