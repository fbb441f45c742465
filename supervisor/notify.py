"""What a service manager is told: ready, status, alive, reloading, stopping (sd_notify(3)), without a library.

A :class:`Notifier` is made once, from the environment, and takes its variables out of it: no child may speak for the
service, or be taken for it. Without a service manager it does nothing. It never blocks: a manager that does not read
is no reason to stand still, and the kernel queues a handful of datagrams only. What is repeated (a sign of life, the
wish for more time) is lost then; of statuses the latest is kept, and what tells of a change (ready, reloading,
stopping, the main process) is kept too, and sent in its order before anything later.

Owns the protocol. Refuses to know when the service is ready or alive: that is the daemon's to say.
"""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import MutableMapping

SOCKET: Final = "NOTIFY_SOCKET"
WATCHDOG_USEC: Final = "WATCHDOG_USEC"
WATCHDOG_PID: Final = "WATCHDOG_PID"

LONGEST_STATUS: Final = 500
"""Characters of a status; what is beyond is cut off."""


class Notifier:
    """Tells a service manager about this process. Belongs to one thread.

    Args:
        address: Of the manager's socket: a path, or a name that begins with ``@`` (abstract); ``""`` for none.
        watchdog: Seconds without a sign of life after which the manager ends this process; 0 when it does not watch.

    Attributes:
        watchdog: As above.
        trouble: Why the latest message did not arrive, ``""`` when it did; for the log.
    """

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self.watchdog = watchdog
        self.trouble = ""
        self._owed: list[bytes] = []
        self._socket: socket.socket | None = None
        self._address = b""
        if not address:
            return
        if address[0] not in "/@":
            self.trouble = f"{SOCKET}={address!r} is neither a path nor an abstract name: the manager is told nothing"
            return
        self._address = os.fsencode(address)
        if address[0] == "@":
            self._address = b"\0" + self._address[1:]
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> Self:
        """Take the manager's variables out of the environment and make of them what they say.

        Args:
            environ: As a rule ``os.environ``; changed.
        """
        address = environ.pop(SOCKET, "")
        usec, pid = environ.pop(WATCHDOG_USEC, ""), environ.pop(WATCHDOG_PID, "")
        is_ours = pid in {"", str(os.getpid())}  # else it is meant for the process that started us
        watches = is_ours and usec.isascii() and usec.isdigit()
        return cls(address, int(usec) / 1_000_000 if watches else 0.0)

    @property
    def is_heard(self) -> bool:
        """Whether there is a manager to be told anything."""
        return self._socket is not None

    def ready(self, status: str) -> None:
        """Say that the service does its work: at the start, and again when a reload is done."""
        self._send("READY=1", f"STATUS={_line(status)}", keep=True)

    def status(self, text: str) -> None:
        """Say in one line how things are."""
        self._owed = [one for one in self._owed if not one.startswith(b"STATUS=")]
        self._send(f"STATUS={_line(text)}", keep=True)

    def beat(self) -> None:
        """Give a sign of life, if the manager wants any."""
        if self.watchdog:
            self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Say that a reload begins; :meth:`ready` says that it is done.

        The moment is that of the monotonic clock, which ``Type=notify-reload`` insists on (sd_notify(3)).
        """
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}", keep=True)

    def stopping(self, status: str) -> None:
        """Say that the service is on its way out."""
        self._send("STOPPING=1", f"STATUS={_line(status)}", keep=True)

    def extend(self, seconds: float) -> None:
        """Ask for that much time from now on, for a start or stop that goes on; to be repeated before it is over."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")

    def close(self) -> None:
        """Give the socket back; later messages go nowhere."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *fields: str, keep: bool = False) -> None:
        if self._socket is None:
            return
        message = "\n".join(fields).encode("utf-8", "replace")
        waiting = [*self._owed, message]
        try:
            while waiting:
                self._socket.sendto(waiting[0], self._address)
                del waiting[0]
            self.trouble = ""
        except OSError as error:
            self.trouble = f"the service manager cannot be told: {error.strerror or error}"
        # The last of those that did not go is the new one.
        self._owed = waiting if keep else waiting[:-1]


def _line(text: str) -> str:
    """Return a text as one line: with a line end in it, the rest would be read as a field of its own."""
    return " ".join(text.split())[:LONGEST_STATUS]
