"""That something is new, for any number of readers: a number that grows, and an end.

Any thread may call anything. Owns the number and the waking. Refuses to know what is new.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


class News:
    """The number of the last event, and whether another will come."""

    def __init__(self) -> None:
        self._last = 0
        self._closed = False
        self._changed = threading.Condition()
        self._wakers: list[Callable[[], None]] = []

    @property
    def is_closed(self) -> bool:
        """Whether no other event will come; everything that came is there to be read."""
        return self._closed

    def put(self, seq: int) -> None:
        """Say that there are events up to this one."""
        with self._changed:
            self._last = max(seq, self._last)  # several threads may say so, the later one first
            self._wake()

    def close(self) -> None:
        """Say that no other will come."""
        with self._changed:
            self._closed = True
            self._wake()

    def wait(self, after: int, timeout: float | None = None) -> bool:
        """Wait until there is an event after this one, or none will come; False when the time is over.

        Args:
            after: Number of the event.
            timeout: Seconds; ``None`` for ever.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._last > after or self._closed, timeout)

    def on_change(self, waker: Callable[[], None]) -> None:
        """Have a function called at each change, in whatever thread makes it; it must not block."""
        with self._changed:
            self._wakers.append(waker)

    def forget(self, waker: Callable[[], None]) -> None:
        """Call this function no more."""
        with self._changed:
            self._wakers.remove(waker)

    def _wake(self) -> None:
        self._changed.notify_all()
        for waker in self._wakers:
            waker()
