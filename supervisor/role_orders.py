"""What an operator may want of a role, or the runner, of a live session: stop, start, restart, a signal, its pid.

A stop is journaled before it happens, so that it holds over other lives of the session, and so is its end. Each is
answered when it has happened: the process and all that it left behind are gone, or the child has said that it is ready.

Runs in the control server's thread, answers from others. Refuses to know names and sockets.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from actors.events import ChildHeld, ChildReleased
from supervisor.addressees import NOT_RUNNING
from supervisor.core_effects import Done, Refusal, Refused, Result, Started
from supervisor.core_events import RestartChild, TerminateChild
from supervisor.exits import describe

if TYPE_CHECKING:
    from supervisor.session_run import SessionRun

Told = Callable[[int, str], None]
"""Is called once, from any thread, with an exit code and a word or why not; must not block."""

FAILED: Final = 1
"""Exit code as of ``supervisorctl`` (reference: supervisorctl, section 1)."""

_ALREADY: Final = frozenset({Refusal.RUNNING, Refusal.RESTARTING, Refusal.ALREADY_STARTED})


def stop_role(run: SessionRun, role: str, told: Told, *, wait: bool) -> None:
    """Stop a child, and keep it so."""

    def durable(refusals: Sequence[str]) -> None:
        if refusals:
            told(0, "not running")
            return
        if not wait:
            told(0, "ending")
        run.order(lambda at, number: TerminateChild(at, number, role), gone)

    def gone(result: Result) -> None:
        told(*_verdict(result, "stopped"))

    run.state(ChildHeld(role), told=durable)


def start_role(run: SessionRun, role: str, told: Told, *, wait: bool) -> None:
    """Start a child that was stopped, or given up."""

    def durable(_: Sequence[str]) -> None:
        if not wait:
            told(0, "starting")
        _start(run, role, told)

    run.state(ChildReleased(role), told=durable)


def restart_role(run: SessionRun, role: str, told: Told, *, wait: bool) -> None:
    """Stop a child and start it again; it is not held meanwhile: whoever takes the session up starts it too."""

    def gone(result: Result) -> None:
        if isinstance(result, Refused):
            told(*_verdict(result, ""))
        else:
            start_role(run, role, told, wait=wait)

    if not wait:
        told(0, "restarting")
    run.order(lambda at, number: TerminateChild(at, number, role), gone)


def signal_role(run: SessionRun, role: str, number: int, told: Told) -> None:
    """Send a signal to a child's process."""

    def sent(was_there: bool) -> None:  # noqa: FBT001 - as the hub tells it
        told(*((0, "signalled") if was_there else (NOT_RUNNING, "not running")))

    run.project.hub.signal(run.session, role, number, sent)


def find_pid(run: SessionRun, role: str, told: Told) -> None:
    """Find the process of a child; without one it is 0, with the exit code that says so."""
    run.project.hub.find_pid(run.session, role, lambda pid: told(0 if pid else NOT_RUNNING, str(pid)))


def signal_number(name: str) -> int | None:
    """Return the number of a signal (``HUP``, ``sighup``, ``1``); ``None`` when there is no such."""
    text = name.upper()
    if text.isascii() and text.isdigit():
        return next((number for number in signal.valid_signals() if str(number) == text.lstrip("0")), None)
    found = signal.Signals.__members__.get(text if text.startswith("SIG") else f"SIG{text}")
    return None if found is None else found.value


def _start(run: SessionRun, role: str, told: Told) -> None:
    def answered(result: Result) -> None:
        if isinstance(result, Refused) and result.why is Refusal.START_FAILED:
            # It stays down now: say so, or whoever takes the session up would not know.
            run.state(ChildHeld(role), told=lambda _: told(*_verdict(result, "")))
        else:
            told(*_verdict(result, "started"))

    run.order(lambda at, number: RestartChild(at, number, role), answered)


def _verdict(result: Result, word: str) -> tuple[int, str]:
    match result:
        case Started() | Done():
            return 0, word
        case Refused(why=why) if why in _ALREADY:
            return 0, "already started"
        case Refused(why=Refusal.START_FAILED, reason=reason):
            return NOT_RUNNING, f"spawn error: {describe(reason)}" if reason is not None else "spawn error"
        case Refused(why=why):
            return FAILED, why.value
