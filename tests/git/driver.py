"""Drives flows: runs their programs one after the other and sends back how they ended."""

import threading
from collections.abc import Callable
from typing import Final, TypeVar

from actors.programs import DONE, Finished, Flow, Program, Work
from supervisor import waited

T = TypeVar("T")

BESIDE: Final = "beside the loop"
"""Name of the threads in which a flow waits for a disk."""


execute: Final = waited.run
"""Run a program to its end, as the product does."""


class KilledError(Exception):
    """The driver was told to stop here, as if the process had been killed."""


def _beside(work: Work) -> Finished:
    thread = threading.Thread(target=work.do, name=BESIDE)
    thread.start()
    thread.join()
    return DONE


def drive(flow: Flow[T], run: Callable[[Program], Finished] = execute) -> T:
    """Run a flow to its end and return its result; what it does beside the loop is done in a thread."""
    try:
        due = next(flow)
        while True:
            due = flow.send(_beside(due) if isinstance(due, Work) else run(due))
    except StopIteration as stop:
        result: T = stop.value
        return result
