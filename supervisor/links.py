"""The supervising process's end of a link: a non-blocking socket with a buffer before it.

A child that is stopped or slow must never hold up the hub, so what its socket does not take is kept here, up to a
cap beyond which the child is as good as dead. Owns the socket; refuses to know what the frames mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar

from actors.framing import FrameError, Framing

if TYPE_CHECKING:
    import socket

MAX_BACKLOG: Final = 256 * 1024 * 1024
"""Bytes that may wait for one child: a stopped child is killed by its heartbeat deadline long before."""

TURN_BYTES: Final = 1 << 18
"""Bytes of one child that are read in one turn of a loop: who talks without end is heard like the others, no sooner."""

_CHUNK: Final = 1 << 16

F = TypeVar("F")


class Link(Generic[F]):
    """One end of a link.

    Args:
        sock: The supervising process's end, non-blocking.
        child: Id of the child at the other end.
        incarnation: Which one.
        framing: What the two say to each other.
    """

    def __init__(self, sock: socket.socket, child: str, incarnation: int, framing: Framing[F]) -> None:
        self.sock = sock
        self.child = child
        self.incarnation = incarnation
        self.welcomed = False
        self._framing = framing
        self._reader = framing.reader()
        self._backlog = bytearray()

    @property
    def wants_to_write(self) -> bool:
        """Whether something waits for the socket to take more."""
        return bool(self._backlog)

    @property
    def waiting(self) -> int:
        """Bytes that wait for the socket to take more; may be read from any thread."""
        return len(self._backlog)

    def read(self, most: float = float("inf")) -> tuple[list[F], bool]:
        """Read what is there.

        Args:
            most: Bytes after which to leave the rest for another time.

        Returns:
            The complete frames in order, and whether the other side is gone (or speaks nonsense).
        """
        frames: list[F] = []
        taken = 0
        while True:
            if taken >= most:
                return frames, False
            try:
                data = self.sock.recv(_CHUNK)
            except BlockingIOError:
                return frames, False
            except OSError:
                return frames, True
            if not data:
                return frames, True
            taken += len(data)
            try:
                frames.extend(self._reader.feed(data))
            except FrameError:
                return frames, True
            if len(data) < _CHUNK:
                return frames, False

    def send(self, frame: F) -> bool:
        """Write a frame, now or later; return False when the child is beyond help."""
        return self.send_bytes(self._framing.encode(frame))

    def send_bytes(self, data: bytes) -> bool:
        """Write an encoded frame, now or later; return False when the child is beyond help."""
        if self._backlog:
            self._backlog += data
            return len(self._backlog) <= MAX_BACKLOG and self.flush()
        sent = self._send(data)
        if sent < 0:
            return False
        self._backlog += data[sent:]
        return True

    def flush(self) -> bool:
        """Write what waits; return False when the other side is gone."""
        while self._backlog:
            sent = self._send(bytes(self._backlog[:_CHUNK]))
            if sent < 0:
                return False
            if sent == 0:
                return True
            del self._backlog[:sent]
        return True

    def close(self) -> None:
        """Give the socket back."""
        self.sock.close()

    def _send(self, data: bytes) -> int:
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            return -1
