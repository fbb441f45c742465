"""Programs that a role wants run, without waiting for them.

A role's loop never waits for a program: what needs several programs in a row (git, hooks, set-up commands) is
written as a *flow*, a generator that yields a :class:`Program` and is resumed with the :class:`Finished` of it.
Who runs the programs is not known here: in a role it is the host, in a test a loop of ten lines.

Nor does it wait for a disk: what a flow does itself and what may take long there (a flush, a look through a big
tree) is yielded as :class:`Work` and done beside the loop, by a thread whose end is told like that of a program.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Final, TypeVar

import attrs

T = TypeVar("T")

NOT_STARTED: Final = 127
"""Code of a program that could not be started, as shells say it."""

OF_THE_MANAGER: Final = frozenset(
    {"LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"}
)
"""Variables by which a service manager talks to the very process that it started (sd_notify(3), sd_listen_fds(3))."""


@attrs.frozen
class Program:
    """A program to run to its end.

    Attributes:
        argv: The program and its arguments; never a shell line.
        cwd: Directory to run in.
        env: Variables set over (or, with ``None``, removed from) those of the role that are passed on
            (:func:`environment_of`).
        stdin: Bytes for its standard input.
        timeout: Seconds after which it is killed.
    """

    argv: tuple[str, ...]
    cwd: str
    env: tuple[tuple[str, str | None], ...] = ()
    stdin: bytes = b""
    timeout: float = 60.0


_OF_THE_USER: Final = ("GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_HTTP_", "GIT_PROXY_", "GIT_SSH", "GIT_SSL_")
_OF_THE_MACHINE: Final = frozenset({"GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_SYSTEM", "GIT_EXEC_PATH"})


def environment_of(program: Program, base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that a program gets.

    Of git's variables are passed on only those that say who the user is, where the configuration of user and machine
    stands, and how to reach a remote: any other one (``GIT_DIR``, ``GIT_INDEX_FILE``, ``GIT_TRACE``...) is meant for a
    git that called us. What a service manager gives to its service is nobody else's either.

    Args:
        program: The program.
        base: The environment of the role.
    """
    environment = {name: value for name, value in base.items() if not _is_foreign(name)}
    for name, value in program.env:
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    return environment


def _is_foreign(name: str) -> bool:
    if name.startswith("GIT_"):
        return name not in _OF_THE_MACHINE and not name.startswith(_OF_THE_USER)
    return name in OF_THE_MANAGER


@attrs.frozen
class Finished:
    """How a program ended.

    Attributes:
        code: Exit code; negative for the signal that ended it; :data:`NOT_STARTED` when it could not be started.
        stdout: All that it wrote there.
        stderr: All that it wrote there; the reason when it could not be started, or why its host has ended it.
        by_host: Whether the host has ended it: it took too long or printed too much, or nobody wanted it any more.
    """

    code: int
    stdout: bytes
    stderr: bytes
    by_host: bool = False

    @property
    def ok(self) -> bool:
        """Whether the exit code is 0."""
        return self.code == 0

    @property
    def was_killed(self) -> bool:
        """Whether somebody else's signal ended it: then it has answered nothing, and may do better another time."""
        return self.code < 0 and not self.by_host


def not_started(program: Program, error: OSError | ValueError, cure: str = "") -> Finished:
    """Say of a program that it could not be started.

    Args:
        program: The program.
        error: What starting it raised; a ValueError is a NUL in a word, which no program can be given.
        cure: What can be done about it, where that is known.
    """
    # Of a directory that is not there Python says so by the name in the error.
    missing = getattr(error, "filename", None) or program.argv[0]
    reason = getattr(error, "strerror", None) or str(error)
    text = ": ".join(filter(None, (f"{missing}", reason, cure)))
    return Finished(NOT_STARTED, b"", text.encode(errors="backslashreplace"))


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


def redone(make: Callable[[], Flow[T]], has_failed: Callable[[T], bool], times: int = 3) -> Flow[T]:
    """Run a flow, and again from its beginning when it failed and a program of it had been killed.

    Args:
        make: Makes the flow; everything that it does can be done twice.
        has_failed: Whether a result is a failure.
        times: How often it is run at most.
    """
    for _ in range(times - 1):
        result, was_killed = yield from _watched(make())
        if not (was_killed and has_failed(result)):
            return result
    return (yield from make())


def _watched(flow: Flow[T]) -> Flow[tuple[T, bool]]:
    """Run a flow, and tell with its result whether a program of it was killed."""
    was_killed = False
    try:
        due = next(flow)
        while True:
            finished = yield due
            was_killed = was_killed or finished.was_killed
            due = flow.send(finished)
    except StopIteration as stop:
        return stop.value, was_killed
    finally:
        flow.close()
