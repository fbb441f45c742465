"""The terminal while something is drawn on it: what is typed is not echoed into the picture, and Ctrl-Z leaves no mess.

A shell that stops us with Ctrl-Z, or goes on with us in the background, has the terminal: then the picture is taken
away and nothing is drawn. All of it is done where somebody draws or waits, none in a handler of a signal, which may
come in the middle of a drawing. Owns the terminal's mode and gives it back. Refuses to know what keys mean.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_LOCAL_MODES: Final = 3
"""Place of the local modes in what tcgetattr(3) returns."""

_LOUD: Final = termios.ECHO | termios.ICANON
_LOOK_SECONDS: Final = 0.2
"""Longest time until Ctrl-Z is heeded."""


class Keyboard:
    """The keyboard of a terminal that is drawn on, to be entered in the main thread.

    While it is entered keys are neither echoed nor gathered into lines; Ctrl-C stays a signal. What nobody read is
    thrown away at the end.

    Args:
        leave: Takes the picture off the terminal, before Ctrl-Z stops us.
    """

    def __init__(self, leave: Callable[[], object]) -> None:
        self._leave = leave
        self._former: list[Any] | None = None
        self._handler: Any = None
        self._is_asked = False

    def __enter__(self) -> Self:
        """Have the keyboard quiet."""
        if signal.getsignal(signal.SIGTSTP) is not signal.SIG_IGN:
            self._handler = signal.signal(signal.SIGTSTP, self._ask)
        self.is_ours()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back."""
        self._restore(termios.TCSAFLUSH)
        if self._handler is not None:
            signal.signal(signal.SIGTSTP, self._handler)

    def is_ours(self) -> bool:
        """Heed Ctrl-Z, and tell whether the terminal is ours to draw on: a background job has none.

        Whoever draws asks this each time before.
        """
        if self._is_asked:
            self._rest()
        if not _is_in_foreground(sys.stdout):
            return False
        self._hush()
        return True

    def is_typed(self, keys: bytes, seconds: float) -> bool:
        """Wait so long; tell at once whether one of some keys was typed, or the keyboard has gone.

        Args:
            keys: One byte each.
            seconds: How long.
        """
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            heard = [sys.stdin.fileno()] if self.is_ours() and self._former is not None else []
            if select.select(heard, [], [], min(left, _LOOK_SECONDS))[0]:
                typed = os.read(heard[0], 64)
                if not typed or set(typed) & set(keys):
                    return True
        return False

    def _ask(self, *_: object) -> None:
        self._is_asked = True

    def _rest(self) -> None:
        """Stop, as Ctrl-Z is meant, and return when we go on."""
        self._is_asked = False
        self._leave()
        self._restore(termios.TCSADRAIN)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.raise_signal(signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._ask)

    def _hush(self) -> None:
        """Have the keyboard quiet, also when a shell made it loud meanwhile; another's, or none, stays as it is."""
        if not _is_in_foreground(sys.stdin, otherwise=False):
            return
        with contextlib.suppress(termios.error, OSError):  # it is gone
            mode = termios.tcgetattr(sys.stdin.fileno())
            if mode[_LOCAL_MODES] & _LOUD:
                self._former = termios.tcgetattr(sys.stdin.fileno())
                mode[_LOCAL_MODES] &= ~_LOUD
                termios.tcsetattr(sys.stdin.fileno(), termios.TCSADRAIN, mode)

    def _restore(self, when: int) -> None:
        if self._former is not None and _is_in_foreground(sys.stdin, otherwise=False):
            with contextlib.suppress(termios.error, OSError):  # it is gone
                termios.tcsetattr(sys.stdin.fileno(), when, self._former)


def _is_in_foreground(stream: object, *, otherwise: bool = True) -> bool:
    """Tell whether the process group has a stream's terminal: a job in the background that changed it would be stopped.

    Args:
        stream: Of the process.
        otherwise: The answer for one that is closed, no terminal, or not the one that controls us.
    """
    try:
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return otherwise
