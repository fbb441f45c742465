"""A project in a host program: held while runs of the program need it, by one thread, however many they are.

The first run that asks for a project opens it, and its control socket with it; those that come meanwhile join in; with
the end of the last one everything is given back. Once its journal can no longer be written every run is told so at
once, and for who comes next the project is opened anew. Owns the table of this process's projects, and the beginning
and the end of their sessions. Refuses to know who waits for what, and how.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from supervisor.addressees import NOT_RUNNING
from supervisor.beginning import BROKEN, HELD, IO_ERROR, RunRefusedError, Wish
from supervisor.control import ControlServer
from supervisor.control_socket import bind_control
from supervisor.desk import HANGS, ProjectDesk
from supervisor.distributions import own_version
from supervisor.notices import Escalated, FactRefused, Recorded, Troubled
from supervisor.project import Project
from supervisor.session_run import Over, RunNotice, SessionRun
from supervisor.shortage import refusal, starting_threads

if TYPE_CHECKING:
    from pathlib import Path

    from actors.events import Record
    from actors.paths import ProjectPaths
    from supervisor.control import Ticket
    from supervisor.role_orders import Told

END_SECONDS: Final = 15.0
"""Longest time that the journal's thread has to end."""

_LOCK = threading.Lock()  # of the table, and of who counts on what stands there
_TABLE: Final[dict[Path, SharedProject]] = {}


class Client(Protocol):
    """Who asked for a session; called in the threads of the project, must not block."""

    def started(self, run: SessionRun) -> None:
        """Take notice that the session's beginning is journaled."""

    def refused(self, error: RunRefusedError) -> None:
        """Take notice that it cannot begin, or that there is nothing to do; nothing of it lives."""

    def recorded(self, seq: int) -> None:
        """Take notice that events were journaled, up to this one."""

    def ended(self, over: Over) -> None:
        """Take notice that it has ended; nothing of it lives."""


@attrs.frozen
class _Held:
    """What a project has while it is open."""

    project: Project
    desk: ProjectDesk
    server: ControlServer


class SharedProject(threading.Thread):
    """A project that this process holds; the :class:`supervisor.desk.House` of its control socket.

    Args:
        paths: Of the project.
        former: Held it before, and may not have given it back yet.

    Attributes:
        users: Runs that count on it; changed under the table's lock.
    """

    def __init__(self, paths: ProjectPaths, former: SharedProject | None) -> None:
        super().__init__(name="project", daemon=True)
        self.users = 0
        self._is_left = False
        self._paths = paths
        self._former = former
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._runs: dict[str, SessionRun] = {}  # replaced as a whole: other threads read it
        self._clients: dict[str, Client] = {}
        self._held: _Held | None = None

    @classmethod
    def join_in(cls, paths: ProjectPaths) -> SharedProject:
        """Return the project as this process holds it, or is about to; to be begun in, once.

        Raises:
            OSError: The system lets no more threads be started.
        """
        with _LOCK:
            found = _TABLE.get(paths.project)
            if found is None or not found.users:
                found = cls(paths, found)
                with starting_threads():
                    found.start()
                _TABLE[paths.project] = found
            found.users += 1
        return found

    # --- from any thread -----------------------------------------------------------------------------------------

    def begin_session(self, wish: Wish, client: Client) -> None:
        """Begin a session, or the next life of one; the client is told what came of it."""
        self._calls.put(functools.partial(self._begin, wish, client))

    @property
    def is_left(self) -> bool:
        """Whether nobody counts on it any more and it was given back: its thread ends at once."""
        return self._is_left

    def disown(self) -> None:
        """Let go of everything, in a process that was forked from ours: our end is to be seen by who looks for it."""
        if self._held is not None:
            self._held.project.disown()
            self._held.server.disown()

    # --- the house, in the control server's thread ---------------------------------------------------------------

    @property
    def what(self) -> str:
        """What this process is."""
        return f"a program that embeds milestoned (process {os.getpid()})"

    @property
    def paths(self) -> ProjectPaths:
        """Of the project."""
        return self._paths

    def live(self) -> tuple[SessionRun, ...]:
        """Return the sessions that live now."""
        return tuple(self._runs.values())

    def begin(self, milestone_id: str, told: Told, *, wait: bool) -> None:  # noqa: ARG002 - as the house has it
        """Refuse: what begins here is what the program begins."""
        told(HELD, f"{self.what} holds this project, and begins its own milestones")

    def restart(self, run: SessionRun, told: Told, *, wait: bool) -> None:  # noqa: ARG002 - as the house has it
        """Refuse, likewise."""
        told(HELD, f"{self.what} began this session: stop it, and let the program begin it again")

    def cancel_past(self, name: str, told: Told) -> None:
        """Refuse, likewise."""
        told(NOT_RUNNING, f"{name} does not live; it can be cancelled when {self.what} has given the project back")

    def reload(self, ticket: Ticket) -> None:
        """Refuse, likewise."""
        ticket.failed(HELD, f"{self.what} holds this project, with the settings that it was given")

    def shut_down(self, reason: str) -> None:
        """End all sessions; the program itself is not ours to end."""
        for run in self.live():
            run.request_stop(reason)

    # --- in the project's thread ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Do what is asked for, until nobody counts on the project any more."""
        if self._former is not None:
            self._former.join()
            self._former = None
        while True:
            self._calls.get()()
            with _LOCK:
                if not self.users:
                    if _TABLE.get(self._paths.project) is self:  # and not who takes it next
                        del _TABLE[self._paths.project]
                    break

    def _begin(self, wish: Wish, client: Client) -> None:
        held = self._held
        if held is not None and held.project.hub.failure is not None:
            held.project.end(END_SECONDS)  # then the ends of its sessions wait in the queue: they come first
            if self._runs:
                self.begin_session(wish, client)
                return
            self._close()
        try:
            run = self._begun(wish, client)
        except RunRefusedError as error:
            self._leave(functools.partial(client.refused, error))
        except OSError as error:
            line = f"{self._paths.milestones} cannot be used: {refusal(error)}"
            self._leave(functools.partial(client.refused, RunRefusedError(IO_ERROR, line)))
        except Exception as error:  # noqa: BLE001 - our own code is broken: who waits is told, and the thread goes on
            _log().exception("milestone %s could not begin", wish.milestone_id)
            line = f"beginning {wish.milestone_id} failed, by a fault of milestoned itself: {error!r}"
            self._leave(functools.partial(client.refused, RunRefusedError(BROKEN, line)))
        else:
            client.started(run)
            for warning in run.warnings:
                _log().warning("milestone %s: %s", wish.milestone_id, warning)

    def _begun(self, wish: Wish, client: Client) -> SessionRun:
        for live in self.live():
            if live.milestone.id == wish.milestone_id:
                raise RunRefusedError(HELD, f"this program runs {wish.milestone_id} already, as {live.session}")
        held = self._opened(wish)
        beginning = held.project.begin(wish)
        run = SessionRun(held.project, beginning, functools.partial(self._notified, beginning.session, client))
        self._clients = {**self._clients, run.session: client}
        self._runs = {**self._runs, run.session: run}
        try:
            run.start()
        except BaseException:
            run.release()
            self._forget(run.session)
            raise
        return run

    def _opened(self, wish: Wish) -> _Held:
        if self._held is not None:
            return self._held
        desk = ProjectDesk(self, own_version())
        project = Project.open(self._paths, self.what, _heedless, slots=wish.settings.slots_directory)
        for line in project.cleared:
            _log().info("%s", line)
        with contextlib.ExitStack() as undo:
            undo.callback(project.close)
            undo.callback(project.end, END_SECONDS)
            try:
                server = ControlServer(desk, [bind_control(self._paths.control)], defect=_defect)
            except OSError as error:
                line = f"no control socket: {self._paths.control}: {refusal(error)}"
                raise RunRefusedError(IO_ERROR, line) from error
            undo.callback(server.close)
            project.start()
            server.start()
            undo.pop_all()
        self._held = _Held(project, desk, server)
        return self._held

    def _forget(self, session: str) -> None:
        self._runs = {name: run for name, run in self._runs.items() if name != session}
        self._clients = {name: client for name, client in self._clients.items() if name != session}

    def _over(self, session: str, over: Over) -> None:
        run, client = self._runs.get(session), self._clients.get(session)
        held = self._held
        if run is None or client is None or held is None:
            return
        run.release()
        self._forget(session)
        held.desk.ended(session, over)
        held.server.recorded()
        self._leave(functools.partial(client.ended, over))

    def _leave(self, tell: Callable[[], None]) -> None:
        """Count one user less, give the project back with the last one, and only then tell of the end."""
        with _LOCK:
            self.users -= 1
            is_last = not self.users
        try:
            if is_last:
                self._close()
        finally:
            self._is_left = is_last
            tell()  # whatever went wrong: who waits for the end waits for nothing else

    def _close(self) -> None:
        held, self._held = self._held, None
        if held is None:
            return
        with contextlib.suppress(OSError):
            self._paths.control.unlink()  # while the lock is held: the next holder's socket is not ours to remove
        held.project.end(END_SECONDS)
        if not held.project.close():
            _log().error("%s: %s", self._paths.project, HANGS)
            held.desk.hangs(HANGS)
        held.desk.closed()
        held.server.recorded()
        held.server.close()

    # --- in other threads ----------------------------------------------------------------------------------------

    def _notified(self, session: str, client: Client, notice: RunNotice) -> None:
        match notice:
            case Recorded(items=items):
                client.recorded(items[-1][0].seq)
                if self._held is not None:
                    self._held.server.recorded()
            case Over():
                self._calls.put(functools.partial(self._over, session, notice))
            case Troubled(reason=reason) | FactRefused(reason=reason):
                _log().warning("session %s: %s", session, reason)
            case Escalated(reason=reason):
                _log().error("session %s: %s", session, reason)
            case _:
                pass


def _log() -> logging.Logger:
    """Return where the host reads what goes wrong without ending a session; made when there is something to say."""
    logger = logging.getLogger("supervisor")
    if not logger.handlers:  # where the host has configured nothing, Python would print on its standard error
        logger.addHandler(logging.NullHandler())
    return logger


def _defect(error: Exception, count: int) -> None:
    _log().error("control: a defect (%d)", count, exc_info=error)


def _heedless(_: Record) -> None:
    """Let an event pass: what a host begins, it names itself."""


def _disown_all() -> None:
    global _LOCK  # noqa: PLW0603 - another thread may have held it when this process was forked
    _LOCK = threading.Lock()
    for project in _TABLE.values():
        project.disown()
    _TABLE.clear()


os.register_at_fork(after_in_child=_disown_all)
