"""A witness of one supervisor: a small model of OTP that watches from outside and objects.

Owns what OTP would never do, computed again from the events that go in and the effects that come out: who may be
started or ended now, in which order, at what cost, and what may not be forgotten. It refuses to look into the core;
only at rest it compares the core's answers with its own.

It does not predict when a supervisor takes its decisions, only that it takes them, none of them wrong, before it rests.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NoReturn

import attrs

from supervisor.core import Core
from supervisor.core_effects import (
    AskToStop,
    ChildBackoff,
    ChildFatal,
    ChildRestarting,
    Done,
    Effect,
    EndCause,
    Ended,
    IntensityExceeded,
    Kill,
    Publish,
    Refusal,
    Refused,
    Reply,
    Result,
    Spawn,
    SupervisorStarted,
    TellSelf,
)
from supervisor.core_events import (
    Beat,
    Begin,
    ChangeSpecs,
    DeleteChild,
    Event,
    Exited,
    Ignored,
    Mutation,
    OverLimitSeen,
    Ready,
    RestartChild,
    SpawnFailed,
    StartChild,
    StartInstance,
    Stop,
    TerminateChild,
    Tick,
    TryAgain,
)
from supervisor.exits import Normal, Shutdown, ShutdownTerm
from supervisor.spec import (
    BRUTAL_KILL,
    INFINITY,
    AutoShutdown,
    ChildSpec,
    Restart,
    Strategy,
    SupervisorFlags,
)

LAST_LINES: Final = 60
SLACK: Final = 1e-6
FAULTS: Final = frozenset({"over", "late", "silent"})


class Violation(AssertionError):  # noqa: N818  the house's word
    """A supervisor did what OTP would never do. The message ends with what happened before."""


@attrs.define
class Seen:
    """An incarnation that lives, as far as one can see."""

    incarnation: int
    serial: int
    origin: str  # initial, request, restart
    since: float
    ready: bool = False
    cause: str = ""  # why it is being ended: request, group, end, over, late, silent
    kill_at: float | None = None
    killed: bool = False
    preempted: bool = False  # its termination was requested while it was being started
    last_beat: float = 0.0
    stalled: bool = False


@attrs.define
class Group:
    """A restart that is under way, or was the last one: whom it concerns and whom it has started."""

    anchor: str
    serial: int
    members: tuple[str, ...]
    expected: deque[str]
    swept: bool = False
    failed: bool = False


class Witness:
    """What can be known of one life of a supervisor without looking into it."""

    def __init__(self, path: str, flags: SupervisorFlags, specs: Sequence[ChildSpec]) -> None:
        """Know what it was built with."""
        self.path = path
        self.flags = flags
        self.template = specs[0] if flags.strategy is Strategy.SIMPLE_ONE_FOR_ONE else None
        self.specs = {} if self.template else {spec.id: spec for spec in specs}  # in start order
        self.live: dict[str, Seen] = {}
        self.last: dict[str, int] = {}
        self.serial = 0
        self.up = self.ending = self.over = False
        self.to_begin: deque[str] = deque()
        self.group: Group | None = None
        self.owed: set[str] = set()  # their restart has not been decided about
        self.unsure: set[str] = set()  # their spec changed meanwhile
        self.failed_starts: set[str] = set()
        self.renewed: set[str] = set()
        self.backoff: dict[str, float] = {}
        self.fatal: set[str] = set()
        self.down: set[str] = set()  # rightly without a process: terminated, ignored, finished, left behind
        self.alone: set[str] = set()
        self.attempts: list[float] = []
        self.own_attempts: dict[str, list[float]] = {}
        self.pending: dict[int, Mutation] = {}
        self.stops: set[int] = set()
        self.significant_ends: set[str] = set()  # ended by themselves, and their supervisor may have to follow
        self.start_failed = self.exceeded = self.disturbed = False
        self.end_cause: EndCause | None = None
        self.exceeding: tuple[str, bool] | None = None
        self.now = 0.0
        self.event: Event | None = None
        self.story: deque[str] = deque(maxlen=LAST_LINES)

    def fail(self, why: str) -> NoReturn:
        """Object."""
        told = "\n  ".join(self.story)
        raise Violation(f"{self.path} at {self.now:.3f} s: {why}\nwhat happened before:\n  {told}")

    def require(self, why: str, *, ok: bool) -> None:
        """Object unless it is so."""
        if not ok:
            self.fail(why)

    # --- events ------------------------------------------------------------------------------------

    def stalled(self) -> None:
        """Note that the supervising process stood still."""
        for seen in self.live.values():
            seen.stalled = True

    def sees(self, event: Event, now: float) -> None:
        """Take note of an event before the supervisor does."""
        self.now, self.event, self.exceeding = now, event, None
        self.story.append(f"{now:.3f} in  {event}")
        match event:
            case Begin():
                self.to_begin = deque(self.specs)
            case Stop(request=request):
                self.stops.add(request)
                self.ending = True
            case Ready() | Beat() | OverLimitSeen() | Ignored() | SpawnFailed() | Exited():
                seen = self.live.get(event.child)
                if seen is not None and seen.incarnation == event.incarnation:
                    self._observe(event, seen)
            case StartChild() | StartInstance() | TerminateChild() | RestartChild() | DeleteChild() | ChangeSpecs():
                self.pending[event.request] = event
                if isinstance(event, TerminateChild) and not self.ending:
                    seen = self.live.get(event.child)
                    if seen is not None and not seen.ready:
                        seen.preempted = True
            case _:
                pass

    def _observe(self, event: Event, seen: Seen) -> None:
        match event:
            case Ready(at=at) if not seen.cause and not seen.ready:
                seen.ready, seen.last_beat = True, at
                self.alone.discard(event.child)
            case Beat(at=at):
                seen.last_beat = max(seen.last_beat, at)
            case OverLimitSeen(hard=hard):
                self.exceeding = (event.child, hard)
            case Ignored() | SpawnFailed() | Exited():
                del self.live[event.child]
                self._gone(event.child, seen, event)
            case _:
                pass

    def _gone(self, child: str, seen: Seen, event: Ignored | SpawnFailed | Exited) -> None:
        if self.ending:
            return
        if not seen.ready:
            self._never_ready(child, seen, ignored=isinstance(event, Ignored) and not seen.cause)
            return
        spec = self.specs[child]
        group = self.group
        swept = group is not None and not group.failed and child in group.members and seen.serial < group.serial
        if seen.cause in ("request", "group") or swept:
            self._forget_if_done(child)
            return
        clean = isinstance(event, Exited) and isinstance(event.reason, Normal | Shutdown | ShutdownTerm)
        clean &= seen.cause not in FAULTS
        if any(isinstance(asked, ChangeSpecs) for asked in self.pending.values()):
            self.unsure.add(child)  # what it is when it is decided about is not known yet
            return
        if spec.restart is Restart.PERMANENT or (spec.restart is Restart.TRANSIENT and not clean):
            self.owed.add(child)
            return
        if spec.significant:
            self.significant_ends.add(child)
        self._forget_if_done(child)
        self.down.add(child)

    def _never_ready(self, child: str, seen: Seen, *, ignored: bool) -> None:
        if ignored or seen.preempted:
            self.down.add(child)
            self._forget_if_done(child)
        elif seen.origin == "initial":
            self.start_failed = self.ending = True
        elif seen.origin == "restart":
            self.owed.add(child)
            self.failed_starts.add(child)
            if self.group is not None:
                self.group.failed = True

    def _forget_if_done(self, child: str) -> None:
        if self.template is not None or self.specs[child].restart is Restart.TEMPORARY:
            self._forget(child)

    def _forget(self, child: str) -> None:
        del self.specs[child]
        for known in (self.owed, self.unsure, self.failed_starts, self.fatal, self.down, self.alone):
            known.discard(child)
        for table in (self.last, self.backoff, self.own_attempts):
            table.pop(child, None)

    # --- effects -----------------------------------------------------------------------------------

    def judges(self, event: Event, effects: Iterable[Effect], now: float) -> None:
        """Judge what the supervisor made of an event.

        Raises:
            Violation: OTP would never do that.
        """
        self.now, self.event = now, event
        for effect in effects:
            self.story.append(f"{now:.3f} out {effect}")
            self.require("it acts although it has ended", ok=not self.over or isinstance(effect, Reply))
            match effect:
                case Spawn(child=spec, incarnation=incarnation):
                    self._spawn(spec, incarnation)
                case AskToStop(child, incarnation):
                    self._end_child(child, incarnation, kill=False)
                case Kill(child, incarnation):
                    self._end_child(child, incarnation, kill=True)
                case TellSelf(TryAgain(child=child)):
                    self.require(f"{child} is to be retried without a failure", ok=child in self.owed)
                case Reply(request, result):
                    self._reply(request, result)
                case Publish(published):
                    self._published(published)
                case Ended(cause=cause):
                    self._ended(cause)
        if self.group is not None and not self.group.swept:
            self._sweep(self.group)

    def _sweep(self, group: Group) -> None:
        """Note that a restart takes over whatever was to come for its members."""
        group.swept = True
        # Who is forgotten already may have been swept away undecided, or not: its place in the order is not known.
        self.disturbed |= len(group.members) > 1 and not self.significant_ends <= self.specs.keys()
        for name in group.members:
            self.significant_ends.discard(name)
            kept = name in self.live or name in self.fatal or name == group.anchor
            if kept or name not in self.specs:
                continue
            self.owed.discard(name)
            self.backoff.pop(name, None)
            self._forget_if_done(name)

    def _spawn(self, spec: ChildSpec, incarnation: int) -> None:
        child = spec.id
        self.require(f"{child} is started while the supervisor ends", ok=not self.ending)
        self.require(f"{child} is started although it lives", ok=child not in self.live)
        starting = [name for name, seen in self.live.items() if not seen.ready]
        self.require(f"{child} is started beside {starting}", ok=not starting)
        origin = self._origin(child)
        number = self.last.get(child, 0) + 1
        right = incarnation == number or (child in self.renewed and incarnation == 1)
        self.require(f"{child} is started as #{incarnation}, not as #{number}", ok=right)
        self.renewed.discard(child)
        temporary = self.specs[child].restart is Restart.TEMPORARY
        self.require(f"{child} is temporary and restarted", ok=origin != "restart" or not temporary)
        self.last[child] = incarnation
        self.serial += 1
        self.live[child] = Seen(incarnation, self.serial, origin, self.now)
        for known in (self.owed, self.unsure, self.failed_starts, self.fatal, self.down):
            known.discard(child)
        self.backoff.pop(child, None)

    def _origin(self, child: str) -> str:
        """Say for what reason a child is started; object if there is none."""
        if not self.up:
            expected = self.to_begin.popleft() if self.to_begin else None
            self.require(f"{child} is started where {expected} had its turn", ok=child == expected)
            return "initial"
        group = self._group_that(child)
        if group is not None:
            expected = group.expected.popleft()
            self.require(f"{child} is restarted where {expected} had its turn", ok=child == expected)
            left = [name for name in group.members if name in self.live and self.live[name].serial < group.serial]
            self.require(f"{child} is restarted before {left} have ended", ok=not left)
            return "restart"
        if child in self.unsure and self._is_temporary(child):
            self._forget(child)  # decided about by now, as what a change has made of it
        for request in self.pending.values():
            match request:
                case StartChild(spec=spec) if spec.id == child and child not in self.specs:
                    self._close_group()
                    self.specs[child] = spec
                    return "request"
                case StartInstance() if self.template and child not in self.specs:
                    self.specs[child] = self.template
                    return "request"
                case RestartChild(child=asked) if asked == child in self.specs:
                    self._close_group()
                    if child in self.fatal:
                        self.own_attempts.pop(child, None)
                    return "request"
                case _:
                    pass
        return self.fail(f"{child} is started, and nobody wanted it")

    def _group_that(self, child: str) -> Group | None:
        """Return the restart that concerns a child and has not started it yet; a backoff may just have ended."""
        group = self.group
        if group is not None and not group.failed and child in group.expected:
            return group
        for anchor in self._due_backoffs():
            opened = self._group_of(anchor)
            if child in opened.expected:
                self._close_group()
                del self.backoff[anchor]
                self.group = opened
                return opened
        return None

    def _due_backoffs(self) -> list[str]:
        """List those whose backoff is over, in the order in which they were."""
        due = sorted((until, name) for name, until in self.backoff.items())
        return [name for until, name in due if until <= self.now + SLACK]

    def _group_of(self, anchor: str) -> Group:
        strategy = Strategy.ONE_FOR_ONE if anchor in self.alone else self.flags.strategy
        order = list(self.specs)
        match strategy:
            case Strategy.ONE_FOR_ALL:
                members = order
            case Strategy.REST_FOR_ONE:
                members = order[order.index(anchor) :]
            case _:
                members = [anchor]
        wanted = (name for name in members if self.specs[name].restart is not Restart.TEMPORARY or name == anchor)
        expected = deque(name for name in wanted if name not in self.fatal)
        return Group(anchor, self.serial + 1, tuple(members), expected)

    def _go_on_without(self, child: str) -> None:
        """Expect that the restart in which a child failed to start is finished without it."""
        failed, self.group = child in self.failed_starts, None
        if failed:
            group = self._group_of(child)
            order = list(group.members)
            later = order[order.index(child) + 1 :]
            expected = deque(name for name in group.expected if name in later and name not in self.live)
            self.group = attrs.evolve(group, members=tuple(expected), expected=expected, swept=True)

    def _close_group(self) -> None:
        group, self.group = self.group, None
        if group is not None and not group.failed:
            left = [name for name in group.expected if name in self.specs]
            self.require(f"the restart because of {group.anchor} has left out {left}", ok=not left)

    def _end_child(self, child: str, incarnation: int, *, kill: bool) -> None:
        seen = self.live.get(child)
        if seen is None or seen.incarnation != incarnation:
            self.fail(f"{child} #{incarnation} is to end, but is not there")
        if seen.cause:
            self.require(f"{child} is asked to stop again", ok=kill and not seen.killed)
            due = seen.kill_at is not None and seen.kill_at <= self.now + SLACK
            due |= self.exceeding == (child, True) and not self.flags.strict  # a hard limit ends every patience
            self.require(f"{child} is killed before its time, {seen.kill_at}", ok=due)
            seen.killed = True
            return
        seen.cause = self._cause(child, seen, kill=kill)
        seen.killed = kill
        if seen.cause in ("late", "silent"):
            self.require(f"{child} is {seen.cause} and only asked to stop", ok=kill)
        elif seen.cause != "over" or not kill:
            time = self.specs[child].shutdown
            self.require(f"{child} is ended against its shutdown {time}", ok=kill == (time is BRUTAL_KILL))
            if time is not BRUTAL_KILL and time is not INFINITY:
                seen.kill_at = self.now + float(time)

    def _cause(self, child: str, seen: Seen, *, kill: bool) -> str:
        """Say for what reason a child is ended; object if there is none."""
        spec = self.specs[child]
        if self.exceeding is not None and self.exceeding[0] == child and not self.flags.strict:
            if not self.exceeding[1]:
                self.alone.add(child)
            self.require(f"{child} is over a limit, and ended the wrong way", ok=kill or not self.exceeding[1])
            return "over"
        if isinstance(self.event, Tick) and not self.flags.strict and kill:
            limit = spec.start_timeout if not seen.ready else spec.heartbeat_timeout
            began = seen.since if not seen.ready else seen.last_beat
            if limit is not None and began + limit <= self.now + SLACK:
                return "silent" if seen.ready else "late"
        if seen.preempted and not seen.ready:
            return "request"
        if any(isinstance(asked, TerminateChild) and asked.child == child for asked in self.pending.values()):
            return "end" if self.ending else "request"
        if not self.ending and self._is_swept(child, seen):
            return "group"
        if not self.ending and self._may_end_with_significant():
            self.ending = True
        self.require(f"{child} is ended for no reason", ok=self.ending)
        self._check_reverse(child, list(self.specs))
        return "end"

    def _is_swept(self, child: str, seen: Seen) -> bool:
        candidates = [self.group] if self.group is not None and not self.group.failed else []
        candidates += [self._group_of(name) for name in self._due_backoffs()]
        for group in candidates:
            if child in group.members and child != group.anchor and seen.serial < group.serial:
                if group is not self.group:
                    self._close_group()
                    del self.backoff[group.anchor]
                    self.group = group
                self._check_reverse(child, group.members)
                return True
        return False

    def _may_end_with_significant(self) -> bool:
        """Tell whether a significant child has ended, or one that may have become significant meanwhile."""
        mode = self.flags.auto_shutdown
        if mode is AutoShutdown.NEVER or not (self.significant_ends or self.unsure):
            return False
        active = any(self.specs[name].significant and not seen.cause for name, seen in self.live.items())
        return mode is AutoShutdown.ANY_SIGNIFICANT or not active

    def _check_reverse(self, child: str, order: Sequence[str]) -> None:
        if self.template is None and child in order:
            later = [name for name in order[order.index(child) + 1 :] if name in self.live]
            self.require(f"{child} is ended before {later}, which were started after it", ok=not later)

    # --- what it says ------------------------------------------------------------------------------

    def _published(self, event: object) -> None:
        match event:
            case SupervisorStarted():
                self.require(f"it is up, but {list(self.to_begin)} were not started", ok=not self.to_begin)
                self.up = True
            case ChildRestarting(child=child, attempts=attempts):
                self._is_owed(child)
                self._close_group()
                counted = self._spend(child)
                self.require(f"it counts {attempts} attempts, there were {counted}", ok=attempts == counted)
                self.require(f"attempt {counted} is beyond its budget", ok=counted <= self.flags.intensity)
                self.group = self._group_of(child)
            case ChildBackoff(child=child, until=until):
                backoff = self.specs[child].backoff
                self.require(f"{child} backs off, unasked", ok=backoff is not None and not self.flags.strict)
                longest = self.now + (backoff.maximum if backoff else 0.0) + SLACK
                self.require(f"{child} backs off until {until}", ok=self.now < until <= longest)
                self.group = None
                self.backoff[child] = until
            case ChildFatal(child=child):
                self._is_owed(child)
                allowed = self.specs[child].quarantine and not self.flags.strict
                self.require(f"{child} is quarantined, unasked", ok=allowed)
                self.require(f"{child} is quarantined too early", ok=self._spend(child) > self.flags.intensity)
                self.fatal.add(child)
                self._go_on_without(child)
            case IntensityExceeded(child=child, attempts=attempts):
                self._is_owed(child)
                counted = self._spend(child)
                given_up = counted == attempts > self.flags.intensity
                self.require(f"it gives up at {attempts} attempts, there were {counted}", ok=given_up)
                self.ending = self.exceeded = True
            case _:
                pass

    def _is_owed(self, child: str) -> None:
        known = child in self.owed or child in self.unsure
        self.require(f"a restart of {child} is decided without cause, or twice", ok=known)
        self.owed.discard(child)
        self.unsure.discard(child)

    def _spend(self, child: str) -> int:
        """Count an attempt as OTP does, inclusive at the edge, and return how many count."""
        own = self.specs[child].quarantine and not self.flags.strict
        spent = self.own_attempts.setdefault(child, []) if own else self.attempts
        spent[:] = [*(at for at in spent if self.now - at <= self.flags.period), self.now]
        return len(spent)

    def _reply(self, request: int, result: Result) -> None:
        if request in self.stops:
            self.stops.discard(request)
            self.require(f"it has stopped, it says, but {sorted(self.live)} live", ok=not self.live)
            return
        asked = self.pending.pop(request, None)
        if asked is None:
            self.fail(f"request {request} is answered twice, or was never made")
        if isinstance(result, Refused):
            if result.why is Refusal.SHUTTING_DOWN:
                # The end may have been decided just now, by the end of a significant child.
                true = self.ending or self._may_end_with_significant()
                self.require("a request is refused for an end that is none", ok=true)
            elif isinstance(asked, StartChild) and result.why is Refusal.START_FAILED:
                self._forget(asked.spec.id)
            elif isinstance(asked, StartInstance) and result.why is Refusal.START_FAILED and result.child:
                self._forget(result.child)
            elif isinstance(asked, RestartChild) and result.why is Refusal.START_FAILED:
                self.down.add(asked.child)
            return
        match asked:
            case TerminateChild(child=child):
                self.require(f"{child} is terminated, it says, but lives", ok=child not in self.live)
                self._leave_down([child])
                if child in self.specs:
                    self._forget_if_done(child)
            case DeleteChild(child=child):
                self.require(f"{child} is deleted, but lives", ok=child in self.specs and child not in self.live)
                self._close_group()
                self._forget(child)
            case ChangeSpecs(flags=flags, specs=specs):
                self.require("the specs are changed, it says", ok=result == Done())
                self._close_group()
                self._change(flags, specs)
            case _:
                pass

    def _leave_down(self, children: Iterable[str]) -> None:
        """Excuse these, and whoever has no process now and waits for nothing: his group may have been given up."""
        for child in children:
            self.owed.discard(child)
            self.unsure.discard(child)
            self.backoff.pop(child, None)
            self.fatal.discard(child)
        waiting = self.owed | self.backoff.keys()
        self.down.update(name for name in self.specs if name not in self.live and name not in waiting)
        self.disturbed = True

    def _change(self, flags: SupervisorFlags, specs: tuple[ChildSpec, ...]) -> None:
        self.flags = flags
        if self.template is not None:
            self.template = specs[0]
            self.specs = {name: attrs.evolve(specs[0], id=name) for name in self.specs}
        else:
            named = {spec.id: spec for spec in specs}
            self.specs = {**named, **{name: spec for name, spec in self.specs.items() if name not in named}}
        for seen in self.live.values():
            seen.last_beat = self.now  # a child that was not listened to before could not know
        self.unsure |= self.owed
        self.owed.clear()
        self.renewed |= (
            self.unsure
        )  # decided about before, each was forgotten and is new, or it was not and is the same
        self._leave_down([])

    def _ended(self, cause: EndCause) -> None:
        self.require(f"it has ended, but {sorted(self.live)} live", ok=not self.live)
        true = {
            EndCause.ASKED: isinstance(self.event, Stop) or self.ending,
            EndCause.INTENSITY: self.exceeded,
            EndCause.AUTO_SHUTDOWN: self._may_end_with_significant() or self.ending,
            EndCause.START_FAILED: self.start_failed,
        }
        self.require(f"it ends because: {cause}, which is not so", ok=true[cause])
        unanswered = sorted([*self.pending, *self.stops])
        self.require(f"it has ended without answering {unanswered}", ok=not unanswered)
        self.over = True

    # --- at rest -----------------------------------------------------------------------------------

    def at_rest(self, now: float, core: Core) -> None:
        """Look whether anything was forgotten, when nothing is left to be done at this moment.

        Raises:
            Violation: something was.
        """
        self.now = now
        due = core.next_deadline
        self.require(f"the deadline {due} has passed", ok=due is None or due > now - SLACK)
        self._check_times()
        rows = core.which_children()
        pids = sorted(row.id for row in rows if row.state in ("STARTING", "RUNNING", "STOPPING"))
        self.require(f"it believes {pids} to live, but {sorted(self.live)} do", ok=pids == sorted(self.live))
        if self.ending:
            self.require("it ends, and waits for nobody", ok=bool(self.live) or self.over)
            return
        if not self.up or any(not seen.ready or seen.cause for seen in self.live.values()):
            return
        self.require(f"the restart of {sorted(self.owed)} was forgotten", ok=not self.owed)
        self.require(f"the requests {sorted(self.pending)} were forgotten", ok=not self.pending)
        waiting = [name for name, until in self.backoff.items() if until < now - SLACK and not self._is_temporary(name)]
        self.require(f"{waiting} wait longer than their backoff", ok=not waiting)
        self._close_group()
        order = [row.id for row in reversed(rows)]
        over = [name for name, until in self.backoff.items() if until < now + SLACK and self._is_temporary(name)]
        for child in [*self.unsure, *over]:
            self.down.add(child)
            if child not in order:
                self._forget_if_done(child)
            else:  # a change may have brought it back, as a new one
                self.renewed.add(child)
        self.unsure.clear()
        self.require(f"it lists {order}, there are {list(self.specs)}", ok=order == list(self.specs))
        self._check_significant()

    def _is_temporary(self, child: str) -> bool:
        return self.specs[child].restart is Restart.TEMPORARY

    def _check_times(self) -> None:
        for child, seen in self.live.items():
            spec = self.specs.get(child)
            if spec is None:
                continue
            late = seen.kill_at is not None and seen.kill_at < self.now - SLACK and not seen.killed
            self.require(f"{child} was to be killed at {seen.kill_at}", ok=not late)
            if seen.cause or seen.stalled or self.flags.strict or self.ending:
                continue
            limit = spec.start_timeout if not seen.ready else spec.heartbeat_timeout
            began = seen.since if not seen.ready else seen.last_beat
            if limit is not None:
                since = f"since {began:.3f}, which is longer than {limit} s"
                told = "silent" if seen.ready else "not ready"
                self.require(f"{child} is {told} {since}", ok=began + limit * 1.25 >= self.now - SLACK)

    def _check_significant(self) -> None:
        ended, self.significant_ends = self.significant_ends, set()
        disturbed, self.disturbed = self.disturbed, False
        mode = self.flags.auto_shutdown
        if not ended or disturbed or mode is AutoShutdown.NEVER:
            return
        active = [name for name, spec in self.specs.items() if spec.significant and name in self.live]
        active += [name for name in self.backoff if self.specs[name].significant]
        wrong = mode is AutoShutdown.ANY_SIGNIFICANT or not active
        self.require("a significant child has ended, and the supervisor goes on", ok=not wrong)

    def expect_health(self, core: Core) -> None:
        """Look whether everybody who should run runs, long after the last fault.

        Raises:
            Violation: somebody does not.
        """
        self.require("it is still not up", ok=self.up and not self.ending)
        for name, spec in self.specs.items():
            excused = name in self.down or name in self.fatal or spec.restart is Restart.TEMPORARY
            seen = self.live.get(name)
            running = seen is not None and seen.ready and not seen.cause
            self.require(f"{name} should run; it is {core.state(name)}", ok=running or excused)

    def expect_end(self) -> None:
        """Look whether the supervisor has ended, and has answered everybody.

        Raises:
            Violation: it has not.
        """
        self.require("it has not ended", ok=self.over)
        self.require(
            f"{sorted([*self.pending, *self.stops])} were not answered", ok=not self.pending and not self.stops
        )
