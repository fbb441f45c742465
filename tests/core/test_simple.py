"""simple_one_for_one: children from one template, restarted in place, stopped together."""

import pytest

from supervisor.core_effects import ChildExited, Done, EndCause, Ended, Refusal, Refused, Result, Started
from supervisor.core_events import (
    ChangeSpecs,
    DeleteChild,
    RestartChild,
    StartChild,
    StartInstance,
    TerminateChild,
)
from supervisor.exits import Crashed, ExitReason, Killed, Shutdown, ShutdownTerm
from supervisor.spec import BRUTAL_KILL, ChildSpec, ChildType, Strategy
from tests.core.puppets import DIE, FAIL, HANG, IGNORE, READY, STOP, World, child, temporary, transient

GAVE_UP = Ended(Shutdown(), EndCause.INTENSITY)


def simple(template: ChildSpec, *, intensity: int = 2, starts: dict[str, list[str]] | None = None) -> World:
    return World(template, strategy=Strategy.SIMPLE_ONE_FOR_ONE, intensity=intensity, starts=starts).begin()


def add(world: World, **args: object) -> Result | None:
    return world.ask(StartInstance(world.now, world.request(), args))


def why(result: Result | None) -> Refusal | None:
    return result.why if isinstance(result, Refused) else None


@pytest.mark.row("19")
def test_nothing_is_started_at_first() -> None:
    world = simple(child("c"))
    assert not world.log
    assert world.counts() == [1, 0, 0, 0]


@pytest.mark.row("19")
def test_the_administration_of_instances() -> None:
    """An instance's id stands for OTP's pid."""
    world = simple(child("c"))
    assert add(world) == Started("c#1", 1, 101, running=True)
    add(world)
    assert world.ids() == ["c#2", "c#1"]
    assert world.counts() == [1, 2, 0, 2]
    for _ in range(2):
        assert world.ask(TerminateChild(world.now, world.request(), "c#1")) == Done()
    for stranger in ("c#3", "c#0", "c#x", "other"):
        answer = world.ask(TerminateChild(world.now, world.request(), stranger))
        assert why(answer) is Refusal.NOT_FOUND
    refused = [
        world.ask(TerminateChild(world.now, world.request(), "c")),
        world.ask(RestartChild(world.now, world.request(), "c#2")),
        world.ask(DeleteChild(world.now, world.request(), "c#2")),
        world.ask(StartChild(world.now, world.request(), child("d"))),
    ]
    assert [why(answer) for answer in refused] == [Refusal.SIMPLE_ONE_FOR_ONE] * 4
    assert world.ids() == ["c#2"]


@pytest.mark.row("37")
def test_an_instance_is_restarted_in_place_with_its_own_arguments_and_siblings_are_kept() -> None:
    world = simple(child("c", args={"a": 1, "b": 2}))
    add(world, b=3)
    add(world)
    kept = world.pid("c#2")
    world.die("c#1")
    assert world.ids() == ["c#2", "c#1"]
    assert world.pid("c#2") == kept
    assert world.spawns[-1].child.args == {"a": 1, "b": 3}
    world.die("c#2")
    world.die("c#1")
    assert world.end() == GAVE_UP


@pytest.mark.row("37")
def test_an_instance_that_cannot_be_restarted_ends_supervisor_and_siblings() -> None:
    world = simple(child("c"), intensity=4, starts={"c#1": [READY, FAIL]})
    add(world)
    add(world)
    world.die("c#1")
    assert world.end() == GAVE_UP
    assert not world.alive


@pytest.mark.row("5")
def test_instances_that_decline_are_not_listed() -> None:
    world = simple(child("c"), starts={"c#1": [IGNORE]})
    assert add(world) == Started("c#1", 1, None, running=False)
    add(world)
    assert world.ids() == ["c#2"]
    world.stop()
    assert world.end() == Ended(Shutdown(), EndCause.ASKED)


@pytest.mark.row("39")
def test_an_instance_that_declines_its_restart_is_forgotten() -> None:
    """Erlang/otp#8215."""
    world = simple(child("c"), starts={"c#1": [READY, IGNORE]})
    add(world)
    world.die("c#1")
    assert world.ids() == []
    world.stop()
    assert world.end() == Ended(Shutdown(), EndCause.ASKED)


@pytest.mark.row("8")
def test_an_instance_that_cannot_be_started_is_not_listed() -> None:
    world = simple(child("c"), starts={"c#1": [FAIL]})
    assert why(add(world)) is Refusal.START_FAILED
    assert world.ids() == []


@pytest.mark.parametrize(("template", "ending"), [(transient("c"), STOP), (temporary("c"), DIE)], ids=repr)
def test_an_instance_that_is_not_restarted_is_forgotten(template: ChildSpec, ending: ExitReason) -> None:
    world = simple(template)
    add(world)
    world.die("c#1", ending)
    assert world.counts() == [1, 0, 0, 0]


@pytest.mark.row("38")
def test_instances_are_stopped_together_against_one_timer() -> None:
    world = simple(child("c", shutdown=2.0))
    world.stubborn |= {"c#1", "c#2", "c#3"}
    for _ in range(3):
        add(world)
    world.take_log()
    world.stop()
    assert sorted(world.take_log()) == ["ask c#1", "ask c#2", "ask c#3"]
    world.pass_time(1.0)
    world.die("c#1", Crashed(signal=15))
    world.die("c#2", Crashed(signal=15))
    assert world.end() is None
    world.pass_time(1.0)
    assert world.seen(ChildExited)[-1].reason == Killed()
    assert world.end() == Ended(Shutdown(), EndCause.ASKED)


@pytest.mark.row("14")
def test_brutal_kill_of_ten_instances() -> None:
    world = simple(child("c", shutdown=BRUTAL_KILL))
    for _ in range(10):
        add(world)
    world.stop()
    assert [event.reason for event in world.seen(ChildExited)] == [Killed()] * 10


@pytest.mark.row("13", "16")
@pytest.mark.parametrize("parting", [STOP, Shutdown(), ShutdownTerm("x"), DIE], ids=repr)
def test_the_parting_of_instances_does_not_keep_the_supervisor(parting: ExitReason) -> None:
    world = simple(temporary("c"))
    world.parting = {"c#1": parting, "c#2": parting}
    add(world)
    add(world)
    world.stop()
    assert world.end() == Ended(Shutdown(), EndCause.ASKED)


@pytest.mark.row("45")
def test_restarting_instances_are_listed_and_counted_but_not_active() -> None:
    """Active 1, total 3; terminate works on each."""
    world = simple(child("c"), intensity=8, starts={"c#1": [READY, HANG, READY]})
    for _ in range(3):
        add(world)
    world.die("c#1")
    world.die("c#2")
    assert world.counts() == [1, 1, 0, 3]
    world.ready("c#1")
    assert world.counts() == [1, 3, 0, 3]
    for name in ("c#1", "c#2", "c#3"):
        assert world.ask(TerminateChild(world.now, world.request(), name)) == Done()
    assert world.counts() == [1, 0, 0, 0]


@pytest.mark.row("40")
def test_arguments_of_temporary_instances_are_not_retained() -> None:
    """They are never needed again."""
    world = simple(temporary("c"))
    add(world, huge="x" * 1000)
    spec = world.core.get_childspec("c#1")
    assert spec is not None
    assert spec.args == {}
    assert world.spawns[0].child.args == {"huge": "x" * 1000}


@pytest.mark.row("44")
def test_many_instances_are_counted_exactly() -> None:
    world = World(child("s", type=ChildType.SUPERVISOR), strategy=Strategy.SIMPLE_ONE_FOR_ONE).begin()
    world.core.check_invariants()
    for _ in range(200):
        add(world)
    assert world.counts() == [1, 200, 200, 0]


@pytest.mark.row("50")
def test_a_changed_template_applies_to_instances_and_keeps_their_arguments() -> None:
    """(simple): it must stay exactly one."""
    world = simple(child("c", shutdown=1.0))
    add(world, a=1)
    flags = world.core.flags
    new = child("c", shutdown=7.0)
    assert world.ask(ChangeSpecs(world.now, world.request(), flags, (new,))) == Done()
    spec = world.core.get_childspec("c#1")
    assert spec is not None
    assert (spec.shutdown, spec.args) == (7.0, {"a": 1})
    assert world.core.get_childspec("c") == new
    two = world.ask(ChangeSpecs(world.now, world.request(), flags, (new, child("d"))))
    assert why(two) is Refusal.INVALID


@pytest.mark.row("50")
def test_a_changed_template_brings_its_new_arguments_below_those_of_the_instance() -> None:
    """The function of the template is replaced, what an instance was given is kept."""
    world = simple(child("c", args={"level": 1, "old": True}))
    add(world, mine=7)
    new = child("c", args={"level": 2})
    world.ask(ChangeSpecs(world.now, world.request(), world.core.flags, (new,)))
    world.die("c#1")
    assert world.spawns[-1].child.args == {"level": 2, "mine": 7}


@pytest.mark.row("46")
def test_an_instance_that_hangs_in_its_restart_is_terminated_and_the_supervisor_stops_promptly() -> None:
    world = simple(child("c"), intensity=8, starts={"c#1": [READY, HANG], "c#2": [READY, HANG]})
    add(world)
    add(world)
    world.die("c#1")
    assert world.core.which_children()[1].state == "STARTING"
    terminated = TerminateChild(world.now, world.request(), "c#1")
    world.tell(world.exit_of("c#1"), terminated)
    assert world.replies[terminated.request] == Done()
    assert world.ids() == ["c#2"]
    world.die("c#2")
    world.stop()
    assert world.end() == Ended(Shutdown(), EndCause.ASKED)
    assert world.log.count("spawn c#1") == world.log.count("spawn c#2") == 2


@pytest.mark.row("59")
def test_an_instance_is_found_by_the_pid_of_its_process() -> None:
    world = simple(child("c"))
    add(world)
    row = world.core.which_child(world.pid("c#1"))
    assert row is not None
    assert row.id == "c#1"
    assert world.core.which_child("c") is None, "the template is no child"
