"""one_for_all and rest_for_one: whom a restart takes along, in which order, and what a failure does."""

import pytest

from supervisor.children import StateName
from supervisor.core_effects import ChildExited, Done, EndCause, Ended, Started
from supervisor.core_events import RestartChild, StartChild, TerminateChild
from supervisor.exits import Shutdown
from supervisor.spec import BRUTAL_KILL, Strategy
from tests.core.puppets import DIE, FAIL, HANG, IGNORE, READY, STOP, World, child, temporary, transient

ALL, REST = Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE
GAVE_UP = Ended(Shutdown(), EndCause.INTENSITY)


@pytest.mark.row("31")
def test_one_for_all_ends_the_others_in_reverse_and_starts_all_in_order() -> None:
    """Reference 1.5."""
    world = World(child("c1"), child("c2"), child("c3"), strategy=ALL).begin()
    world.take_log()
    world.die("c2")
    assert world.take_log() == [
        "gone c2", "ask c3", "gone c3", "ask c1", "gone c1", "spawn c1", "spawn c2", "spawn c3",
    ]  # fmt: skip
    assert [world.core.restarts(name) for name in ("c1", "c2", "c3")] == [1, 1, 1]


@pytest.mark.row("31")
def test_a_group_restart_costs_one_unit_and_the_third_event_ends_the_supervisor() -> None:
    world = World(child("c1"), child("c2"), strategy=ALL).begin()
    world.die("c1")
    world.die("c2")
    assert world.end() is None
    world.die("c1")
    assert world.end() == GAVE_UP
    assert not world.alive


@pytest.mark.row("32")
def test_one_for_all_gives_up_when_a_sibling_cannot_be_restarted() -> None:
    world = World(child("c1"), child("c2"), strategy=ALL, starts={"c2": [READY, FAIL]}, intensity=4).begin()
    world.die("c1")
    assert world.end() == GAVE_UP


@pytest.mark.row("33")
def test_one_for_all_starts_again_from_the_first_when_another_child_fails_to_restart() -> None:
    """The new c1 is terminated (shutdown), then both start again."""
    world = World(child("c1"), child("c2"), strategy=ALL, starts={"c2": [READY, FAIL, READY]}).begin()
    world.take_log()
    world.die("c1")
    assert world.take_log() == [
        "gone c1", "ask c2", "gone c2",
        "spawn c1", "spawn c2", "gone c2",
        "ask c1", "gone c1", "spawn c1", "spawn c2",
    ]  # fmt: skip
    assert world.seen(ChildExited)[-1].reason == Shutdown()
    assert world.counts() == [2, 2, 0, 2]


@pytest.mark.row("34")
def test_rest_for_one_touches_only_the_children_after_the_failed_one() -> None:
    world = World(child("c1"), child("c2"), child("c3"), strategy=REST).begin()
    kept = world.pid("c1")
    world.take_log()
    world.die("c2")
    assert world.take_log() == ["gone c2", "ask c3", "gone c3", "spawn c2", "spawn c3"]
    assert world.pid("c1") == kept
    world.die("c3")
    assert world.end() is None
    world.die("c1")
    assert world.end() == GAVE_UP


@pytest.mark.row("35")
def test_rest_for_one_gives_up_when_a_later_child_cannot_be_restarted() -> None:
    world = World(child("c1"), child("c2"), strategy=REST, starts={"c2": [READY, FAIL]}, intensity=4).begin()
    world.die("c1")
    assert world.end() == GAVE_UP


@pytest.mark.row("36")
def test_rest_for_one_retries_from_the_child_that_failed() -> None:
    """C1 is not restarted again."""
    world = World(child("c1"), child("c2"), strategy=REST, starts={"c2": [READY, FAIL, READY]}).begin()
    world.take_log()
    world.die("c1")
    assert world.take_log() == [
        "gone c1", "ask c2", "gone c2", "spawn c1", "spawn c2", "gone c2", "spawn c2",
    ]  # fmt: skip


@pytest.mark.row("46")
def test_after_a_partial_failure_the_earlier_run_the_failed_restarts_and_the_later_have_no_process() -> None:
    """Reference 1.6 (rest_for_one)."""
    names = [child("c1"), child("c2"), child("c3"), child("c4")]
    world = World(*names, strategy=REST, starts={"c3": [READY, HANG]}).begin()
    kept = world.pid("c1")
    world.die("c2")
    stop = TerminateChild(world.now, world.request(), "c3")
    world.tell(world.exit_of("c3"), stop)
    rows = {row.id: row for row in world.core.which_children()}
    assert world.pid("c1") == kept
    assert rows["c2"].state is StateName.RUNNING
    assert rows["c3"].state is StateName.STOPPED
    assert rows["c4"].pid is None
    assert not rows["c4"].restarting
    assert world.replies[stop.request] == Done()
    answer = world.ask(RestartChild(world.now, world.request(), "c4"))
    assert isinstance(answer, Started)


@pytest.mark.row("27")
@pytest.mark.parametrize("strategy", [ALL, REST])
def test_a_temporary_bystander_is_ended_and_forgotten(strategy: Strategy) -> None:
    world = World(child("p"), temporary("t"), strategy=strategy).begin()
    before = world.pid("p")
    world.die("p", STOP)
    assert world.end() is None
    assert world.ids() == ["p"]
    assert world.pid("p") != before
    assert "ask t" in world.log


@pytest.mark.row("43")
@pytest.mark.parametrize("strategy", [ALL, REST])
def test_a_group_restart_starts_also_what_was_terminated_ignored_or_finished(strategy: Strategy) -> None:
    """Reference 1.5,; the terminated one too."""
    specs = [child("p"), child("terminated"), child("ignored"), transient("finished")]
    world = World(*specs, strategy=strategy, starts={"ignored": [IGNORE, READY]}).begin()
    world.ask(TerminateChild(world.now, world.request(), "terminated"))
    world.die("finished", STOP)
    assert world.counts() == [4, 1, 0, 4]
    world.die("p")
    assert world.counts() == [4, 4, 0, 4]
    assert world.core.desired("terminated") == "up"


@pytest.mark.parametrize("strategy", [ALL, REST])
def test_who_is_not_restarted_disturbs_nobody(strategy: Strategy) -> None:
    """Reference 1.3: siblings are touched only when the exited child is to be restarted."""
    world = World(transient("done"), temporary("crash"), child("p"), strategy=strategy).begin()
    kept = world.pid("p")
    world.die("done", STOP)
    world.die("crash")
    assert world.pid("p") == kept


@pytest.mark.row("47")
def test_order_of_children() -> None:
    """Exits 5,4; restarts 3,4,5; stop order 5,4,3,2,1."""
    names = ["aaa", "tom", "bert", "eva", "anna"]
    world = World(*[child(name) for name in names], strategy=REST).begin()
    kept = [world.pid(name) for name in names[:2]]
    world.take_log()
    world.die("bert")
    assert world.take_log() == [
        "gone bert", "ask anna", "gone anna", "ask eva", "gone eva", "spawn bert", "spawn eva", "spawn anna",
    ]  # fmt: skip
    assert [world.pid(name) for name in names[:2]] == kept
    world.stop()
    asked = [line for line in world.take_log() if line.startswith("ask")]
    assert asked == [f"ask {name}" for name in reversed(names)]


def test_a_bystander_is_given_its_own_shutdown_time() -> None:
    world = World(child("a"), child("b"), child("c", shutdown=BRUTAL_KILL), strategy=ALL, stubborn=["b"]).begin()
    world.take_log()
    world.die("a")
    assert world.take_log() == ["gone a", "kill c", "gone c", "ask b"]
    assert world.core.which_children()[-1].restarting
    world.pass_time(1.0)
    assert world.take_log() == ["kill b", "gone b", "spawn a", "spawn b", "spawn c"]


def test_a_bystander_that_dies_before_its_turn_is_not_decided_about_twice() -> None:
    """Reference 1.8: an exit that is already known is the one that counts; the group costs one unit."""
    world = World(child("a"), child("b"), child("c"), strategy=ALL, stubborn=["c"], intensity=1).begin()
    world.die("a")
    world.die("b", DIE)
    world.take_log()
    world.pass_time(1.0)
    assert world.take_log() == ["kill c", "gone c", "spawn a", "spawn b", "spawn c"]
    assert world.end() is None


def test_a_child_that_dies_while_a_later_one_of_its_group_starts_is_decided_about_afterwards() -> None:
    world = World(child("a"), child("b"), strategy=ALL, starts={"b": [READY, HANG, READY]}).begin()
    world.die("a")
    world.die("a")
    world.take_log()
    world.ready("b")
    assert world.take_log() == ["ask b", "gone b", "spawn a", "spawn b"]
    world.die("a")
    assert world.end() == GAVE_UP


def test_the_budget_is_shared_and_a_queued_retry_finds_nothing_left_to_do() -> None:
    """A retry that was overtaken by a group restart does not restart the group again."""
    world = World(child("a"), child("b"), strategy=ALL, starts={"b": [READY, HANG, READY]}, intensity=9).begin()
    world.die("a")
    dead_a, dead_b = world.exit_of("a"), world.exit_of("b")
    world.take_log()
    world.tell(dead_b, dead_a)
    assert world.counts() == [2, 2, 0, 2]
    assert world.core.state("b") == "RUNNING"


def test_the_termination_of_the_child_that_is_being_started_pre_empts_and_the_group_goes_on() -> None:
    """Design, section 4: the one request that does not wait."""
    world = World(child("a"), child("b"), child("c"), strategy=ALL, starts={"b": [READY, HANG]}).begin()
    world.die("a")
    assert world.core.state("b") == "STARTING"
    answer = world.ask(TerminateChild(world.now, world.request(), "b"))
    assert answer == Done()
    assert world.core.state("b") == "STOPPED"
    assert world.core.state("c") == "RUNNING"


def test_a_request_during_a_group_restart_waits_for_its_end() -> None:
    world = World(child("a"), child("b"), strategy=ALL, starts={"b": [READY, HANG]}).begin()
    world.die("a")
    request = StartChild(world.now, world.request(), child("c"))
    assert world.ask(request) is None
    world.ready("b")
    assert isinstance(world.replies[request.request], Started)
    assert world.ids() == ["c", "b", "a"]


def test_a_failed_child_whose_turn_did_not_come_has_no_process_and_no_retry() -> None:
    """Reference 1.6: later children have no pid, the one that began it all among them."""
    world = World(child("a"), child("b"), strategy=ALL, starts={"a": [READY, HANG]}).begin()
    world.die("b")
    assert world.core.which_children()[0].restarting
    terminated = TerminateChild(world.now, world.request(), "a")
    world.tell(world.exit_of("a"), terminated)
    assert not world.core.which_children()[0].restarting
    assert isinstance(world.ask(RestartChild(world.now, world.request(), "b")), Started)
