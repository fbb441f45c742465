"""What the children of a keeper use, measured once one of them has limits.

Owns the sampler of a tree, which is a thread that only trees with limits have. Refuses to know what follows from
an excess: that is the core's.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.limits import Limits
from supervisor.core_events import OverLimitSeen
from supervisor.sampling import Feed, Sampler, Subject
from supervisor.shortage import refusal, starting_threads


class Gauge:
    """Follows children by their paths; for use in the keeper's thread.

    Args:
        over: Is called with each excess, in the sampler's thread; its ``child`` is the path.
        troubled: Is called with what cannot be measured and why, in the sampler's thread or the keeper's.
    """

    def __init__(self, over: Callable[[OverLimitSeen], None], troubled: Callable[[str], None]) -> None:
        self._over = over
        self._troubled = troubled
        self._sampler: Sampler | None = None
        self._feed: Feed | None = None

    def follow(self, path: str, incarnation: int, identity: tuple[int, int], limits: Limits) -> None:
        """Measure a child from now on, and judge it by its limits.

        Args:
            path: Of the child.
            incarnation: Which one.
            identity: Its process id, and when that started in clock ticks since boot.
            limits: What it may use, itself and what is below it.
        """
        try:
            feed = self._feed or self._start()
        except OSError as error:
            self._troubled(f"the limits of {path!r} are not kept: {refusal(error)}")
            return
        feed.follow(Subject(path, incarnation, *identity, limits))

    def _start(self) -> Feed:
        sampler = Sampler()
        with starting_threads():
            sampler.start()
        self._sampler = sampler
        self._feed = sampler.open(lambda _: None, self._over, lambda trouble: self._troubled(trouble.reason))
        return self._feed

    def drop(self, path: str, incarnation: int) -> None:
        """Measure this incarnation no more."""
        if self._feed is not None:
            self._feed.drop(path, incarnation)

    def stop(self) -> None:
        """End the thread, if there is one."""
        if self._sampler is not None:
            self._sampler.stop()
