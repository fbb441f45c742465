"""The socket that Prometheus asks: this machine alone, one page, and nobody can keep it."""

import contextlib
import http.client
import os
import resource
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from supervisor.metrics_address import parse_address
from supervisor.metrics_server import CONTENT_TYPE, MetricsServer

PAGE: Final = b"# HELP x One.\n# TYPE x gauge\nx 1.0\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "metrics.sock"
    one = MetricsServer(path, lambda: PAGE)
    one.start()
    yield path
    one.close()
    assert not path.exists()


def asked(path: Path, words: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60.0)
        client.connect(str(path))
        client.sendall(words)
        answer = b""
        while part := client.recv(1 << 16):
            answer += part
    return answer


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("localhost:1", ("127.0.0.1", 1)),
        ("[::1]:65535", ("::1", 65535)),
        ("127.8.9.1:80", ("127.8.9.1", 80)),
        ("/run/m.sock", Path("/run/m.sock")),
    ],
)
def test_addresses_of_this_machine(text: str, address: object) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0:80",
        "[::]:80",
        ":80",
        "9464",
        "127.0.0.1",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "10.1.1.1:1",
        "a.sock",
        "localhost:\u0661",
        "example.org:80",
        "127.0.0.1:+1",
    ],
)
def test_an_address_that_others_reach_or_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no address to listen on"):
        parse_address(text)


def test_the_page_is_answered_with_its_type(server: Path) -> None:
    head, _, body = asked(server, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").partition(
        b"\r\n\r\n"
    )
    assert head.startswith(b"HTTP/1.0 200")
    assert f"Content-Type: {CONTENT_TYPE}".encode() in head
    assert body == PAGE


def test_a_head_request_has_no_body_and_a_query_changes_nothing(server: Path) -> None:
    assert asked(server, b"HEAD /metrics?name=x HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", b"404"),
        (b"GET /metrics/../etc/passwd HTTP/1.0\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.0\r\n\r\n", b"501"),
        (b"GET /" + b"a" * 70_000, b"414"),
        (b"\0\xff\r\n\r\n", b""),
    ],
)
def test_anything_else_is_refused_and_the_next_one_is_served(server: Path, words: bytes, code: bytes) -> None:
    with contextlib.suppress(ConnectionError):  # it was answered and closed before everything was taken
        assert code in asked(server, words).partition(b"\r\n")[0]
    assert PAGE in asked(server, b"GET /metrics HTTP/1.0\r\n\r\n")


def test_who_goes_away_or_says_nothing_is_not_waited_for_at_the_end(tmp_path: Path) -> None:
    before = threading.active_count()
    one = MetricsServer(tmp_path / "m.sock", lambda: PAGE)
    one.start()
    with socket.socket(socket.AF_UNIX) as gone:
        gone.connect(str(tmp_path / "m.sock"))
    one.close()
    one.close()
    assert threading.active_count() == before


def test_who_is_connected_and_says_nothing_keeps_nobody_waiting_and_makes_room_for_others(tmp_path: Path) -> None:
    path = tmp_path / "m.sock"
    one = MetricsServer(path, lambda: PAGE, seconds=600.0)
    with contextlib.closing(one), contextlib.ExitStack() as connected:
        one.start()
        silent = [connected.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(17)]
        for count, client in enumerate(silent):
            client.settimeout(60.0)
            client.connect(str(path))
            if count == 3:
                assert PAGE in asked(path, b"GET /metrics HTTP/1.0\r\n\r\n")
        assert silent[0].recv(1) == b""  # the 17th had it sent away, and nobody else
        silent[1].sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert silent[1].recv(1) == b"H"
        silent[2].settimeout(0.0)
        with pytest.raises(BlockingIOError):
            silent[2].recv(1)


def test_who_says_nothing_for_the_time_of_a_request_is_sent_away(tmp_path: Path) -> None:
    one = MetricsServer(tmp_path / "m.sock", lambda: PAGE, seconds=0.1)
    with contextlib.closing(one), socket.socket(socket.AF_UNIX) as client:
        one.start()
        client.settimeout(60.0)
        client.connect(str(tmp_path / "m.sock"))
        assert client.recv(1) == b""


def test_a_socket_is_its_owners_alone_and_a_stale_one_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "m.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    one = MetricsServer(path, lambda: PAGE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(OSError, match="in use"):
        MetricsServer(path, lambda: PAGE)
    one.close()


def test_a_socket_of_somebody_who_accepts_nobody_is_in_use_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "m.sock"
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket(socket.AF_UNIX))
        full.bind(str(path))
        full.listen(0)
        waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
        waiting.connect(str(path))
        with pytest.raises(OSError, match="in use"):
            MetricsServer(path, lambda: PAGE)


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.sock"
    path.write_text("somebody's", encoding="utf-8")
    with pytest.raises(OSError, match="in use"):
        MetricsServer(path, lambda: PAGE)
    assert path.read_text(encoding="utf-8") == "somebody's"


def test_over_tcp_on_the_loopback(unused_port: int) -> None:
    one = MetricsServer(("127.0.0.1", unused_port), lambda: PAGE)
    one.start()
    client = http.client.HTTPConnection("127.0.0.1", unused_port, timeout=60)
    client.request("GET", "/metrics")
    assert client.getresponse().read() == PAGE
    client.close()
    one.close()


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_defect_is_told_to_who_asks_and_the_next_one_is_served(tmp_path: Path) -> None:
    pages: list[bytes] = [PAGE]
    one = MetricsServer(tmp_path / "m.sock", lambda: (pages.pop(), pages[0])[0] if len(pages) == 1 else PAGE)
    one.start()
    assert b" 500 " in asked(tmp_path / "m.sock", b"GET /metrics HTTP/1.0\r\n\r\n").partition(b"\r\n")[0]
    assert PAGE in asked(tmp_path / "m.sock", b"GET /metrics HTTP/1.0\r\n\r\n")
    one.close()


@contextlib.contextmanager
def no_descriptor_left() -> Iterator[None]:
    lowest = os.dup(0)
    os.close(lowest)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_who_comes_while_no_descriptor_is_left_is_answered_once_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "m.sock"
    one = MetricsServer(path, lambda: PAGE)
    with contextlib.closing(one), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60.0)
        client.connect(str(path))
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        with no_descriptor_left():
            one.start()
            one.join(1.0)  # a thread that gives up ends at once
            assert one.is_alive()
        answer = b""
        while part := client.recv(1 << 16):
            answer += part
        assert answer.endswith(PAGE)


@pytest.mark.parametrize("start", [b"GET /", b"GET /metrics HTTP/1.0\r\nX: "])
def test_who_dribbles_a_request_has_the_time_of_one_however_often_it_says_something(
    tmp_path: Path, start: bytes
) -> None:
    """It says something before each tenth of its time is over, and goes on until it is sent away."""
    path, was_cut_off = tmp_path / "m.sock", threading.Event()
    one = MetricsServer(path, lambda: PAGE, seconds=1.0)
    with contextlib.closing(one), socket.socket(socket.AF_UNIX) as client:
        one.start()
        client.connect(str(path))
        client.sendall(start)

        def dribble() -> None:
            with contextlib.suppress(OSError):
                while not was_cut_off.wait(0.1):
                    client.sendall(b"a")
            was_cut_off.set()

        dribbling = threading.Thread(target=dribble)
        dribbling.start()
        try:
            assert PAGE in asked(path, b"GET /metrics HTTP/1.0\r\n\r\n")
            assert was_cut_off.wait(60.0)
        finally:
            was_cut_off.set()
            dribbling.join()


def test_who_dribbles_a_request_does_not_hold_up_the_end(tmp_path: Path) -> None:
    path, ended, was_cut_off = tmp_path / "m.sock", threading.Event(), threading.Event()
    one = MetricsServer(path, lambda: PAGE)
    one.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /")

        def dribble() -> None:
            for _ in range(100):
                try:
                    client.sendall(b"a")
                except OSError:
                    was_cut_off.set()
                    return
                ended.wait(0.2)

        dribbling = threading.Thread(target=dribble)
        dribbling.start()
        one.close()
        ended.set()
        dribbling.join()
    assert was_cut_off.is_set()
