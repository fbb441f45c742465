"""Supervisors below supervisors: cores joined as the shell joins them."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from supervisor.core_effects import AskToStop, ChildExited, Effect, EndCause, Ended, Kill, Spawn, SupervisorStarted
from supervisor.core_events import Begin, Exited, Ignored, Ready, StartChild, TerminateChild
from supervisor.exits import Killed, Shutdown, ShutdownTerm
from supervisor.spec import AutoShutdown, ChildSpec, ChildType, Restart, Strategy
from tests.core.puppets import FAIL, STOP, World, child, transient


class Tree(World):
    """A world whose supervisor children are worlds.

    Args:
        below: makes the world of a supervisor child each time it is started; None: it declines to run.
    """

    below: Mapping[str, Callable[[], World | None]]

    def __init__(self, *specs: ChildSpec, below: Mapping[str, Callable[[], World | None]], **fields: Any) -> None:  # noqa: ANN401  passed on
        super().__init__(*specs, **fields)
        self.below = below
        self.inner: dict[str, World] = {}
        self._incarnations: dict[str, int] = {}

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Spawn(spec, incarnation, _) if spec.type is ChildType.SUPERVISOR:
                self.log.append(f"spawn {spec.id}")
                world = self.below[spec.id]()
                if world is None:
                    self.mailbox.append(Ignored(self.now, spec.id, incarnation))
                    return
                self.inner[spec.id] = world
                self._incarnations[spec.id] = incarnation
                world.tell(Begin(self.now))
                if world.seen(SupervisorStarted):
                    self.mailbox.append(Ready(self.now, spec.id, incarnation))
                self._pass_end_up(spec.id)
            case AskToStop(name, _) if name in self.inner:
                self.log.append(f"ask {name}")
                self.inner[name].stop()
                self._pass_end_up(name)
            case Kill(name, incarnation) if name in self.inner:
                del self.inner[name]
                self.mailbox.append(Exited(self.now, name, incarnation, Killed()))
            case _:
                super()._perform(effect)

    def _pass_end_up(self, name: str) -> None:
        ended = self.inner[name].end()
        if ended is None:
            return
        del self.inner[name]
        reason = ended.reason if isinstance(ended.reason, Shutdown) else ShutdownTerm(str(ended.reason))
        self.mailbox.append(Exited(self.now, name, self._incarnations[name], reason))

    def within(self, name: str, act: Callable[[World], object]) -> None:
        """Let something happen in a world below, and tell the news of its end, if it came to that."""
        act(self.inner[name])
        self._pass_end_up(name)
        self.tell()


def supervisor(name: str, restart: Restart = Restart.PERMANENT, *, significant: bool = False) -> ChildSpec:
    return child(name, type=ChildType.SUPERVISOR, restart=restart, significant=significant)


@pytest.mark.row("43")
def test_a_tree_restarts_what_is_static_and_forgets_what_was_added() -> None:
    below: dict[str, Callable[[], World | None]] = {
        "static": lambda: World(child("w1"), child("w2"), intensity=2),
        "dynamic": lambda: World(intensity=2),
        "spare": lambda: World(child("s"), intensity=2),
    }
    specs = [supervisor("static"), supervisor("dynamic"), supervisor("spare", Restart.TRANSIENT)]
    tree = Tree(*specs, below=below, strategy=Strategy.ONE_FOR_ALL, intensity=4).begin()
    assert isinstance(tree, Tree)
    dynamic = tree.inner["dynamic"]
    dynamic.tell(StartChild(0.0, 1, child("extra")))
    tree.ask(TerminateChild(tree.now, tree.request(), "spare"))
    assert "spare" not in tree.inner

    tree.within("dynamic", lambda world: world.die("extra"))
    assert tree.inner["dynamic"] is dynamic, "only that child first"

    dynamic.starts["extra"] = deque([FAIL])
    tree.within("dynamic", lambda world: world.die("extra"))
    assert tree.end() is None
    assert tree.inner["dynamic"] is not dynamic
    assert tree.inner["dynamic"].ids() == []
    assert tree.inner["static"].ids() == ["w2", "w1"]
    assert tree.core.restarts("static") == 1
    assert tree.core.state("spare") == "RUNNING", "the terminated one is started too"


@pytest.mark.row("55")
def test_the_end_of_a_leaf_climbs_only_through_significant_supervisors() -> None:

    def listening() -> World:
        return World(transient("leaf", significant=True), auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)

    for significant in (True, False):
        tree = Tree(
            supervisor("inner", Restart.TRANSIENT, significant=significant),
            below={"inner": listening},
            auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
        ).begin()
        assert isinstance(tree, Tree)
        tree.within("inner", lambda world: world.die("leaf", STOP))
        expected = Ended(Shutdown(), EndCause.AUTO_SHUTDOWN) if significant else None
        assert tree.end() == expected


@pytest.mark.row("26")
def test_a_failed_start_far_below_names_its_cause_at_the_top() -> None:
    """The error goes up through the layers."""
    tree = Tree(
        child("first"),
        supervisor("inner"),
        below={"inner": lambda: World(child("leaf"), starts={"leaf": [FAIL]})},
    ).begin()
    ended = tree.end()
    assert ended is not None
    assert ended.cause is EndCause.START_FAILED
    told = str(ended.reason)
    assert "'inner'" in told
    assert "'leaf'" in told
    assert "exit code 1" in told


def test_budgets_multiply_down_the_tree() -> None:
    """Reference 1.4: a leaf is started (I + 1) * (I + 1) times before the top gives up."""
    started: list[World] = []

    def make() -> World:
        started.append(World(child("leaf"), intensity=1))
        return started[-1]

    tree = Tree(supervisor("inner"), below={"inner": make}, intensity=1).begin()
    assert isinstance(tree, Tree)
    while tree.end() is None:
        tree.within("inner", lambda world: world.die("leaf"))
    assert [world.log.count("spawn leaf") for world in started] == [2, 2]


@pytest.mark.row("2")
def test_a_supervisor_that_declines_to_run_is_no_failure_and_its_parent_goes_on() -> None:
    tree = Tree(supervisor("idle"), child("worker"), below={"idle": lambda: None}).begin()
    assert tree.end() is None
    assert tree.counts() == [2, 1, 1, 1]
    assert tree.core.state("idle") == "STOPPED"
    assert all(event.expected for event in tree.seen(ChildExited))


@pytest.mark.row("49")
def test_ids_lead_to_the_new_processes_after_a_restart_and_to_none_when_the_top_is_gone() -> None:
    """OTP registers names; here an id is the name."""
    tree = Tree(supervisor("inner"), below={"inner": lambda: World(child("a"), child("b"))}).begin()
    assert isinstance(tree, Tree)
    inner = tree.inner["inner"]
    before = inner.pid("a")
    inner.die("a")
    row = inner.core.which_child("a")
    assert row is not None
    assert row.pid == inner.pid("a") != before

    tree.tell(Exited(tree.now, "inner", 1, Killed()))
    renewed = tree.inner["inner"]
    assert renewed is not inner
    assert renewed.ids() == ["b", "a"]

    tree.stop()
    assert tree.end() is not None
    assert not tree.inner
    assert not renewed.alive


def test_a_transient_supervisor_that_gives_up_is_not_restarted_and_ends_its_parent_when_significant() -> None:
    """Reference 1.7: its exit is `shutdown`, which counts as normal."""
    for significant in (False, True):
        tree = Tree(
            supervisor("inner", Restart.TRANSIENT, significant=significant),
            below={"inner": lambda: World(child("leaf"), intensity=0)},
            auto_shutdown=AutoShutdown.ANY_SIGNIFICANT,
        ).begin()
        assert isinstance(tree, Tree)
        tree.within("inner", lambda world: world.die("leaf"))
        assert (tree.end() is not None) == significant
