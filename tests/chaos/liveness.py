"""Once faults stop, everything goes on or says why not: L1 to L4.

Owns the judgement of what came of it in the end. Pure functions over a history; each yields violations.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from actors.events import ChildReady, SessionResumed, SessionStarted, SessionStatus
from tests.chaos.history import KILLED_BY_US, History
from tests.chaos.story import Session, sessions_of
from tests.chaos.violation import Violation

_OVER: Final = frozenset({SessionStatus.COMPLETED, SessionStatus.FAILED, SessionStatus.CANCELLED})
_MINUTE: Final = 60.0


def check_progress(history: History) -> Iterator[Violation]:
    """L1: a supervising process is ready in time, and every runnable task eventually runs."""
    for life in history.lives:
        if life.ready and life.ready - life.began > history.bounds.ready:
            what = f"{life.kind} {life.pid} was ready after {life.ready - life.began:.1f} s"
            yield Violation("L1", what, (life.text[-300:],))
        if life.ended and not life.ready and not life.how and life.code:
            yield Violation("L1", f"{life.kind} {life.pid} never was ready", (f"code {life.code}", life.text[-300:]))
    if not history.complete:
        return
    latest = {session.milestone.id: session for session in sessions_of(history.records).values()}
    for session in latest.values():
        if session.status not in _OVER:
            status = "without an end" if session.status is None else session.status.value
            yield Violation("L1", f"{session.id} is {status}: {session.paused or session.reason}", _tail(session))
        elif session.status is not SessionStatus.CANCELLED:
            yield from _left_alone(session)


def _tail(session: Session) -> tuple[str, ...]:
    return tuple(told.line for told in session.facts[-8:])


def _left_alone(session: Session) -> Iterator[Violation]:
    done = session.completed.keys() | session.before
    for task in session.milestone.tasks:
        if task.id in done or task.id in session.failed or task.id in session.skipped or task.id in session.cancelled:
            continue
        if all(needed in done for needed in task.depends_on):
            yield Violation("L1", f"{task.id} could run and never did, in {session.id}", _tail(session))


def check_named(history: History) -> Iterator[Violation]:
    """L2: whatever is stuck is named: to the journal, and to whoever asks for the status."""
    for session in sessions_of(history.records).values():
        shown = history.stuck.get(session.id)
        for task, reason in session.failed.items():
            if not reason.strip():
                yield Violation("L2", f"{task} of {session.id} failed without a reason", _tail(session))
            if shown is not None and task not in shown:
                yield Violation("L2", f"{task} of {session.id} failed, and the status does not name it", (shown,))
        if session.status in {SessionStatus.FAILED, SessionStatus.BLOCKED} and not (session.reason or session.failed):
            yield Violation("L2", f"{session.id} is {session.status.value} and does not say why", _tail(session))
        for told in session.facts:
            if type(told.event).__name__ == "SessionPaused" and not told.event.reason.strip():  # type: ignore[union-attr]
                yield Violation("L2", f"{session.id} was paused without a reason", (told.line,))


def check_stops(history: History) -> Iterator[Violation]:
    """L3: a stop ends within the grace and some."""
    most = history.bounds.grace + history.bounds.stop
    for life in history.lives:
        if life.asked and life.ended and life.how != KILLED_BY_US and life.ended - life.asked > most:
            what = f"{life.kind} {life.pid} took {life.ended - life.asked:.1f} s to stop, {most:.1f} s are promised"
            yield Violation("L3", what, (life.text[-300:],))


def check_storms(history: History) -> Iterator[Violation]:
    """L4: restarts converge: in a minute of one life of a session no more of them than the budget allows."""
    servers = sum("fork_server" in fault.who for fault in history.faults if fault.kind in {"kill", "stop"})
    most = history.bounds.restarts + 6 * servers
    for session in sessions_of(history.records).values():
        recent: deque[float] = deque()
        for told in session.facts:
            match told.event:
                case SessionStarted() | SessionResumed():
                    recent.clear()
                case ChildReady(restarts=restarts) if restarts:
                    recent.append(told.record.mono)
                    while recent[0] < told.record.mono - _MINUTE:
                        recent.popleft()
                    if len(recent) > most:
                        what = f"{len(recent)} restarts within a minute in {session.id}, {most} are allowed"
                        yield Violation("L4", what, (told.line,))
                        recent.clear()
                case _:
                    pass
