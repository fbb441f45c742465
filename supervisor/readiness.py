"""How a program says by itself that it is ready and alive: systemd's notify protocol, on a socket of its own.

A program that is told to (``ProgramSpec(notify=True)``) finds the name of a datagram socket in ``NOTIFY_SOCKET`` and
sends lines: ``READY=1`` once, ``WATCHDOG=1`` as often as its heartbeat asks for (``WATCHDOG_USEC`` says the timeout).
A ``STATUS=`` beside ``READY=1`` is what it says of its start.
Other lines mean nothing here. Owns the socket and its words. Refuses to know what follows.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Mapping
from typing import Final

import attrs

TURN: Final = 8
"""Messages that are read in one turn of a loop: who talks without end is heard like the others, no sooner."""

_MOST: Final = 4096
_STATUS: Final = b"STATUS="
_CREDENTIALS: Final = struct.Struct("iII")


@attrs.frozen
class Said:
    """What a program has said since.

    Attributes:
        ready: That it is ready.
        alive: That it is alive.
        status: Its last words about its state, ``""`` for none.
    """

    ready: bool
    alive: bool
    status: str = ""


class NotifySocket:
    """The socket of one incarnation of a program; non-blocking.

    Args:
        child: Path of the child.
        incarnation: Which one.

    Attributes:
        child: As given.
        incarnation: As given.

    Raises:
        OSError: No descriptor is left.
    """

    def __init__(self, child: str, incarnation: int) -> None:
        self.child = child
        self.incarnation = incarnation
        self._name = f"supervisor-{os.urandom(16).hex()}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.bind(f"\0{self._name}")  # in the abstract namespace: there is no file to be left behind
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor that is readable when :meth:`read` has something."""
        return self._socket.fileno()

    def environment(self, heartbeat_timeout: float | None) -> Mapping[str, str]:
        """Return the variables by which the program finds the socket.

        Args:
            heartbeat_timeout: Seconds without a sign of life after which it is killed; ``None`` for never.
        """
        found = {"NOTIFY_SOCKET": f"@{self._name}"}
        if heartbeat_timeout is not None:
            found["WATCHDOG_USEC"] = str(int(heartbeat_timeout * 1_000_000))
        return found

    def read(self) -> Said:
        """Take in what has been sent by processes of our own user; of one that sends without end, a turn's worth."""
        lines: dict[bytes, None] = {}
        for _ in range(TURN):
            try:
                data, ancillary, _, _ = self._socket.recvmsg(_MOST, socket.CMSG_SPACE(_CREDENTIALS.size))
            except BlockingIOError:
                break
            for level, kind, content in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    _, user, _ = _CREDENTIALS.unpack(content[: _CREDENTIALS.size])
                    if user in {0, os.getuid()}:
                        lines |= dict.fromkeys(data.split(b"\n"))
        return Said(b"READY=1" in lines, b"WATCHDOG=1" in lines, _status(lines))

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()


def _status(lines: Iterable[bytes]) -> str:
    said = [line.removeprefix(_STATUS) for line in lines if line.startswith(_STATUS)]
    return said[-1].decode(errors="replace") if said else ""
