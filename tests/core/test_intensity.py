"""The restart budget: reference 1.4."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.core_effects import ChildRestarting, EndCause, Ended, IntensityExceeded
from supervisor.core_events import RestartChild, StartChild, TerminateChild
from supervisor.exits import Shutdown
from supervisor.intensity import RestartRecord
from supervisor.spec import Strategy
from tests.core.puppets import READY, World, child

GAVE_UP = Ended(Shutdown(), EndCause.INTENSITY)


@pytest.mark.parametrize("intensity", [0, 1, 2, 7])
def test_attempts_up_to_the_intensity_pass_and_the_next_one_gives_up(intensity: int) -> None:
    """Intensity 0: the very first crash ends the supervisor."""
    world = World(child("c"), intensity=intensity).begin()
    for _ in range(intensity):
        world.die("c")
        assert world.end() is None
    world.die("c")
    assert world.end() == GAVE_UP
    exceeded = world.seen(IntensityExceeded)[0]
    assert (exceeded.child, exceeded.attempts, exceeded.intensity) == ("c", intensity + 1, intensity)


@pytest.mark.parametrize(("apart", "gives_up"), [(4.999, True), (5.0, True), (5.001, False)])
def test_the_period_is_inclusive(apart: float, gives_up: bool) -> None:
    """OTP keeps `r >= now - period`; with float times that is `age <= period`."""
    world = World(child("c"), intensity=1, period=5.0).begin()
    world.die("c")
    world.pass_time(apart)
    world.die("c")
    assert (world.end() == GAVE_UP) == gives_up


@pytest.mark.row("28")
def test_attempts_that_are_far_enough_apart_never_exceed() -> None:
    """I/P 1/1, deaths 2.1 s apart."""
    world = World(child("c"), intensity=1, period=1.0).begin()
    for _ in range(4):
        world.die("c")
        world.pass_time(2.1)
    assert world.end() is None


def test_the_window_slides_and_is_not_fixed() -> None:
    """Reference 1.14: Pekko's fixed window lets 2N-1 through around its boundary."""
    world = World(child("c"), intensity=2, period=10.0).begin()
    for pause in (0.0, 9.0, 1.5):
        world.pass_time(pause)
        world.die("c")
        assert world.end() is None
    world.pass_time(1.0)
    world.die("c")
    assert world.end() == GAVE_UP


def test_the_budget_belongs_to_the_supervisor_and_not_to_the_child() -> None:
    world = World(child("a"), child("b"), child("c"), intensity=2).begin()
    world.die("a")
    world.die("b")
    world.die("c")
    assert world.end() == GAVE_UP


def test_a_crash_that_restarts_five_siblings_costs_one_unit() -> None:
    world = World(*[child(name) for name in "abcdef"], strategy=Strategy.ONE_FOR_ALL, intensity=1).begin()
    world.die("a")
    assert world.end() is None
    assert [event.attempts for event in world.seen(ChildRestarting)] == [1]


def test_nothing_but_time_clears_the_budget() -> None:
    """Not success, not a restart by hand, not a new child; and those cost nothing either."""
    world = World(child("c"), intensity=1, period=100.0).begin()
    world.die("c")
    world.pass_time(50.0)
    world.ask(TerminateChild(world.now, world.request(), "c"))
    world.ask(RestartChild(world.now, world.request(), "c"))
    world.ask(StartChild(world.now, world.request(), child("d")))
    world.die("c")
    assert world.end() == GAVE_UP


def test_the_offender_is_dropped_and_the_rest_is_ended_in_reverse_order() -> None:
    """Reference 1.7."""
    world = World(child("a"), child("b"), child("c"), intensity=0).begin()
    world.take_log()
    world.die("b")
    assert world.take_log() == ["gone b", "ask c", "gone c", "ask a", "gone a"]


def test_the_clock_may_stand_still_but_never_runs_backwards_inside() -> None:
    """Threads stamp events; one that is told late does not turn the budget's time back."""
    world = World(child("c"), intensity=1, period=5.0, starts={"c": [READY]}).begin()
    world.die("c")
    world.now -= 100.0
    world.die("c")
    assert world.end() == GAVE_UP


@given(
    gaps=st.lists(st.floats(min_value=0.0, max_value=10.0, allow_nan=False), max_size=30),
    period=st.floats(min_value=0.1, max_value=20.0, allow_nan=False),
)
def test_the_record_holds_exactly_the_attempts_of_the_last_period(gaps: list[float], period: float) -> None:
    record, now, all_attempts = RestartRecord(), 0.0, []
    for gap in gaps:
        now += gap
        all_attempts.append(now)
        record = record.add(now, period)
        assert list(record.attempts) == [at for at in all_attempts if now - at <= period]
        for intensity in range(4):
            assert record.exceeds(intensity) == (len(record.attempts) > intensity)
