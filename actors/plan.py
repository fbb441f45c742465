"""The plan: what can be said of a milestone's tasks as a graph, before and while it runs.

Owns dependents, waves, expected durations, ranks, the critical path and the predicted schedule. Refuses to
know what happened so far (that is :mod:`actors.state`), files and clocks. Every pass is iterative and linear
in tasks and dependencies; only the predicted schedule needs a logarithm more.

Tasks that the file declares completed or cancelled stand in the graph, take no time, and hold nobody up.
"""

from __future__ import annotations

import enum
import heapq
import math
from typing import TYPE_CHECKING, Final

import attrs

from actors.conflicts import Claims, overlapping
from actors.frontier import Frontier
from actors.model import FileStatus, Milestone, Task
from actors.state import Phase, TaskState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["ASSUMED_SECONDS", "DurationSource", "Plan", "PlanError", "Schedule", "Scheduled", "overlapping"]

ASSUMED_SECONDS: Final = 60.0
"""What a task takes of which nothing is known."""

_FINISHED: Final = {FileStatus.COMPLETED, FileStatus.CANCELLED}


class PlanError(ValueError):
    """The milestone cannot be planned: its graph is not one, which its reader should have refused."""


class DurationSource(enum.Enum):
    """Where the expected duration of a task comes from."""

    MEASURED = "measured"
    ESTIMATED = "estimated"
    ASSUMED = "assumed"
    FINISHED = "finished"


@attrs.frozen
class Scheduled:
    """One task of a predicted schedule.

    Attributes:
        task: Task id.
        start: Seconds after the beginning.
        end: Seconds after the beginning.
        slot: From 0.
    """

    task: str
    start: float
    end: float
    slot: int


@attrs.frozen
class Schedule:
    """A predicted execution: tasks granted by rank as slots become free.

    Attributes:
        tasks: By start, then slot; without those that are finished already.
        total: Seconds from the beginning to the end of the last task.
        max_parallel: For how many slots.
        critical_bound: No schedule takes less: seconds of the critical path.
        work_bound: No schedule takes less: seconds of all tasks divided by the slots.
    """

    tasks: tuple[Scheduled, ...]
    total: float
    max_parallel: int
    critical_bound: float
    work_bound: float

    @property
    def bound(self) -> float:
        """Seconds below which no schedule can come."""
        return max(self.critical_bound, self.work_bound)


@attrs.frozen
class Plan:
    """What follows from the graph of a milestone.

    Attributes:
        milestone: What was planned.
        dependents: Ids of the tasks that name a task in ``depends_on``, in the file's order.
        order: All ids, every task behind its dependencies.
        waves: Ids by the length of the longest chain of dependencies below them, in the file's order.
        seconds: Expected duration of each task.
        sources: Where each duration comes from.
        rank: Seconds of the longest path from the start of a task to the end of the milestone; 0 for a
            finished task.
        critical_path: Ids of a longest path, first to last, without finished tasks.
        critical_seconds: Its length.
    """

    milestone: Milestone
    dependents: dict[str, tuple[str, ...]]
    order: tuple[str, ...]
    waves: tuple[tuple[str, ...], ...]
    seconds: dict[str, float]
    sources: dict[str, DurationSource]
    rank: dict[str, float]
    critical_path: tuple[str, ...]
    critical_seconds: float

    @classmethod
    def of(cls, milestone: Milestone, durations: Mapping[str, float] | None = None) -> Plan:
        """Plan a milestone.

        Args:
            milestone: Its tasks form an acyclic graph: the reader sees to that.
            durations: Measured seconds by task id, from former executions; ``None`` for no history.

        Raises:
            PlanError: An id appears twice, a dependency is unknown, or the dependencies form a cycle.
        """
        dependents = _dependents(milestone.tasks)
        waves = _waves(milestone.tasks, dependents)
        order = tuple(task for wave in waves for task in wave)
        seconds, sources = _durations(milestone.tasks, durations or {})
        rank = _ranks(order, dependents, seconds, sources)
        path = _critical_path(order, dependents, rank, sources)
        return cls(
            milestone=milestone,
            dependents={task: tuple(after) for task, after in dependents.items()},
            order=order,
            waves=waves,
            seconds=seconds,
            sources=sources,
            rank=rank,
            critical_path=path,
            critical_seconds=max(rank.values(), default=0.0),
        )

    def unreachable(self, failed: Iterable[str]) -> set[str]:
        """Return every task that depends, directly or not, on one of ``failed``."""
        reached: set[str] = set()
        ahead = list(failed)
        while ahead:
            new = [task for task in self.dependents[ahead.pop()] if task not in reached]
            reached.update(new)
            ahead.extend(new)
        return reached

    def makespan(self, max_parallel: int) -> Schedule:
        """Predict the execution on ``max_parallel`` slots.

        List scheduling: whenever a slot is free, the ready task of the highest rank that conflicts with
        nobody takes the lowest one. This is what the executor does, if all tasks take as long as expected.

        Raises:
            PlanError: ``max_parallel`` is below 1.
        """
        if max_parallel < 1:
            raise PlanError(f"max_parallel is {max_parallel}: a schedule needs one slot or more")
        tasks = _simulate(self, max_parallel)
        return Schedule(
            tasks=tuple(sorted(tasks, key=lambda one: (one.start, one.slot))),
            total=max((one.end for one in tasks), default=0.0),
            max_parallel=max_parallel,
            critical_bound=self.critical_seconds,
            work_bound=math.fsum(self.seconds.values()) / max_parallel,
        )


def _dependents(tasks: tuple[Task, ...]) -> dict[str, list[str]]:
    dependents: dict[str, list[str]] = {task.id: [] for task in tasks}
    if len(dependents) != len(tasks):
        raise PlanError("two tasks have the same id")
    for task in tasks:
        for needed in task.depends_on:
            if needed not in dependents:
                raise PlanError(f"task {task.id} depends on {needed}, which does not exist")
            dependents[needed].append(task.id)
    return dependents


def _waves(tasks: tuple[Task, ...], dependents: Mapping[str, list[str]]) -> tuple[tuple[str, ...], ...]:
    place = {task.id: at for at, task in enumerate(tasks)}
    missing = {task.id: len(task.depends_on) for task in tasks}
    waves: list[tuple[str, ...]] = []
    wave = [task.id for task in tasks if not task.depends_on]
    while wave:
        waves.append(tuple(wave))
        later: list[str] = []
        for done in wave:
            for dependent in dependents[done]:
                missing[dependent] -= 1
                if not missing[dependent]:
                    later.append(dependent)
        later.sort(key=place.__getitem__)
        wave = later
    stuck = [task for task, count in missing.items() if count]
    if stuck:
        raise PlanError(f"the dependencies form a cycle: {len(stuck)} tasks cannot start, {stuck[0]} for one")
    return tuple(waves)


def _durations(
    tasks: tuple[Task, ...], measured: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, DurationSource]]:
    seconds: dict[str, float] = {}
    sources: dict[str, DurationSource] = {}
    for task in tasks:
        if task.status in _FINISHED:
            found = 0.0, DurationSource.FINISHED
        elif task.id in measured:
            found = max(0.0, measured[task.id]), DurationSource.MEASURED
        elif task.estimated_hours is not None:
            found = max(0.0, task.estimated_hours * 3600), DurationSource.ESTIMATED
        else:
            found = ASSUMED_SECONDS, DurationSource.ASSUMED
        seconds[task.id], sources[task.id] = found
    return seconds, sources


def _ranks(
    order: tuple[str, ...],
    dependents: Mapping[str, list[str]],
    seconds: Mapping[str, float],
    sources: Mapping[str, DurationSource],
) -> dict[str, float]:
    rank: dict[str, float] = {}
    for task in reversed(order):
        if sources[task] is DurationSource.FINISHED:
            rank[task] = 0.0  # who names it in depends_on does not wait for what came before it
            continue
        after = dependents[task]
        rank[task] = seconds[task] + (max([rank[one] for one in after]) if after else 0.0)
    return rank


def _critical_path(
    order: tuple[str, ...],
    dependents: Mapping[str, list[str]],
    rank: Mapping[str, float],
    sources: Mapping[str, DurationSource],
) -> tuple[str, ...]:
    path: list[str] = []
    ahead: Iterable[str] = order
    while unfinished := [task for task in ahead if sources[task] is not DurationSource.FINISHED]:
        path.append(max(unfinished, key=rank.__getitem__))
        ahead = dependents[path[-1]]
    return tuple(path)


def _simulate(plan: Plan, max_parallel: int) -> list[Scheduled]:
    # A finished task counts as completed whatever it was: a cancelled one would hold up the whole prediction.
    phases = {True: TaskState(phase=Phase.COMPLETED), False: TaskState()}
    tasks = {task.id: phases[task.status in _FINISHED] for task in plan.milestone.tasks}
    frontier = Frontier(plan.milestone, plan, tasks)
    claims = Claims(frontier, plan.milestone.by_id)
    free = list(range(max_parallel))
    running: list[tuple[float, int, str]] = []
    done: list[Scheduled] = []
    now = 0.0
    while True:
        while free and (task := frontier.pop()) is not None:
            if claims.makes_wait(task):
                continue
            claims.held(task)
            slot, end = heapq.heappop(free), now + plan.seconds[task]
            heapq.heappush(running, (end, slot, task))
            done.append(Scheduled(task, now, end, slot))
        if not running:
            return done
        now = running[0][0]
        while running and running[0][0] <= now:
            _, slot, task = heapq.heappop(running)
            heapq.heappush(free, slot)
            claims.released(task)
            frontier.completed(task)
