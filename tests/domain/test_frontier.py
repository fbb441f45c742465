"""The ready set and the bags of tasks that wait for files: always what a computation from scratch gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.conflicts import Claims, overlapping
from actors.frontier import Frontier
from actors.model import Milestone, Task
from actors.plan import Plan
from actors.state import Phase, TaskState
from tests.domain.simulator import milestones

PHASES = st.sampled_from([Phase.PENDING, Phase.PENDING, Phase.COMPLETED, Phase.RUNNING, Phase.FAILED, Phase.SKIPPED])


def scratch(milestone: Milestone, plan: Plan, phases: dict[str, Phase]) -> list[str]:
    """The ready set as its definition says, in the order of grants."""
    place = {task.id: at for at, task in enumerate(milestone.tasks)}
    ready = [
        task.id
        for task in milestone.tasks
        if phases[task.id] is Phase.PENDING and all(phases[needed] is Phase.COMPLETED for needed in task.depends_on)
    ]
    return sorted(ready, key=lambda key: (-plan.rank[key], place[key]))


@given(st.data(), milestones())
def test_after_any_history_it_is_what_a_computation_from_scratch_gives(data: st.DataObject, drawn: Milestone) -> None:
    plan = Plan.of(drawn)
    phases = {task.id: data.draw(PHASES) for task in drawn.tasks}
    frontier = Frontier(drawn, plan, {key: TaskState(phase=phase) for key, phase in phases.items()})
    for _ in range(data.draw(st.integers(0, 15))):
        movable = sorted(key for key, phase in phases.items() if phase in {Phase.PENDING, Phase.RUNNING})
        if not movable:
            break
        key = data.draw(st.sampled_from(movable))
        pending = phases[key] is Phase.PENDING
        match data.draw(st.sampled_from(["granted", "failed", "pop"] if pending else ["completed", "back"])):
            case "granted":
                frontier.granted(key)
                phases[key] = Phase.RUNNING
            case "failed":
                frontier.failed(key)
                phases[key] = Phase.FAILED
            case "completed":
                frontier.completed(key)
                phases[key] = Phase.COMPLETED
            case "back":
                frontier.back(key)
                phases[key] = Phase.PENDING
            case _:
                best = frontier.pop()
                assert best == next(iter(scratch(drawn, plan, phases)), None)
                if best is not None:
                    phases[best] = Phase.RUNNING
        assert list(frontier.ready()) == scratch(drawn, plan, phases)
        assert bool(frontier) == bool(scratch(drawn, plan, phases))


def test_looking_at_the_ready_tasks_takes_none_of_them() -> None:
    drawn = Milestone(id="m", title="M", tasks=tuple(Task(id=f"t{n}", title="") for n in range(9)))
    plan = Plan.of(drawn)
    frontier = Frontier(drawn, plan, {task.id: TaskState() for task in drawn.tasks})
    first = next(frontier.ready())
    assert first == "t0"
    assert list(frontier.ready()) == [f"t{n}" for n in range(9)]


def greedy(milestone: Milestone, ready: list[str], running: list[str], free: int) -> list[str]:
    """Walk the ready tasks in order and start each that conflicts with nobody that runs."""
    started: list[str] = []
    for key in ready:
        others = [milestone.by_id[one] for one in (*running, *started)]
        if len(started) < free and not any(overlapping(milestone.by_id[key], other) for other in others):
            started.append(key)
    return started


@given(st.data(), milestones(largest=20, statuses=False), st.integers(1, 4))
def test_bags_of_waiting_tasks_never_change_who_is_started(data: st.DataObject, drawn: Milestone, slots: int) -> None:
    plan = Plan.of(drawn)
    phases = dict.fromkeys(drawn.by_id, Phase.PENDING)
    frontier = Frontier(drawn, plan, {key: TaskState() for key in phases})
    claims = Claims(frontier, drawn.by_id)
    running: list[str] = []
    while True:
        expected = greedy(drawn, scratch(drawn, plan, phases), running, slots - len(running))
        started: list[str] = []
        while len(started) < slots - len(running) and (key := frontier.pop()) is not None:
            if not claims.makes_wait(key):
                claims.held(key)
                started.append(key)
        assert started == expected
        running += started
        phases.update(dict.fromkeys(started, Phase.RUNNING))
        if not running:
            break
        key = running.pop(data.draw(st.integers(0, len(running) - 1)))
        claims.released(key)
        match data.draw(st.sampled_from(["completed", "completed", "back", "failed"])):
            case "completed":
                frontier.completed(key)
                phases[key] = Phase.COMPLETED
            case "back":
                frontier.back(key)
                phases[key] = Phase.PENDING
            case _:
                frontier.failed(key)
                claims.dropped(key)
                phases[key] = Phase.FAILED
