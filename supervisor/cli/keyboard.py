"""The keyboard while something is drawn on a terminal: what is typed is not echoed into the picture.

Owns the terminal's mode and gives it back. Refuses to know what keys mean.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOCAL_MODES: Final = 3
"""Place of the local modes in what tcgetattr(3) returns."""


@contextlib.contextmanager
def quiet_keyboard() -> Iterator[int | None]:
    """Have keys neither echoed nor gathered into lines; Ctrl-C stays a signal. What nobody read is thrown away.

    Yields:
        The keyboard's descriptor; ``None`` where there is none, or where it is not ours: a background job that changed
        the terminal would be stopped.
    """
    descriptor = _keyboard()
    if descriptor is None:
        yield None
        return
    former = termios.tcgetattr(descriptor)
    quiet = termios.tcgetattr(descriptor)
    quiet[_LOCAL_MODES] &= ~(termios.ECHO | termios.ICANON)
    termios.tcsetattr(descriptor, termios.TCSADRAIN, quiet)
    try:
        yield descriptor
    finally:
        with contextlib.suppress(termios.error, OSError):  # it is gone
            if os.tcgetpgrp(descriptor) == os.getpgrp():
                termios.tcsetattr(descriptor, termios.TCSAFLUSH, former)


def _keyboard() -> int | None:
    try:
        descriptor = sys.stdin.fileno()
        return descriptor if os.tcgetpgrp(descriptor) == os.getpgrp() else None
    except (AttributeError, OSError, ValueError):  # closed, no terminal, or not the one that controls us
        return None


def is_typed(keys: bytes, descriptor: int | None, seconds: float) -> bool:
    """Wait so long; tell at once whether one of some keys was typed, or the keyboard has gone.

    Args:
        keys: One byte each.
        descriptor: The keyboard; ``None`` for none.
        seconds: How long.
    """
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([] if descriptor is None else [descriptor], [], [], left)[0] and descriptor is not None:
            typed = os.read(descriptor, 64)
            if not typed or set(typed) & set(keys):
                return True
    return False
