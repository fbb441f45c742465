"""A run of one session, with the project held for it alone.

:class:`SoleRun` takes what :func:`supervisor.opening.open_run` returned and owns the project, the session and the
queue of notices that whoever embeds it reads. It takes no signal handlers and configures no logging. Refuses to know
terminals and command lines.
"""

from __future__ import annotations

import contextlib
import queue
from typing import TYPE_CHECKING

from supervisor.project import Project
from supervisor.session_run import RunNotice, SessionRun

if TYPE_CHECKING:
    from supervisor.opening import Opening


class SoleRun(SessionRun):
    """A session under supervision, in this process.

    Args:
        opening: What :func:`open_run` returned; this object owns its lock and journal from here on.

    Attributes:
        notices: What happens, up to an :class:`~supervisor.session_run.Over`.

    Raises:
        OSError: Its files cannot be made, or no thread can be started; everything was given back.
    """

    def __init__(self, opening: Opening) -> None:
        self.notices: queue.SimpleQueue[RunNotice] = queue.SimpleQueue()
        self._closed = False
        with contextlib.ExitStack() as undo:
            undo.callback(opening.lock.close)
            undo.callback(opening.journal.close)
            opening.paths.prepare_session(opening.session)
            printout = opening.paths.logs(opening.session) / "children.log"
            project = Project(opening.paths, opening.lock, opening.journal, printout)
            undo.callback(project.close)
            undo.callback(project.end, 0.0)
            super().__init__(project, opening, self.notices.put)
            undo.pop_all()

    def start(self) -> None:
        """Start the hub, the fork server and the children; returns at once.

        Raises:
            OSError: The system lets no more threads be started.
        """
        self.project.start()
        super().start()

    def close(self, timeout: float = 15.0) -> bool:
        """Give everything back: processes, threads, journal, lock; closing twice does nothing.

        Args:
            timeout: Seconds that the hub's thread has to end.

        Returns:
            Whether everything was given back; see :meth:`Project.close`.
        """
        if not self._closed:
            self.stop_now()
            self.project.end(timeout)
            self.release()
            self._closed = self.project.close()
        return self._closed

    @property
    def fork_server_pid(self) -> int:
        """Process id of the fork server, 0 before it runs."""
        return self._hub.fork_server_pid
