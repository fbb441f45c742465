"""Small texts that several reports share.

Owns how lines, counts, durations and bars are written. Refuses to know what they are about.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from types import TracebackType
from typing import Final

_TENTH: Final = 0.1
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR
_KIBI: Final = 1024
_UNITS: Final = ("B", "KiB", "MiB", "GiB")

_PACKAGES: Final = __file__.rpartition("/actors/")[0]
_OURS: Final = (f"{_PACKAGES}/actors/", f"{_PACKAGES}/supervisor/")
"""Where the code of this library lies."""

_NOT_OWN: Final = ("<frozen ", f"{signal.__file__.rpartition('/')[0]}/", *_OURS)
"""How the names of files begin that are not the user's own: the interpreter's, its library's, ours."""

_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})
"""Folders of what was installed."""


def joined(*lines: str) -> str:
    """Return lines as one text, without empty ones and repetitions."""
    return "\n".join(line for line in dict.fromkeys(lines) if line)


def attempts_text(count: int) -> str:
    """Return a number of attempts with its noun."""
    return "1 attempt" if count == 1 else f"{count} attempts"


def seconds_text(seconds: float | None) -> str:
    """Return a duration in the unit that people would take: seconds, whole minutes, or from two hours on hours.

    Args:
        seconds: The duration; ``None`` for one that is not known.
    """
    if seconds is None:
        return "its time"
    if seconds < _MINUTE:
        return f"{seconds:g} s" if seconds == int(seconds) else f"{seconds:.1f} s"
    if seconds < 2 * _HOUR:
        return f"{int(seconds // _MINUTE)} min"
    return f"{int(seconds // _HOUR)} h"


def in_utf8(text: str) -> str:
    """Return a text in which what is no UTF-8, the bytes of a file's name as a rule, is escaped."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def one_line(error: BaseException) -> str:
    """Name an exception and the place that raised it, without a line break.

    The place is the last one in code of the user's own; where there is none, the last one of all.
    """
    places = [(trace.tb_frame.f_code.co_filename, trace.tb_lineno) for trace in _traces(error)]
    own = [
        (file, line)
        for file, line in places
        if not file.startswith(_NOT_OWN) and _INSTALLED.isdisjoint(file.split("/"))
    ]
    place = "".join(f" ({file}:{line})" for file, line in (own or places)[-1:])
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}{place}" if said else f"{type(error).__name__}{place}"


def own_trace(error: BaseException) -> TracebackType | None:
    """Return the traceback of an exception from where it leaves this library on; ``None`` where it never does."""
    return next((one for one in _traces(error) if not one.tb_frame.f_code.co_filename.startswith(_OURS)), None)


def _traces(error: BaseException) -> Iterator[TracebackType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace
        trace = trace.tb_next


def size_text(size: float) -> str:
    """Return a number of bytes in the unit that people would take, with at most one decimal."""
    power = 0
    while size >= _KIBI and power < len(_UNITS) - 1:
        size /= _KIBI
        power += 1
    return f"{size:.1f}".removesuffix(".0") + f" {_UNITS[power]}"


def signal_name(number: int) -> str:
    """Return the name of a signal; its number where it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def bar(percent: int, width: int = 20) -> str:
    """Return a bar of ``width`` characters."""
    filled = min(max(percent, 0), 100) * width // 100
    return "█" * filled + "░" * (width - filled)


def duration_text(seconds: float) -> str:
    """Return a duration for people: ``0.4s``, ``42s``, ``5m 22s``, ``2h 5m``, ``3d 4h``."""
    seconds = max(0.0, seconds)
    if round(seconds, 1) < 10:  # noqa: PLR2004
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole}s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m {whole % _MINUTE}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h {whole % _HOUR // _MINUTE}m"
    return f"{whole // _DAY}d {whole % _DAY // _HOUR}h"


def left_text(seconds: float | None) -> str:
    """Return how long something probably still takes, for people.

    Args:
        seconds: The time; ``None`` for one that is not known.

    Returns:
        Nothing as well for less than a tenth of a second: what runs has outrun what was expected of it, and "0.0s left"
        would be said until it ends.
    """
    return "" if seconds is None or seconds < _TENTH else f"about {duration_text(seconds)} left"
