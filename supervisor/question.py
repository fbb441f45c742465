"""A question that a program asks of a child, on its way there. Refuses to know how it is sent."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from supervisor.api_errors import ChildGoneError
from supervisor.branch import settle


class Question:
    """A question; called in the keeper's thread, or refused by who finds that closed.

    Args:
        send: Sends it, and sees that the future is answered.
        child: Path of who is asked.
    """

    def __init__(self, send: Callable[[Future[Any]], None], child: str) -> None:
        self.answer: Future[Any] = Future()
        self._send = send
        self._child = child

    def __call__(self) -> None:
        """Send it."""
        self._send(self.answer)

    def refuse(self) -> None:
        """Answer that there is nobody to ask any more."""
        settle(self.answer, error=ChildGoneError(self._child, None))
