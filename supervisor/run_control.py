"""The control socket of a run, from its start to the moment at which nothing of it lives.

The socket is bound while the run holds the project's lock, and taken away before the lock is given back: so whoever
takes the project next never meets a socket of ours, nor do we take theirs away. Those who wait for the end are answered
after the lock was given back: a `run` that follows a `stop` finds the project free.

Refuses to know what is asked and answered.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Self

from supervisor.addressees import NOT_RUNNING
from supervisor.beginning import HELD
from supervisor.control import ControlServer
from supervisor.control_socket import bind_control
from supervisor.desk import HANGS, ProjectDesk
from supervisor.role_orders import Told

if TYPE_CHECKING:
    from actors.paths import ProjectPaths
    from supervisor.control import Ticket
    from supervisor.notices import Notice
    from supervisor.session_run import Over, SessionRun
    from supervisor.sole_run import SoleRun


class _RunHouse:
    """A process that supervises one session (:class:`supervisor.desk.House`)."""

    def __init__(self, run: SoleRun, what: str) -> None:
        self._run: SoleRun = run
        self._is_over = False
        self.what = what

    @property
    def paths(self) -> ProjectPaths:
        return self._run.paths

    def live(self) -> tuple[SessionRun, ...]:
        return () if self._is_over else (self._run,)

    def over(self) -> None:
        self._is_over = True

    def begin(self, milestone_id: str, told: Told, *, wait: bool) -> None:  # noqa: ARG002 - as the house has it
        if milestone_id in {self._run.session, self._run.milestone.id}:
            told(HELD, f"`{self.what}` is ending; when it has, run it again")
            return
        told(HELD, f"`{self.what}` supervises this project and runs nothing else; several sessions need milestoned")

    def restart(self, run: SessionRun, told: Told, *, wait: bool) -> None:  # noqa: ARG002 - as the house has it
        told(HELD, f"`{self.what}` ends with its session: stop it, and run it again")

    def cancel_past(self, name: str, told: Told) -> None:
        told(NOT_RUNNING, f"{name} does not live; it can be cancelled when `{self.what}` has ended")

    def reload(self, ticket: Ticket) -> None:
        ticket.failed(HELD, f"`{self.what}` supervises this project, and keeps the configuration that it began with")

    def shut_down(self, reason: str) -> None:
        self._run.request_stop(reason)


class RunControl:
    """Lets clients control a run. To be made before the run is started, and closed after it is.

    Args:
        run: Holds the project's lock.
        what: What this process is, for clients.
        version: Of the distribution.

    Raises:
        OSError: The socket cannot be bound.
    """

    def __init__(self, run: SoleRun, what: str, version: str) -> None:
        self._path = run.paths.control
        self._session = run.session
        self._house = _RunHouse(run, what)
        self._desk = ProjectDesk(self._house, version)
        self._server = ControlServer(self._desk, [bind_control(self._path)])
        self._over: Over | None = None
        self._is_hanging = False
        run.listen(self._heard)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._house.over()
        if self._is_hanging:
            self._desk.hangs(HANGS)
        elif self._over is not None:
            self._desk.ended(self._session, self._over)
        self._desk.closed()
        self._server.recorded()
        self._server.close()

    def withdraw(self) -> None:
        """Let no new client find us; to be called while the lock is held."""
        with contextlib.suppress(OSError):
            self._path.unlink()

    def ended(self, over: Over) -> None:
        """Note how the run ended, for those who are told when everything of it is gone."""
        self._over = over

    def hangs(self) -> None:
        """Note that not everything could be given back: nobody is told that the end has come."""
        self._is_hanging = True

    def _heard(self, _: Notice) -> None:
        self._server.recorded()
