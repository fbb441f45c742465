"""Hypothesis explores one supervisor, step by step: it decides what happens next where the histories draw at random."""

from functools import partial
from typing import Literal, get_args

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from supervisor.spec import AutoShutdown, Restart, Strategy
from tests.simulation.history import TOP, Data, Family, History, Life, Request
from tests.simulation.world import World

NAMES = ["a", "b", "c", "d"]
Asked = Literal["terminate", "restart", "delete", "start", "change"]
TIMES = st.sampled_from([0.0, 0.001, 0.5, 1.0, 3.0])


@st.composite
def families(draw: st.DrawFn, depth: int = 2) -> Family:
    """A supervisor with up to three children, some of which are supervisors."""
    listed = [one for one in Strategy if one is not Strategy.SIMPLE_ONE_FOR_ONE]
    flags: Data = {
        "strategy": draw(st.sampled_from(listed)),
        "intensity": draw(st.integers(0, 4)),
        "period": draw(st.sampled_from([1.0, 60.0])),
        "auto_shutdown": draw(st.sampled_from(AutoShutdown)),
        "strict": draw(st.booleans()),
    }
    specs = [draw(specs_of(name, flags)) for name in NAMES[: draw(st.integers(1, 3))]]
    below: dict[str, Family] = {}
    for spec in specs:
        if depth > 1 and draw(st.integers(0, 2)) == 0:
            spec.update(type="supervisor", shutdown="infinity", quarantine=False)
            below[spec["id"]] = draw(families(depth - 1))
    return Family(flags=flags, specs=specs, below=below)


@st.composite
def specs_of(draw: st.DrawFn, name: str, flags: Data) -> Data:
    restart = draw(st.sampled_from(Restart))
    heard = restart is not Restart.PERMANENT and flags["auto_shutdown"] is not AutoShutdown.NEVER
    significant = heard and draw(st.booleans())
    return {
        "id": name,
        "target": "simulated",
        "restart": restart,
        "significant": significant,
        "shutdown": draw(st.sampled_from([0, 1.0, "brutal_kill", "infinity"])),
        "start_timeout": draw(st.sampled_from([None, 2.0])),
        "heartbeat_timeout": draw(st.sampled_from([None, 400.0])),
        "backoff": draw(st.sampled_from([None, {"initial": 0.5, "maximum": 2.0}])),
        "quarantine": not significant and draw(st.booleans()),
    }


@st.composite
def lives(draw: st.DrawFn) -> Life:
    return Life(
        start=draw(st.sampled_from(["ready", "ready", "ready", "fail", "ignore", "hang", "no spawn"])),
        start_after=draw(TIMES),
        end=draw(st.sampled_from(["", "crash", "normal", "shutdown"])),
        end_after=draw(TIMES),
        term=draw(st.sampled_from(["obey", "normal", "fail", "ignore"])),
        term_after=draw(TIMES),
        told_after=draw(TIMES),
        silent_after=draw(st.sampled_from([None, 100.0])),
        over_after=draw(st.sampled_from([None, 0.5])),
        over_hard=draw(st.booleans()),
    )


class Steps(RuleBasedStateMachine):
    """A world that goes on as hypothesis wants; every event is watched by the witness of its supervisor."""

    world: World | None = None

    @initialize(family=families(), scripts=st.dictionaries(st.sampled_from(NAMES), st.lists(lives(), max_size=6)))
    def begin(self, family: Family, scripts: dict[str, list[Life]]) -> None:
        paths = {f"{TOP}/{name}": script for name, script in scripts.items()}
        inner = {f"{TOP}/{one}/{name}": script for one in family.below for name, script in scripts.items()}
        self.world = World(History(seed=0, hours=0.0, family=family, scripts={**paths, **inner}))
        self.world.begin()

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.5, 1.0, 2.5, 10.0, 500.0]))
    def time_passes(self, seconds: float) -> None:
        assert self.world is not None
        self.world.pass_time(seconds)

    @rule(seconds=st.sampled_from([0.3, 5.0, 100.0]))
    def everything_stands_still(self, seconds: float) -> None:
        self._ask(Request(at=0.0, do="stall", seconds=seconds))

    @rule(data=st.data(), child=st.sampled_from(NAMES))
    def an_operator_asks(self, data: st.DataObject, child: str) -> None:
        assert self.world is not None
        where = data.draw(st.sampled_from([node.path for node in self.world.nodes()] or [TOP]))
        do: Asked = data.draw(st.sampled_from(get_args(Asked)))
        match do:
            case "start":
                flags = next((node.family.flags for node in self.world.nodes() if node.path == where), {})
                spec = data.draw(specs_of(child, {"auto_shutdown": AutoShutdown.NEVER, **flags}))
                self._ask(Request(at=0.0, do="start", where=where, spec=spec))
            case "change":
                changed = data.draw(families(depth=1))
                self._ask(Request(at=0.0, do="change", where=where, flags=changed.flags, specs=changed.specs))
            case "terminate" | "restart" | "delete":
                self._ask(Request(at=0.0, do=do, where=where, child=child))

    @precondition(lambda self: self.world is not None and self.world.events > 60)
    @rule()
    def it_is_stopped(self) -> None:
        self._ask(Request(at=0.0, do="stop"))

    def _ask(self, request: Request) -> None:
        assert self.world is not None
        self.world.after(0.0, partial(self.world.ask, request))

    def teardown(self) -> None:
        """Let everything calm down: whoever should run runs; then all is stopped, and everybody is answered."""
        if self.world is not None:
            self.world.pass_time(0.0)
            self.world.finish()


Steps.TestCase.settings = settings(max_examples=60, stateful_step_count=25)
TestSteps = Steps.TestCase
