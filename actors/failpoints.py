"""Named steps at which a test may stop or kill a process: nothing at all in ordinary operation.

A line ``at("git.ref.moved")`` names a moment between two effects. What stands behind the name is decided once, when
this module is imported: an empty function, unless the environment variable :data:`VARIABLE` names a Unix socket. Then
each step connects to it, says its name, and waits: who listens there learns from the kernel which process it is, and
kills it, or all of ours, or lets it go on. Nobody who listens, or an end of the connection, means going on.

The variable reaches no task and no program of a role: who is forked takes it out of its environment
(:func:`forget`), and what tasks get of ours is listed elsewhere.

Owns the mechanism. Refuses to know the steps, which docs/reliability.md lists, and what becomes of who reached one.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import Final

VARIABLE: Final = "MILESTONED_FAIL_POINTS"
"""Environment variable with the path of the socket of a test; unset or empty in ordinary operation."""

_PLACE: Final = os.environ.get(VARIABLE, "")


def _nothing(step: str, /) -> None:
    """Go on."""


def _ask(step: str, /) -> None:
    """Say which step was reached, and wait to be let go on."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect(_PLACE)
        line.sendall(f"{step}\n".encode())
        line.recv(1)


at: Final[Callable[[str], None]] = _ask if _PLACE else _nothing
"""Reach a step; argument: its name, a literal, so that a test finds all of them in the source."""


def forget() -> None:
    """Take the variable out of this process's environment, so that no program gets it."""
    if _PLACE:  # whoever is not asked for it need not look for it
        os.environ.pop(VARIABLE, None)
