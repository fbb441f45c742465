"""The supervision core: OTP's supervisor as a pure state machine, `handle(event) -> effects`.

Owns what happens when: restarts, groups, budgets, escalation, automatic shutdown, and the rule that
one thing is done at a time. It refuses to know clocks, processes, threads and message queues: time
arrives in events, effects are values. It is not thread-safe; one actor owns it.

The protocol, in prose (`sequencer` carries it out). A *sequence* (initial start, group restart,
requested start or stop, the supervisor's end) runs step by step; each step waits for the events of
one child. While one runs, requests and the ends of other children queue in order of arrival;
questions are answered at once. Two things do not wait: `Stop`, which replaces whatever runs, and the
termination of the very child that is being started. A failed restart never loops: the core tells
itself `TryAgain` (reference 1.6), so that everything that arrived meanwhile is served first.

Beyond OTP, off in strict mode: start timeout, heartbeats, limits, backoff, quarantine.

Events about an incarnation that is not the present one are ignored.
"""

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import assert_never

from supervisor import exits
from supervisor.children import Child, Desired, Running, Starting, StateName, Stopping, Transition
from supervisor.core_effects import Effect, Refused
from supervisor.core_events import (
    Beat,
    Begin,
    ChangeSpecs,
    DeleteChild,
    Event,
    Exited,
    Ignored,
    Observation,
    OverLimitSeen,
    Ready,
    RestartChild,
    Spawned,
    SpawnFailed,
    StartChild,
    StartInstance,
    Stop,
    TerminateChild,
    Tick,
    TryAgain,
)
from supervisor.exits import ExitReason, OverLimit
from supervisor.invariants import check_invariants
from supervisor.lifecycle import LATE, Lifecycle
from supervisor.roster import ChildRow, Counts, Roster
from supervisor.sequence import BackoffOver, Phase
from supervisor.sequencer import Sequencer
from supervisor.spec import ChildSpec, SupervisorFlags


class Core:
    """One supervisor, as a state machine.

    Args:
        flags: strategy, restart budget and the rest.
        specs: the children in start order; for simple_one_for_one the one template.
        held: ids that an operator stopped before: not started by `Begin`.
        seed: decides the jitter of backoffs, nothing else.
        former: incarnation that each child has had under a former supervisor: numbers go on from there.

    Raises:
        SpecError: the specs do not go together; nothing has been started.
    """

    def __init__(
        self,
        flags: SupervisorFlags,
        specs: Iterable[ChildSpec],
        *,
        held: Collection[str] = (),
        seed: int = 0,
        former: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        kept_down = frozenset(held)
        self._roster = Roster(flags, specs, kept_down)
        for child in self._roster.children:
            child.incarnation = former.get(child.id, 0)
        self._life = Lifecycle(strict=flags.strict, seed=seed)
        self._course = Sequencer(self._roster, self._life, kept_down)

    # --- questions, answered at once ---------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """How far the supervisor has come."""
        return self._course.phase

    @property
    def flags(self) -> SupervisorFlags:
        """The flags that hold now."""
        return self._roster.flags

    @property
    def next_deadline(self) -> float | None:
        """When a `Tick` is wanted, in monotonic seconds; None: none is."""
        return self._life.deadlines.next

    def which_children(self) -> tuple[ChildRow, ...]:
        """List all children, the newest started first."""
        return self._roster.which_children()

    def which_child(self, child: str | int) -> ChildRow | None:
        """Return the row of one child, by its id or the pid of its process; None: there is no such child."""
        return self._roster.which_child(child)

    def count_children(self) -> Counts:
        """Count specs, running children, supervisors and workers."""
        return self._roster.count_children()

    def get_childspec(self, child: str) -> ChildSpec | None:
        """Return a child's spec, None if there is no such child."""
        return self._roster.get_childspec(child)

    def expects(self, child: str) -> bool:
        """Tell whether a child runs, or will be started again without being asked for; False if there is none."""
        known = self._roster.children.get(child)
        return known is not None and self._course.expects(known)

    @property
    def template(self) -> ChildSpec | None:
        """What the children of a simple_one_for_one supervisor are made from; None: it is none."""
        return self._roster.template

    def unknown(self, child: str) -> Refused:
        """Say that there is no child of this name, and which there are."""
        return self._roster.unknown(child)

    def state(self, child: str) -> StateName:
        """Name a child's state as Supervisor does.

        Raises:
            KeyError: no such child; so do the questions below.
        """
        return self._child(child).name

    def desired(self, child: str) -> Desired:
        """Return what is wanted of a child; DOWN is what an operator said, and worth keeping."""
        return self._child(child).desired

    def story(self, child: str) -> tuple[Transition, ...]:
        """Return a child's last transitions, oldest first."""
        return self._child(child).story

    def restarts(self, child: str) -> int:
        """Count the starts of a child that the supervisor made by itself after the first."""
        return self._child(child).restarts

    def last_exit(self, child: str) -> ExitReason | None:
        """Return why a child's last incarnation ended, None if none has."""
        return self._child(child).last_exit

    def check_invariants(self) -> None:
        """Check that queue, sequence, budget and children agree with each other.

        Raises:
            BrokenInvariant: they do not: a bug of the core.
        """
        check_invariants(self._roster, self._course)

    def _child(self, child: str) -> Child:
        return self._roster.children.of(child)

    # --- the door ----------------------------------------------------------------------------------

    def handle(self, event: Event) -> tuple[Effect, ...]:
        """Take one event in, and return what is to be done, in order.

        Raises:
            InvalidTransition: a bug of the core; it carries the child's story.
        """
        self._course.now = max(self._course.now, event.at)
        match event:
            case Begin():
                self._course.begin()
            case Tick(at):
                self._tick(at)
            case TryAgain():
                self._course.queue.append(event)
            case Stop(request=request):
                self._course.stop(request)
            case StartChild() | StartInstance() | TerminateChild() | RestartChild() | DeleteChild() | ChangeSpecs():
                self._course.request(event)
            case _:
                self._observe(event)
        self._course.settle()
        effects = tuple(self._life.effects)
        self._life.effects.clear()
        return effects

    def _tick(self, at: float) -> None:
        due = self._life.deadlines.next
        if due is not None and at - due > LATE:
            for child in self._roster.children:
                self._life.discount(child, at - due, at)
        for name in self._life.deadlines.due(at):
            known = self._roster.children.get(name)
            if known is None:
                continue
            killed = isinstance(known.state, Stopping) and known.state.killed
            if self._life.look(known, at):
                self._course.queue.append(BackoffOver(known.id, known.incarnation))
            elif killed and isinstance(known.state, Stopping) and known.state.kill_at is None:
                self._course.leave_behind(known)  # not one that was killed just now: in strict mode it has no limit

    # --- what is seen of children ------------------------------------------------------------------

    def _observe(self, event: Observation) -> None:
        child = self._roster.children.get(event.child)
        if child is None or child.incarnation != event.incarnation or not child.is_alive:
            return
        match event:
            case Spawned(pid=pid):
                self._life.spawned(child, pid)
            case Ready(info=info):
                if isinstance(child.state, Starting):
                    self._life.ready(child, child.state, self._course.now, info)
                    self._course.started(child, running=True, info=info)
            case Beat(at=at):
                self._life.beat(child, at)
            case OverLimitSeen(what=what, hard=hard):
                self._replace(child, OverLimit(what), hard=hard)
            case Ignored():
                self._course.declined(child)
            case SpawnFailed(error=error):
                self._course.ended(child, exits.SpawnFailed(error))
            case Exited(reason=reason):
                self._course.ended(child, reason)
            case _:
                assert_never(event)

    def _replace(self, child: Child, why: ExitReason, *, hard: bool) -> None:
        """End a child that is over a limit; its end is then decided about as any other.

        A soft limit is for those that run. A hard one holds also while a child starts or is on its way out: what
        it was ending for stays its reason.
        """
        if self.flags.strict:
            return
        match child.state:
            case Running():
                child.alone = not hard
                if hard:
                    self._life.kill(child, self._course.now, why)
                else:
                    self._life.stop(child, self._course.now, why)
            case Starting() if hard:
                self._life.kill(child, self._course.now, why)
            case Stopping(killed=False, why=former) if hard:
                self._life.kill(child, self._course.now, former)
            case _:
                pass
