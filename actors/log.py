"""The log of a process of ours: what happened to the process itself, for who looks after it.

What happens to a milestone is in the journal; this is for crashes, refusals and restarts. One file for each
process, JSON lines, closed to others. Messages are constants and data are bound fields, so that no text of a user
or a task is ever formatted; frames are never shown with their values. Never opened in the fork server, and never by
the embeddable API: a host program's logging is its own.

A role has nothing to say as a rule, and setting loguru up touches two megabytes that a forked process otherwise
shares with its brothers: so its log is opened by its first line.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from loguru import logger

if TYPE_CHECKING:
    from pathlib import Path

    from loguru import Logger

ROTATION: Final = "10 MB"
RETENTION: Final = 3
"""Rotated files that are kept."""

_LATE: Final[list[Path]] = []


def open_log(path: Path, level: str = "INFO") -> None:
    """Send what this process logs to a file, and nowhere else.

    The file is made when the first line is written.

    Args:
        path: The file; of this process alone.
        level: Lowest level that is written, as loguru names it.
    """
    logger.remove()
    logger.add(
        path,
        level=level,
        serialize=True,
        diagnose=False,
        backtrace=False,
        enqueue=False,
        catch=True,
        delay=True,
        rotation=ROTATION,
        retention=RETENTION,
        opener=_open,
    )


def open_log_late(path: Path) -> None:
    """Have :func:`log` open the log of this process when it is first called; see :func:`open_log`."""
    _LATE.append(path)


def log() -> Logger:
    """Return what to log to."""
    while _LATE:
        open_log(_LATE.pop())
    return logger


def _open(file: str, flags: int) -> int:
    return os.open(file, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
