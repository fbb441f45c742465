"""A scripted shell around the core: virtual time, a mailbox, and children that do as they are told.

It performs the core's effects at once, answers them with events, and checks the core's invariants
after each event. What the core asked for is kept in `log` in words that tests compare:
`spawn c1`, `ask c1`, `kill c1`, `gone c1`.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, assert_never

import attrs

from supervisor.core import Core
from supervisor.core_effects import (
    AskToStop,
    Effect,
    Ended,
    Kill,
    Publish,
    Reply,
    Result,
    Spawn,
    SupervisorEvent,
    TellSelf,
)
from supervisor.core_events import (
    Beat,
    Begin,
    Event,
    Exited,
    Ignored,
    Mutation,
    OverLimitSeen,
    Ready,
    Spawned,
    SpawnFailed,
    Stop,
    Tick,
)
from supervisor.exits import Crashed, ExitReason, Normal
from supervisor.spec import ChildSpec, Restart, Strategy, SupervisorFlags

READY, FAIL, IGNORE, HANG, NO_SPAWN = "ready", "fail", "ignore", "hang", "no spawn"

DIE = Crashed(code=1)
STOP = Normal(0)

_P = TypeVar("_P")


def child(name: str, **fields: Any) -> ChildSpec:  # noqa: ANN401  as keywords of the spec
    """Make a spec with a shutdown time of one second, as the conformance table says."""
    return attrs.evolve(ChildSpec(name, "puppet", shutdown=1.0), **fields)


def temporary(name: str, **fields: Any) -> ChildSpec:  # noqa: ANN401  as keywords of the spec
    return child(name, restart=Restart.TEMPORARY, **fields)


def transient(name: str, **fields: Any) -> ChildSpec:  # noqa: ANN401  as keywords of the spec
    return child(name, restart=Restart.TRANSIENT, **fields)


@attrs.define
class _Process:
    child: str
    incarnation: int
    pid: int


class World:
    """A core, its mailbox, its children and its clock.

    Args:
        specs: the children.
        flags: fields of the flags.
        starts: how the next starts of a child go, in order; the last word repeats itself.
        stubborn: children that do not react to a polite request.
        parting: how a child ends when asked to, if not by SIGTERM.
        held: ids that were stopped before.
    """

    def __init__(
        self,
        *specs: ChildSpec,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        starts: Mapping[str, Iterable[str]] | None = None,
        stubborn: Iterable[str] = (),
        parting: Mapping[str, ExitReason] | None = None,
        held: Iterable[str] = (),
        **flags: Any,  # noqa: ANN401  as keywords of the spec
    ) -> None:
        wanted = attrs.evolve(SupervisorFlags(intensity=2, period=3600.0), **flags)
        self.core = Core(attrs.evolve(wanted, strategy=strategy), specs, held=tuple(held))
        self.now = 1000.0
        self.mailbox: deque[Event] = deque()
        self.log: list[str] = []
        self.published: list[SupervisorEvent] = []
        self.replies: dict[int, Result] = {}
        self._ended: Ended | None = None
        self.alive: dict[str, _Process] = {}
        self.spawns: list[Spawn] = []
        self.starts = {name: deque(words) for name, words in (starts or {}).items()}
        self.stubborn = set(stubborn)
        self.parting = dict(parting or {})
        self.undying: set[str] = set()  # what even a kill does not end
        self._pids = 100
        self._requests = 0

    # --- what a test does --------------------------------------------------------------------------

    def begin(self) -> "World":
        self.tell(Begin(self.now))
        return self

    def tell(self, *events: Event) -> None:
        """Put events into the mailbox and let the core work until it is empty."""
        self.mailbox.extend(events)
        while self.mailbox:
            effects = self.core.handle(self.mailbox.popleft())
            self.core.check_invariants()
            for effect in effects:
                self._perform(effect)

    def die(self, name: str, reason: ExitReason = DIE) -> None:
        """Let a child end by itself."""
        self.tell(self.exit_of(name, reason))

    def exit_of(self, name: str, reason: ExitReason = DIE) -> Exited:
        """Let a child end by itself, and return the news of it instead of telling them."""
        process = self.alive.pop(name)
        self.log.append(f"gone {name}")
        return Exited(self.now, name, process.incarnation, reason)

    def ready(self, name: str) -> None:
        """Let a child that hangs in its start be ready."""
        self.tell(Ready(self.now, name, self.alive[name].incarnation))

    def fail_start(self, name: str, reason: ExitReason = DIE) -> None:
        """Let a child that hangs in its start fail."""
        self.die(name, reason)

    def beat(self, name: str) -> None:
        self.tell(Beat(self.now, name, self.alive[name].incarnation))

    def over_limit(self, name: str, what: str, *, hard: bool) -> None:
        self.tell(OverLimitSeen(self.now, name, self.alive[name].incarnation, what, hard))

    def request(self) -> int:
        self._requests += 1
        return self._requests

    def ask(self, request: Mutation) -> Result | None:
        """Make a request, and return its answer if there is one yet."""
        self.tell(request)
        return self.replies.get(request.request)

    def stop(self) -> int:
        number = self.request()
        self.tell(Stop(self.now, number))
        return number

    def pass_time(self, seconds: float) -> None:
        """Let time pass, with a tick at each deadline."""
        end = self.now + seconds
        while (due := self.core.next_deadline) is not None and due <= end:
            self.now = max(self.now, due)
            self.tell(Tick(self.now))
        self.now = end

    # --- what a test looks at ----------------------------------------------------------------------

    def end(self) -> Ended | None:
        """How the supervisor ended, None while it goes on."""
        return self._ended

    def pid(self, name: str) -> int:
        return self.alive[name].pid

    def take_log(self) -> list[str]:
        """Return what happened since the last call."""
        taken, self.log = self.log, []
        return taken

    def counts(self) -> list[int]:
        return list(attrs.astuple(self.core.count_children()))

    def ids(self) -> list[str]:
        return [row.id for row in self.core.which_children()]

    def seen(self, kind: type[_P]) -> list[_P]:
        """Return the published events of one kind."""
        return [event for event in self.published if isinstance(event, kind)]

    # --- what the shell does -----------------------------------------------------------------------

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Spawn():
                self._spawn(effect)
            case AskToStop(name, incarnation):
                self.log.append(f"ask {name}")
                if name not in self.stubborn:
                    self._end(name, incarnation, self.parting.get(name, Crashed(signal=15)))
            case Kill(name, incarnation):
                self.log.append(f"kill {name}")
                if name in self.undying:
                    return
                self._end(name, incarnation, Crashed(signal=9))
            case TellSelf(event):
                self.mailbox.append(event)
            case Reply(request, result):
                assert request not in self.replies, "answered twice"
                self.replies[request] = result
            case Publish(event):
                self.published.append(event)
            case Ended():
                assert self._ended is None, "ended twice"
                assert self.alive.keys() <= self.undying
                self._ended = effect
            case _:
                assert_never(effect)

    def _spawn(self, spawn: Spawn) -> None:
        name = spawn.child.id
        assert name not in self.alive, f"two processes for {name}"
        self.log.append(f"spawn {name}")
        self.spawns.append(spawn)
        words = self.starts.get(name, deque([READY]))
        word = words.popleft() if len(words) > 1 else words[0]
        if word == NO_SPAWN:
            self.mailbox.append(SpawnFailed(self.now, name, spawn.incarnation, "no such program"))
            return
        self._pids += 1
        self.mailbox.append(Spawned(self.now, name, spawn.incarnation, self._pids))
        if word == IGNORE:
            self.mailbox.append(Ignored(self.now, name, spawn.incarnation))
            return
        self.alive[name] = _Process(name, spawn.incarnation, self._pids)
        if word == READY:
            self.mailbox.append(Ready(self.now, name, spawn.incarnation))
        elif word == FAIL:
            self.mailbox.append(self.exit_of(name))

    def _end(self, name: str, incarnation: int, reason: ExitReason) -> None:
        process = self.alive.get(name)
        if process is not None and process.incarnation == incarnation:
            del self.alive[name]
            self.log.append(f"gone {name}")
            self.mailbox.append(Exited(self.now, name, incarnation, reason))
