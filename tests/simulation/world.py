"""A world in virtual time: real cores, and children that live as their scripts say.

Owns the clock, the mailboxes, the processes that are not there, and the joints between supervisors and those below
them. It refuses to know what is right: each supervisor has a `Witness` that watches it from outside.
"""

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, assert_never

import attrs

from supervisor.core import Core
from supervisor.core_effects import (
    AskToStop,
    Effect,
    Ended,
    Kill,
    Publish,
    Reply,
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
)
from supervisor.exits import Crashed, ExitReason, Killed, Normal, Shutdown, ShutdownTerm
from supervisor.spec import ChildSpec, ChildType, parse_child, parse_flags
from tests.simulation.history import TOP, Family, History, Life, Request
from tests.simulation.witness import Witness

HEALTHY: Final = Life()
PATIENCE: Final = 3600.0
"""Seconds after which somebody ends by hand what ignores a request that has no time limit."""

MOST_EVENTS: Final = 50_000
"""Events in one history beyond which something goes round in a circle."""

QUIET: Final = 4 * 3600.0
"""Seconds without faults after which everything must be as it is wanted."""

ENDS: Final[Mapping[str, ExitReason]] = {
    "crash": Crashed(code=1),
    "signal": Crashed(signal=11),
    "normal": Normal(),
    "shutdown": Shutdown(),
    "word": ShutdownTerm("done"),
}
PARTINGS: Final[Mapping[str, ExitReason]] = {
    "obey": Crashed(signal=15),
    "normal": Normal(),
    "fail": Crashed(code=3),
}


@attrs.define(eq=False)
class Process:
    """One incarnation of a worker."""

    spec: ChildSpec
    incarnation: int
    life: Life
    since: float
    pid: int
    alive: bool = True


class Node:
    """One life of one supervisor."""

    def __init__(self, path: str, family: Family, above: "Node | None", incarnation: int, began: float) -> None:
        """Build the core; nothing is started."""
        self.path = path
        self.family = family
        self.above = above
        self.incarnation = incarnation  # as its parent numbers it
        self.began = began
        flags, specs = parse_flags(family.flags), tuple(parse_child(spec) for spec in family.specs)
        self.core = Core(flags, specs)
        self.witness = Witness(path, flags, specs)
        self.processes: dict[str, Process] = {}
        self.below: dict[str, Node] = {}
        self.gone = False
        self.tick_at: float | None = None

    @property
    def id(self) -> str:
        """Its id in the supervisor above."""
        return self.path.rpartition("/")[2]


class World:
    """Everything that happens in one history.

    Attributes:
        now: seconds since the history began.
        events: how many events the cores have handled.
        lived: seconds of life of all supervisors together.
    """

    def __init__(self, history: History, tell: Callable[[str], object] | None = None) -> None:
        """Begin with nothing but the top supervisor, not yet begun; `tell` is given a line for all that happens."""
        self.history = history
        self._story = tell
        self.now = 0.0
        self.events = 0
        self.lived = 0.0
        self.calm = False
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._mail: deque[tuple[Node, Event]] = deque()
        self._scripts = {path: deque(lives) for path, lives in history.scripts.items()}
        self._numbers = 0
        self.top = Node(TOP, history.family, None, 1, 0.0)
        self._touched: set[Node] = set()

    # --- time --------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run the whole history, then the quiet time, then the end.

        Raises:
            Violation: something happened that must not, or did not happen that must.
        """
        for request in self.history.requests:
            self.after(request.at, partial(self.ask, request))
        self.begin()
        self.pass_time(self.history.hours * 3600.0)
        self.finish()

    def begin(self) -> None:
        """Start the top supervisor."""
        self.tell(self.top, Begin(self.now))
        self.settle()

    def finish(self) -> None:
        """Stop the faults, wait, look whether all is well, and stop everything."""
        self.calm = True
        self._cure()
        self.pass_time(QUIET)
        for node in self.nodes():
            node.witness.expect_health(node.core)
        if not self.top.gone:
            self.tell(self.top, Stop(self.now, self.number()))
            self.settle()
            self.pass_time(QUIET * 4)
        self.top.witness.expect_end()

    def _cure(self) -> None:
        for node in self.nodes():
            for process in list(node.processes.values()):
                if process.alive and process.life.start == "hang":
                    self._tell_of(node, process, Ready(self.now, process.spec.id, process.incarnation))
        self.settle()

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something later; at once, it is still done after everything that is being done now."""
        self._numbers += 1
        heapq.heappush(self._timers, (self.now + seconds, self._numbers, do))

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            at, _, do = heapq.heappop(self._timers)
            self.now = max(self.now, at)
            do()
            self.settle()
        self.now = max(self.now, end)

    def stall(self, seconds: float) -> None:
        """Let the whole supervising process stand still; what fell due meanwhile happens afterwards."""
        self.now += seconds
        for node in self.nodes():
            node.witness.stalled()

    # --- mail --------------------------------------------------------------------------------------

    def tell(self, node: Node, event: Event) -> None:
        """Put an event into a supervisor's mailbox."""
        self._mail.append((node, event))

    def settle(self) -> None:
        """Let all supervisors work until their mailboxes are empty, then look at those that did."""
        while self._mail:
            node, event = self._mail.popleft()
            if not node.gone:
                self._handle(node, event)
        if self._timers and self._timers[0][0] <= self.now:
            return  # more is due at this very moment, or was while everything stood still
        for node in sorted(self._touched, key=lambda one: one.path):
            if not node.gone:
                node.witness.at_rest(self.now, node.core)
        self._touched.clear()

    def _handle(self, node: Node, event: Event) -> None:
        self.events += 1
        if self.events > MOST_EVENTS:
            node.witness.fail(f"{MOST_EVENTS} events: something goes round in a circle")
        self._touched.add(node)
        node.witness.sees(event, self.now)
        effects = node.core.handle(event)
        node.core.check_invariants()
        node.witness.judges(event, effects, self.now)
        if self._story is not None:
            for line in (f"<- {event}", *(f"   -> {effect}" for effect in effects)):
                self._story(f"{self.now:12.3f} {node.path} {line}")
        for effect in effects:
            self._perform(node, effect)
        due = node.core.next_deadline
        if due is not None and due != node.tick_at:
            node.tick_at = due
            self.after(max(0.0, due - self.now), lambda: self._tick(node, due))

    def _tick(self, node: Node, due: float) -> None:
        if node.gone or node.tick_at != due:
            return
        node.tick_at = None
        for process in node.processes.values():
            spec = node.core.get_childspec(process.spec.id)
            if process.alive and spec is not None and spec.heartbeat_timeout is not None:
                silent = None if self.calm else process.life.silent_after
                at = self.now if silent is None else min(self.now, process.since + silent)
                self.tell(node, Beat(at, process.spec.id, process.incarnation))
        self.tell(node, Tick(self.now))

    def number(self) -> int:
        """Return a number that was not given out before."""
        self._numbers += 1
        return self._numbers

    # --- operators ---------------------------------------------------------------------------------

    def nodes(self) -> list[Node]:
        """Return all supervisors that live, parents first."""
        found: list[Node] = []
        waiting = [] if self.top.gone else [self.top]
        while waiting:
            node = waiting.pop()
            found.append(node)
            waiting.extend(node.below.values())
        return found

    def ask(self, asked: Request) -> None:
        """Let an operator make a request of the supervisor at a path, if there is one."""
        if asked.do == "stall":
            self.stall(asked.seconds)
            return
        for node in self.nodes():
            if node.path == asked.where:
                self.tell(node, self._request(asked))

    def _request(self, asked: Request) -> Event:
        now, number = self.now, self.number()
        match asked.do:
            case "start":
                return StartChild(now, number, parse_child(asked.spec))
            case "instance":
                return StartInstance(now, number, {"from": number})
            case "terminate":
                return TerminateChild(now, number, asked.child)
            case "restart":
                return RestartChild(now, number, asked.child)
            case "delete":
                return DeleteChild(now, number, asked.child)
            case "change":
                specs = tuple(parse_child(spec) for spec in asked.specs)
                return ChangeSpecs(now, number, parse_flags(asked.flags), specs)
            case "stop" | "stall":
                return Stop(now, number)
            case _:
                assert_never(asked.do)

    # --- what supervisors do -----------------------------------------------------------------------

    def _perform(self, node: Node, effect: Effect) -> None:
        match effect:
            case Spawn(child=spec, incarnation=incarnation):
                self._spawn(node, spec, incarnation)
            case AskToStop(name, _):
                self._ask_to_stop(node, name)
            case Kill(name, _):
                self._kill(node, name)
            case TellSelf(event):
                self.tell(node, event)
            case Publish(SupervisorStarted()) if node.above is not None:
                self.tell(node.above, Ready(self.now, node.id, node.incarnation))
            case Ended(reason=reason):
                self._leave(node)
                if node.above is not None:
                    told = reason if isinstance(reason, Shutdown) else ShutdownTerm(str(reason))
                    self.tell(node.above, Exited(self.now, node.id, node.incarnation, told))
            case Publish() | Reply():
                pass
            case _:
                assert_never(effect)

    def _spawn(self, node: Node, spec: ChildSpec, incarnation: int) -> None:
        path = f"{node.path}/{spec.id}"
        lives = self._scripts.get(path)
        life = lives.popleft() if lives and not self.calm else HEALTHY
        if life.start == "no spawn":
            why = "no such program"
            self.after(life.start_after, lambda: self.tell(node, SpawnFailed(self.now, spec.id, incarnation, why)))
            return
        pid = self.number()
        below = node.family.below.get(spec.id)
        if spec.type is ChildType.SUPERVISOR and below is not None and life.start != "ignore":
            inner = node.below[spec.id] = Node(path, below, node, incarnation, self.now)
            self.tell(node, Spawned(self.now, spec.id, incarnation, None))
            self.tell(inner, Begin(self.now))
            return
        process = node.processes[spec.id] = Process(spec, incarnation, life, self.now, pid)
        self.tell(node, Spawned(self.now, spec.id, incarnation, pid))
        self.after(life.start_after, lambda: self._come_up(node, process))

    def _come_up(self, node: Node, process: Process) -> None:
        name, incarnation, life = process.spec.id, process.incarnation, process.life
        if not process.alive or life.start == "hang":
            return
        if life.start == "ignore":
            process.alive = False
            self.tell(node, Ignored(self.now, name, incarnation))
        elif life.start == "fail":
            self._die(node, process, Crashed(code=2))
        else:
            self.tell(node, Ready(self.now, name, incarnation))
            if life.end:
                self.after(life.end_after, lambda: None if self.calm else self._die(node, process, ENDS[life.end]))
            if life.over_after is not None:
                self.after(life.over_after, lambda: self._exceed(node, process))

    def _exceed(self, node: Node, process: Process) -> None:
        if not self.calm:
            seen = OverLimitSeen(self.now, process.spec.id, process.incarnation, "rss", process.life.over_hard)
            self._tell_of(node, process, seen)

    def _tell_of(self, node: Node, process: Process, event: Event) -> None:
        if process.alive:
            self.tell(node, event)

    def _die(self, node: Node, process: Process, reason: ExitReason) -> None:
        """End a process; its supervisor hears of it when the news has arrived."""
        if not process.alive:
            return
        process.alive = False
        told = process.life.told_after
        name, incarnation = process.spec.id, process.incarnation
        if told:
            self.after(told, lambda: self.tell(node, Exited(self.now, name, incarnation, reason)))
        else:
            self.tell(node, Exited(self.now, name, incarnation, reason))

    def _ask_to_stop(self, node: Node, name: str) -> None:
        inner = node.below.get(name)
        if inner is not None:
            self.tell(inner, Stop(self.now, self.number()))
            return
        process = node.processes.get(name)
        if process is None:
            return
        term = process.life.term
        if term != "ignore":
            self.after(process.life.term_after, lambda: self._die(node, process, PARTINGS[term]))
        else:  # killed before, unless its spec knows no limit
            self.after(PATIENCE, lambda: self._die(node, process, Crashed(signal=9)))

    def _kill(self, node: Node, name: str) -> None:
        inner = node.below.get(name)
        if inner is not None:
            self._drop(inner)
            self.tell(node, Exited(self.now, name, inner.incarnation, Killed()))
        elif name in node.processes:
            self._die(node, node.processes[name], Crashed(signal=9))

    def _drop(self, node: Node) -> None:
        """Kill everything below a supervisor, and drop it."""
        for inner in list(node.below.values()):
            self._drop(inner)
        for process in node.processes.values():
            process.alive = False
        self._leave(node)

    def _leave(self, node: Node) -> None:
        node.gone = True
        self.lived += self.now - node.began
        if node.above is not None:
            del node.above.below[node.id]
