"""A milestone's run: a session under supervision, in this process.

:class:`MilestoneRun` takes what :func:`supervisor.opening.open_run` returned and owns the hub, the session's
supervisor and the queue of notices that whoever embeds it reads. It takes no signal handlers and configures no
logging. Refuses to know terminals and command lines.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, assert_never

import attrs
import pykka

from actors.events import (
    Event,
    SessionEnded,
    SessionStatus,
    StopRequested,
)
from actors.state import RUNNER, decode_state, encode_state
from supervisor import core_events as told
from supervisor.conduct import FLAGS, PRELOAD, ChildView, Conduct, HubPort, session_specs
from supervisor.core_effects import EndCause, Ended, EndReason, FailedToStart
from supervisor.exits import Crashed, SpawnFailed
from supervisor.forked import REFUSED
from supervisor.hub import Hub
from supervisor.limits import Sample
from supervisor.notices import Escalated, FactRefused, Notice, Recorded, Troubled
from supervisor.opening import BROKEN, FAILED, HELD, IO_ERROR, Opening
from supervisor.printout import Printout
from supervisor.sampling import Follower, Sampler
from supervisor.shortage import OF_CHILD, starting_threads
from supervisor.supervisor_actor import SupervisorActor, stop_now
from supervisor.watch import Sampled, Watch

if TYPE_CHECKING:
    from actors.state import SessionState

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

STARTS: Final = 3
"""How often all children are started anew within :data:`STARTS_PERIOD` because one of them could not start."""

STARTS_PERIOD: Final = 60.0
"""Seconds."""

END_SECONDS: Final = 4.0
"""Longest time that a full disk has to take the end of a session whose children are gone."""

LOCK_SECONDS: Final = 2.0
"""Seconds between two looks at whether the project's lock is still ours."""

_ACTOR_SECONDS: Final = 5.0

_NOT_JOURNALED: Final = "the disk is full: the end of the session could not be journaled; free some space"


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
        self._end: SessionEnded | None = None
        self._starts: list[float] = []
        self._children_gone = False
        self._reason = ""
        self._heard: list[Callable[[Notice], None]] = []
        self._refused = False  # whether it is the system that did not let a child be forked
        self._over = False
        self._lock_lost = False
        self._stopping = False
        self._ending = False
        self._closed = False
        self._lock = opening.lock
        self._ledger = opening.ledger
        with contextlib.ExitStack() as undo:
            undo.callback(opening.lock.close)
            undo.callback(opening.journal.close)
            self.paths.prepare_session(self.session)
            # What a child prints (a crash, as a rule) is for who looks after it, not for the terminal.
            self._printout = Printout(self.paths.logs(self.session) / "children.log")
            undo.callback(self._printout.close)
            self._hub = Hub(opening.journal, PRELOAD, self._printout.descriptor)
            undo.callback(self._hub.close)
            logs = str(self.paths.logs(self.session))
            self._specs = session_specs(self.session, str(self.paths.project), logs, self.settings)
            self._watch = Watch(self.paths, self.session, opening.ledger.state, self.notices.put)
            self._conduct = Conduct(self._hub, self.session, self._shown, self._ended)
            self._sampler = Sampler()
            self._follower = self._new_follower()
            self._port = HubPort(self._hub, self.session, self._specs)
            self._supervisor = self._new_supervisor()
            undo.pop_all()

    def start(self) -> None:
        """Start the hub, the fork server and the children; returns at once.

        Raises:
            OSError: The system lets no more threads be started.
        """
        with starting_threads():
            self._watch.start()
            self._sampler.start()
            self._hub.start()
        self._hub.open_session(self._ledger, self, self._observe)
        self._hub.call_at(time.monotonic() + LOCK_SECONDS, self._look_at_lock)
        self._supervisor.tell(told.Begin(at=time.monotonic()))

    def request_stop(
        self, reason: str, *, final: bool = False, told: Callable[[Sequence[str]], None] | None = None
    ) -> None:
        """Ask for an orderly end: running attempts are ended, the session stays resumable unless ``final``.

        Args:
            reason: For people.
            final: Whether the session is cancelled.
            told: Is called in the hub's thread once the request is durable; must not block.
        """
        self._hub.state(self.session, StopRequested(reason, final), told=told)
        self._hub.call(self._stop_requested)

    def state(self, event: Event, told: Callable[[Sequence[str]], None]) -> None:
        """State a fact about the session, from any thread.

        Args:
            event: The fact.
            told: Is called in the hub's thread once it is durable, with why it was not admitted; must not block.
        """
        self._hub.state(self.session, event, told=told)

    def look(self, function: Callable[[SessionState], None]) -> None:
        """Have the session's fold looked at, in the hub's thread; the function must not block, change or keep it."""
        self._hub.look(self.session, function)

    def listen(self, heard: Callable[[Notice], None]) -> None:
        """Have notices told in the hub's thread as they come, before :attr:`notices` has them; must not block.

        To be called before :meth:`start`.
        """
        self._heard.append(heard)

    def stop_now(self) -> None:
        """End all children at once, in reverse start order."""
        self._ending = True  # before the supervisor is looked up: it may be replaced at this very moment
        with contextlib.suppress(pykka.ActorDeadError):  # it has ended already
            self._supervisor.tell(stop_now())

    def kill_now(self) -> None:
        """End all children at once; tasks are killed without the grace that a stop gives them."""
        self._port.hurry()
        self.stop_now()

    def close(self, timeout: float = 15.0) -> bool:
        """Give everything back: processes, threads, journal, lock; closing twice does nothing.

        Args:
            timeout: Seconds that the hub's thread has to end.

        Returns:
            Whether everything was given back. ``False`` when the hub's thread hangs: it may still act on the
            project, so lock and output stay with it until this process ends, or until a later call finds it ended.
        """
        if self._closed:
            return True
        self.stop_now()
        self._hub.close(timeout)
        # With the hub closed nobody tells it any more that its children are gone, which they are.
        with contextlib.suppress(pykka.Timeout):
            self._supervisor.stop(timeout=_ACTOR_SECONDS)
        self._sampler.stop()
        self._watch.stop()
        if self._hub.is_alive():
            return False
        self._closed = True
        self._lock.close()
        self._printout.close()
        return True

    @property
    def fork_server_pid(self) -> int:
        """Process id of the fork server, 0 before it runs."""
        return self._hub.fork_server_pid

    # --- called in the hub's thread ------------------------------------------------------------------------------

    def tell(self, message: told.Event) -> None:
        """Pass on what happened to a child; the hub's :class:`~supervisor.hub.Teller`."""
        self._tell_supervisor(message)
        if isinstance(message, told.Beat):
            self._watch.beaten(message)
        else:
            self._follower.heed(message)

    def _tell_supervisor(self, message: told.Event) -> None:
        with contextlib.suppress(pykka.ActorDeadError):  # it has ended, and so have all that it looked after
            self._supervisor.tell(message)

    def _observe(self, notice: Notice) -> None:
        for heard in self._heard:
            heard(notice)
        self.notices.put(notice)
        match notice:
            case Recorded(items=items):
                self._watch.recorded(items)
                for _, event in items:
                    self._heed(event)
            case Escalated(fatal=True, reason=reason, broken=broken):
                code = HELD if self._lock_lost else BROKEN if broken else IO_ERROR
                self._put_over(Over(SessionStatus.INTERRUPTED, reason, code))
            case Escalated(reason=reason):
                self._reason = reason
                self.stop_now()
            case FactRefused() | Troubled():
                pass
            case _:
                assert_never(notice)
        self._stop_on_a_full_disk()

    def _look_at_lock(self) -> None:
        """End everything once the lock that others would find is another one: somebody else may act on the project."""
        if self._lock.still_ours():
            self._hub.call_at(time.monotonic() + LOCK_SECONDS, self._look_at_lock)
            return
        self._lock_lost = True
        self._hub.give_up(
            f"{self._lock.path} was removed or replaced while the project was held: another process may act on it now,"
            " so everything was ended; see who removes it"
        )

    def _heed(self, event: Event) -> None:
        match event:
            case SessionEnded():
                self._end = event
                self._conclude()
                self.stop_now()
            case StopRequested():
                self._stopping = True
            case _:
                pass

    def _stop_requested(self) -> None:
        self._stopping = True
        self._stop_on_a_full_disk()

    def _stop_on_a_full_disk(self) -> None:
        # The roles cannot settle a session of which nothing can be journaled: whoever stops it does not wait.
        if self._stopping and self._hub.is_full and not self._ending:
            self.notices.put(Troubled("the disk is full: everything is ended without the journal"))
            self.stop_now()

    def _tree_ended(self, cause: EndCause, reason: str) -> None:
        """Start all children anew when one could not start, as a supervisor above would; or conclude."""
        now = time.monotonic()
        self._starts = [at for at in self._starts if now - at <= STARTS_PERIOD]
        may = not self._ending and len(self._starts) < STARTS
        if cause is EndCause.START_FAILED and may:
            self._starts.append(now)
            self.notices.put(Troubled(f"{reason}; everything is started again"))
            self._supervisor = self._new_supervisor()
            self._supervisor.tell(told.Begin(at=now))
            if self._ending:  # asked for while the former one had ended, and this one was not there
                self._supervisor.tell(stop_now())
            return
        self._children_gone = True
        self._reason = self._reason or reason
        self._conclude()

    def _new_supervisor(self) -> pykka.ActorRef[SupervisorActor]:
        former = self._port.incarnations()
        with starting_threads():
            return SupervisorActor.start(FLAGS, self._specs, self._port, self._conduct, former=former)

    def _new_follower(self) -> Follower:
        feed = self._sampler.open(self._sampled, self._tell_supervisor, self.notices.put)
        limits = {spec.id: spec.limits for spec in self._specs}
        # What is below the runner are the tasks, which have limits of their own.
        return Follower(feed, limits, partial(self._hub.identity, self.session), {RUNNER})

    def _conclude(self) -> None:
        """Say that the run is over once the children are gone *and* the journal has the session's end."""
        if not self._children_gone:
            return
        if self._end is None:
            status = SessionStatus.PAUSED if self._reason else SessionStatus.INTERRUPTED
            self._hub.state(self.session, SessionEnded(status, self._reason))
            self._hub.call_at(time.monotonic() + END_SECONDS, self._conclude_without_journal)
            return
        code = IO_ERROR if self._refused else EXIT_CODES[self._end.status]
        self._put_over(Over(self._end.status, self._end.reason, code))

    def _conclude_without_journal(self) -> None:
        """Say that the run is over although its end is not in the journal: the next run takes the session up."""
        if self._hub.is_full:
            self._put_over(Over(SessionStatus.INTERRUPTED, _NOT_JOURNALED, IO_ERROR))
        else:
            self._put_over(Over(SessionStatus.INTERRUPTED, "the journal refused the session's end", BROKEN))

    def _put_over(self, over: Over) -> None:
        if not self._over:
            self._over = True
            self.notices.put(over)

    # --- called in the sampler's thread --------------------------------------------------------------------------

    def _sampled(self, samples: dict[str, Sample]) -> None:
        with contextlib.suppress(OSError):  # a full disk, say: it is cut next time
            self._printout.cut()
        sampled = Sampled(samples)
        self._watch.sampled(sampled)
        self.notices.put(sampled)

    # --- called in the supervisor's thread -----------------------------------------------------------------------

    def _shown(self, view: ChildView) -> None:
        self._watch.shown(view)
        self.notices.put(view)

    def _ended(self, end: Ended) -> None:
        self._refused = False
        reason = ""
        match end.cause:
            case EndCause.INTENSITY:
                reason = f"the roles kept failing: more than {FLAGS.intensity} restarts in {FLAGS.period:.0f} s"
            case EndCause.START_FAILED:
                reason = self._start_failed(end.reason)
            case EndCause.ASKED | EndCause.AUTO_SHUTDOWN:
                pass
            case _:
                assert_never(end.cause)
        self._hub.call(lambda: self._tree_ended(end.cause, reason))

    def _start_failed(self, reason: EndReason) -> str:
        """Say why a child could not start, and note whether it is the system that did not let it."""
        match reason:
            case FailedToStart(reason=SpawnFailed()):
                self._refused = True
                return str(reason)
            case FailedToStart(child=child, reason=Crashed(code=code)) if code == REFUSED:
                self._refused = True
                # Which of the three it was is what the child itself has printed.
                return f"{child} cannot start: {OF_CHILD}; see {self.paths.logs(self.session)}/children.log"
            case _:
                return str(reason)
