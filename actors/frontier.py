"""The ready set: which tasks could be granted now, best first, kept up to date fact by fact.

Owns the rule "ready means pending with every dependency completed" and its order (rank, then the file's
order). Every change costs the logarithm of the number of tasks, so that a milestone of 20,000 tasks stays
flat. Refuses to know slots, pauses, retries and file conflicts: who must not be offered for such a reason is
taken out and put back.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

from actors.state import Phase, TaskState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actors.model import Milestone
    from actors.plan import Plan

Key = tuple[float, int]
"""Place of a task in the order of grants: minus its rank, then its place in the file."""


class Frontier:
    """The ready set of one milestone.

    Args:
        milestone: The snapshot that is executed.
        plan: Its plan, for dependents and ranks.
        tasks: State of every task at this moment.
    """

    def __init__(self, milestone: Milestone, plan: Plan, tasks: Mapping[str, TaskState]) -> None:
        self._plan: Final = plan
        self._keys: Final[dict[str, Key]] = {
            task.id: (-plan.rank[task.id], place) for place, task in enumerate(milestone.tasks)
        }
        self._missing: Final = {
            task.id: sum(tasks[needed].phase is not Phase.COMPLETED for needed in task.depends_on)
            for task in milestone.tasks
        }
        self._open: Final = {task for task, state in tasks.items() if state.phase is Phase.PENDING}
        self._heap: Final = [(*self._keys[task], task) for task in self._open if not self._missing[task]]
        heapq.heapify(self._heap)
        # Who has an entry in the heap. Entries of tasks that were taken out stay until they come to the top.
        self._queued: Final = {entry[2] for entry in self._heap}

    def key(self, task: str) -> Key:
        """Return the place of a task in the order of grants; smaller comes first."""
        return self._keys[task]

    def completed(self, task: str) -> None:
        """Count a task as completed: what waited for it alone is ready now."""
        self._open.discard(task)
        for dependent in self._plan.dependents[task]:
            self._missing[dependent] -= 1
            self._queue(dependent)

    def failed(self, task: str) -> None:
        """Take a task out for good; its dependents never become ready."""
        self._open.discard(task)

    def granted(self, task: str) -> None:
        """Take a task out until it comes :meth:`back`: it was granted, or has to wait for something else."""
        self._open.discard(task)

    def back(self, task: str) -> None:
        """Put a task back that was taken out: it is ready again if its dependencies are completed."""
        self._open.add(task)
        self._queue(task)

    def pop(self) -> str | None:
        """Take out the best ready task.

        Returns:
            Its id, ``None`` when none is ready. Put it :meth:`back` if it is not to be granted after all.
        """
        if self._settle() is None:
            return None
        task = heapq.heappop(self._heap)[2]
        self._queued.discard(task)
        self._open.discard(task)
        return task

    def ready(self) -> Iterator[str]:
        """Iterate over the ready tasks, best first. Nothing may change meanwhile.

        The first k cost k log k, whatever the size of the set.
        """
        heap = self._heap
        if self._settle() is None:
            return
        # The heap is a tree: behind an entry only its two children can be next, so these are all that is
        # looked at.
        nearest = [(heap[0], 0)]
        while nearest:
            entry, at = heapq.heappop(nearest)
            if entry[2] in self._open:
                yield entry[2]
            for child in (2 * at + 1, 2 * at + 2):
                if child < len(heap):
                    heapq.heappush(nearest, (heap[child], child))

    def __bool__(self) -> bool:
        """Whether any task is ready."""
        return self._settle() is not None

    def _queue(self, task: str) -> None:
        if task in self._open and not self._missing[task] and task not in self._queued:
            self._queued.add(task)
            heapq.heappush(self._heap, (*self._keys[task], task))

    def _settle(self) -> str | None:
        """Drop entries of tasks that were taken out from the top; return the best ready task."""
        while self._heap:
            task = self._heap[0][2]
            if task in self._open:
                return task
            heapq.heappop(self._heap)
            self._queued.discard(task)
        return None
