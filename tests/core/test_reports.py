"""What is told of children is data with bounded texts, however much a child or a user had to say."""

import msgspec
import pytest

from supervisor import core_effects, exits
from supervisor.core_effects import ChildExited, FailedToStart, IntensityExceeded, Refused, SupervisorStopped
from supervisor.core_events import ChangeSpecs
from supervisor.exits import (
    LONGEST_TEXT,
    ExitReason,
    OverLimit,
    Shutdown,
    ShutdownTerm,
    SpawnFailed,
    Unknown,
    bounded,
    describe,
)
from supervisor.spec import parse_child
from supervisor.spec_checks import SpecError
from tests.core.puppets import FAIL, READY, World, child

HUGE = "x\x1b[2J\n" * 100_000
WORDY: list[ExitReason] = [ShutdownTerm(HUGE), OverLimit(HUGE), SpawnFailed(HUGE), Unknown(HUGE)]


@pytest.mark.row("60")
@pytest.mark.parametrize("reason", WORDY, ids=lambda reason: type(reason).__name__)
def test_whatever_a_child_had_to_say_every_report_of_it_is_short_and_one_line(reason: ExitReason) -> None:
    world = World(child("c"), intensity=0).begin()
    world.die("c", reason)
    assert world.published[-1] == SupervisorStopped(world.now, Shutdown(), core_effects.EndCause.INTENSITY)
    for event in world.published:
        assert len(repr(event)) < 2 * LONGEST_TEXT
    told = describe(reason)
    assert len(told) < LONGEST_TEXT + 50
    assert told.isprintable()
    assert sum(len(str(step)) for step in world.core.story("c")) < 100 * LONGEST_TEXT


@pytest.mark.row("60")
def test_a_cause_that_climbs_through_many_supervisors_does_not_grow_for_ever() -> None:
    ended = FailedToStart("leaf", exits.Crashed(code=1))
    for height in range(200):
        ended = FailedToStart(f"supervisor {height}", ShutdownTerm(str(ended)))
    assert len(str(ended)) < 2 * LONGEST_TEXT
    assert "exit code 1" in str(ended), "the end of it, the first cause, is kept"


@pytest.mark.row("60")
def test_a_refused_value_is_shown_short() -> None:
    with pytest.raises(SpecError) as refusal:
        parse_child({"id": "c", "target": "x", "restart": HUGE, "args": {}})
    assert len(str(refusal.value)) < LONGEST_TEXT
    world = World(child("c")).begin()
    twice = child("c", args={"huge": HUGE})
    answer = world.ask(ChangeSpecs(world.now, world.request(), world.core.flags, (twice, twice)))
    assert isinstance(answer, Refused)
    assert len(repr(answer)) < 2 * LONGEST_TEXT


@pytest.mark.row("60")
def test_each_of_otps_reports_is_an_event_of_its_own_with_the_facts_as_fields() -> None:
    """Child terminated, start error, shutdown error, and the budget exceeded; progress is no report of a crash."""
    world = World(child("c"), starts={"c": [READY, FAIL]}, intensity=1).begin()
    world.die("c")
    crashed, failed = world.seen(ChildExited)
    assert (crashed.child, crashed.incarnation, crashed.expected) == ("c", 1, False)
    assert (failed.child, failed.incarnation, failed.expected) == ("c", 2, False)
    exceeded = world.seen(IntensityExceeded)[0]
    assert (exceeded.attempts, exceeded.intensity, exceeded.period) == (2, 1, 3600.0)
    assert all(isinstance(event, msgspec.Struct) for event in world.published)


def test_a_text_that_fits_is_kept_as_it_is() -> None:
    assert bounded("grün, 5 > 3") == "grün, 5 > 3"
    assert bounded("two\nlines") == "two\\nlines"
    assert bounded("y" * LONGEST_TEXT) == "y" * LONGEST_TEXT
    cut = bounded("a" * 1000 + "b" * 1000)
    assert len(cut) <= LONGEST_TEXT
    assert (cut[0], cut[-1]) == ("a", "b")
