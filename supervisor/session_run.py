"""A session under supervision, in this process, beside others of its project.

:class:`SessionRun` takes what a session begins with and owns its supervisor, its projection, and the notices that
whoever embeds it is told. It takes no signal handlers and configures no logging. Refuses to know the lock, who writes
the journal, terminals and command lines.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, assert_never

import attrs
import pykka

from actors.events import (
    ChildHeld,
    ChildReleased,
    Event,
    MilestoneUpdated,
    SessionEnded,
    SessionStatus,
    SettingsChanged,
    StopRequested,
)
from actors.failpoints import at
from actors.log import keep_back
from actors.state import RUNNER, decode_state, encode_state
from actors.veil import Veil
from supervisor import core_events as told
from supervisor.beginning import BROKEN, FAILED, IO_ERROR, Beginning
from supervisor.conduct import FLAGS, ChildView, Conduct, HubPort, session_specs
from supervisor.core_effects import EndCause, Ended, EndReason, FailedToStart, Refusal, Refused, Reply, Result
from supervisor.exits import Crashed, SpawnFailed
from supervisor.forked import REFUSED
from supervisor.limits import Sample
from supervisor.notices import Escalated, FactRefused, Notice, Recorded, Troubled
from supervisor.sampling import Follower
from supervisor.shortage import OF_CHILD, refusal, starting_threads
from supervisor.supervisor_actor import Call, SupervisorActor, stop_now
from supervisor.watch import Sampled, Watch

if TYPE_CHECKING:
    from actors.state import SessionState
    from supervisor.project import Project
    from supervisor.session_report import SessionReport, Vitals

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

SETTLERS: Final = frozenset({"task_executor", "git_integration", RUNNER})
"""Children without which a session that is to stop would never settle."""

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


class SessionRun:
    """A session under supervision.

    Args:
        project: What holds the project.
        beginning: What the session begins with, journaled; nobody else changes its fold from here on.
        notify: Is called with each notice, in several threads; must not block.

    Raises:
        OSError: The session's directories cannot be made, or no thread can be started.
    """

    def __init__(self, project: Project, beginning: Beginning, notify: Callable[[RunNotice], None]) -> None:
        state = beginning.ledger.state
        self.project = project
        self.paths = project.paths
        self.session = beginning.session
        self.resumed = beginning.resumed
        self.updated = beginning.updated
        self.warnings = beginning.warnings
        self.initial_state = decode_state(encode_state(state))
        self.milestone = state.milestone
        self.settings = state.settings
        keep_back(Veil.of(os.environ, state.settings.secrets))
        self._notify = notify
        self._hub = project.hub
        self._ledger = beginning.ledger
        self._end: SessionEnded | None = None
        self._starts: list[float] = []
        self._children_gone = False
        self._reason = ""
        self._heard: list[Callable[[Notice], None]] = []
        self._refused = False  # whether it is the system that did not let a child be forked
        self._over: Over | None = None
        self._stopping = False
        self._ending = False
        self._when_ready: Callable[[], None] | None = None
        self.paths.prepare_session(self.session)
        at("session.prepared")
        self._specs = session_specs(
            self.session, str(self.paths.project), str(self.paths.logs(self.session)), self.settings
        )
        self._watch = Watch(self.paths, self.session, state, notify)
        self._conduct = Conduct(self._hub, self.session, self._shown, self._ended, self._up)
        self._feed = project.sampler.open(self._sampled, self._tell_supervisor, notify)
        limits = {spec.id: spec.limits for spec in self._specs}
        # What is below the runner are the tasks, which have limits of their own.
        self._follower = Follower(self._feed, limits, partial(self._hub.identity, self.session), {RUNNER})
        self._numbers = itertools.count(1)
        self._orders: dict[int, Callable[[Result], None]] = {}
        self._held = set(state.held)
        self._stop: StopRequested | None = None
        self._port = HubPort(self._hub, self.session, self._specs)
        self._beats: dict[str, told.Beat] = {}  # the last of each child, not yet told; the hub's thread's
        self._supervisor = self._new_supervisor()

    @property
    def is_ending(self) -> bool:
        """Whether the session was told to end, or is at its end; from any thread."""
        return self._stopping or self._ending or self._children_gone

    def start(self) -> None:
        """Start the session's threads and children, once the project's hub was started; returns at once.

        Raises:
            OSError: The system lets no more threads be started.
        """
        with starting_threads():
            self._watch.start()
        self._hub.open_session(self._ledger, self, self._observe)
        self._supervisor.tell(told.Begin(at=time.monotonic()))

    def request_stop(
        self,
        reason: str,
        *,
        final: bool = False,
        shutdown: bool = False,
        told: Callable[[Sequence[str]], None] | None = None,
    ) -> None:
        """Ask for an orderly end: running attempts are ended, the session stays resumable unless ``final``.

        Args:
            reason: For people.
            final: Whether the session is cancelled.
            shutdown: Whether it is this process that is to end, and not the session: the next daemon takes it up.
            told: Is called in the hub's thread once the request is durable; must not block.
        """
        self._stopping = True
        self._hub.state(self.session, StopRequested(reason, final, shutdown), told=told)
        self._hub.call(self._stop_on_a_full_disk)

    def state(self, *events: Event, told: Callable[[Sequence[str]], None]) -> None:
        """State facts about the session, from any thread.

        Args:
            events: The facts.
            told: Is called in the hub's thread once they are durable, with a line for each that was not admitted; must
                not block.
        """
        self._hub.state(self.session, *events, told=told)

    def order(self, make: Callable[[float, int], told.Mutation], answered: Callable[[Result], None]) -> None:
        """Have the supervisor do something about a child, from any thread.

        Args:
            make: Makes the request, of a moment of the monotonic clock and a number.
            answered: Is called once, with what became of it, as a rule in the supervisor's thread; must not block.
        """
        number = next(self._numbers)
        self._orders[number] = answered
        try:
            self._supervisor.tell(make(time.monotonic(), number))
        except pykka.ActorDeadError:
            self._answered(Reply(number, Refused(Refusal.SHUTTING_DOWN)))

    def call_supervisor(self, function: Callable[[], None]) -> None:
        """Have a function called in the supervisor's thread, or at once when the supervisor has ended.

        A supervisor that ends at that moment calls it never.
        """
        try:
            self._supervisor.tell(Call(lambda _: function()))
        except pykka.ActorDeadError:
            function()

    def look(self, function: Callable[[SessionState], None], gone: Callable[[], None] = lambda: None) -> None:
        """Have the session's fold looked at, in the hub's thread; the function must not block, change or keep it.

        Args:
            function: Looks.
            gone: Is called instead when nothing of the session is left.
        """
        self._hub.look(self.session, function, gone)

    def report(self) -> SessionReport:
        """Return what the session is, from any thread, without asking the hub."""
        return self._watch.report()

    def vitals(self) -> Vitals:
        """Return what is asked for less often than the report, from any thread."""
        return self._watch.vitals()

    @property
    def over(self) -> Over:
        """How it has ended, or, where it was given back before it could say so, that it was cut off."""
        return self._over or Over(SessionStatus.INTERRUPTED, "", EXIT_CODES[SessionStatus.INTERRUPTED])

    def listen(self, heard: Callable[[Notice], None]) -> None:
        """Have notices told in the hub's thread as they come, before the others are; must not block.

        To be called before :meth:`start`.
        """
        self._heard.append(heard)

    def when_ready(self, call: Callable[[], None]) -> None:
        """Have a function called when all children are ready, in the supervisor's thread; must not block.

        To be called before :meth:`start`.
        """
        self._when_ready = call

    def stop_now(self) -> None:
        """End all children at once, in reverse start order."""
        self._ending = True  # before the supervisor is looked up: it may be replaced at this very moment
        with contextlib.suppress(pykka.ActorDeadError):  # it has ended already
            self._supervisor.tell(stop_now())

    def kill_now(self) -> None:
        """End all children at once; tasks are killed without the grace that a stop gives them."""
        self._port.hurry()
        self.stop_now()

    def release(self) -> None:
        """Give back what the session has, once its children are gone or the hub was closed; never to be used again."""
        # With the hub closed nobody tells it any more that its children are gone, which they are.
        with contextlib.suppress(pykka.Timeout):
            self._supervisor.stop(timeout=_ACTOR_SECONDS)
        for number in tuple(self._orders):
            self._answered(Reply(number, Refused(Refusal.SHUTTING_DOWN)))
        self._feed.close()
        self._watch.stop()
        self._hub.close_session(self.session, self._observe)

    # --- called in the hub's thread ------------------------------------------------------------------------------

    def tell(self, message: told.Event) -> None:
        """Pass on what happened to a child; the hub's :class:`~supervisor.hub.Teller`.

        Heartbeats are told together with what comes next, at the latest the tick at which they are looked for: a
        session at rest need not wake its supervisor for each.
        """
        if isinstance(message, told.Beat):
            self._beats[message.child] = message
            self._watch.beaten(message)
            return
        beats, self._beats = self._beats, {}
        for beat in beats.values():
            self._tell_supervisor(beat)
        self._tell_supervisor(message)
        self._follower.heed(message)

    def _tell_supervisor(self, message: told.Event) -> None:
        with contextlib.suppress(pykka.ActorDeadError):  # it has ended, and so have all that it looked after
            self._supervisor.tell(message)

    def _observe(self, notice: Notice) -> None:
        for heard in self._heard:
            heard(notice)
        self._notify(notice)
        match notice:
            case Recorded(items=items):
                self._watch.recorded(items)
                for _, event in items:
                    self._heed(event)
            case Escalated(fatal=True, reason=reason, broken=broken):
                self._put_over(Over(SessionStatus.INTERRUPTED, reason, self.project.code_of(broken=broken)))
            case Escalated(reason=reason):
                self._reason = reason
                self.stop_now()
            case FactRefused() | Troubled():
                pass
            case _:
                assert_never(notice)
        self._stop_on_a_full_disk()

    def _heed(self, event: Event) -> None:
        match event:
            case SessionEnded():
                self._end = event
                self._conclude()
                self.stop_now()
            case StopRequested():
                if self._stop is None or not self._stop.final:  # who cancelled is not overruled by a stop
                    self._stop = event
                self._stop_without_those_who_settle()
            case MilestoneUpdated(milestone=milestone):
                self.milestone = milestone
            case SettingsChanged(settings=settings):
                self.settings = settings
            case ChildHeld(child=child):
                self._held.add(child)
            case ChildReleased(child=child):
                self._held.discard(child)
            case _:
                pass

    def _stop_without_those_who_settle(self) -> None:
        """End everything where an operator has stopped who would settle the session: nobody else can."""
        if self._held & SETTLERS:
            self.stop_now()

    def _stop_on_a_full_disk(self) -> None:
        # The roles cannot settle a session of which nothing can be journaled: whoever stops it does not wait.
        if self._stopping and self._hub.is_full and not self._ending:
            self._notify(Troubled("the disk is full: everything is ended without the journal"))
            self.stop_now()

    def _tree_ended(self, cause: EndCause, reason: str) -> None:
        """Start all children anew when one could not start, as a supervisor above would; or conclude."""
        now = time.monotonic()
        self._starts = [at for at in self._starts if now - at <= STARTS_PERIOD]
        may = not self._ending and len(self._starts) < STARTS
        if cause is EndCause.START_FAILED and may:
            self._starts.append(now)
            try:
                self._supervisor = self._new_supervisor()
            except OSError as error:  # other sessions of the project go on
                self._refused = True
                reason = f"{reason}; it cannot be tried again: {refusal(error)}"
            else:
                self._notify(Troubled(f"{reason}; everything is started again"))
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
            return SupervisorActor.start(
                FLAGS,
                self._specs,
                self._port,
                self._conduct,
                former=former,
                held=frozenset(self._held),
                replied=self._answered,
            )

    def _conclude(self) -> None:
        """Say that the run is over once the children are gone *and* the journal has the session's end."""
        if not self._children_gone:
            return
        if self._end is None:
            status = SessionStatus.PAUSED if self._reason else SessionStatus.INTERRUPTED
            if self._stop is not None and self._stop.final:
                status = SessionStatus.CANCELLED
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
        if self._over is None:
            self._over = over
            self._notify(over)

    # --- called in the sampler's thread --------------------------------------------------------------------------

    def _sampled(self, samples: dict[str, Sample]) -> None:
        self.project.cut_printout()
        sampled = Sampled(samples)
        self._watch.sampled(sampled)
        self._notify(sampled)

    # --- called in the supervisor's thread -----------------------------------------------------------------------

    def _answered(self, reply: Reply) -> None:
        answered = self._orders.pop(reply.request, None)
        if answered is not None:
            answered(reply.result)

    def _up(self) -> None:
        if self._when_ready is not None:
            self._when_ready()

    def _shown(self, view: ChildView) -> None:
        self._watch.shown(view)
        self._notify(view)

    def _ended(self, end: Ended) -> None:
        self._refused = False
        reason = ""
        match end.cause:
            case EndCause.INTENSITY:
                often = f"more than {FLAGS.intensity} restarts in {FLAGS.period:.0f} s"
                said = f"; see {self.project.printout}" if self.project.has_printed() else ""
                reason = f"the roles kept failing: {often}{said}"
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
                return f"{child} cannot start: {OF_CHILD}; see {self.project.printout}"
            case _:
                return str(reason)
