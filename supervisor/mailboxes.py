"""What waits for an actor in another process: counted, and bounded.

A message is first on its way from its sender's thread to the keeper's, then before the link, as long as the actor's
process reads no more. Both count together. Owns the count; refuses to know messages.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from supervisor.links import Link

MAILBOX_BYTES: Final = 16 * 1024 * 1024
"""Bytes of messages that may wait for an actor; who sends more is told so, and can wait."""


class Mailbox:
    """What waits for one incarnation of an actor.

    Args:
        incarnation: Its number.
        link: To its process.
    """

    def __init__(self, incarnation: int, link: Link[Any]) -> None:
        self.incarnation: Final = incarnation
        self._link = link
        self._lock = threading.Lock()  # of what is on its way, which several senders and the keeper's thread count
        self._under_way = 0

    def has_room(self, size: int) -> bool:
        """Count a message as on its way, if there is room for it; called by its sender."""
        with self._lock:
            waiting = self._under_way + self._link.waiting
            if waiting and waiting + size > MAILBOX_BYTES:
                return False
            self._under_way += size
            return True

    def took(self, size: int) -> None:
        """Count a message as handed to the link; called by the keeper."""
        with self._lock:
            self._under_way -= size
