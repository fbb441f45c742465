"""Cost of planning and deciding, without I/O: run with `python bench/plan.py`.

Two figures, each a ratio taken in one run (design, budgets):

- planning 10,000 tasks beside loading the same milestone with `yaml.CSafeLoader`, alternating, medians;
- one decision per task over 20,000 tasks beside one over 1,000 tasks, for three shapes of milestone: wide,
  layered, and wide with one file that everybody touches.

The folding of records is part of what is timed: the executor never decides without it.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from typing import Final

import yaml

from actors.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    GitIdle,
    Outcome,
    PreflightPassed,
    Record,
    SessionStarted,
    Settings,
    encode_event,
)
from actors.execution import Execution
from actors.model import Milestone, Task
from actors.plan import Plan
from actors.state import SessionState

SMALL: Final = 1_000
LARGE: Final = 20_000
ROUNDS: Final = 3


def layered(size: int, *, width: int = 100) -> Milestone:
    """Layers of `width` tasks, each needing three of the layer before."""
    tasks = [
        Task(
            id=f"task-{n:05}",
            title=f"Task {n}",
            run="true",
            depends_on=tuple(f"task-{(n // width - 1) * width + (n + k) % width:05}" for k in (0, 7, 31))
            if n >= width
            else (),
        )
        for n in range(size)
    ]
    return Milestone(id="bench", title="Bench", tasks=tuple(tasks))


def wide(size: int) -> Milestone:
    """Nothing depends on anything."""
    return Milestone(id="bench", title="B", tasks=tuple(Task(id=f"t{n}", title="", run="true") for n in range(size)))


def contended(size: int) -> Milestone:
    """Nothing depends on anything, and everybody writes to one file."""
    tasks = (Task(id=f"t{n}", title="", run="true", files=("CHANGELOG.md", f"src/{n}.c")) for n in range(size))
    return Milestone(id="bench", title="B", tasks=tuple(tasks))


def as_yaml(milestone: Milestone) -> str:
    """The same tasks as a person would have written them."""
    document = {
        "id": milestone.id,
        "title": milestone.title,
        "tasks": [
            {
                "id": one.id,
                "title": one.title,
                "status": "pending",
                "run": one.run,
                "depends_on": list(one.depends_on),
            }
            for one in milestone.tasks
        ],
    }
    return yaml.safe_dump(document, sort_keys=False)


def timed(work: Callable[[], object]) -> float:
    """Seconds that a call takes. Without the collector, which costs the parser more than all else."""
    gc.collect()
    gc.disable()
    begin = time.perf_counter()
    work()
    seconds = time.perf_counter() - begin
    gc.enable()
    return seconds


def drive(milestone: Milestone) -> None:
    """Execute a milestone of tasks that take no time: fold, observe and decide after every record."""
    state = SessionState()
    execution = Execution(state)
    seq = 0
    todo: list[Event] = [
        SessionStarted(milestone, "m.yaml", "/p", Settings(max_parallel=8), boot="b", pid=1),
        PreflightPassed(),
        GitIdle("bench"),
    ]
    while state.settled is None:
        for event in todo:
            seq += 1
            state.apply(Record(seq, "s", float(seq), float(seq), "", RAW), event)
            execution.observe(event)
        todo = list(execution.decide(float(seq)).events)
        if not todo and state.settled is None:
            attempt = next(iter(state.live))
            todo = [AttemptStarted(attempt, 1), AttemptEnded(attempt, Outcome.OK, seconds=1.0)]
    if len(state.live) or state.completed_here != len(milestone.tasks):
        raise SystemExit("the milestone was not completed")


RAW: Final = encode_event(PreflightPassed()).body


def main() -> None:
    """Print the figures."""
    milestone = layered(10_000)
    text = as_yaml(milestone)
    loads, plans, spans = [], [], []
    for _ in range(ROUNDS):
        loads.append(timed(lambda: yaml.load(text, Loader=yaml.CSafeLoader)))  # noqa: TID251
        plans.append(timed(lambda: Plan.of(milestone)))
        plan = Plan.of(milestone)
        spans.append(timed(lambda: plan.makespan(8)))  # noqa: B023
    load, made, span = (statistics.median(times) * 1000 for times in (loads, plans, spans))
    print(f"10,000 tasks: yaml.load {load:.0f} ms; plan {made:.1f} ms = {made / load:.3f} x")
    print(f"predicted schedule of the same: {span:.1f} ms")
    for shape in (wide, layered, contended):
        few_tasks, many_tasks = shape(SMALL), shape(LARGE)
        small, large = [], []
        for _ in range(ROUNDS):
            small.append(timed(lambda: drive(few_tasks)) / SMALL)  # noqa: B023
            large.append(timed(lambda: drive(many_tasks)) / LARGE)  # noqa: B023
        few, many = statistics.median(small) * 1e6, statistics.median(large) * 1e6
        at_both = f"{few:.0f} us per task at {SMALL:,}, {many:.0f} us at {LARGE:,}"
        print(f"{shape.__name__}: {at_both}: {many / few:.2f} x")


if __name__ == "__main__":
    main()
