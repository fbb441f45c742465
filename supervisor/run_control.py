"""The control socket of a run, from its start to the moment at which nothing of it lives.

The socket is bound while the run holds the project's lock, and taken away before the lock is given back: so whoever
takes the project next never meets a socket of ours, nor do we take theirs away. Those who wait for the end are answered
after the lock was given back: a `run` that follows a `stop` finds the project free.

Refuses to know what is asked and answered.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Self

from supervisor.control import ControlServer
from supervisor.control_socket import bind_control
from supervisor.desk import RunDesk

if TYPE_CHECKING:
    from supervisor.notices import Notice
    from supervisor.run import MilestoneRun, Over


class RunControl:
    """Lets clients control a run. To be made before the run is started, and closed after it is.

    Args:
        run: Holds the project's lock.
        what: What this process is, for clients.
        version: Of the distribution.

    Raises:
        OSError: The socket cannot be bound.
    """

    def __init__(self, run: MilestoneRun, what: str, version: str) -> None:
        self._path = run.paths.control
        self._desk = RunDesk(run, what, version)
        self._server = ControlServer(self._desk, [bind_control(self._path)])
        self._over: Over | None = None
        run.listen(self._heard)

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._over is not None:
            self._desk.ended(self._over)
            self._server.recorded()
        self._server.close()

    def withdraw(self) -> None:
        """Let no new client find us; to be called while the lock is held."""
        with contextlib.suppress(OSError):
            self._path.unlink()

    def ended(self, over: Over) -> None:
        """Note how the run ended, for those who are told when everything of it is gone."""
        self._over = over

    def _heard(self, _: Notice) -> None:
        self._server.recorded()
