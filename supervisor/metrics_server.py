"""Answers Prometheus over HTTP, on the loopback or a Unix socket, in a thread of its own.

One request after the other, each within its time as a whole, however little of it comes at a time: who is slow keeps
other scrapes waiting, and nobody else, not even the end. Where no descriptor is left, who comes is answered once there
is one. There is one page, and nothing that a client sends is used for anything else. Owns the socket.
Refuses to know what is measured.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import threading
import time
import traceback
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

from actors.log import log

REQUEST_SECONDS: Final = 5.0
"""Longest time that a client has for its request as a whole, and as long again to take the answer."""

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

PAGE: Final = "/metrics"

ACCEPT_AGAIN: Final = 1.0
"""Seconds until it is tried again to accept a client that the system did not let us have."""

_WAITING: Final = 16


def bind(address: tuple[str, int] | Path) -> socket.socket:
    """Make the socket.

    Args:
        address: See :func:`supervisor.metrics_address.parse_address`. A socket that nobody listens to any more is
            replaced; one made for a path is its owner's alone.

    Raises:
        OSError: It cannot be made.
    """
    if not isinstance(address, Path):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        where: str | tuple[str, int] = address
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    else:
        _remove_stale(address)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        where = str(address)
    try:
        if isinstance(address, Path):
            os.fchmod(made.fileno(), 0o600)  # before it has a name: it is bound with these rights
        made.bind(where)
        made.listen(_WAITING)
    except BaseException:
        made.close()
        raise
    return made


def _remove_stale(path: Path) -> None:
    if not path.is_socket():
        return
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as probe:
        probe.settimeout(0.0)  # who listens and accepts nobody would have us wait
        try:
            probe.connect(str(path))
        except BlockingIOError:
            return
        except ConnectionRefusedError:
            path.unlink()


class MetricsServer(threading.Thread):
    """The thread.

    Args:
        address: See :func:`supervisor.metrics_address.parse_address`.
        text: Returns the page; called in this thread.
        seconds: Longest time that a client has for its request, and as long again to take the answer.

    Raises:
        OSError: The socket cannot be made.
    """

    def __init__(
        self, address: tuple[str, int] | Path, text: Callable[[], bytes], *, seconds: float = REQUEST_SECONDS
    ) -> None:
        super().__init__(name="metrics", daemon=True)
        self.text = text
        self.seconds = seconds
        self._address = address
        self._socket = bind(address)
        self._closing = threading.Event()
        self._client: socket.socket | None = None

    def run(self) -> None:
        """Answer, until closed."""
        while not self._closing.is_set():
            try:
                client, _ = self._socket.accept()
            except ConnectionAbortedError:
                continue
            except OSError:  # closed, or no descriptor is left
                self._closing.wait(ACCEPT_AGAIN)
                continue
            with client, contextlib.suppress(OSError):  # who has gone is not missed
                self._client = client
                if not self._closing.is_set():  # else nobody may have seen this client, to send it away
                    _Request(client, "", self)  # type: ignore[arg-type]  # it asks nothing of its server

    def close(self) -> None:
        """Give the socket back and end the thread; closing twice does nothing."""
        if self._socket.fileno() < 0:
            return
        self._closing.set()
        for one in (self._socket, self._client):
            with contextlib.suppress(OSError):
                if one is not None:
                    one.shutdown(socket.SHUT_RDWR)  # wakes the thread, wherever it waits
        if self.is_alive():
            self.join()
        self._socket.close()
        if isinstance(self._address, Path):
            self._address.unlink(missing_ok=True)


class _Patience(io.RawIOBase):
    """What a client sends, as long as its time lasts: however often it sends something, there is no more of it.

    Args:
        client: Connected.
        seconds: From now on.
    """

    def __init__(self, client: socket.socket, seconds: float) -> None:
        self._client = client
        self._until = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - before 3.12 what can be written to has no name
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._client.settimeout(left)
        return self._client.recv_into(buffer)


class _Request(BaseHTTPRequestHandler):
    """One connection, one request."""

    server_version = "milestoned"
    sys_version = ""
    server: MetricsServer  # type: ignore[assignment]  # it is not one of the library's

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BufferedReader(_Patience(self.connection, self.server.seconds))

    def send_response(self, code: int, message: str | None = None) -> None:
        self.connection.settimeout(self.server.seconds)
        super().send_response(code, message)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        if self.path.partition("?")[0] != PAGE:
            self.send_error(HTTPStatus.NOT_FOUND, f"there is only {PAGE}")
            return
        try:
            body = self.server.text()
        except Exception as error:  # noqa: BLE001 - our own code is broken: who asks is told, and the thread goes on
            log().bind(error=repr(error), story=traceback.format_exc()).error("metrics cannot be told")
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, "a defect of milestoned: see its log")
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing: a scrape every few seconds is no news."""
