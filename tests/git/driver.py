"""Drives flows: runs their programs one after the other and sends back how they ended."""

import os
import subprocess
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from actors.programs import DONE, Finished, Flow, Program, Work, environment_of

T = TypeVar("T")

BESIDE: Final = "beside the loop"
"""Name of the threads in which a flow waits for a disk."""


class KilledError(Exception):
    """The driver was told to stop here, as if the process had been killed."""


def execute(program: Program) -> Finished:
    """Run a program to its end."""
    try:
        done = subprocess.run(
            program.argv,
            cwd=program.cwd,
            env=environment_of(program, os.environ),
            input=program.stdin,
            capture_output=True,
            timeout=program.timeout,
            check=False,
        )
    except OSError as error:
        return Finished(127, b"", str(error).encode())
    except subprocess.TimeoutExpired:
        return Finished(-9, b"", f"killed after {program.timeout:g} s".encode())
    return Finished(done.returncode, done.stdout, done.stderr)


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
