"""Programs that a role wants run, without waiting for them.

A role's loop never waits for a program: what needs several programs in a row (git, hooks, set-up commands) is
written as a *flow*, a generator that yields a :class:`Program` and is resumed with the :class:`Finished` of it.
Who runs the programs is not known here: in a role it is the host, in a test a loop of ten lines.

Nor does it wait for a disk: what a flow does itself and what may take long there (a flush, a look through a big
tree) is yielded as :class:`Work` and done beside the loop, by a thread whose end is told like that of a program.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final, TypeVar

import attrs

T = TypeVar("T")


@attrs.frozen
class Program:
    """A program to run to its end.

    Attributes:
        argv: The program and its arguments; never a shell line.
        cwd: Directory to run in.
        env: Variables set over (or, with ``None``, removed from) the environment of the role.
        stdin: Bytes for its standard input.
        timeout: Seconds after which it is killed.
    """

    argv: tuple[str, ...]
    cwd: str
    env: tuple[tuple[str, str | None], ...] = ()
    stdin: bytes = b""
    timeout: float = 60.0


@attrs.frozen
class Finished:
    """How a program ended.

    Attributes:
        code: Exit code; negative for the signal that ended it; 127 when it could not be started.
        stdout: All that it wrote there.
        stderr: All that it wrote there; the reason when it could not be started or ran out of time.
    """

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def ok(self) -> bool:
        """Whether the exit code is 0."""
        return self.code == 0


@attrs.frozen
class Work:
    """Something to do beside the loop, in a thread.

    Attributes:
        do: Does it; raises nothing, and touches nothing that somebody else touches meanwhile.
    """

    do: Callable[[], None]


DONE: Final = Finished(0, b"", b"")
"""How a :class:`Work` ended."""


Flow = Generator[Program | Work, Finished, T]
"""A piece of work made of programs: yields what to run, is sent how it ended, returns its result."""


def beside(do: Callable[[], T]) -> Flow[T]:
    """Do something beside the loop; return what it returns, raise what it raises.

    Args:
        do: Called once, in a thread of its own, while the flow waits.
    """
    returned: list[T] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            returned.append(do())
        except BaseException as error:  # noqa: BLE001 - raised again where it was asked for
            raised.append(error)

    yield Work(work)
    if raised:
        raise raised[0]
    return returned[0]
