"""A milestone's run: a session under supervision, in this process.

:class:`MilestoneRun` takes what :func:`supervisor.opening.open_run` returned and owns the hub, the session's
supervisor and the queue of notices that whoever embeds it reads. It takes no signal handlers and configures no
logging. Refuses to know terminals and command lines.
"""

from __future__ import annotations

import contextlib
import os
import queue
import time
from typing import TYPE_CHECKING, Final, assert_never

import attrs
import pykka

from actors.events import (
    Event,
    SessionEnded,
    SessionPaused,
    SessionStatus,
    SessionUnpaused,
    StopRequested,
)
from actors.state import decode_state, encode_state
from supervisor import core_events as told
from supervisor.conduct import FLAGS, PRELOAD, ChildView, Conduct, HubPort, session_specs
from supervisor.core_effects import EndCause, Ended
from supervisor.hub import DISK_FULL, Escalated, Hub, Notice, Recorded, Refused
from supervisor.opening import BROKEN, FAILED, IO_ERROR, Opening
from supervisor.supervisor_actor import SupervisorActor, stop_now
from supervisor.watch import Sampled, Watch

if TYPE_CHECKING:
    pass

EXIT_CODES: Final = {
    SessionStatus.COMPLETED: 0,
    SessionStatus.FAILED: FAILED,
    SessionStatus.BLOCKED: FAILED,
    SessionStatus.CANCELLED: FAILED,
    SessionStatus.PAUSED: FAILED,
    SessionStatus.INTERRUPTED: 130,
    SessionStatus.RUNNING: BROKEN,
}
"""Exit code of a run by what became of its session."""


@attrs.frozen
class Over:
    """The run has ended; the last notice.

    Attributes:
        status: What the session is now.
        reason: Why, one line; ``""`` when there is nothing to say.
        code: Exit code for a command line.
    """

    status: SessionStatus
    reason: str
    code: int


RunNotice = Notice | Sampled | ChildView | Over


class MilestoneRun:
    """A session under supervision, in this process.

    Args:
        opening: What :func:`open_run` returned; this object owns its lock and journal from here on.
    """

    def __init__(self, opening: Opening) -> None:
        self.session = opening.session
        self.paths = opening.paths
        self.resumed = opening.resumed
        self.updated = opening.updated
        self.warnings = opening.warnings
        self.initial_state = decode_state(encode_state(opening.ledger.state))
        self.milestone = opening.ledger.state.milestone
        self.settings = opening.ledger.state.settings
        self.notices: queue.SimpleQueue[RunNotice] = queue.SimpleQueue()
        self._lock = opening.lock
        self.paths.prepare_session(self.session)
        # What a child prints (a crash, as a rule) is for who looks after it, not for the terminal.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._output = os.open(self.paths.logs(self.session) / "children.log", flags, 0o600)
        self._hub = Hub(opening.journal, PRELOAD, self._output)
        logs = str(self.paths.logs(self.session))
        self._specs = session_specs(self.session, str(self.paths.project), logs, self.settings)
        self._watch = Watch(self.paths, self.session, opening.ledger.state, self.notices.put)
        conduct = Conduct(self._hub, self.session, self._shown, self._ended)
        self._port = HubPort(self._hub, self.session, self._specs)
        self._supervisor = SupervisorActor.start(FLAGS, self._specs, self._port, conduct)
        self._ledger = opening.ledger
        self._end: SessionEnded | None = None
        self._children_gone = False
        self._reason = ""
        self._over = False
        self._disk_full = False
        self._stopping = False
        self._closed = False

    def start(self) -> None:
        """Start the hub, the fork server and the children; returns at once."""
        self._watch.start()
        self._hub.start()
        self._hub.open_session(self._ledger, self, self._observe)
        self._supervisor.tell(told.Begin(at=time.monotonic()))

    def request_stop(self, reason: str, *, final: bool = False) -> None:
        """Ask for an orderly end: running attempts are ended, the session stays resumable unless ``final``."""
        self._hub.state(self.session, StopRequested(reason, final))

    def stop_now(self) -> None:
        """End all children at once, in reverse start order."""
        with contextlib.suppress(pykka.ActorDeadError):  # it has ended already
            self._supervisor.tell(stop_now())

    def kill_now(self) -> None:
        """End all children at once; tasks are killed without the grace that a stop gives them."""
        self._port.hurry()
        self.stop_now()

    def close(self) -> None:
        """Give everything back: processes, threads, journal, lock; closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        self.stop_now()
        self._hub.close()
        # With the hub closed nobody tells it any more that its children are gone, which they are.
        self._supervisor.stop()
        self._watch.stop()
        self._lock.close()
        os.close(self._output)

    @property
    def fork_server_pid(self) -> int:
        """Process id of the fork server, 0 before it runs."""
        return self._hub.fork_server_pid

    # --- called in the hub's thread ------------------------------------------------------------------------------

    def tell(self, message: told.Event) -> None:
        """Pass on what happened to a child; the hub's :class:`~supervisor.hub.Teller`."""
        if isinstance(message, told.Beat):
            self._watch.beaten(message)
        with contextlib.suppress(pykka.ActorDeadError):  # it has ended, and so have all that it looked after
            self._supervisor.tell(message)

    def _observe(self, notice: Notice) -> None:
        self.notices.put(notice)
        match notice:
            case Recorded(items=items):
                self._watch.recorded(items)
                for _, event in items:
                    self._heed(event)
            case Escalated(fatal=True, reason=reason, broken=broken):
                self._put_over(Over(SessionStatus.INTERRUPTED, reason, BROKEN if broken else IO_ERROR))
            case Escalated(reason=reason):
                self._reason = reason
                self.stop_now()
            case Refused():
                pass
            case _:
                assert_never(notice)

    def _heed(self, event: Event) -> None:
        match event:
            case SessionEnded():
                self._end = event
                self._conclude()
                self.stop_now()
            case SessionPaused(reason=reason):
                self._disk_full = reason == DISK_FULL
            case SessionUnpaused():
                self._disk_full = False
            case StopRequested():
                self._stopping = True
            case _:
                return
        if self._disk_full and self._stopping:
            # The roles cannot settle a session of which nothing can be journaled: whoever stops it does not wait.
            self.stop_now()

    def _conclude(self) -> None:
        """Say that the run is over once the children are gone *and* the journal has the session's end."""
        if not self._children_gone:
            return
        if self._end is None:
            status = SessionStatus.PAUSED if self._reason else SessionStatus.INTERRUPTED
            self._hub.state(self.session, SessionEnded(status, self._reason))
            return
        self._put_over(Over(self._end.status, self._end.reason, EXIT_CODES[self._end.status]))

    def _children_are_gone(self, reason: str) -> None:
        self._children_gone = True
        self._reason = self._reason or reason
        self._conclude()

    def _put_over(self, over: Over) -> None:
        if not self._over:
            self._over = True
            self.notices.put(over)

    # --- called in the supervisor's thread -----------------------------------------------------------------------

    def _shown(self, view: ChildView) -> None:
        self._watch.shown(view)
        self.notices.put(view)

    def _ended(self, end: Ended) -> None:
        reason = ""
        match end.cause:
            case EndCause.INTENSITY:
                reason = f"the roles kept failing: more than {FLAGS.intensity} restarts in {FLAGS.period:.0f} s"
            case EndCause.START_FAILED:
                reason = str(end.reason)
            case EndCause.ASKED | EndCause.AUTO_SHUTDOWN:
                pass
            case _:
                assert_never(end.cause)
        self._hub.call(lambda: self._children_are_gone(reason))
