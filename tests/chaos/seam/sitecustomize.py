"""Moves the wall clock of every Python process that finds this module on its path, by a number of seconds in a file.

Owns one fault: a clock that jumps, forwards or back, while everything runs. The monotonic clock is left alone, as a
jump leaves it alone. A process looks at the file each time it asks for the time, so a jump needs no restart.
"""

import os
import time

_PATH = os.environ.get("CHAOS_CLOCK", "")
_TRUE_TIME, _TRUE_TIME_NS = time.time, time.time_ns  # noqa: TID251  what is replaced


def _offset() -> float:
    try:
        with open(_PATH, encoding="ascii") as file:  # noqa: PTH123  pathlib is not to be loaded for this
            return float(file.read())
    except (OSError, ValueError):
        return 0.0


def _time() -> float:
    return _TRUE_TIME() + _offset()


def _time_ns() -> int:
    return _TRUE_TIME_NS() + int(_offset() * 1e9)


if _PATH:
    time.time, time.time_ns = _time, _time_ns  # noqa: TID251  the fault itself
