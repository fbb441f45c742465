"""What a supervisor with many children costs: it is counted in executed instructions, so that no clock is read."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from supervisor.core_events import StartChild, StartInstance
from supervisor.spec import Strategy
from tests.core.puppets import World, child, temporary

FEW, MANY = 20, 200


def instructions(work: Callable[[], object]) -> int:
    """Count the bytecode instructions that the supervisor's own modules execute during a piece of work."""
    counted = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:  # noqa: ANN401  as sys.settrace has it
        nonlocal counted
        if event == "call":
            if "/supervisor/" not in frame.f_code.co_filename:
                return None
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        counted += event == "opcode"
        return trace

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(former)
    return counted


def static(count: int) -> None:
    world = World(*[child(f"c{number}") for number in range(count)]).begin()
    world.stop()
    assert world.end() is not None


def dynamic(count: int) -> None:
    world = World().begin()
    for number in range(count):
        world.tell(StartChild(world.now, world.request(), child(f"c{number}")))
    world.stop()
    assert world.end() is not None


def instances(count: int) -> None:
    world = World(temporary("c"), strategy=Strategy.SIMPLE_ONE_FOR_ONE).begin()
    for _ in range(count):
        world.tell(StartInstance(world.now, world.request()))
    world.stop()
    assert world.end() is not None


def all_for_one(count: int) -> None:
    world = World(*[child(f"c{number}") for number in range(count)], strategy=Strategy.ONE_FOR_ALL).begin()
    world.die("c0")
    assert len(world.alive) == count


@pytest.mark.row("48")
@pytest.mark.parametrize("work", [static, dynamic, instances, all_for_one])
def test_the_work_grows_with_the_number_of_children_and_not_faster(
    work: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.core.Core.check_invariants", lambda _: None)  # looks at everybody each time
    few = instructions(lambda: work(FEW))
    many = instructions(lambda: work(MANY))
    assert few > 100 * FEW, "it was counted"
    assert many / few < 1.1 * MANY / FEW
