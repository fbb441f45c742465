"""Connections of which nothing is awaited but their end.

A selector waits for something to read or for room to write, and of a connection that is registered for neither it
tells nothing, not even that the other side has closed it. Here such a connection is registered, in an epoll set inside
the loop's own, for what is always told: that both directions are closed. What waits to be read stays where it is, and
the end of one direction alone (``shutdown``) is no hang-up: who says nothing more may still listen.

Owns the inner set. Refuses to know whose connections these are. Used in the loop's thread only.
"""

from __future__ import annotations

import select
import selectors
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from supervisor.loop import Loop

_NOTHING: Final = 0
"""What is asked for: EPOLLHUP and EPOLLERR are told in any case (epoll_ctl(2))."""


class HangUps:
    """Waits for the ends of connections.

    Args:
        loop: Whose selector waits for this set too.
    """

    def __init__(self, loop: Loop) -> None:
        self._inner = select.epoll()
        self._told: dict[int, Callable[[], None]] = {}
        loop.selector.register(self._inner, selectors.EVENT_READ, lambda _: self._tell())

    def watch(self, sock: socket.socket, told: Callable[[], None]) -> None:
        """Have a function called when nobody is at the other end any more."""
        self._inner.register(sock.fileno(), _NOTHING)
        self._told[sock.fileno()] = told

    def unwatch(self, sock: socket.socket) -> None:
        """Wait for this connection no longer; before it is closed."""
        self._inner.unregister(sock.fileno())
        del self._told[sock.fileno()]

    def close(self) -> None:
        """Give the set back; once the loop waits no more."""
        self._inner.close()

    def _tell(self) -> None:
        for descriptor, _ in self._inner.poll(0):
            if told := self._told.get(descriptor):  # unless who was told before has unwatched it
                told()
