"""Programs that this process waits for: as long as it supervises nothing, it has nothing else to do.

Owns running a program, and a flow of them, to the end in the caller's thread. Refuses to know what they are for. A role
never waits like this (:mod:`actors.programs`).
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Final, TypeVar

from actors.programs import DONE, Finished, Work, environment_of, not_started
from supervisor.shortage import cure

if TYPE_CHECKING:
    from actors.programs import Flow, Program

T = TypeVar("T")

_NO_END: Final = -9


def run(program: Program) -> Finished:
    """Run a program and wait for its end; one that takes too long is killed."""
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
    except (OSError, ValueError) as error:
        return not_started(program, error, cure(error) if isinstance(error, OSError) else "")
    except subprocess.TimeoutExpired:
        return Finished(_NO_END, b"", f"not done after {program.timeout:g} s".encode())
    return Finished(done.returncode, done.stdout, done.stderr)


def complete(flow: Flow[T]) -> T:
    """Run a flow to its end and return its result; raises what it raises."""
    try:
        due = next(flow)
        while True:
            if isinstance(due, Work):
                due.do()
                due = flow.send(DONE)
            else:
                due = flow.send(run(due))
    except StopIteration as stop:
        result: T = stop.value
        return result
