"""What the attempts of a runner use, and which of them use too much.

The runner is single-threaded, so this is no thread: the loop asks when a look is due, and looks. A look costs some
ten microseconds a process; looks come every two seconds, and less often where they would take more than one percent
of a core. Without limits there is none.

Owns a meter and a judge for each attempt. Refuses to know how a tree is ended. Reads one clock, the thread's own
processor time; ``now`` is told.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import attrs

from actors.limits import Limits
from supervisor.limits import Judge
from supervisor.usage import Meter, Pace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from supervisor.limits import Excess


@attrs.frozen
class _Watched:
    judge: Judge
    meter: Meter


class TaskMeters:
    """The meters.

    Args:
        pace: How often to look.
    """

    def __init__(self, pace: Pace | None = None) -> None:
        self._pace = pace or Pace()
        self._limits = Limits()
        self._watched: dict[str, _Watched] = {}
        self._next = 0.0

    def limit(self, limits: Limits) -> None:
        """Say what an attempt may use from now on; those that run begin anew when that changes."""
        if limits != self._limits:
            self._limits = limits
            self._watched.clear()

    def next_look(self, *, alive: bool) -> float:
        """Return the monotonic moment of the next look, infinity when there is nothing to look at."""
        return self._next if alive and self._limits else float("inf")

    def look(self, roots: Mapping[str, Sequence[int]], now: float) -> list[tuple[str, Excess]]:
        """Measure every attempt.

        Args:
            roots: The tops of each attempt's tree: children of this process that were not waited for.
            now: Monotonic seconds.

        Returns:
            Who is over which limit.
        """
        before = time.thread_time()
        found = []
        self._watched = {attempt: self._watched.get(attempt) or self._new() for attempt in roots}
        for attempt, tops in roots.items():
            watched = self._watched[attempt]
            sample = watched.meter.measure(tops, now)
            excess = None if sample is None else watched.judge.judge(sample, now)
            if excess is not None:
                found.append((attempt, excess))
        self._pace.spent(time.thread_time() - before)
        self._next = now + self._pace.interval
        return found

    def _new(self) -> _Watched:
        judge = Judge(self._limits)
        return _Watched(judge, Meter(descriptors=judge.wants_descriptors))
