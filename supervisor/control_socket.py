"""The control socket's place: made private, found by clients, and never too long for the kernel.

The socket stands in a directory that only its owner can enter (0700), and is closed to others itself (0600): whoever
can connect may do all that the supervising process may. A path may have 107 bytes; a longer one is bound and reached
through the descriptor of its directory. A socket that a dead process left behind is replaced: the project's lock,
which whoever binds it holds, says that nobody listens.

Owns binding and connecting. Refuses to know what is said.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from actors.failpoints import at

if TYPE_CHECKING:
    from collections.abc import Iterator

DAEMON: Final = "milestoned"
"""What a daemon calls itself in the lock, and to clients."""

LONGEST: Final = 107
"""Bytes that the kernel takes for a Unix socket's path (unix(7))."""

_BACKLOG: Final = 64

_ACCEPTS: Final = 1 << 16
"""Flag of a socket that listens, in the kernel's table (``__SO_ACCEPTCON``)."""

_UNIX_FIELDS: Final = 7
"""Fields of a line of that table before the path."""

_CREDENTIALS: Final = struct.Struct("3i")


def bind_control(path: Path) -> socket.socket:
    """Bind the control socket and listen, non-blocking.

    The caller holds the lock that says that nobody else listens there.

    Args:
        path: Absolute; its directory is made when it is missing.

    Raises:
        OSError: It cannot be made, or its directory is another user's, or a link.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _require_private(path.parent)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        with _short(path) as name:
            sock.bind(name)
            at("control.bound")
            Path(name).chmod(0o600)
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def is_listened(path: Path) -> bool:
    """Tell whether somebody listens on the socket that stands at a path, without connecting to it.

    To connect would wake a service manager that listens there for a daemon. It goes by the kernel's table of this
    network namespace (proc_pid_net(5)), which has the path as it was bound. One too long for that is not found: no
    service manager can listen there, and of ours nobody does without the project's lock.

    Args:
        path: Absolute.
    """
    if not path.is_socket():
        return False
    names = {str(path), os.path.realpath(path)}
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/unix").read_text("utf-8", "surrogateescape").splitlines():
            fields = line.split(maxsplit=_UNIX_FIELDS)
            if len(fields) > _UNIX_FIELDS and fields[_UNIX_FIELDS] in names and int(fields[3], 16) & _ACCEPTS:
                return True
    return False


def connect_control(path: Path, timeout: float) -> socket.socket:
    """Connect to the control socket.

    Args:
        path: Where it stands.
        timeout: Seconds that each later operation on the socket may take.

    Raises:
        OSError: Nobody listens there, or we may not connect.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.settimeout(timeout)
        with _short(path) as name:
            sock.connect(name)
    except BaseException:
        sock.close()
        raise
    return sock


def peer_uid(sock: socket.socket) -> int:
    """Return the user who connected, as the kernel says (``SO_PEERCRED``, unix(7))."""
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(credentials)[1])


def _require_private(directory: Path) -> None:
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):  # a link would have us change the mode of what it leads to
        raise NotADirectoryError(f"{directory} is no directory: no control socket is made there")
    if found.st_uid != os.geteuid():
        raise PermissionError(f"{directory} belongs to user {found.st_uid}: no control socket is made there")
    if stat.S_IMODE(found.st_mode) & 0o077:
        directory.chmod(0o700)


def control_path(project: Path) -> Path:
    """Return where a project's control socket stands; :attr:`actors.paths.ProjectPaths.control` says the same."""
    return project / ".milestones" / "run" / "control.sock"


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield a name of the path that the kernel takes."""
    if len(os.fsencode(path)) <= LONGEST:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
