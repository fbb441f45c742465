"""Answers Prometheus over HTTP, on the loopback or a Unix socket, in a thread of its own.

One request after the other, each within its time as a whole, however little of it comes at a time: who is slow keeps
other scrapes waiting, and nobody else, not even the end. Who is connected and says nothing, as a browser does that
expects to ask, keeps nobody waiting, and is sent away after the same time. Where no descriptor is left, who comes is
answered once there is one. There is one page, and nothing that a client sends is used for anything else. Owns the
socket. Refuses to know what is measured.
"""

from __future__ import annotations

import contextlib
import io
import os
import selectors
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
"""Clients that may wait to be accepted, and as many that are connected and say nothing; then the first has to go."""


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
        self._selector = selectors.DefaultSelector()
        self._socket = bind(address)
        self._socket.settimeout(0.0)
        self._selector.register(self._socket, selectors.EVENT_READ)
        self._silent: dict[socket.socket, float] = {}  # with when each is sent away, the first one first
        self._closing = threading.Event()
        self._client: socket.socket | None = None

    def run(self) -> None:
        """Answer, until closed."""
        while not self._closing.is_set():
            ready = [key.fileobj for key, _ in self._selector.select(self._until_one_goes())]
            spoken = [client for client in self._silent if client in ready]
            for client in spoken:
                self._serve(self._forget(client))
            if spoken:
                continue  # whoever else has spoken meanwhile is not taken for silent
            if ready:
                self._accept()
            else:
                self._send_away()

    def _until_one_goes(self) -> float | None:
        return max(0.0, min(self._silent.values()) - time.monotonic()) if self._silent else None

    def _accept(self) -> None:
        try:
            client, _ = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:  # closed, or no descriptor is left
            self._closing.wait(ACCEPT_AGAIN)
            return
        if len(self._silent) == _WAITING:
            self._forget(next(iter(self._silent))).close()
        self._silent[client] = time.monotonic() + self.seconds
        self._selector.register(client, selectors.EVENT_READ)

    def _forget(self, client: socket.socket) -> socket.socket:
        del self._silent[client]
        self._selector.unregister(client)
        return client

    def _send_away(self) -> None:
        now = time.monotonic()
        for client in [one for one, until in self._silent.items() if until <= now]:
            self._forget(client).close()

    def _serve(self, client: socket.socket) -> None:
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
        for client in self._silent:
            client.close()
        self._socket.close()
        self._selector.close()
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
