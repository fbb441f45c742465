"""The log of a process of ours: what happened to the process itself, for who looks after it.

What happens to a milestone is in the journal; this is for crashes, refusals and restarts. One file for each
process, JSON lines, closed to others. Messages are constants and data are bound fields, so that no text of a user
or a task is ever formatted; frames are never shown with their values, and what an exception says is shown without those
of secrets. Never opened in the fork server, and never by the embeddable API: a host program's logging is its own.

A process of ours has nothing to say as a rule, and loguru with all that it imports takes five megabytes: so it is
imported, and the log opened, by the first line.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Final, cast

from actors.veil import Veil

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loguru import Logger

ROTATION: Final = 10_000_000
"""Bytes beyond which a file is put aside."""

RETENTION: Final = 3
"""Files put aside that are kept: ``name.1.log``, the youngest, and so on."""

_KEPT_BACK: Final[list[Veil]] = [Veil()]
_KEEPING_BACK: Final = threading.Lock()  # of what replaces it: sessions of several projects begin at once
_LATE: Final[list[tuple[Path, str]]] = []


class LogFile:
    """A file of lines that is opened by its first one, put aside when it is long, and never in anybody's way.

    What cannot be written, on a full disk as a rule, is left out: whoever logs something has better things to do than
    to hear of it, and so has whoever looks at the terminal.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._size = 0

    def write(self, line: str) -> None:
        """Add a line, whole or not at all."""
        data = without_secrets(line).encode(errors="backslashreplace")
        with contextlib.suppress(OSError):
            if self._size and self._size + len(data) > ROTATION:
                self._put_aside()
            if self._file < 0:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
                self._file = os.open(self._path, flags, 0o600)
                self._size = os.fstat(self._file).st_size
            if os.write(self._file, data) == len(data):
                self._size += len(data)
            else:
                os.ftruncate(self._file, self._size)

    def stop(self) -> None:
        """Close the file; called by loguru."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _put_aside(self) -> None:
        self.stop()
        self._size = 0
        names = [self._path, *(self._path.with_suffix(f".{number}.log") for number in range(1, RETENTION + 1))]
        for older, younger in zip(reversed(names), reversed(names[:-1]), strict=False):
            if younger.exists():
                younger.replace(older)


def keep_back(veil: Veil) -> None:
    """Have these values too left out of what this process says from here on, in any thread."""
    with _KEEPING_BACK:
        _KEPT_BACK[0] = Veil.over(_KEPT_BACK[0].values + veil.values)


def without_secrets(text: str) -> str:
    """Return what this process may say of a text, JSON or not: for what leaves it by another way than this log."""
    return _KEPT_BACK[0].hide_anywhere(text)


def open_log(path: Path, level: str = "INFO") -> None:
    """Send what this process logs to a file, and nowhere else.

    The file is made when the first line is written.

    Args:
        path: The file, ``<name>.log``; of this process alone.
        level: Lowest level that is written, as loguru names it.
    """
    from loguru import logger  # noqa: PLC0415 - see above

    logger.remove()
    logger.add(LogFile(path), level=level, serialize=True, diagnose=False, backtrace=False, enqueue=False, catch=True)


def open_log_late(path: Path, level: str = "INFO") -> None:
    """Have :func:`log` open the log of this process when it is first called; see :func:`open_log`."""
    _LATE.append((path, level))


class _Nobody:
    """Stands for the logger where the system has no descriptor to load it with: as with a full disk, it is left out."""

    def __getattr__(self, _: str) -> Callable[..., _Nobody]:
        return self._nothing

    def _nothing(self, *_: object, **__: object) -> _Nobody:
        return self


def log() -> Logger:
    """Return what to log to."""
    try:
        from loguru import logger  # noqa: PLC0415 - see above
    except OSError:
        return cast("Logger", _Nobody())
    while _LATE:
        open_log(*_LATE.pop())
    return logger
