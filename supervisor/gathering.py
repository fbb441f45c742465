"""One answer about many names: each is answered when its thing has happened, the call when all are.

Owns that. Refuses to know what happens.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from supervisor.addressees import place_of
from supervisor.protocol import Named

if TYPE_CHECKING:
    from supervisor.control import Ticket


class Gathering:
    """What became of each name of a call; may be used from any thread.

    Args:
        ticket: Of the call; answered at once when there is nothing to wait for.
        names: As they were given; each counts once.
        others: What is known already of names that nothing is waited for.
        typed: What was asked for, in whose order it is answered.

    Attributes:
        names: Each once, in the order in which they were given.
    """

    def __init__(
        self, ticket: Ticket, names: Iterable[str], others: Iterable[Named] = (), typed: Sequence[str] = ()
    ) -> None:
        self.names = tuple(dict.fromkeys(names))
        self._ticket = ticket
        self._others = tuple(others)
        self._typed = tuple(typed)
        self._lock = threading.Lock()  # of what is below
        self._results: dict[str, Named] = {}
        if not self.names:
            self._answer()

    def put(self, name: str, code: int, text: str) -> None:
        """Say what became of a name; the first word counts.

        Args:
            name: One of :attr:`names`.
            code: 0 when it was done, else an exit code.
            text: One or two words, or why not.
        """
        with self._lock:
            self._results.setdefault(name, Named(name, code, text))
            is_whole = len(self._results) == len(self.names)
        if is_whole:
            self._answer()

    def _answer(self) -> None:
        results = (*self._others, *(self._results[name] for name in self.names))
        self._ticket.done(tuple(sorted(results, key=lambda one: place_of(one.name, self._typed))))
