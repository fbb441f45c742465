"""The one place where a test pauses: until something is so, or too late.

Owns polling. Refuses fixed pauses: a test says what it waits for, and fails with that sentence.
"""

import threading
from collections.abc import Callable
from time import monotonic
from typing import Final, TypeVar

_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.05

T = TypeVar("T")


def wait_until(predicate: Callable[[], T], timeout: float = 60.0, message: str = "") -> T:
    """Wait until the predicate is true, and return what it returned.

    Args:
        predicate: Asked again and again, at growing intervals of 1 to 50 ms. What it raises is passed on.
        timeout: Seconds after which to give up.
        message: What was waited for, as it should stand in the failure.

    Raises:
        AssertionError: The time is over; names the message (or the predicate) and its last value.
    """
    give_up_at = monotonic() + timeout
    pause = _FIRST_PAUSE
    never = threading.Event()
    while not (value := predicate()):
        if monotonic() >= give_up_at:
            what = message or getattr(predicate, "__qualname__", repr(predicate))
            raise AssertionError(f"not so after {timeout:g} s: {what} (last value: {value!r})")
        never.wait(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
    return value
