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

from actors.failpoints import at, forget
from actors.log import without_secrets
from actors.targets import load
from actors.wording import one_line
from supervisor import linux
from supervisor.fork_protocol import MAX_MESSAGE, Launch, ProtocolError, decode_to_server
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
        name: What no other server is called.
        sockets: Sockets of the server that must not close numbers that the child may use again.
    """

    pid: int
    name: str
    sockets: tuple[socket.socket, ...]

    def mark_of(self, launch: Launch) -> str:
        """Return the value of :data:`MARK` of a child."""
        return f"{self.name}:{launch.child}:{launch.incarnation}"


def run_child(launch: Launch, descriptors: Sequence[int], server: Server, born: Born | None = None) -> NoReturn:
    """Turn the copy of the server into the child that was asked for; runs in the child, right after the fork.

    Args:
        launch: What was asked for.
        descriptors: The child's end of its link and, for one that prints elsewhere, where to.
        server: What is to be left.
        born: What became of the wish for a PID namespace, ``None`` without one.
    """

    def begin() -> int:
        if launch.dies_with_server:
            _die_with(server, inside=born is not None and not born.refused)
        _leave(server, {*descriptors} if born is None else {*descriptors, born.outer_proc})
        return _become(launch, descriptors, server, born)

    again = "" if launch.incarnation == 1 else f", started for the {launch.incarnation}. time,"
    _run(begin, f"{launch.child.removeprefix('/')}{again}")


def run_standby(waiting: socket.socket, module: str, server: Server) -> NoReturn:
    """Turn the copy of the server into a child in advance, and that into the child that is asked for later.

    Args:
        waiting: Where the launch will come.
        module: What to load ahead, ``""`` for nothing.
        server: What is to be left.
    """

    def begin() -> int:
        _die_with(server, inside=False)
        _leave(server, {waiting.fileno()})
        with contextlib.suppress(OSError):
            linux.set_process_name("standby")
        if module:
            load(module)
        waiting.send(b"r")
        packet, descriptors, _, _ = socket.recv_fds(waiting, MAX_MESSAGE, 2, socket.MSG_CMSG_CLOEXEC)
        waiting.close()
        if not packet:
            return 0
        launch = decode_to_server(packet)
        if not isinstance(launch, Launch) or len(descriptors) != 1 + launch.prints:
            raise ProtocolError("a child in advance was not given a launch")
        return _become(launch, descriptors, server, None)

    _run(begin, "a child in advance")


def _run(begin: Callable[[], int], who: str) -> NoReturn:
    status = CRASHED
    try:
        status = begin()
    except BaseException as error:  # noqa: BLE001 - nothing may climb into the copy of the server's loop
        status = _complain(who, error)
    finally:
        _flush()
        os._exit(status & 0xFF)


def _die_with(server: Server, *, inside: bool) -> None:
    """Have the kernel end this process with the server, whose number is 0 as seen from inside a namespace."""
    linux.set_parent_death_signal(signal.SIGKILL)
    if not inside and os.getppid() != server.pid:  # it had died before the kernel knew what to do
        os._exit(CRASHED)


def _become(launch: Launch, descriptors: Sequence[int], server: Server, born: Born | None) -> int:
    os.environ[MARK] = server.mark_of(launch)
    forget()
    at("child.born")
    with contextlib.suppress(OSError):  # only for people who look at ps
        linux.set_process_name(launch.child.rpartition("/")[2])
    return _call(launch, descriptors, born)


def _leave(server: Server, kept: set[int]) -> None:
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for one in server.sockets:
        one.detach()
    _close_all_but({0, 1, 2} | kept)


def _close_all_but(kept: set[int]) -> None:
    """Close what a preloaded module holds open, pidfds of brothers, and all that is the server's."""
    try:
        first = 0
        for one in sorted(kept):
            if first < one:
                linux.close_range(first, one - 1)
            first = one + 1
        linux.close_range(first, linux.LAST_DESCRIPTOR)
    except OSError:  # a filter of system calls that does not know it
        _close_each_but(kept)


def _close_each_but(kept: set[int]) -> None:
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


def _complain(who: str, error: BaseException) -> int:
    """Say in one line why the child ends; return its exit status."""
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        return error.code or 0
    shortage = shortage_of(error)
    crashed = CRASHED if shortage is None else REFUSED
    why = without_secrets(one_line(error)) if shortage is None else refusal(shortage)
    line = f"{who} crashed: {why}\n"
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
