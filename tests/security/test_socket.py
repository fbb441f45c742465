"""The control socket under attack: whatever bytes come, it answers the next client, within its bounds."""

import contextlib
import json
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.events import Record
from supervisor.client import Client
from supervisor.control import ENOUGH, MAX_CLIENTS, ControlServer
from supervisor.control_socket import bind_control
from supervisor.protocol import LENGTH, MAX_CALL, VERBS
from tests.control.test_server import Desk, Records, frame, raw, read_reply
from tests.waiting import wait_until

MOST_RECEIVED: Final = LENGTH.size + MAX_CALL + (1 << 16)
"""Bytes that are kept of what one client sent: a call, and what came in one piece with its end."""


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


@pytest.fixture
def server(path: Path, desk: Desk) -> Iterator[ControlServer]:
    one = ControlServer(desk, [bind_control(path)])
    one.start()
    yield one
    one.close()


def _serves(path: Path) -> None:
    with Client(path, timeout=60.0) as client:
        assert client.ask("status") == {"names": []}


_CALLS = st.builds(
    lambda call, verb, args: json.dumps({"protocol": 1, "id": call, "verb": verb, "args": args}).encode(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([*VERBS, "", "__class__", "status.__init__", "Status", "STATUS\0"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
        max_leaves=6,
    ),
)


@st.composite
def _streams(draw: st.DrawFn) -> bytes:
    """Calls that are nearly right: whole, cut, with a byte changed, with a wrong length, with junk between."""
    stream = b""
    for payload in draw(st.lists(_CALLS, min_size=1, max_size=4)):
        length = draw(st.sampled_from([len(payload)] * 4 + [0, 1, len(payload) + 9, MAX_CALL, MAX_CALL + 1, 2**32 - 1]))
        one = bytearray(LENGTH.pack(length) + payload)
        for _ in range(draw(st.integers(0, 2))):
            one[draw(st.integers(0, len(one) - 1))] = draw(st.integers(0, 255))
        stream += bytes(one[: draw(st.integers(0, len(one)))] if draw(st.booleans()) else one)
        stream += draw(st.binary(max_size=5))
    return stream


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stream=_streams(), cuts=st.lists(st.integers(0, 400), max_size=4))
def test_calls_that_are_nearly_right_end_nothing_and_cost_no_memory(
    path: Path, server: ControlServer, desk: Desk, stream: bytes, cuts: list[int]
) -> None:
    with raw(path) as sock:
        try:
            for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(stream)], strict=True):
                sock.sendall(stream[start:end])
        except OSError:  # it had enough of this client
            pass
        _serves(path)
        held = tuple(server._clients)
        assert all(len(client.received) <= MOST_RECEIVED and len(client.backlog) <= 1 << 20 for client in held)
    desk.kept.clear()
    assert server.is_alive()


@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 200_000,
        b'{"protocol":1,"id":1,"verb":"skip","args":' + b'{"a":' * 50_000,
        b'{"protocol":1,"id":1,"verb":"status","args":NaN}',
        b'{"protocol":1,"id":1e999,"verb":"status"}',
        b'{"protocol":1,"id":' + b"9" * 5000 + b',"verb":"status"}',
        b'{"protocol":1,"id":1,"verb":"\\ud800"}',
        b'{"protocol":1,"id":1,"verb":"status\\u0000"}',
        '{"protocol":1,"id":1,"verb":"status"}'.encode("utf-16"),
        b"\xff\xfe\xfd",
        b"",
        b"\0" * 70_000,
    ],
    ids=range(11),
)
@pytest.mark.usefixtures("server")
def test_what_breaks_parsers_is_answered_as_what_it_is(path: Path, payload: bytes) -> None:
    with raw(path) as sock:
        sock.sendall(frame(payload))
        reply = read_reply(sock)
        assert (reply["ok"], reply["code"]) == (False, 2)
        sock.sendall(frame({"protocol": 1, "id": 7, "verb": "status"}))
        assert read_reply(sock) == {"id": 7, "ok": True, "result": {"names": []}}


@pytest.mark.parametrize(
    "verb", ["__class__", "status.__init__", "Status", "answer", "follow", "_post", "os.system", "Skip.__globals__", ""]
)
@pytest.mark.usefixtures("server")
def test_a_verb_is_looked_up_in_a_table_and_never_as_an_attribute(path: Path, verb: str) -> None:
    with raw(path) as sock:
        sock.sendall(frame({"protocol": 1, "id": 1, "verb": verb, "args": {}}))
        assert "there is no verb" in read_reply(sock)["lines"][0]


def test_who_never_finishes_a_call_is_closed_and_who_is_silent_makes_room(path: Path, desk: Desk) -> None:
    server = ControlServer(desk, [bind_control(path)], patience=0.3)
    server.start()
    slow = raw(path)
    idle: list[socket.socket] = []
    try:
        slow.sendall(LENGTH.pack(100) + b"{")
        assert slow.recv(1) == b"", "closed by the server"
        idle += [raw(path) for _ in range(MAX_CLIENTS)]
        wait_until(lambda: len(server._clients) == MAX_CLIENTS, 60.0, "all places are taken")

        def answered() -> bool:
            with raw(path) as late, contextlib.suppress(OSError, AssertionError):  # sent away before it had asked
                late.sendall(frame({"protocol": 1, "id": 1, "verb": "status"}))
                return bool(read_reply(late)["ok"])
            return False

        wait_until(answered, 60.0, "a silent client made room")
        assert len(server._clients) <= MAX_CLIENTS
    finally:
        for sock in (slow, *idle):
            sock.close()
        server.close()


def test_many_clients_with_the_largest_calls_are_held_in_little_memory(path: Path, server: ControlServer) -> None:
    socks = [raw(path) for _ in range(8)]
    try:
        for sock in socks:
            sock.sendall(LENGTH.pack(MAX_CALL) + b" " * (MAX_CALL // 2))
        _serves(path)
        assert max(len(client.received) for client in tuple(server._clients)) <= MOST_RECEIVED
        with raw(path) as greedy:
            greedy.sendall(LENGTH.pack(MAX_CALL + 1) + b" " * 100)
            assert "larger than" in read_reply(greedy)["lines"][0]
    finally:
        for sock in socks:
            sock.close()


class LongRecords(Records):
    """Records of 100 KB each."""

    def _record(self, seq: int) -> Record:
        body = msgspec.json.encode({"task": "a", "attempt": "x" * 100_000})
        return Record(seq, "s", 0.0, 0.0, "TaskCompleted", msgspec.Raw(body))


def test_a_follower_of_long_records_gets_all_of_them_and_costs_little(
    path: Path, server: ControlServer, desk: Desk
) -> None:
    desk.records = LongRecords(200)
    with raw(path) as sock:
        sock.sendall(frame({"protocol": 1, "id": 1, "verb": "events", "args": {}}))
        wait_until(lambda: any(client.backlog for client in tuple(server._clients)), 60.0, "nobody reads")
        _serves(path)
        assert max(len(client.backlog) for client in tuple(server._clients)) <= ENOUGH + 2 * 100_000
        seen: list[Any] = [read_reply(sock) for _ in range(201)]
    assert [one["item"]["seq"] for one in seen[:-1]] == list(range(1, 201))
    assert seen[-1]["ok"]


def test_nobody_else_can_enter_where_the_socket_stands_even_before_it_is_closed(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.parent.chmod(0o777)
    listener = bind_control(path)
    try:
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert listener.getsockname() == str(path), "a path, not a name in the abstract namespace that all can reach"
    finally:
        listener.close()


@pytest.mark.parametrize("kind", ["link", "directory"])
def test_what_stands_in_the_sockets_place_is_replaced_or_refused_and_never_followed(path: Path, kind: str) -> None:
    path.parent.mkdir(parents=True)
    victim = path.parent.parent / "victim"
    victim.write_text("precious\n")
    victim.chmod(0o644)
    if kind == "directory":
        path.mkdir()
        with pytest.raises(OSError, match="directory"):
            bind_control(path)
        return
    path.symlink_to(victim)
    with bind_control(path):
        assert stat.S_ISSOCK(path.lstat().st_mode)
    assert (victim.read_text(), stat.S_IMODE(victim.stat().st_mode)) == ("precious\n", 0o644)
