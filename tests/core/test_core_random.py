"""Random histories: whatever happens in whatever order, the core stays consistent and can be stopped."""

from collections import deque

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from supervisor.core_effects import Refused, Started
from supervisor.core_events import (
    ChangeSpecs,
    DeleteChild,
    Exited,
    Ready,
    RestartChild,
    StartChild,
    StartInstance,
    TerminateChild,
    Tick,
)
from supervisor.exits import Crashed, ExitReason, Normal, Shutdown
from supervisor.spec import (
    BRUTAL_KILL,
    INFINITY,
    AutoShutdown,
    Backoff,
    ChildSpec,
    Restart,
    ShutdownTime,
    Strategy,
    SupervisorFlags,
    check_specs,
)
from supervisor.spec_checks import SpecError
from tests.core.puppets import FAIL, HANG, IGNORE, NO_SPAWN, READY, World

NAMES = ["a", "b", "c", "d", "e"]
STOP_TIMES: list[ShutdownTime] = [0.0, 1.0, BRUTAL_KILL, INFINITY]
REASONS: list[ExitReason] = [Normal(), Shutdown(), Crashed(code=1), Crashed(signal=9)]


@st.composite
def specs_of(draw: st.DrawFn, name: str) -> ChildSpec:
    restart = draw(st.sampled_from(Restart))
    significant = restart is not Restart.PERMANENT and draw(st.booleans())
    return ChildSpec(
        name,
        "puppet",
        restart=restart,
        significant=significant,
        shutdown=draw(st.sampled_from(STOP_TIMES)),
        start_timeout=draw(st.sampled_from([None, 2.0])),
        heartbeat_timeout=draw(st.sampled_from([None, None, 3.0])),
        backoff=draw(st.sampled_from([None, Backoff(initial=0.5, maximum=2.0)])),
        quarantine=not significant and draw(st.booleans()),
    )


@st.composite
def flags_of(draw: st.DrawFn, *, simple: bool) -> SupervisorFlags:
    strategies = [one for one in Strategy if (one is Strategy.SIMPLE_ONE_FOR_ONE) == simple]
    modes = [AutoShutdown.NEVER] if simple else list(AutoShutdown)
    return SupervisorFlags(
        strategy=draw(st.sampled_from(strategies)),
        intensity=draw(st.integers(0, 6)),
        period=draw(st.sampled_from([1.0, 5.0])),
        auto_shutdown=draw(st.sampled_from(modes)),
        strict=draw(st.booleans()),
    )


def fitting(flags: SupervisorFlags, spec: ChildSpec) -> ChildSpec:
    """Take the significance from a spec where nobody would listen to it."""
    return attrs.evolve(spec, significant=spec.significant and flags.auto_shutdown is not AutoShutdown.NEVER)


def alive_names(world: World) -> list[str]:
    return sorted(world.alive)


class Histories(RuleBasedStateMachine):
    """A world in which anything may happen next. Each event is followed by the core's own checks."""

    world: World
    waiting: set[int]

    @initialize(data=st.data(), simple=st.sampled_from([False, False, True]))
    def start(self, data: st.DataObject, simple: bool) -> None:
        flags = data.draw(flags_of(simple=simple))
        count = 1 if simple else data.draw(st.integers(0, 4))
        specs = [fitting(flags, data.draw(specs_of(name))) for name in NAMES[:count]]
        fields = {field.name: getattr(flags, field.name) for field in attrs.fields(SupervisorFlags)}
        self.world = World(*specs, **fields)
        self.waiting = set()
        self.world.stubborn = set(data.draw(st.lists(st.sampled_from(NAMES), max_size=2)))
        words = st.lists(st.sampled_from([READY, READY, READY, FAIL, IGNORE, HANG, NO_SPAWN]), max_size=6)
        for name in [*NAMES, "a#1", "a#2"]:
            self.world.starts[name] = deque([*data.draw(words), READY])
        self.world.begin()

    @rule(data=st.data(), reason=st.sampled_from(REASONS))
    @precondition(lambda self: self.world.alive)
    def somebody_ends(self, data: st.DataObject, reason: ExitReason) -> None:
        self.world.die(data.draw(st.sampled_from(alive_names(self.world))), reason)

    @rule(reason=st.sampled_from(REASONS))
    @precondition(lambda self: len(self.world.alive) > 1)
    def all_end_at_once(self, reason: ExitReason) -> None:
        news = [self.world.exit_of(name, reason) for name in alive_names(self.world)]
        self.world.tell(*news)

    @rule(data=st.data())
    @precondition(lambda self: self.world.alive)
    def somebody_is_ready(self, data: st.DataObject) -> None:
        self.world.ready(data.draw(st.sampled_from(alive_names(self.world))))

    @rule(data=st.data())
    @precondition(lambda self: self.world.alive)
    def somebody_beats(self, data: st.DataObject) -> None:
        self.world.beat(data.draw(st.sampled_from(alive_names(self.world))))

    @rule(data=st.data(), hard=st.booleans())
    @precondition(lambda self: self.world.alive)
    def somebody_is_over_a_limit(self, data: st.DataObject, hard: bool) -> None:
        self.world.over_limit(data.draw(st.sampled_from(alive_names(self.world))), "rss", hard=hard)

    @rule(name=st.sampled_from(NAMES), incarnation=st.integers(0, 3))
    def old_news_arrive(self, name: str, incarnation: int) -> None:
        process = self.world.alive.get(name)
        if process is None or process.incarnation != incarnation:
            self.world.tell(Exited(self.world.now, name, incarnation, Crashed(code=1)))
            self.world.tell(Ready(self.world.now, name, incarnation))

    @rule(seconds=st.sampled_from([0.1, 0.7, 1.5, 6.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule()
    def the_supervisor_is_held_up(self) -> None:
        self.world.now += 30.0
        self.world.tell(Tick(self.world.now))

    @rule(data=st.data(), name=st.sampled_from(NAMES))
    def somebody_starts_a_child(self, data: st.DataObject, name: str) -> None:
        request = self._number()
        self.world.tell(StartChild(self.world.now, request, data.draw(specs_of(name))))

    @rule()
    def somebody_starts_an_instance(self) -> None:
        self.world.tell(StartInstance(self.world.now, self._number()))

    @rule(
        name=st.sampled_from([*NAMES, "a#1", "a#2"]),
        kind=st.sampled_from([TerminateChild, RestartChild, DeleteChild]),
    )
    def somebody_administers(
        self, name: str, kind: type[TerminateChild] | type[RestartChild] | type[DeleteChild]
    ) -> None:
        self.world.tell(kind(self.world.now, self._number(), name))

    @rule(data=st.data(), names=st.lists(st.sampled_from(NAMES), unique=True, max_size=4))
    def specs_change(self, data: st.DataObject, names: list[str]) -> None:
        simple = self.world.core.flags.strategy is Strategy.SIMPLE_ONE_FOR_ONE
        flags = data.draw(flags_of(simple=simple))
        listed = tuple(data.draw(specs_of(name)) for name in names)
        request = self._number()
        self.world.tell(ChangeSpecs(self.world.now, request, flags, listed))
        answer = self.world.replies.get(request)
        try:
            check_specs(flags, listed)
        except SpecError:
            assert answer is None or isinstance(answer, Refused)

    @rule()
    @precondition(lambda self: len(self.world.replies) > 8)
    def it_is_stopped(self) -> None:
        self.waiting.add(self.world.stop())

    def _number(self) -> int:
        number = self.world.request()
        self.waiting.add(number)
        return number

    @invariant()
    def what_runs_is_what_the_core_believes_to_be_alive(self) -> None:
        if not hasattr(self, "world"):
            return
        self.world.core.check_invariants()
        believed = {row.id for row in self.world.core.which_children() if row.pid is not None}
        assert believed == set(self.world.alive)
        deadline = self.world.core.next_deadline
        assert deadline is None or deadline >= self.world.now - 30.0

    def teardown(self) -> None:
        """Stop it: everything ends, and everybody is answered."""
        if not hasattr(self, "world"):
            return
        world = self.world
        self.waiting.add(world.stop())
        for _ in range(len(world.alive) + 1):
            world.pass_time(10.0)
            for name in alive_names(world):
                if world.core.state(name) == "STOPPING":
                    world.die(name, Crashed(signal=15))
        assert world.end() is not None
        assert set(world.replies) == self.waiting
        for result in world.replies.values():
            assert not isinstance(result, Started) or result.incarnation > 0


Histories.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestHistories = Histories.TestCase
