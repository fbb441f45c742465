"""The task runner: the process that starts a session's tasks, waits for them and ends them.

One per session, forked by the fork server, in a session of its own, single-threaded, a subreaper. It is a
reconciler: it folds the session's records like a role, and acts on the difference between the fold and what
it has begun. A grant is an intent that needs no other fact, so nothing is asked and nothing is answered; an
attempt id is begun at most once, and every result is kept until the journal has it.

The loop, told once. It waits for the link, for signals (a child ended, an order to leave) and for the next
moment at which something is due, at most a second away, when it says that it lives. Everything that happened
in one turn is stated in one proposal; that attempts have started waits a few milliseconds for company, so that
what ends at once is told of in one go. Nobody's decision hangs on it: after a crash whatever was granted counts
as begun.

Three ways to go. *Asked* (``Leave``; or SIGTERM, which nobody who supervises us sends): all attempts are ended with the
full grace, their ends are stated and waited for. *Alone* (the link ended: the supervising process is dead): the same
with a short grace and nobody to tell, over in less than :data:`ALONE_SECONDS`. *Killed*: the fork server empties the
trees, and the next incarnation calls what was left ``interrupted``, after making sure that nothing of it lives.

Owns the process, the link, and the decision what to begin. Refuses to know how trees are ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from actors.events import AttemptEnded, AttemptStarted, Outcome, SessionPaused, SessionUnpaused, encode_event
from actors.failpoints import at
from actors.frames import FRAMING, Beat, Deliver, Hello, Leave, Propose, Ready, Welcome, next_beat
from actors.log import keep_back
from actors.standstill import TASKS_WAIT
from actors.state import RUNNER, Stage, decode_state
from actors.veil import Veil
from supervisor import linux
from supervisor.attempts import Attempts, Verdict
from supervisor.containment import Trees
from supervisor.environment import TaskEnvironment, passed_on
from supervisor.forked import MARK
from supervisor.ladder import choose
from supervisor.leases import left_behind
from supervisor.links import Link
from supervisor.steps import Place
from supervisor.task_meters import TaskMeters

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from actors.events import AttemptGranted, Event, StopRequested
    from actors.frames import Frame
    from actors.state import Attempt, SessionState

COMPANY_SECONDS: Final = 0.008
"""Longest time that "it has started" waits for other facts to be stated with."""

ALONE_GRACE: Final = 2.0
"""Most seconds between TERM and KILL when the supervising process is dead."""

ALONE_SECONDS: Final = 3.5
"""Seconds after which the runner exits when the supervising process is dead, whatever is left."""

LEAVE_SLACK: Final = 5.0
"""Seconds beyond the grace that the journal has to take the last results when the runner was told to end."""

FLOOD_SECONDS: Final = 0.1
"""Seconds between two looks at outputs of which one had to be cut."""

MOST_TOPS: Final = 1000
"""Processes that one heartbeat names at the most: a task that orphans more fills no link."""

_WAKING: Final = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_DIED: Final = "the runner died"
_TOLD: Final = "the runner was told to end"


def main(link: socket.socket, args: Mapping[str, object]) -> int:
    """Be the task runner of a session until it is asked to go or the link ends.

    Runs in the main thread of a process forked by the fork server.

    Args:
        link: The runner's end of the link.
        args: ``session`` (id), ``project`` (absolute directory), ``logs`` (absolute directory of the
            session's logs), ``incarnation``, and what :func:`supervisor.ladder.choose` takes.

    Returns:
        The exit status of the process.
    """
    runner = Runner(link, args)
    try:
        return runner.run()
    finally:
        runner.close()


class Runner:
    """The runner's loop. See the module for its story and :func:`main` for the arguments."""

    def __init__(self, link: socket.socket, args: Mapping[str, object]) -> None:
        self._session = str(args["session"])
        self._project = str(args["project"])
        self._logs = Path(str(args["logs"]), "tasks")
        self._incarnation = int(str(args["incarnation"]))
        _prepare_process()
        link.settimeout(0.0)
        self._link = Link(link, RUNNER, self._incarnation, FRAMING)
        self._linked = True
        self._signals = _SignalPipe()
        self._epoll = select.epoll()
        self._epoll.register(link.fileno(), select.EPOLLIN)
        self._epoll.register(self._signals.descriptor, select.EPOLLIN)
        self._writing = False
        chosen = choose(self._session, args)
        self._trees, self._containment = chosen.trees, chosen.fact
        self._attempts = Attempts(self._trees, 0.0)
        self._meters = TaskMeters()
        self._state: SessionState | None = None
        self._environment: TaskEnvironment | None = None
        self._begun: set[str] = set()
        self._facts: list[Event] = []
        self._state_by = float("inf")
        self._unacknowledged: dict[int, tuple[Event, ...]] = {}
        self._ticket = 0
        self._leave_by = float("inf")
        self._leaving = False
        self._status = 0
        self._stopping: Verdict | None = None
        self._pausing = self._unpausing = False
        self._beat_at = next_beat(time.monotonic())
        self._outputs_at = float("inf")

    def run(self) -> int:
        """Work until there is nothing more to do; return the exit status."""
        self._send(Hello(RUNNER, self._incarnation, os.getpid(), -1))
        while not self._finished():
            ready = dict(self._epoll.poll(self._patience()))
            now = time.monotonic()
            if self._signals.descriptor in ready:
                self._heed_signals(now)
            if self._linked and self._link.sock.fileno() in ready:
                self._read_link(now)
            self._attempts.tick(now)
            self._look_at_usage(now)
            self._look_at_outputs(now)
            self._tell_of_shortage()
            self._gather_facts(now)
            self._say_alive(now)
        return self._status

    def close(self) -> None:
        """Give everything back; kill what lives, should the loop have ended by an error."""
        now = time.monotonic()
        self._attempts.end_all(Verdict(Outcome.INTERRUPTED), 0.0, now)
        self._attempts.tick(now)
        self._epoll.close()
        self._signals.close()
        self._trees.close()
        self._link.close()

    # --- the loop -------------------------------------------------------------------------------------------

    def _finished(self) -> bool:
        if not self._leaving:
            return False
        if time.monotonic() >= self._leave_by:
            return True
        told = not self._linked or not (self._unacknowledged or self._facts or self._link.wants_to_write)
        return not len(self._attempts) and told

    def _patience(self) -> float:
        look_at = self._meters.next_look(alive=len(self._attempts) > 0)
        moment = min(
            self._beat_at, self._attempts.next_moment(), self._leave_by, self._state_by, self._outputs_at, look_at
        )
        return max(0.0, moment - time.monotonic())

    def _look_at_usage(self, now: float) -> None:
        if now >= self._meters.next_look(alive=len(self._attempts) > 0):
            for attempt, excess in self._meters.look(self._attempts.roots(), now):
                self._attempts.over_limit(attempt, excess, now)

    def _look_at_outputs(self, now: float) -> None:
        if now >= min(self._outputs_at, self._beat_at) and self._state is not None:
            settings = self._state.settings
            cut = self._attempts.check_outputs(settings.output_limit, settings.output_overflow, now)
            self._outputs_at = now + FLOOD_SECONDS if cut else float("inf")

    def _tell_of_shortage(self) -> None:
        """Pause the session while attempts cannot be started for want of something; the runner's own pause only."""
        if self._state is None or self._leaving:
            return
        why, paused = self._attempts.shortage, self._state.paused
        self._pausing, self._unpausing = self._pausing and not paused, self._unpausing and bool(paused)
        if why and not (paused or self._pausing):
            self._pausing = True
            self._facts.append(SessionPaused(TASKS_WAIT + why, passing=True))
        elif not why and paused.startswith(TASKS_WAIT) and not self._unpausing:
            self._unpausing = True
            self._facts.append(SessionUnpaused(paused))

    def _say_alive(self, now: float) -> None:
        if now < self._beat_at:
            return
        self._beat_at = next_beat(now)
        if not self._link.wants_to_write:  # nobody reads at present; a sign of life can be left out
            self._send(Beat(now, self._tops()))

    def _tops(self) -> tuple[tuple[int, int], ...]:
        """Name the tops of all trees, for who has to end them should this process and the fork server die together."""
        if self._containment.name != Trees.name or not len(self._attempts):
            return ()
        found = [(pid, linux.start_ticks(pid)) for pid in linux.children_of(os.getpid())[:MOST_TOPS]]
        return tuple((pid, ticks) for pid, ticks in found if ticks is not None)

    def _heed_signals(self, now: float) -> None:
        received = self._signals.take()
        if orders := received - {signal.SIGCHLD}:
            if not self._leaving:
                self._status = 128 + min(orders)  # as a shell tells of it: nobody who supervises us sends signals
            grace = self._attempts.grace
            self._go(Verdict(Outcome.INTERRUPTED, 0, _TOLD, runner_died=True), grace, now + grace + LEAVE_SLACK, now)
        self._attempts.children_ended(now)

    def _read_link(self, now: float) -> None:
        frames, gone = self._link.read()
        for frame in frames:
            self._take_frame(frame, now)
        if gone:
            self._alone(now)
            return
        if self._writing and not self._link.flush():
            self._alone(now)
            return
        self._watch_writing()

    def _send(self, frame: Frame) -> None:
        if self._linked and not self._link.send(frame):
            self._alone(time.monotonic())
        self._watch_writing()

    def _watch_writing(self) -> None:
        if self._linked and self._writing != self._link.wants_to_write:
            self._writing = self._link.wants_to_write
            mask = select.EPOLLIN | (select.EPOLLOUT if self._writing else 0)
            self._epoll.modify(self._link.sock.fileno(), mask)

    # --- frames ---------------------------------------------------------------------------------------------

    def _take_frame(self, frame: Frame, now: float) -> None:
        match frame:
            case Welcome(state=state):
                self._welcomed(decode_state(state), now)
            case Deliver(records=records, tickets=tickets, refusals=refusals):
                if self._state is None:
                    return
                for record in records:
                    if record.seq > self._state.seq:
                        self._state.apply(record)
                for ticket in tickets:
                    self._acknowledged(self._unacknowledged.pop(ticket, ()))
                for refusal in refusals:
                    _warn(f"not admitted: {refusal}")
                self._reconcile(now)
            case Leave(grace=grace):
                # A second is kept of what we are given, to see the dead off and to tell of it.
                patience = max(0.0, min(self._attempts.grace, grace - 1.0))
                self._status = 0
                verdict = Verdict(Outcome.INTERRUPTED, detail="the task runner was told to end")
                self._go(verdict, patience, now + max(grace, 1.0), now)
            case _:
                _warn(f"a frame that is not for a child: {type(frame).__name__}")

    def _welcomed(self, state: SessionState, now: float) -> None:
        self._state = state
        at("runner.welcomed")
        self._attempts.grace = state.settings.stop_grace
        base: Mapping[str, str] = os.environ
        if state.daemon:  # what somebody started a service with is no business of tasks, but for what is named
            base = passed_on(os.environ, (*state.settings.environment, *state.settings.secrets, MARK))
        keep_back(Veil.of(base, state.settings.secrets))
        self._environment = TaskEnvironment(
            base, session=self._session, milestone=state.milestone.id, project=self._project
        )
        self._logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._incarnation <= 1 or state.containment != self._containment:
            self._facts.append(self._containment)
        self._settle_former(state)
        self._state_facts()
        self._send(Ready())
        self._reconcile(now)

    def _settle_former(self, state: SessionState) -> None:
        """Call interrupted what a former incarnation or life may have begun; nothing of it lives then."""
        first = self._incarnation <= 1 and not _was_resumed(state)
        former = [attempt.id for _, attempt in _open_attempts(state) if attempt.stage is Stage.STARTED or not first]
        if not former:
            return
        left = linux.kill_until_gone(lambda: left_behind({self._session}, self._project), linux.SWEEP_SECONDS)
        if left:
            _warn(f"processes of a former runner cannot be killed: {', '.join(map(str, left))}")
        self._begun.update(former)
        died = self._incarnation > 1  # or it is what a former life left, however that ended
        for attempt in former:
            began = died and _may_have_begun(state, attempt)
            self._facts.append(AttemptEnded(attempt, Outcome.INTERRUPTED, detail=_DIED, runner_died=began))

    def _acknowledged(self, facts: tuple[Event, ...]) -> None:
        at("runner.acknowledged")
        for fact in facts:
            if isinstance(fact, AttemptEnded) and self._state is not None:
                found = self._state.attempt(fact.attempt)
                if found is None or found[2].stage not in {Stage.GRANTED, Stage.PREPARED}:
                    self._begun.discard(fact.attempt)

    # --- reconciling ----------------------------------------------------------------------------------------

    def _reconcile(self, now: float) -> None:
        state, environment = self._state, self._environment
        if state is None or environment is None:
            return
        self._attempts.grace = state.settings.stop_grace
        self._meters.limit(state.settings.task_limits)
        if state.stop is not None:
            self._stop(state, state.stop, now)
            return
        if self._leaving or not state.git_known:
            return
        for granted, attempt in _open_attempts(state):
            if attempt.id not in self._begun and _may_start(state, attempt):
                at("runner.grant.received")
                self._begun.add(attempt.id)
                directory = attempt.path if state.isolated else self._project
                log = str(self._logs / f"{attempt.id}.log")
                variables = environment.of(granted, directory)
                place = Place(directory, variables, log, Veil.of(variables, state.settings.secrets))
                self._attempts.begin(granted, place, now)

    def _stop(self, state: SessionState, stop: StopRequested, now: float) -> None:
        """End what lives and refuse what was granted but not begun."""
        outcome = Outcome.CANCELLED if stop.final else Outcome.INTERRUPTED
        verdict = Verdict(outcome, detail=stop.reason)
        if verdict != self._stopping:
            self._stopping = verdict
            self._attempts.end_all(verdict, self._attempts.grace, now)
        for _, attempt in _open_attempts(state):
            if attempt.id not in self._begun:
                self._begun.add(attempt.id)
                self._facts.append(AttemptEnded(attempt.id, outcome, detail=stop.reason))

    def _go(self, verdict: Verdict, grace: float, leave_by: float, now: float) -> None:
        self._leaving = True
        at("runner.leaving")
        self._leave_by = min(self._leave_by, leave_by)
        self._attempts.end_all(verdict, grace, now)

    def _alone(self, now: float) -> None:
        if not self._linked:
            return
        self._linked = False
        self._epoll.unregister(self._link.sock.fileno())
        grace = min(ALONE_GRACE, self._attempts.grace)
        verdict = Verdict(Outcome.INTERRUPTED, detail="the supervising process died")
        self._go(verdict, grace, now + ALONE_SECONDS, now)

    def _gather_facts(self, now: float) -> None:
        """State what there is, unless it can wait for company."""
        self._facts += self._attempts.take_facts()
        if self._facts and self._state_by == float("inf"):
            self._state_by = now + COMPANY_SECONDS
        if now >= self._state_by or not all(isinstance(fact, AttemptStarted) for fact in self._facts):
            self._state_facts()

    def _state_facts(self) -> None:
        facts, self._facts = tuple(self._facts), []
        self._state_by = float("inf")
        if not facts or not self._linked:
            return
        self._ticket += 1
        self._unacknowledged[self._ticket] = facts
        at("runner.stating")
        self._send(Propose(self._ticket, tuple(map(encode_event, facts))))
        at("runner.stated")


def _open_attempts(state: SessionState) -> list[tuple[AttemptGranted, Attempt]]:
    """Return the attempts that have not ended, with their grants."""
    found = (state.attempt(attempt_id) for attempt_id in state.live)
    stages = {Stage.GRANTED, Stage.PREPARED, Stage.STARTED}
    return [
        (attempt.granted, attempt)
        for one in found
        if one is not None
        for attempt in (one[2],)
        if attempt.stage in stages and attempt.granted is not None
    ]


def _may_start(state: SessionState, attempt: Attempt) -> bool:
    return attempt.stage is (Stage.PREPARED if state.isolated else Stage.GRANTED)


def _may_have_begun(state: SessionState, attempt_id: str) -> bool:
    """Tell whether a program of an attempt that has not ended may have been started; that it was may be unsaid."""
    found = state.attempt(attempt_id)
    return found is not None and (found[2].stage is Stage.STARTED or _may_start(state, found[2]))


def _was_resumed(state: SessionState) -> bool:
    started = state.started
    return started is not None and (state.life_wall != state.started_wall or state.pid != started.pid)


class _SignalPipe:
    """Signals as something to wait for: Python writes their numbers into a pipe."""

    def __init__(self) -> None:
        self.descriptor, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._orders: set[int] = set()
        for number in _WAKING:
            # A function, not SIG_IGN: what is ignored stays ignored in the tasks that we start.
            signal.signal(number, lambda number, _frame: self._orders.add(number))

    def take(self) -> set[int]:
        """Return the signals that came since the last call."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.descriptor, 1 << 16)
        received, self._orders = self._orders, set()
        return received

    def close(self) -> None:
        signal.set_wakeup_fd(-1)
        os.close(self.descriptor)
        os.close(self._writer)


def _prepare_process() -> None:
    """Make this process what a runner is, and undo what tasks shall not inherit."""
    linux.set_child_subreaper()
    with contextlib.suppress(PermissionError):  # it leads one already
        os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE}:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _warn(text: str) -> None:
    sys.stderr.write(f"milestoned: runner: {text}\n")
    sys.stderr.flush()
