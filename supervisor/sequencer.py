"""One thing at a time: the queue, the running sequence, and what follows from a child's end.

Owns the heart of the core: it takes what is queued in order, runs one sequence step by step, decides
whether an ended child is restarted and at what cost to the budget, and ends the supervisor. It
refuses to know how events arrive (that is `core`) and what may be requested (that is `roster`).

A failed restart never loops: the core tells itself `TryAgain` (reference 1.6), so that everything
that arrived meanwhile is served first. The supervisor's end replaces whatever runs.
"""

from collections import deque
from typing import assert_never

import attrs

from supervisor import exits
from supervisor.children import NO_ARGS, Backoff, Child, Desired, Down, Fatal, Gone, Starting
from supervisor.core_effects import (
    ChildFatal,
    ChildRestarting,
    Done,
    EndCause,
    Ended,
    EndReason,
    FailedToStart,
    IntensityExceeded,
    Refusal,
    Refused,
    Reply,
    Result,
    Started,
    SupervisorStarted,
    SupervisorStopped,
    TellSelf,
)
from supervisor.core_events import ChangeSpecs, Mutation, TerminateChild, TryAgain
from supervisor.exits import ExitReason, calls_for_restart
from supervisor.intensity import RestartRecord
from supervisor.lifecycle import UNKILLABLE_SECONDS, Lifecycle
from supervisor.roster import Roster
from supervisor.sequence import (
    BackoffOver,
    Decision,
    InitialStart,
    Phase,
    Queued,
    RequestedStart,
    RequestedStop,
    RestartOf,
    Sequence,
    StartStep,
    StopStep,
    SupervisorEnd,
    plan_end,
    plan_initial_start,
    plan_left_behind,
    plan_restart,
)
from supervisor.spec import AutoShutdown, Strategy


class Sequencer:
    """The queue, the running sequence and the restart budget of one supervisor.

    Attributes:
        phase: how far the supervisor has come.
        sequence: what runs now.
        waiting: children whose end the present stop step waits for.
        queue: what is to be turned to next, in order of arrival.
    """

    def __init__(self, roster: Roster, life: Lifecycle, held: frozenset[str]) -> None:
        """Start with nothing to do."""
        self.phase = Phase.NEW
        self.sequence: Sequence | None = None
        self.waiting: set[str] = set()
        self.queue: deque[Queued] = deque()
        self.now = float("-inf")
        self._roster = roster
        self._life = life
        self._held = held
        self._record = RestartRecord()
        self._stop_requests: list[int] = []

    @property
    def record(self) -> RestartRecord:
        """The budget that is spent so far."""
        return self._record

    def expects(self, child: Child) -> bool:
        """Tell whether a child runs, or will be started again without being asked for."""
        if self.phase in (Phase.ENDING, Phase.ENDED):
            return False
        if self.sequence is not None and self.sequence.will_start(child.id):
            return True
        match child.state:
            case Gone(reason):
                return calls_for_restart(child.spec.restart, reason)
            case Down() | Fatal():
                return False
            case _:
                return child.desired is Desired.UP

    def begin(self) -> None:
        """Start the children, in order.

        Raises:
            RuntimeError: it was begun before.
        """
        if self.phase is not Phase.NEW:
            message = f"a supervisor begins once; this one is {self.phase}"
            raise RuntimeError(message)
        self.phase = Phase.STARTING
        steps = plan_initial_start(self._roster.flags.strategy, self._roster.children, self._held)
        self.sequence = Sequence(InitialStart(), steps)

    def stop(self, request: int) -> None:
        """End the supervisor; the request is answered when it has ended."""
        if self.phase is Phase.ENDED:
            self._reply(request, Done())
            return
        self._stop_requests.append(request)
        self._end(exits.Shutdown(), EndCause.ASKED)

    def request(self, request: Mutation) -> None:
        """Queue a request; the termination of the child that is being started does not wait."""
        sequence = self.sequence
        if self.phase in (Phase.ENDING, Phase.ENDED):
            self._reply(request.request, Refused(Refusal.SHUTTING_DOWN))
        elif isinstance(request, TerminateChild) and sequence is not None and sequence.starting == request.child:
            child = self._roster.children.of(request.child)
            child.desired = Desired.DOWN
            self._life.stop(child, self.now)
            terminations = (*sequence.terminations, request.request)
            self.sequence = attrs.evolve(sequence, terminations=terminations)
        else:
            self.queue.append(request)

    def started(self, child: Child, *, running: bool, info: object = None) -> None:
        """Go on: the child whose start was waited for is ready, or declined to run."""
        if self.phase is Phase.ENDING:
            return  # its start was overtaken by the end, in which its turn has not come yet
        sequence = self._present(child)
        if isinstance(sequence.purpose, RequestedStart):
            result = Started(child.id, child.incarnation, child.pid, running, info)
            self._reply(sequence.purpose.request, result)
        self.sequence = sequence.next()

    def declined(self, child: Child) -> None:
        """Take a child's word that it does not want to run (OTP `ignore`)."""
        if not isinstance(child.state, Starting):
            self.ended(child, exits.Normal())
            return
        self._life.ignored(child, self.now)
        self.started(child, running=False)
        self._roster.forget_if_done(child)

    def _present(self, child: Child) -> Sequence:
        """Return the sequence that waits for this child's start; a child starts in no other way."""
        sequence = self.sequence
        if sequence is None or sequence.starting != child.id:
            message = f"{child.id!r} is starting outside any sequence; its story: {child.story}"
            raise RuntimeError(message)
        return sequence

    def ended(self, child: Child, raw: ExitReason) -> None:
        """Take in that a process is gone: whoever waits for it knows what follows, else it queues."""
        reason = self._life.ended(child, raw, self.now)
        sequence = self.sequence
        if child.id in self.waiting:
            self._life.stopped(child, reason, self.now)
            self.waiting.discard(child.id)
        elif sequence is not None and sequence.starting == child.id:
            self._start_failed(sequence, child, reason)
        elif self.phase is Phase.ENDING or (sequence is not None and sequence.will_stop(child.id)):
            child.become(Down(reason), self.now)
        else:
            child.become(Gone(reason), self.now)
            self.queue.append(Decision(child.id, child.incarnation))

    def leave_behind(self, child: Child) -> None:
        """Go on without a child that cannot be killed, if the supervisor is ending; else go on waiting for it."""
        if self.phase is Phase.ENDING and child.id in self.waiting:
            self.ended(child, exits.Unkillable(UNKILLABLE_SECONDS))

    # --- sequences ---------------------------------------------------------------------------------

    def settle(self) -> None:
        """Go on until something has to be waited for."""
        while True:
            if self.sequence is not None:
                if not self._advance(self.sequence):
                    return
            elif self.queue and self.phase is Phase.UP:
                self._take(self.queue.popleft())
            else:
                return

    def _advance(self, sequence: Sequence) -> bool:
        """Take a sequence one step further; False if it has to wait."""
        match sequence.step:
            case None:
                self.sequence = None
                self._finish(sequence)
            case StopStep() as step:
                if not sequence.entered:
                    self.sequence = attrs.evolve(sequence, entered=True)
                    self._enter_stop(step)
                elif self.waiting:
                    return False
                else:
                    self.sequence = sequence.next()
                    for name in step.children if step.forget_temporary else ():
                        self._roster.forget_if_done(self._roster.children.of(name))
            case StartStep() as step:
                if sequence.entered:
                    return False
                self.sequence = attrs.evolve(sequence, entered=True)
                self._enter_start(sequence, step)
        return True

    def _enter_stop(self, step: StopStep) -> None:
        for name in step.children:
            child = self._roster.children.of(name)
            if child.is_alive:
                self._life.stop(child, self.now)
                self.waiting.add(name)
            elif isinstance(child.state, Gone | Backoff | Fatal):
                # Dead already: its own reason stands (OTP sup_stop_race), and nothing follows from it.
                self._life.stopped(child, child.state.reason, self.now)

    def _enter_start(self, sequence: Sequence, step: StartStep) -> None:
        child = self._roster.children.of(step.child)
        child.desired = Desired.UP
        if isinstance(sequence.purpose, RestartOf) and child.incarnation > 0:
            child.restarts += 1
        self._life.launch(child, self.now)
        if child.is_temporary and self._roster.is_simple:
            # Never started again, so that nobody needs them: OTP row 40.
            child.spec, child.own_args = attrs.evolve(child.spec, args={}), NO_ARGS

    def _start_failed(self, sequence: Sequence, child: Child, reason: ExitReason) -> None:
        if sequence.terminations:
            self._start_terminated(sequence, child, reason)
            return
        match sequence.purpose:
            case InitialStart():
                child.become(Down(reason), self.now)
                self._end(FailedToStart(child.id, reason), EndCause.START_FAILED)
            case RestartOf():
                self.sequence = None
                child.become(Backoff(None, reason), self.now)
                self._abandon_starts(sequence)
                self._life.effects.append(TellSelf(TryAgain(self.now, child.id, child.incarnation)))
            case RequestedStart(request=request, added=added):
                self.sequence = None
                child.become(Down(reason), self.now)
                child.desired = Desired.DOWN
                if added:
                    self._roster.children.remove(child.id)
                detail = exits.describe(reason)
                self._reply(request, Refused(Refusal.START_FAILED, child.id, detail, reason=reason))
            case _:
                message = f"{sequence.purpose} starts nobody"
                raise RuntimeError(message)

    def _abandon_starts(self, sequence: Sequence) -> None:
        """Leave the children after a failed one without a process (reference 1.6)."""
        for step in sequence.next().left:
            if not isinstance(step, StartStep):
                continue
            child = self._roster.children.of(step.child)
            if isinstance(child.state, Backoff):
                child.become(Down(child.state.reason), self.now)

    def _start_terminated(self, sequence: Sequence, child: Child, reason: ExitReason) -> None:
        """A child's start was pre-empted by its termination: the sequence goes on without it."""
        self._life.stopped(child, reason, self.now)
        self._roster.forget_if_done(child)
        for request in sequence.terminations:
            self._reply(request, Done())
        if isinstance(sequence.purpose, RequestedStart):
            self._reply(sequence.purpose.request, Refused(Refusal.TERMINATED, child.id))
        self.sequence = sequence.next()

    def _finish(self, sequence: Sequence) -> None:
        match sequence.purpose:
            case InitialStart():
                self.phase = Phase.UP
                self._life.publish(SupervisorStarted(self.now))
            case RequestedStop(request=request):
                self._reply(request, Done())
            case SupervisorEnd(reason=reason, cause=cause):
                self.phase = Phase.ENDED
                self._life.publish(SupervisorStopped(self.now, reason, cause))
                for request in self._stop_requests:
                    self._reply(request, Done())
                self._life.effects.append(Ended(reason, cause))
            case RestartOf() | RequestedStart():
                pass

    # --- decisions ---------------------------------------------------------------------------------

    def _take(self, queued: Queued) -> None:
        """Turn to the next thing in the queue; no sequence is running."""
        match queued:
            case Decision() | BackoffOver() | TryAgain():
                child = self._roster.children.get(queued.child)
                if child is not None and child.incarnation == queued.incarnation:
                    self._turn_to(child, queued)
            case _:
                answer = self._roster.admit(queued)
                if isinstance(answer, Sequence):
                    self.sequence = answer
                    return
                if isinstance(queued, ChangeSpecs):
                    self._take_flags()
                self._reply(queued.request, answer)

    def _take_flags(self) -> None:
        """Let changed flags and specs act on children that run already (reference 1.12)."""
        self._life.strict = self._roster.flags.strict
        for child in self._roster.children:
            self._life.beat(child, self.now)
            self._life.listen(child, self.now)

    def _turn_to(self, child: Child, queued: Decision | BackoffOver | TryAgain) -> None:
        """Check that what was queued still holds, and act on it."""
        match queued, child.state:
            case Decision(), Gone(reason):
                self._decide(child, reason)
            case TryAgain() | BackoffOver(), Backoff(_, reason) if child.is_temporary:
                child.become(Down(reason), self.now)  # its spec was changed meanwhile
                self._roster.forget_if_done(child)
            case TryAgain(), Backoff(None, reason):
                self._attempt(child, reason)
            case BackoffOver(), Backoff(until, reason) if until is not None:
                self._restart(child, reason)
            case _:
                pass  # terminated, or restarted with its group, meanwhile

    def _decide(self, child: Child, reason: ExitReason) -> None:
        if calls_for_restart(child.spec.restart, reason):
            self._attempt(child, reason)
            return
        child.become(Down(reason), self.now)
        self._roster.forget_if_done(child)
        if child.spec.significant and self._ends_with_significant():
            self._end(exits.Shutdown(), EndCause.AUTO_SHUTDOWN)

    def _ends_with_significant(self) -> bool:
        """Apply reference 1.11, after a significant child ended by itself and stays down."""
        match self._roster.flags.auto_shutdown:
            case AutoShutdown.NEVER:
                return False
            case AutoShutdown.ANY_SIGNIFICANT:
                return True
            case AutoShutdown.ALL_SIGNIFICANT:
                return not any(
                    child.spec.significant and not isinstance(child.state, Down | Fatal)
                    for child in self._roster.children
                )
            case _:
                assert_never(self._roster.flags.auto_shutdown)

    def _attempt(self, child: Child, reason: ExitReason) -> None:
        """Spend one unit of the budget on a restart, or give up."""
        flags = self._roster.flags
        quarantined = child.spec.quarantine and not flags.strict
        record = (child.own_record if quarantined else self._record).add(self.now, flags.period)
        if quarantined:
            child.own_record = record
        else:
            self._record = record
        attempts = len(record.attempts)
        if not record.exceeds(flags.intensity):
            self._life.publish(ChildRestarting(self.now, child.id, reason, attempts))
            if not self._life.delay_restart(child, reason, self.now):
                self._restart(child, reason)
        elif quarantined:
            self._quarantine(child, reason)
        else:
            child.become(Down(reason), self.now)
            given = IntensityExceeded(self.now, child.id, attempts, flags.intensity, flags.period)
            self._life.publish(given)
            self._end(exits.Shutdown(), EndCause.INTENSITY)

    def _quarantine(self, child: Child, reason: ExitReason) -> None:
        """Leave a child out; whoever was to be started after it, in the restart in which it failed, is started now."""
        failed = isinstance(child.state, Backoff)
        child.become(Fatal(reason), self.now)
        self._life.publish(ChildFatal(self.now, child.id, reason))
        if failed and not child.alone:
            steps = plan_left_behind(self._roster.flags.strategy, self._roster.children, child)
            self.sequence = Sequence(RestartOf(child.id), steps)

    def _restart(self, child: Child, reason: ExitReason) -> None:
        """Apply the strategy; a child that went over a soft limit is replaced alone."""
        strategy = Strategy.ONE_FOR_ONE if child.alone else self._roster.flags.strategy
        steps = plan_restart(strategy, self._roster.children, child)
        if isinstance(child.state, Gone) and len(steps) > 1:
            child.become(Backoff(None, reason), self.now)  # its turn comes after the others' end
        self.sequence = Sequence(RestartOf(child.id), steps)

    def _end(self, reason: EndReason, cause: EndCause) -> None:
        """Replace whatever is running by the supervisor's own end."""
        if self.phase in (Phase.ENDING, Phase.ENDED):
            return
        self.phase = Phase.ENDING
        if self.sequence is not None:
            self._refuse(self.sequence)
        for queued in self.queue:
            if not isinstance(queued, Decision | BackoffOver | TryAgain):
                self._reply(queued.request, Refused(Refusal.SHUTTING_DOWN))
        self.queue.clear()
        self.waiting.clear()
        steps = plan_end(self._roster.flags.strategy, self._roster.children)
        self.sequence = Sequence(SupervisorEnd(reason, cause), steps)

    def _refuse(self, sequence: Sequence) -> None:
        """Tell those who wait for a sequence that it will not be finished."""
        requests = list(sequence.terminations)
        if isinstance(sequence.purpose, RequestedStart | RequestedStop):
            requests.append(sequence.purpose.request)
        for request in requests:
            self._reply(request, Refused(Refusal.SHUTTING_DOWN))

    def _reply(self, request: int, result: Result) -> None:
        self._life.effects.append(Reply(request, result))
