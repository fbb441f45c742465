"""Rounds through the loops that supervise: whether each of them still does its work.

A sign of life that a thread beside the work gives says nothing about the work. So a round asks every loop (the writers
of the journals, the control servers, the supervisors of the sessions) to call a function, and is complete when all have
done so, in their own threads, and the main thread has heard of it. A loop that hangs keeps the round from being
completed, and nothing is said to the service manager's watchdog.

A loop may end while it is asked: its answer is lost then, and the next round does not ask it any more. So a round that
is not complete when the next one is due is given up.

Belongs to the main thread. Refuses to know what the loops are for, and when a round is due.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

Loop = Callable[[Callable[[], None]], object]
"""Has a function called in a loop's thread, soon; never blocks."""


class Pulse:
    """Rounds, one after the other.

    Args:
        post: Has a function called in the main thread.
        completed: Is called there when a round is complete.
    """

    def __init__(self, post: Callable[[Callable[[], None]], None], completed: Callable[[], None]) -> None:
        self._post = post
        self._completed = completed
        self._number = 0
        self._missing: set[str] = set()

    def begin(self, loops: Mapping[str, Loop]) -> AbstractSet[str]:
        """Begin a round.

        Args:
            loops: Those that there are now, by their names.

        Returns:
            Which loops have not answered in the former round, and are still there.
        """
        silent = self._missing & loops.keys()
        self._number += 1
        self._missing = set(loops)
        for name, call in loops.items():
            call(functools.partial(self._post, functools.partial(self._answered, self._number, name)))
        if not loops:
            self._completed()
        return silent

    def _answered(self, number: int, name: str) -> None:
        if number == self._number and name in self._missing:
            self._missing.discard(name)
            if not self._missing:
                self._completed()
