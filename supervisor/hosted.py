"""A project of a daemon: what it holds, its sessions, and who asks for them through its control socket.

Sessions are begun and ended in the daemon's main thread; what happens elsewhere is posted there. Refuses to know
signals, the command line, and the other projects.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from actors.events import SettingsChanged
from actors.log import log
from actors.standstill import held_up
from actors.veil import Veil
from supervisor.addressees import NOT_RUNNING
from supervisor.beginning import CONFIGURATION, IO_ERROR, RunRefusedError, Wish
from supervisor.cancelling import NOTHING
from supervisor.cli.logbook import log_notice
from supervisor.conduct import ChildView
from supervisor.control import ControlServer
from supervisor.control_socket import DAEMON, bind_control
from supervisor.desk import BY_HAND, HANGS, ProjectDesk
from supervisor.log_sinks import open_session_log
from supervisor.notices import Escalated, FactRefused, Notice, Troubled
from supervisor.project import Project
from supervisor.protocol import Named
from supervisor.pulse import Loop
from supervisor.reloading import change
from supervisor.role_orders import Told
from supervisor.session_run import Over, RunNotice, SessionRun
from supervisor.shortage import refusal
from supervisor.told_secrets import secrets_told
from supervisor.unfinished import Unfinished

if TYPE_CHECKING:
    import socket

    from actors.paths import ProjectPaths
    from supervisor.config import Config
    from supervisor.control import Ticket
    from supervisor.metrics import Metrics


_IS_ENDING: Final = "the daemon is ending"


class Main(Protocol):
    """The daemon's main thread; may be used from any."""

    def post(self, call: Callable[[], None]) -> None:
        """Have a function called in the main thread, soon; never blocks."""

    def reload(self, ticket: Ticket | None) -> None:
        """Read the configuration again and answer with what came of it."""

    def shut_down(self, reason: str) -> None:
        """End the daemon in order."""

    def fail(self, code: int, reason: str) -> None:
        """End the daemon because a project cannot go on."""


class HostedProject:
    """A project under a daemon; the :class:`supervisor.desk.House` of its control socket.

    What is not the house's is called in the main thread.

    Args:
        paths: Of the project.
        config: For sessions that are begun from now on.
        main: The daemon.
        version: Of the distribution.
        listener: The control socket, where somebody else has made it and keeps it; ``None`` makes one.
        metrics: Counts what happens; ``None`` when nobody asks for that.

    Raises:
        RunRefusedError: The project cannot be had.
    """

    def __init__(
        self,
        paths: ProjectPaths,
        config: Config,
        main: Main,
        version: str,
        *,
        listener: socket.socket | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._config = config
        self._metrics = metrics
        self._main = main
        self._runs: dict[str, SessionRun] = {}  # replaced as a whole: other threads read it
        self._starting: dict[str, Told] = {}
        self._again: dict[str, list[Callable[[], None]]] = {}  # what goes on when a session has ended
        self._logs: dict[str, Callable[[], None]] = {}
        self._is_started = self._is_ending = False
        self._unfinished = Unfinished()
        self._is_lent = listener is not None
        slots = config.settings.slots_directory
        self._project = Project.open(paths, DAEMON, self._unfinished.tell, slots=slots, is_lent=self._is_lent)
        for line in self._project.cleared:
            log().bind(what=line).info("tidied up")
        self._desk = ProjectDesk(self, version)
        try:
            self._server = ControlServer(self._desk, [listener or bind_control(paths.control)])
        except OSError as error:
            self._project.end(0.0)
            self._project.close()
            raise RunRefusedError(IO_ERROR, f"no control socket: {paths.control}: {refusal(error)}") from error
        self._project.hub.listen(self._heard)
        if metrics is not None:
            metrics.expect(str(paths.project))
            self._project.hub.time_commits(functools.partial(metrics.committed, str(paths.project)))

    def start(self) -> None:
        """Start the threads, and take up what a former daemon left.

        Raises:
            OSError: The system lets no more threads be started.
        """
        self._project.start()
        self._server.start()
        self._is_started = True
        for milestone_id in self._unfinished.milestones():
            self._begin(milestone_id, functools.partial(self._taken_up, milestone_id), wait=True)

    def use(self, config: Config) -> tuple[Named, ...]:
        """Use another configuration for sessions that begin from now on, and for live ones as far as that goes.

        Returns:
            What came of it, for the project and each of its sessions.
        """
        self._config = config
        results = [Named(str(self.paths.project), 0, "read again")]
        for run in self.live():
            what = change(run.settings, config.settings)
            held = tuple(secrets_told(None, what.settings, Veil.of(os.environ, what.settings.secrets)))
            if held:
                results.append(Named(run.milestone.id, CONFIGURATION, f"goes on as it was: {'; '.join(held)}"))
                continue
            if what.taken:
                run.state(SettingsChanged(what.settings), told=lambda _: None)
            results.append(Named(run.milestone.id, 0, str(what)))
        return tuple(results)

    def loops(self) -> dict[str, Loop]:
        """Return the loops that supervise, by names for the log."""
        found: dict[str, Loop] = {f"journal of {self.paths.project}": self._project.hub.call}
        found[f"control server of {self.paths.project}"] = self._server.call
        return found | {f"supervisor of {run.session}": run.call_supervisor for run in self.live()}

    def ended_threads(self) -> tuple[str, ...]:
        """Return the names of threads that have ended by themselves, and that nothing goes on without.

        That of the journal is not among them: its end is told of (:class:`~supervisor.notices.Escalated`).
        """
        threads = (self._server, self._project.sampler) if self._is_started else ()
        return tuple(one.name for one in threads if not one.is_alive())

    def stop(self, reason: str) -> None:
        """End all sessions in order; the next daemon takes them up."""
        self._is_ending = True
        for run in self.live():
            run.request_stop(reason, shutdown=True)

    def kill(self) -> None:
        """End all sessions at once."""
        self._is_ending = True
        for run in self.live():
            run.kill_now()

    def close(self, timeout: float) -> bool:
        """Give everything back and answer who waits for that; see :meth:`Project.close`."""
        self._is_ending = True
        for run in self.live():
            run.stop_now()
        if not self._is_lent:
            with contextlib.suppress(OSError):
                self.paths.control.unlink()  # while the lock is held: the next holder's socket is not ours to remove
        self._project.end(timeout)
        left = self.live()
        for run in left:
            self._released(run)
        for told in self._starting.values():
            told(NOT_RUNNING, _IS_ENDING)
        for again in [one for waiting in self._again.values() for one in waiting]:
            again()  # which says that it does not happen
        is_free = self._project.close()
        if not is_free:
            self._desk.hangs(HANGS)
        for run in left:
            self._desk.ended(run.session, run.over)
        self._desk.closed()
        self._server.recorded()
        self._server.close()
        return is_free

    # --- the house, in the control server's thread ---------------------------------------------------------------

    @property
    def what(self) -> str:
        """What this process is."""
        return DAEMON

    @property
    def paths(self) -> ProjectPaths:
        """Of the project."""
        return self._project.paths

    def live(self) -> tuple[SessionRun, ...]:
        """Return the sessions that live now."""
        return tuple(self._runs.values())

    def begin(self, milestone_id: str, told: Told, *, wait: bool) -> None:
        """Begin a session of a milestone, or go on with its unfinished one."""
        self._main.post(functools.partial(self._begin, milestone_id, told, wait=wait))

    def restart(self, run: SessionRun, told: Told, *, wait: bool) -> None:
        """End a session in order and go on with it."""
        self._main.post(functools.partial(self._restart, run, told, wait=wait))

    def cancel_past(self, name: str, told: Told) -> None:
        """End a session for good that does not live."""
        self._main.post(functools.partial(self._cancel_past, name, told))

    def reload(self, ticket: Ticket) -> None:
        """Read the configuration again."""
        self._main.reload(ticket)

    def shut_down(self, reason: str) -> None:
        """End the daemon."""
        self._main.shut_down(reason)

    # --- sessions ------------------------------------------------------------------------------------------------

    def _begin(self, milestone_id: str, told: Told, *, wait: bool) -> None:
        if self._is_ending:
            told(NOT_RUNNING, _IS_ENDING)
            return
        run = next((one for one in self.live() if milestone_id in {one.session, one.milestone.id}), None)
        if run is not None and run.is_ending:
            again = functools.partial(self._begin, run.milestone.id, told, wait=wait)
            self._again.setdefault(run.session, []).append(again)
            return
        if run is not None:
            told(0, "already started")
            return
        try:
            run = self._begun(milestone_id)
        except RunRefusedError as error:
            told(error.code, "; ".join(error.lines))
            return
        except OSError as error:
            told(IO_ERROR, refusal(error))
            return
        for warning in run.warnings:
            log().bind(session=run.session, warning=warning).warning("milestone file")
        self._runs = {**self._runs, run.session: run}
        log().bind(session=run.session, resumed=run.resumed).info("session begun")
        if wait:
            self._starting[run.session] = told
        else:
            told(0, "beginning")

    def _begun(self, milestone_id: str) -> SessionRun:
        beginning = self._project.begin(Wish(milestone_id, self._config.settings, daemon=True))
        run = SessionRun(self._project, beginning, functools.partial(self._notified, beginning.session))
        run.listen(lambda _: self._server.recorded())
        run.when_ready(lambda: self._main.post(functools.partial(self._ready, run.session)))
        level = self._config.log_level.value.upper()
        self._logs[run.session] = open_session_log(self.paths.logs(run.session) / "supervisor.log", run.session, level)
        try:
            run.start()
        except OSError:
            self._released(run)
            raise
        return run

    def _restart(self, run: SessionRun, told: Told, *, wait: bool) -> None:
        if run.session not in self._runs:  # it has ended meanwhile
            self._begin(run.milestone.id, told, wait=wait)
            return
        again = functools.partial(self._begin, run.milestone.id, told, wait=wait)
        self._again.setdefault(run.session, []).append(again)
        # Marked as a shutdown: should the daemon die in between, the next one takes the session up.
        run.request_stop(f"restarted {BY_HAND}", shutdown=True)

    def _cancel_past(self, name: str, told: Told) -> None:
        if self._is_ending:
            told(NOT_RUNNING, _IS_ENDING)
            return
        if any(name in {one.session, one.milestone.id} for one in self.live()):
            told(NOT_RUNNING, "it was begun meanwhile; cancel it again")
            return
        try:
            done = self._project.cancel(name, f"cancelled {BY_HAND}", self._config.settings.slots_directory)
        except RunRefusedError as error:
            told(error.code, "; ".join(error.lines))
            return
        told(*((NOT_RUNNING, NOTHING) if done is None else (0, "; ".join(done))))

    def _taken_up(self, milestone_id: str, code: int, text: str) -> None:
        bound = log().bind(milestone=milestone_id, code=code, text=text)
        if code:
            bound.error("session could not be taken up")
        else:
            bound.info("session taken up")

    def _ready(self, session: str) -> None:
        told = self._starting.pop(session, None)
        run = self._runs.get(session)
        if told is not None:
            absent = () if run is None else held_up(run.initial_state)
            told(0, "".join(("started", *(f"; it waits for {one.role}, which {one.text}" for one in absent))))

    def _over(self, session: str, over: Over) -> None:
        run = self._runs.get(session)
        if run is None:
            return
        self._released(run)
        if self._metrics is not None:
            self._metrics.ended(session)
        told = self._starting.pop(session, None)
        if told is not None:  # it was quicker than the news of its readiness, or never came so far
            told(over.code, over.status.value + (f": {over.reason}" if over.reason else ""))
        self._desk.ended(session, over)
        self._server.recorded()
        for again in self._again.pop(session, ()):
            again()

    def _released(self, run: SessionRun) -> None:
        run.release()
        self._runs = {name: one for name, one in self._runs.items() if name != run.session}
        self._logs.pop(run.session, lambda: None)()

    # --- in other threads ----------------------------------------------------------------------------------------

    def _notified(self, session: str, notice: RunNotice) -> None:
        if self._metrics is not None:
            self._metrics.noticed(str(self.paths.project), session, notice)
        if isinstance(notice, Over | ChildView | FactRefused | Troubled | Escalated):
            self._main.post(functools.partial(self._noticed, session, notice))

    def _heard(self, notice: Notice) -> None:
        if isinstance(notice, Escalated) and notice.fatal:
            code = self._project.code_of(broken=notice.broken)
            self._main.fail(code, f"{self.paths.project}: {notice.reason}")

    def _noticed(self, session: str, notice: RunNotice) -> None:
        with log().contextualize(session=session):
            log_notice(notice)
        if isinstance(notice, Over):
            self._over(session, notice)
