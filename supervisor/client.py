"""The other end of the control socket: a client that calls and waits.

Kept light, because a command that asks for the status should not take longer than the asking: nothing is imported
beyond the standard library's sockets and JSON. One thread uses it.

Refuses to know what verbs mean and how answers are shown.
"""

from __future__ import annotations

import contextlib
import json
import struct
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Self

from supervisor.control_socket import connect_control

if TYPE_CHECKING:
    from pathlib import Path

PROTOCOL: Final = 1
"""The protocol that this client speaks; :data:`supervisor.protocol.PROTOCOL` is the same, which a test sees to."""

_LENGTH: Final = struct.Struct(">I")
_CHUNK: Final = 1 << 16


class NoDaemonError(Exception):
    """Nobody listens on the control socket.

    Attributes:
        path: Where it was looked for.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"nobody listens at {path}: {why}")
        self.path = path


class CallFailedError(Exception):
    """The supervising process answered that the thing has not happened.

    Attributes:
        code: Exit code for a command line.
        lines: For people.
    """

    def __init__(self, code: int, lines: list[str]) -> None:
        super().__init__("\n".join(lines))
        self.code = code
        self.lines = lines


class AnswerTimeoutError(Exception):
    """No answer came in time; what was asked for may still happen."""


class LostError(Exception):
    """The supervising process went away before it answered."""


class Client:
    """A connection to a supervising process.

    Args:
        path: Its control socket.
        timeout: Seconds to wait for each answer; ``None`` waits for ever.

    Raises:
        NoDaemonError: Nobody listens there.
    """

    def __init__(self, path: Path, timeout: float | None = None) -> None:
        self._timeout = timeout
        self._received = bytearray()
        self._last = 0
        try:
            self._sock = connect_control(path, 5.0)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise NoDaemonError(path, error.strerror or "") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; what was asked for goes on."""
        self._sock.close()

    def ask(self, verb: str, **args: object) -> Any:  # noqa: ANN401 - the result's shape is the verb's
        """Call and wait for the answer.

        Args:
            verb: One of :data:`supervisor.protocol.VERBS`.
            args: Fields of its request.

        Raises:
            CallFailedError: It was answered that it has not happened.
            AnswerTimeoutError: There was no answer in time.
            LostError: The connection ended.
        """
        call = self._send(verb, args)
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        while True:
            message = self._next(deadline)
            if "item" not in message and message["id"] in {call, 0}:
                return _result(message)

    def follow(self, verb: str, **args: object) -> Iterator[Any]:
        """Call and yield items until the answer comes.

        Raises:
            CallFailedError: It was answered with a failure.
            LostError: The connection ended.
        """
        call = self._send(verb, args)
        while True:
            message = self._next(None)
            if "item" in message:
                if message["id"] == call:
                    yield message["item"]
            elif message["id"] in {call, 0}:
                _result(message)
                return

    def _send(self, verb: str, args: dict[str, object]) -> int:
        self._last += 1
        document = {"protocol": PROTOCOL, "id": self._last, "verb": verb, "args": args}
        payload = json.dumps(document).encode()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # why is what it said last: read next
            self._sock.sendall(_LENGTH.pack(len(payload)) + payload)
        return self._last

    def _next(self, deadline: float | None) -> dict[str, Any]:
        while True:
            if len(self._received) >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(self._received)
                end = _LENGTH.size + length
                if len(self._received) >= end:
                    message: dict[str, Any] = json.loads(bytes(self._received[_LENGTH.size : end]))
                    del self._received[:end]
                    return message
            self._received += self._receive(deadline)

    def _receive(self, deadline: float | None) -> bytes:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise AnswerTimeoutError
        self._sock.settimeout(left)
        try:
            data = self._sock.recv(_CHUNK)
        except TimeoutError as error:
            raise AnswerTimeoutError from error
        except ConnectionResetError:
            data = b""
        if not data:
            raise LostError
        return data


def _result(message: dict[str, Any]) -> Any:  # noqa: ANN401 - as of the verb
    if not message["ok"]:
        raise CallFailedError(message.get("code", 1), message.get("lines", []))
    return message.get("result")
