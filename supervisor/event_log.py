"""The last public events of a tree of supervisors, for any number of readers.

One buffer for all, bounded: who reads too slowly is told how many it has missed, and nobody is ever waited for. Any
thread may call anything. Owns keeping. Refuses to know what events mean.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Final

import attrs

from supervisor.core_effects import SupervisorEvent
from supervisor.exits import ExitReason
from supervisor.news import News

CAPACITY: Final = 1024
"""Events that are kept."""


@attrs.frozen
class EventsLost:
    """The reader was too slow: this many events before the next one are gone.

    Attributes:
        count: How many.
    """

    count: int


@attrs.frozen
class SupervisorFailed:
    """Supervision itself broke, and everything was ended; the last event.

    Attributes:
        at: Seconds of the monotonic clock.
        reason: What happened, one line.
    """

    at: float
    reason: str


@attrs.frozen
class SupervisorTroubled:
    """Something is not looked after as it should be (limits, because a child could not be measured); all goes on.

    Attributes:
        at: Seconds of the monotonic clock.
        reason: What happened, one line.
    """

    at: float
    reason: str


@attrs.frozen
class StandbyWaiting:
    """A process waits in advance to become the next incarnation of a child.

    Attributes:
        at: Seconds of the monotonic clock.
        child: Path of the child, or of the template.
        pid: Its process.
    """

    at: float
    child: str
    pid: int


@attrs.frozen
class StandbyEnded:
    """A process that waited has ended unasked; another one follows. It counts as no restart.

    Attributes:
        at: Seconds of the monotonic clock.
        child: As of :class:`StandbyWaiting`.
        pid: The process that it was.
        reason: Why it ended.
    """

    at: float
    child: str
    pid: int
    reason: ExitReason


KeeperEvent = StandbyWaiting | StandbyEnded | SupervisorTroubled
"""What happens beside the supervisors' own affairs."""

KeptEvent = SupervisorEvent | KeeperEvent | SupervisorFailed
"""What is kept for readers."""

PublicEvent = KeptEvent | EventsLost
"""What an event iterator yields."""


class EventLog:
    """The buffer.

    Args:
        capacity: Events that are kept.

    Attributes:
        news: Of the events, by how many there have been.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.news = News()
        self._kept: deque[KeptEvent] = deque(maxlen=capacity)
        self._count = 0
        self._lock = threading.Lock()  # of the two above

    def put(self, event: KeptEvent) -> None:
        """Add an event."""
        with self._lock:
            self._kept.append(event)
            self._count += 1
            count = self._count
        self.news.put(count)

    def close(self) -> None:
        """Let readers end once they have read everything."""
        self.news.close()

    def read(self, position: int) -> tuple[list[PublicEvent], int, bool]:
        """Take what is there after a position.

        Args:
            position: Events that were read, or missed, so far.

        Returns:
            The events, beginning with :class:`EventsLost` if some are gone; the position after them; and whether no
            other will come.
        """
        is_closed = self.news.is_closed  # before the look, or what came between the two would be missed
        with self._lock:
            first = self._count - len(self._kept)
            lost: list[PublicEvent] = [EventsLost(first - position)] if position < first else []
            found = islice(self._kept, max(0, position - first), None)
            return [*lost, *found], self._count, is_closed

    def follow(self, timeout: float | None) -> Iterator[PublicEvent]:
        """Yield the events that are kept, and then those that come, until no other will.

        Args:
            timeout: Seconds without an event after which to end; ``None`` for never.
        """
        position = 0
        while self.news.wait(position, timeout):
            events, position, closed = self.read(position)
            yield from events
            if closed and not events:
                return
