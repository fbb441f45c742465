"""The first moments of a forked child: from the fork to its entry, and from there to its exit status.

The child begins as a copy of the fork server, in the middle of its loop, and must lose all that is the
server's: its session and process group, its signals, its descriptors. It never returns to that loop, and it
runs nothing that was registered to run at the server's end. Every line here stands between a crash and the
replacement's ready: what it costs is the memory that it touches first, page by page.

Owns that passage. Refuses to know the fork server's state and what the entries do.
"""

import contextlib
import importlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NoReturn, cast

import attrs
import msgspec

from actors.log import without_secrets
from actors.wording import one_line
from supervisor import linux
from supervisor.fork_protocol import Launch
from supervisor.namespaces import Born
from supervisor.shortage import refusal, shortage_of

MARK: Final = "MILESTONED_CHILD"
"""Environment variable that tells whose a process is: inherited by every program that a child starts."""

CRASHED: Final = 70
"""Exit status of a child whose entry raised (EX_SOFTWARE of sysexits.h)."""

REFUSED: Final = 74
"""Exit status of a child to which the system refused threads, files or memory (EX_IOERR of sysexits.h)."""

_ARGS: Final = msgspec.json.Decoder(dict[str, object])

Entry = Callable[[socket.socket, Mapping[str, object]], int | None]


@attrs.frozen
class Server:
    """What a child knows about the server that forked it.

    Attributes:
        pid: The server's process id.
        sockets: Sockets of the server that must not close numbers that the child may use again.
    """

    pid: int
    sockets: tuple[socket.socket, ...]


def run_child(
    launch: Launch, mark: str, descriptors: Sequence[int], server: Server, born: Born | None = None
) -> NoReturn:
    """Turn the copy of the server into the child that was asked for; runs in the child, right after the fork.

    Args:
        launch: What was asked for.
        mark: Value of :data:`MARK`.
        descriptors: The child's end of its link and, for one that prints elsewhere, where to.
        server: What is to be left.
        born: What became of the wish for a PID namespace, ``None`` without one.
    """
    status = CRASHED
    try:
        if launch.dies_with_server:
            linux.set_parent_death_signal(signal.SIGKILL)
            inside = born is not None and not born.refused  # where the number of a parent outside is 0
            if not inside and os.getppid() != server.pid:  # it had died before the kernel knew what to do
                os._exit(CRASHED)
        _leave(server, {*descriptors} if born is None else {*descriptors, born.outer_proc})
        os.environ[MARK] = mark
        with contextlib.suppress(OSError):  # only for people who look at ps
            linux.set_process_name(launch.child.rpartition("/")[2])
        status = _call(launch, descriptors, born)
    except BaseException as error:  # noqa: BLE001 - nothing may climb into the copy of the server's loop
        status = _complain(launch, error)
    finally:
        _flush()
        os._exit(status & 0xFF)


def _leave(server: Server, kept: set[int]) -> None:
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for one in server.sockets:
        one.detach()
    _close_all_but({0, 1, 2} | kept)


def _close_all_but(kept: set[int]) -> None:
    """Close what a preloaded module holds open, pidfds of brothers, and all that is the server's.

    Not by `os.closerange`: where Python was built against an old C library, that tries every number there is.
    """
    with os.scandir("/proc/self/fd") as listing:
        found = [int(entry.name) for entry in listing]
    for descriptor in found:
        if descriptor not in kept:
            with contextlib.suppress(OSError):  # the one that listed them
                os.close(descriptor)


def _call(launch: Launch, descriptors: Sequence[int], born: Born | None) -> int:
    entry = cast("Entry", find_function(launch.entry))
    args = _ARGS.decode(launch.args)
    if born is not None:
        args["namespace"] = born.plain()
    if launch.prints:
        args["prints_to"] = descriptors[1]
    # Family and type are given, or Python would ask the kernel for each.
    status = entry(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=descriptors[0]), args)
    return 0 if status is None else status


def find_function(name: str) -> Callable[..., object]:
    """Import what ``module:function`` names.

    Raises:
        ImportError: There is no such module.
        AttributeError: It has no such function.
    """
    name, _, function = name.partition(":")
    # Looked up first: the import machinery touches pages that a fork would have to copy.
    module = sys.modules.get(name) or importlib.import_module(name)
    return cast("Callable[..., object]", getattr(module, function))


def _complain(launch: Launch, error: BaseException) -> int:
    """Say in one line why the child ends; return its exit status."""
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        return error.code or 0
    shortage = shortage_of(error)
    crashed = CRASHED if shortage is None else REFUSED
    why = without_secrets(one_line(error)) if shortage is None else refusal(shortage)
    again = "" if launch.incarnation == 1 else f", started for the {launch.incarnation}. time,"
    line = f"{launch.child.removeprefix('/')}{again} crashed: {why}\n"
    try:
        os.write(2, line.encode(errors="backslashreplace"))
    except OSError:  # nobody listens; the exit status still tells
        return crashed
    return 1 if isinstance(error, SystemExit) else crashed


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # full, closed, or none at all
            continue
