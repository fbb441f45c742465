"""When to look again: the deadlines of many children, with the earliest at hand.

Owns an ordering of times by child. It refuses to know what a deadline is for: the child's state is
the truth, an entry here only says when to look at it. Entries that the state has outgrown are
skipped when they come up, so that replacing one costs nothing.
"""

import heapq
from typing import Final

import attrs

SPARE: Final = 64
"""Outgrown entries that are tolerated beyond twice the present ones, so that far-off times do not pile up."""


@attrs.frozen(order=True)
class _Entry:
    at: float
    child: str


class Deadlines:
    """One time per child, or none."""

    def __init__(self) -> None:
        """Start with none."""
        self._heap: list[_Entry] = []
        self._at: dict[str, float] = {}

    def set(self, child: str, at: float | None) -> None:
        """Look at this child at that monotonic time; None: there is no need to."""
        if at is None:
            self._at.pop(child, None)
        elif self._at.get(child) != at:
            self._at[child] = at
            heapq.heappush(self._heap, _Entry(at, child))
            if len(self._heap) > 2 * len(self._at) + SPARE:
                self._heap = [_Entry(when, name) for name, when in self._at.items()]
                heapq.heapify(self._heap)

    @property
    def next(self) -> float | None:
        """The earliest time, None if there is none."""
        while self._heap:
            first = self._heap[0]
            if self._at.get(first.child) == first.at:
                return first.at
            heapq.heappop(self._heap)
        return None

    def due(self, now: float) -> tuple[str, ...]:
        """Take out the children whose time has come, earliest first."""
        found: list[str] = []
        while (at := self.next) is not None and at <= now:
            entry = heapq.heappop(self._heap)
            del self._at[entry.child]
            found.append(entry.child)
        return tuple(found)
