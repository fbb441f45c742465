"""What the children of a keeper use, measured once one of them has limits.

Owns the sampler of a tree, which is a thread that only trees with limits have. Refuses to know what follows from
an excess: that is the core's.
"""

from __future__ import annotations

from collections.abc import Callable

from actors.limits import Limits
from supervisor.core_events import OverLimitSeen
from supervisor.notices import Troubled
from supervisor.sampling import Feed, Sampler, Subject


class Gauge:
    """Follows children by their paths; for use in the keeper's thread.

    Args:
        over: Is called with each excess, in the sampler's thread; its ``child`` is the path.
        failed: Is called with what broke, in the sampler's thread.
    """

    def __init__(self, over: Callable[[OverLimitSeen], None], failed: Callable[[str], None]) -> None:
        self._over = over
        self._failed = failed
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
        if self._feed is None:
            self._sampler = Sampler()
            self._feed = self._sampler.open(lambda _: None, self._over, self._troubled)
            self._sampler.start()
        self._feed.follow(Subject(path, incarnation, *identity, limits))

    def drop(self, path: str, incarnation: int) -> None:
        """Measure this incarnation no more."""
        if self._feed is not None:
            self._feed.drop(path, incarnation)

    def stop(self) -> None:
        """End the thread, if there is one."""
        if self._sampler is not None:
            self._sampler.stop()

    def _troubled(self, troubled: Troubled) -> None:
        self._failed(troubled.reason)
