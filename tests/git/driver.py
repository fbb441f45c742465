"""Drives flows: runs their programs one after the other and sends back how they ended."""

import os
import subprocess
from collections.abc import Callable
from typing import TypeVar

from actors.programs import Finished, Flow, Program

T = TypeVar("T")


class KilledError(Exception):
    """The driver was told to stop here, as if the process had been killed."""


def execute(program: Program) -> Finished:
    """Run a program to its end."""
    environment = {**os.environ, **{name: value or "" for name, value in program.env}}
    for name, value in program.env:
        if value is None:
            environment.pop(name, None)
    try:
        done = subprocess.run(
            program.argv,
            cwd=program.cwd,
            env=environment,
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


def drive(flow: Flow[T], run: Callable[[Program], Finished] = execute) -> T:
    """Run a flow to its end and return its result."""
    try:
        program = next(flow)
        while True:
            program = flow.send(run(program))
    except StopIteration as stop:
        result: T = stop.value
        return result
