"""Socket activation: the listening control sockets that a service manager hands over (sd_listen_fds(3)).

Whoever connects while the daemon starts, or is started because of it, waits in the socket's queue and loses nothing.

What arrives is looked at before it is believed: only a listening stream socket of the Unix family, with a path, is a
control socket. The variables are taken out of the environment, and the descriptors are closed to programs that this
process starts.

Owns the taking over. Refuses to know which project a socket belongs to, beyond its path.
"""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import MutableMapping

VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")

FIRST: Final = 3
"""Number of the first descriptor (sd_listen_fds(3))."""

_MOST: Final = 256


class ActivationError(Exception):
    """What was handed over is no control socket; the message says what it is and what to do."""


@attrs.frozen
class Activated:
    """A socket that the service manager listens on for us.

    Attributes:
        path: Where it stands, absolute.
        name: What the manager calls it (``FileDescriptorName=``).
        sock: Listening and non-blocking; the holder's to close.
    """

    path: Path
    name: str
    sock: socket.socket


def take_listeners(environ: MutableMapping[str, str], *, first: int = FIRST) -> tuple[Activated, ...]:
    """Take over the sockets that the environment speaks of; none when it speaks of none, or to another process.

    Args:
        environ: As a rule ``os.environ``; changed.
        first: Number of the first descriptor.

    Raises:
        ActivationError: One of them is no control socket; all of them are closed.
    """
    pid, count, names = (environ.pop(name, "") for name in VARIABLES)
    if pid != str(os.getpid()) or not (count.isascii() and count.isdigit()):
        return ()
    numbers = range(first, first + min(int(count), _MOST))
    called = [*names.split(":"), *("" for _ in numbers)]
    taken: list[Activated] = []
    try:
        for number, name in zip(numbers, called, strict=False):
            taken.append(_taken(number, name))
    except ActivationError:
        for one in taken:
            one.sock.close()
        for number in numbers[len(taken) :]:
            _close(number)
        raise
    return tuple(taken)


def listener_for(path: Path, listeners: tuple[Activated, ...]) -> Activated | None:
    """Return the socket that stands at a path, whichever way the manager spelled it; ``None`` when there is none."""
    wanted = os.path.realpath(path)
    return next((one for one in listeners if os.path.realpath(one.path) == wanted), None)


def _taken(number: int, name: str) -> Activated:
    """Look at a descriptor and take it over as it is: a copy could have the number of the next one."""
    where = f"descriptor {number}{f' ({name})' if name else ''} of the socket unit"
    try:
        is_socket = stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError as error:
        raise ActivationError(f"{where} is not open: {error.strerror}; see LISTEN_FDS") from error
    if not is_socket:
        raise ActivationError(f"{where} is no socket; use ListenStream= with a path")
    sock = socket.socket(fileno=number)
    if problem := _problem(sock):
        sock.detach()
        raise ActivationError(f"{where} {problem}")
    os.set_inheritable(number, False)  # noqa: FBT003 - the system's signature
    sock.settimeout(0.0)
    return Activated(Path(sock.getsockname()), name, sock)


def _problem(sock: socket.socket) -> str:
    """Return why a socket is no control socket, ``""`` if it is one."""
    if sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
        return "is no stream socket of the Unix family: use ListenStream= with a path"
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "does not listen: use ListenStream= and Accept=no"
    place = sock.getsockname()
    if not isinstance(place, str) or not place.startswith("/"):
        return "has no path: use ListenStream=/PROJECT/.milestones/run/control.sock"
    return ""


def _close(number: int) -> None:
    try:
        os.close(number)
    except OSError:  # it was never open
        return
