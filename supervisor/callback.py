"""Calling a function of the host with each event: whatever it raises, the next event comes.

Owns what becomes of an exception of the host's code, in a thread that is not the host's. Refuses to know events.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable
from inspect import iscoroutinefunction
from typing import TypeVar

from supervisor.spec_checks import require

T = TypeVar("T")


def check_callback(owner: str, function: object) -> None:
    """Refuse what cannot be called with an event, and what would only make something to be awaited.

    Raises:
        SpecError: It is such a thing; ``None`` stands for none.
    """
    require(owner, "on_event", function, ok=function is None or callable(function), why="must be a function, or None")
    awaits = iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004
    why = "must be no async def, for nobody awaits what it returns: iterate over events() instead"
    require(owner, "on_event", function, ok=not awaits, why=why)


def call_with_each(function: Callable[[T], object], events: Iterable[T]) -> None:
    """Call a function with each event, one after the other; runs in a thread that is there for this alone.

    Args:
        function: The host's. Whatever it raises, `SystemExit` included, is shown as that of any thread is
            (`threading.excepthook`), and ends nothing.
        events: Waits for the next one by itself.
    """
    for event in events:
        try:
            function(event)
        except BaseException as error:  # noqa: BLE001 - no end of the thread either: others wait for it to have all
            _show(error)


def _show(error: BaseException) -> None:
    try:
        threading.excepthook(
            threading.ExceptHookArgs((type(error), error, error.__traceback__, threading.current_thread()))
        )
    except BaseException as failure:  # noqa: BLE001 - the hook is the host's too; Python's own threads do this then
        with contextlib.suppress(BaseException):
            sys.excepthook(type(failure), failure, failure.__traceback__)
