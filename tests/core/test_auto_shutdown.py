"""Significant children and automatic shutdown: reference 1.11."""

import attrs
import pytest

from supervisor.core_effects import EndCause, Ended
from supervisor.core_events import ChangeSpecs, RestartChild, TerminateChild
from supervisor.exits import ExitReason, Shutdown
from supervisor.spec import AutoShutdown, Restart, Strategy
from tests.core.puppets import DIE, HANG, IGNORE, READY, STOP, World, child, temporary, transient

ANY, EVERY, NEVER = AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT, AutoShutdown.NEVER
AUTO = Ended(Shutdown(), EndCause.AUTO_SHUTDOWN)


@pytest.mark.row("51")
@pytest.mark.parametrize("mode", list(AutoShutdown))
@pytest.mark.parametrize("restart", [Restart.TEMPORARY, Restart.TRANSIENT])
@pytest.mark.parametrize("ending", [DIE, STOP, "by supervisor"], ids=repr)
def test_a_child_that_is_not_significant_never_ends_its_supervisor(
    mode: AutoShutdown, restart: Restart, ending: ExitReason | str
) -> None:
    world = World(child("c", restart=restart), auto_shutdown=mode).begin()
    if isinstance(ending, str):
        world.ask(TerminateChild(world.now, world.request(), "c"))
    else:
        world.die("c", ending)
    assert world.end() is None


@pytest.mark.row("52")
@pytest.mark.parametrize("mode", [ANY, EVERY])
@pytest.mark.parametrize("ending", [DIE, STOP], ids=repr)
def test_the_end_of_a_significant_temporary_child_ends_its_supervisor(mode: AutoShutdown, ending: ExitReason) -> None:
    """Any at the first, all only after the last."""
    specs = [temporary("a", significant=True), temporary("b", significant=True), child("c")]
    world = World(*specs, auto_shutdown=mode).begin()
    world.die("a", ending)
    assert (world.end() == AUTO) == (mode is ANY)
    if mode is EVERY:
        world.die("b", ending)
    assert world.end() == AUTO


@pytest.mark.row("52", "53")
@pytest.mark.parametrize("mode", [ANY, EVERY])
@pytest.mark.parametrize("restart", [Restart.TEMPORARY, Restart.TRANSIENT])
def test_a_termination_by_hand_never_ends_the_supervisor(mode: AutoShutdown, restart: Restart) -> None:
    world = World(child("a", restart=restart, significant=True), auto_shutdown=mode).begin()
    world.ask(TerminateChild(world.now, world.request(), "a"))
    assert world.end() is None


@pytest.mark.row("53")
@pytest.mark.parametrize("mode", [ANY, EVERY])
def test_a_significant_transient_child_that_crashes_is_restarted(mode: AutoShutdown) -> None:
    world = World(transient("a", significant=True), auto_shutdown=mode).begin()
    world.die("a", DIE)
    assert world.end() is None
    assert world.counts() == [1, 1, 0, 1]
    world.die("a", STOP)
    assert world.end() == AUTO


def test_a_restarting_child_still_counts_and_an_ignored_one_does_not() -> None:
    """Reference 1.11, all_significant."""
    specs = [transient(name, significant=True) for name in ("ends", "restarts", "ignored")]
    world = World(*specs, auto_shutdown=EVERY, starts={"restarts": [READY, HANG], "ignored": [IGNORE]}).begin()
    world.die("restarts")
    world.die("ends", STOP)
    world.ready("restarts")
    assert world.end() is None
    world.die("restarts", STOP)
    assert world.end() == AUTO


def test_a_crashed_sibling_that_is_not_decided_about_yet_counts_as_active() -> None:
    """Its exit is still in OTP's mailbox, so that it has a pid."""
    specs = [child("busy"), transient("a", significant=True), transient("b", significant=True)]
    world = World(*specs, auto_shutdown=EVERY, starts={"busy": [READY, HANG]}).begin()
    world.die("busy")
    world.die("a", STOP)
    world.die("b", DIE)
    world.ready("busy")
    assert world.end() is None
    assert world.core.state("b") == "RUNNING"


@pytest.mark.row("54")
@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
@pytest.mark.parametrize("mode", [ANY, EVERY])
def test_significant_bystanders_that_a_sibling_takes_down_end_nobody(strategy: Strategy, mode: AutoShutdown) -> None:
    specs = [child("first"), temporary("t", significant=True), transient("s", significant=True)]
    world = World(*specs, strategy=strategy, auto_shutdown=mode).begin()
    world.die("first")
    assert world.end() is None
    gone = strategy is not Strategy.ONE_FOR_ONE
    assert world.ids() == (["s", "first"] if gone else ["s", "t", "first"])


@pytest.mark.row("57")
def test_a_changed_mode_applies_to_children_that_run_already() -> None:
    specs = [transient("a", significant=True), transient("b", significant=True)]
    world = World(*specs, auto_shutdown=EVERY).begin()
    flags = attrs.evolve(world.core.flags, auto_shutdown=ANY)
    world.ask(ChangeSpecs(world.now, world.request(), flags, tuple(specs)))
    world.die("a", STOP)
    assert world.end() == AUTO


@pytest.mark.row("57")
def test_changed_significance_applies_to_children_that_run_already() -> None:
    world = World(transient("a"), transient("b"), auto_shutdown=ANY).begin()
    specs = (transient("a", significant=True), transient("b"))
    world.ask(ChangeSpecs(world.now, world.request(), world.core.flags, specs))
    world.die("b", STOP)
    assert world.end() is None
    world.ask(RestartChild(world.now, world.request(), "b"))
    world.die("a", STOP)
    assert world.end() == AUTO
