"""The control server with real sockets: answers, followers, and clients that misbehave."""

import contextlib
import errno
import functools
import json
import os
import socket
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.events import Record
from supervisor import client as client_module
from supervisor import protocol
from supervisor.client import AnswerTimeoutError, CallFailedError, Client, LostError, NoDaemonError
from supervisor.control import MAX_CLIENTS, MAX_OPEN, PAGE, ControlServer, RefusedCallError, Source, Ticket
from supervisor.control_socket import bind_control, peer_uid
from supervisor.protocol import Events, Named, Request, Retry, Skip, Status, Stop
from tests.waiting import wait_until


class Records:
    """Records that a test lets come."""

    def __init__(self, many: int = 0) -> None:
        self.records = [self._record(seq) for seq in range(1, many + 1)]
        self.over = False
        self.closed = 0

    def add(self, many: int = 1) -> None:
        self.records += [self._record(len(self.records) + one) for one in range(1, many + 1)]

    def page(self, after: int, most: int) -> Sequence[Record]:
        return self.records[after : after + most]

    def is_over(self) -> bool:
        return self.over

    def close(self) -> None:
        self.closed += 1

    def _record(self, seq: int) -> Record:
        return Record(seq, "s", 0.0, 0.0, "TaskCompleted", msgspec.Raw(b'{"task":"a","attempt":"a.1"}'))


@attrs.define
class Desk:
    """Answers at once, keeps what it is told to keep, and fails when told."""

    records: Records = attrs.Factory(Records)
    kept: list[tuple[Request, Ticket]] = attrs.Factory(list)

    def answer(self, request: Request, ticket: Ticket) -> None:
        match request:
            case Status():
                ticket.done({"names": []})
            case Skip(tasks=tasks):
                ticket.done({"tasks": tasks})
            case Stop():
                self.kept.append((request, ticket))
            case Retry():
                raise RuntimeError("told by a test")
            case _:
                raise RefusedCallError(7, "not running", "start it")

    def has_kept(self, many: int) -> bool:
        return len(self.kept) >= many

    def follow(self, request: Events) -> Source:
        if request.session == "nosuch":
            raise RefusedCallError(4, "no such session")
        return self.records


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def server(path: Path, desk: Desk) -> Iterator[ControlServer]:
    one = ControlServer(desk, [bind_control(path)])
    one.start()
    yield one
    one.close()


@pytest.fixture
def client(path: Path, server: ControlServer) -> Iterator[Client]:
    assert server.is_alive()
    with Client(path, timeout=60.0) as one:
        yield one


def frame(document: object) -> bytes:
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    return struct.pack(">I", len(payload)) + payload


def raw(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(60.0)
    sock.connect(str(path))
    return sock


def exactly(sock: socket.socket, size: int) -> bytes:
    """Read that many bytes: a socket with a timeout hands out a part of a frame, whatever the flags say."""
    got = bytearray()
    while len(got) < size:
        part = sock.recv(size - len(got))
        assert part, f"the server ended the stream after {len(got)} of {size} bytes"
        got += part
    return bytes(got)


def read_reply(sock: socket.socket) -> dict[str, Any]:
    (size,) = struct.unpack(">I", exactly(sock, 4))
    reply: dict[str, Any] = json.loads(exactly(sock, size))
    return reply


def test_a_call_is_answered_with_its_result(client: Client) -> None:
    assert client.ask("skip", tasks=["a", "b"]) == {"tasks": ["a", "b"]}


def test_a_refusal_has_the_exit_code_and_the_lines(client: Client) -> None:
    with pytest.raises(CallFailedError) as caught:
        client.ask("pause", names=["x"])
    assert (caught.value.code, caught.value.lines) == (7, ["not running", "start it"])


def test_a_defect_behind_a_call_is_told_and_ends_nothing(client: Client) -> None:
    with pytest.raises(CallFailedError, match="RuntimeError: told by a test") as caught:
        client.ask("retry")
    assert caught.value.code == 70
    assert client.ask("status") == {"names": []}


def test_an_unforeseen_error_of_the_thread_is_answered_and_the_next_client_is_served(
    path: Path, server: ControlServer, desk: Desk
) -> None:
    with raw(path) as waiting:
        waiting.sendall(frame({"protocol": 1, "id": 5, "verb": "stop", "args": {"names": ["x"]}}))
        wait_until(lambda: desk.kept, timeout=60.0)

        def fail() -> None:
            raise RuntimeError("told by a test")

        server.call(fail)
        reply = read_reply(waiting)
        assert (reply["id"], reply["ok"], reply["code"]) == (5, False, 70)
        assert "RuntimeError: told by a test" in reply["lines"][0]
        assert waiting.recv(1) == b""
    with Client(path, timeout=30.0) as another:
        assert another.ask("status") == {"names": []}


def test_patience_with_a_call_begins_anew_once_the_one_before_it_was_taken(path: Path, desk: Desk) -> None:
    server = ControlServer(desk, [bind_control(path)])
    call = frame({"protocol": 1, "id": 1, "verb": "status", "args": {}})
    with raw(path) as sock:
        server.start()
        sock.sendall(call[:10])
        (client,) = wait_until(lambda: tuple(server._clients), 60.0, "the client is there")
        first = wait_until(lambda: client.begun_at, 60.0, "a call has begun")
        sock.sendall(call[10:] + call[:10])
        read_reply(sock)
        wait_until(lambda: client.begun_at not in {None, first}, 60.0, "the next call has begun, later")
        sock.sendall(call[10:])
        read_reply(sock)
    server.close()


def test_an_answer_comes_when_the_thing_has_happened_and_others_do_not_wait(
    path: Path, client: Client, desk: Desk
) -> None:
    waiting = raw(path)
    waiting.sendall(frame({"protocol": 1, "id": 5, "verb": "stop", "args": {"names": ["x"]}}))
    wait_until(lambda: desk.kept, timeout=60.0)
    assert client.ask("status") == {"names": []}
    threading.Thread(target=desk.kept[0][1].done, args=({"stopped": ["x"]},)).start()
    assert read_reply(waiting) == {"id": 5, "ok": True, "result": {"stopped": ["x"]}}
    waiting.close()


@pytest.mark.row("F22")
@pytest.mark.usefixtures("server")
def test_what_is_no_utf_8_in_an_answer_is_escaped(client: Client, desk: Desk) -> None:
    """The name of a file in `.milestones/active`, say: one that anybody may put there ends nothing."""
    client._send("stop", {})
    wait_until(lambda: desk.has_kept(1))
    desk.kept[0][1].done([Named("caf\udce9", 0, "stopped"), {"caf\udce9": ("\udcff",)}])
    message = client._next(None)
    assert message["result"] == [{"name": "caf\\xe9", "code": 0, "text": "stopped"}, {"caf\\xe9": ["\\xff"]}]
    client._send("stop", {})
    wait_until(lambda: desk.has_kept(2))
    desk.kept[1][1].done("\ud800")
    assert "a defect" in client._next(None)["lines"][0]
    assert client.ask("status") == {"names": []}


@pytest.mark.row("F21")
def test_a_ticket_answers_once_and_not_a_client_that_has_gone(path: Path, client: Client, desk: Desk) -> None:
    with raw(path) as gone:
        gone.sendall(frame({"protocol": 1, "id": 1, "verb": "stop", "args": {"names": ["x"]}}))
        wait_until(lambda: desk.kept, timeout=60.0)
        ticket = desk.kept[0][1]
        ticket.done(1)
        ticket.failed(1, "again")
        assert read_reply(gone)["result"] == 1
    ticket.done(2)
    assert client.ask("status") == {"names": []}


def test_calls_of_one_client_are_answered_in_the_order_in_which_things_happen(path: Path, desk: Desk) -> None:
    server = ControlServer(desk, [bind_control(path)])
    server.start()
    with raw(path) as sock:
        stop = {"protocol": 1, "id": 1, "verb": "stop", "args": {"names": ["x"]}}
        sock.sendall(frame(stop) + frame({"protocol": 1, "id": 2, "verb": "status"}))
        assert read_reply(sock)["id"] == 2
        desk.kept[0][1].done()
        assert read_reply(sock) == {"id": 1, "ok": True}
    server.close()


def test_records_are_followed_from_a_cursor_without_gaps_or_doubles(
    client: Client, server: ControlServer, desk: Desk
) -> None:
    desk.records.add(PAGE * 3 + 7)
    seen: list[int] = []
    for item in client.follow("events", since=5, follow=True):
        seen.append(item["seq"])
        if len(seen) in {PAGE, PAGE * 3 + 2}:
            desk.records.add(10)
            server.recorded()
        if len(seen) == PAGE * 3 + 22:
            desk.records.over = True
            server.recorded()
    assert seen == list(range(6, PAGE * 3 + 28))
    assert desk.records.closed == 1


class LateRecords(Records):
    """The last record is written, and everything is over, just after a look that found nothing."""

    after_look: Callable[[], None]

    def page(self, after: int, most: int) -> Sequence[Record]:
        found = super().page(after, most)
        if not self.records:
            self.add()
            self.over = True
            self.after_look()
        return found


def test_a_follower_gets_what_is_written_just_before_the_end(path: Path) -> None:
    records = LateRecords()
    server = ControlServer(Desk(records), [bind_control(path)])
    records.after_look = server.recorded
    server.start()
    try:
        with Client(path, timeout=60.0) as client:
            assert [item["seq"] for item in client.follow("events", follow=True)] == [1]
    finally:
        server.close()


def test_without_follow_the_answer_comes_with_the_last_record(client: Client, desk: Desk) -> None:
    desk.records.add(3)
    assert [item["seq"] for item in client.follow("events")] == [1, 2, 3]
    with pytest.raises(CallFailedError, match="no such session"):
        list(client.follow("events", session="nosuch"))


@pytest.mark.row("F21")
def test_a_follower_that_does_not_read_costs_nobody_anything_and_misses_nothing(
    path: Path, client: Client, server: ControlServer, desk: Desk
) -> None:
    desk.records.add(20_000)
    slow = raw(path)
    slow.sendall(frame({"protocol": 1, "id": 9, "verb": "events", "args": {"follow": True}}))
    for _ in range(20):
        desk.records.add(10)
        server.recorded()
        assert client.ask("status") == {"names": []}
    assert sum(len(one.backlog) for one in server._clients) < 1 << 20
    assert [read_reply(slow)["item"]["seq"] for _ in range(20_200)] == list(range(1, 20_201))
    slow.close()
    wait_until(lambda: desk.records.closed == 1, timeout=60.0)


@pytest.mark.parametrize(
    ("sent", "code", "words"),
    [
        (b"nonsense", 2, "not a call"),
        ({"protocol": 2, "id": 3, "verb": "status"}, 78, "protocol 2"),
        ({"protocol": 1, "id": 3, "verb": "fly"}, 2, "no verb 'fly'"),
        ({"protocol": 1, "id": 3, "verb": "skip"}, 2, "tasks"),
        ({"protocol": 1, "id": 3, "verb": "stop", "args": {"names": "x"}}, 2, "names"),
        (b"[" * 100_000, 2, "not a call"),
        (b"\xff\xfe", 2, "not a call"),
    ],
    ids=["noise", "version", "verb", "missing", "type", "deep", "bytes"],
)
@pytest.mark.usefixtures("server")
def test_what_is_no_call_is_answered_and_the_connection_lives(path: Path, sent: object, code: int, words: str) -> None:
    with raw(path) as sock:
        sock.sendall(frame(sent))
        reply = read_reply(sock)
        assert (reply["ok"], reply["code"]) == (False, code)
        assert words in reply["lines"][0]
        sock.sendall(frame({"protocol": 1, "id": 4, "verb": "status"}))
        assert read_reply(sock)["ok"] is True


@pytest.mark.usefixtures("server")
def test_a_call_that_is_too_large_ends_the_connection_with_a_word(path: Path) -> None:
    with raw(path) as sock:
        sock.sendall(struct.pack(">I", 1 << 30))
        assert "larger than" in read_reply(sock)["lines"][0]
        assert sock.recv(1) == b""


@pytest.mark.row("F24")
@pytest.mark.usefixtures("server")
def test_a_client_may_have_so_many_calls_open_and_the_next_ones_wait(path: Path, desk: Desk) -> None:
    with raw(path) as sock:
        for call in range(1, MAX_OPEN + 4):
            sock.sendall(frame({"protocol": 1, "id": call, "verb": "stop", "args": {"names": ["x"]}}))
        wait_until(lambda: len(desk.kept) == MAX_OPEN, timeout=60.0)
        for _, ticket in tuple(desk.kept):
            ticket.done()
        wait_until(lambda: len(desk.kept) == MAX_OPEN + 3, timeout=60.0)


def stop(call: int) -> bytes:
    """A call that is answered when the test says so."""
    return frame({"protocol": 1, "id": call, "verb": "stop", "args": {"names": ["x"]}})


@pytest.mark.row("F21")
@pytest.mark.parametrize("sent_further", [0, 3], ids=["all-read", "some-unread"])
def test_a_client_with_as_many_calls_open_as_may_be_gives_its_place_back_when_it_goes(
    path: Path, server: ControlServer, desk: Desk, sent_further: int
) -> None:
    with raw(path) as full, contextlib.ExitStack() as others:
        full.sendall(b"".join(map(stop, range(1, MAX_OPEN + 1 + sent_further))))
        wait_until(lambda: len(desk.kept) == MAX_OPEN, 60.0, "it is full")
        for _ in range(MAX_CLIENTS - 1):
            others.enter_context(raw(path))
        wait_until(lambda: len(server._clients) == MAX_CLIENTS, 60.0, "all places are taken")
        with raw(path) as late:
            assert "try again" in read_reply(late)["lines"][0]
        full.close()
        wait_until(lambda: len(server._clients) == MAX_CLIENTS - 1, 60.0, "its place is free")
        with Client(path, timeout=60.0) as client:
            assert client.ask("status") == {"names": []}
        assert len(desk.kept) == MAX_OPEN


@pytest.mark.row("F21")
def test_a_full_client_that_reads_nothing_gives_its_place_back_when_it_goes(
    path: Path, server: ControlServer, desk: Desk
) -> None:
    desk.records.add(20_000)
    with raw(path) as full:
        follow = ({"protocol": 1, "id": one, "verb": "events", "args": {"follow": True}} for one in range(MAX_OPEN))
        full.sendall(b"".join(map(frame, follow)))
        wait_until(lambda: any(one.is_full and one.backlog for one in tuple(server._clients)), 60.0, "it is full")
    wait_until(lambda: not server._clients, 60.0, "its place is free")
    wait_until(lambda: desk.records.closed == MAX_OPEN, 60.0, "whatever it followed is closed")


@pytest.mark.parametrize("calls", [1, MAX_OPEN, MAX_OPEN + 3])
def test_who_says_that_no_call_will_follow_is_answered_and_then_let_go(
    path: Path, server: ControlServer, desk: Desk, calls: int
) -> None:
    with raw(path) as sock:
        sock.sendall(b"".join(map(stop, range(1, calls + 1))) + stop(calls + 1)[:9])
        sock.shutdown(socket.SHUT_WR)
        for call in range(1, calls + 1):
            wait_until(functools.partial(desk.has_kept, call), 60.0, "the next call was taken")
            desk.kept[call - 1][1].done()
            assert read_reply(sock)["id"] == call
        assert sock.recv(1) == b""
    wait_until(lambda: not server._clients, 60.0, "its place is free")


def test_a_follower_that_will_not_call_again_is_sent_what_comes_until_it_goes(
    path: Path, server: ControlServer, desk: Desk
) -> None:
    desk.records.add(PAGE * 3)
    with raw(path) as sock:
        sock.sendall(frame({"protocol": 1, "id": 1, "verb": "events", "args": {"follow": True}}))
        sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: any(one.has_ended for one in tuple(server._clients)), 60.0, "it has said so")
        desk.records.add()
        server.recorded()
        assert [read_reply(sock)["item"]["seq"] for _ in range(PAGE * 3 + 1)] == list(range(1, PAGE * 3 + 2))
        assert not desk.records.closed
    wait_until(lambda: desk.records.closed == 1 and not server._clients, 60.0, "its place is free")


def test_what_is_sent_just_before_a_client_goes_is_done(path: Path, server: ControlServer, desk: Desk) -> None:
    with raw(path) as sock:
        sock.sendall(stop(1) + stop(2))
    wait_until(lambda: len(desk.kept) == 2, 60.0, "both calls were taken")
    wait_until(lambda: not server._clients, 60.0, "its place is free")


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_forked_from_the_servers_holds_no_connection_whatever_is_waited_for(
    path: Path, server: ControlServer, desk: Desk
) -> None:
    with raw(path) as full, raw(path) as idle:
        full.sendall(b"".join(map(stop, range(1, MAX_OPEN + 1))))
        wait_until(lambda: len(desk.kept) == MAX_OPEN and len(server._clients) == 2, 60.0, "one is full")
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            server.disown()
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        os.close(reading)
        try:
            server.close()
            assert full.recv(1) == b""
            assert idle.recv(1) == b""
        finally:
            os.close(writing)
            os.waitpid(child, 0)


@pytest.mark.parametrize("session", ["nosuch", "s"])
def test_any_number_of_calls_that_are_answered_at_once_may_be_sent_at_once(
    path: Path, client: Client, session: str
) -> None:
    many = 1500
    with raw(path) as sock:
        calls = ({"protocol": 1, "id": one, "verb": "events", "args": {"session": session}} for one in range(1, many))
        sock.sendall(b"".join(map(frame, calls)))
        assert [read_reply(sock)["id"] for _ in range(1, many)] == list(range(1, many))
    assert client.ask("status") == {"names": []}


class FullListener(socket.socket):
    """A listening socket whose process has no descriptor left."""

    tries = 0
    is_full = True

    def accept(self) -> tuple[socket.socket, Any]:
        self.tries += 1
        if self.is_full:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


@pytest.mark.row("F10")
def test_without_a_descriptor_for_a_client_the_others_are_served_and_it_waits(path: Path, desk: Desk) -> None:
    other = path.parent / "other.sock"
    full = FullListener(fileno=bind_control(path).detach())
    server = ControlServer(desk, [full, bind_control(other)])
    server.start()
    try:
        with Client(path, timeout=60.0) as waiting, Client(other, timeout=60.0) as client:
            for _ in range(50):
                assert client.ask("status") == {"names": []}
            assert full.tries < 10, "as often as the loop turns"
            full.is_full = False
            assert waiting.ask("status") == {"names": []}
    finally:
        server.close()


def test_one_client_too_many_is_told_so(path: Path, server: ControlServer) -> None:
    socks = [raw(path) for _ in range(MAX_CLIENTS)]
    wait_until(lambda: len(server._clients) == MAX_CLIENTS, timeout=60.0)
    with raw(path) as late:
        assert "try again" in read_reply(late)["lines"][0]
    for sock in socks:
        sock.close()
    wait_until(lambda: not server._clients, timeout=60.0)
    with Client(path, timeout=60) as client:
        assert client.ask("status") == {"names": []}


@pytest.mark.usefixtures("server")
def test_a_client_waits_no_longer_than_it_says(path: Path) -> None:
    with Client(path, timeout=0.05) as impatient, pytest.raises(AnswerTimeoutError):
        impatient.ask("stop", names=["x"])


def test_a_server_that_goes_away_is_noticed(path: Path, desk: Desk) -> None:
    server = ControlServer(desk, [bind_control(path)])
    server.start()
    with Client(path, timeout=60) as client:
        client.ask("status")
        server.close()
        server.close()
        with pytest.raises(LostError):
            client.ask("status")
    with pytest.raises(NoDaemonError, match="nobody listens"):
        Client(path)
    server.recorded()


def test_the_socket_is_closed_to_others_wherever_it_stands(tmp_path: Path, desk: Desk) -> None:
    path = tmp_path / ("d" * 120) / "control.sock"
    path.parent.mkdir(mode=0o755)
    server = ControlServer(desk, [bind_control(path)])
    server.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with Client(path, timeout=60) as client:
        assert client.ask("status") == {"names": []}
    server.close()


def test_no_socket_is_made_where_a_link_leads(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir(mode=0o755)
    (tmp_path / "run").symlink_to(other)
    with pytest.raises(NotADirectoryError, match="no control socket is made there"):
        bind_control(tmp_path / "run" / "control.sock")
    assert stat.S_IMODE(other.stat().st_mode) == 0o755
    assert not list(other.iterdir())


def test_a_socket_left_by_the_dead_is_replaced(path: Path, desk: Desk) -> None:
    bind_control(path).close()
    with pytest.raises(NoDaemonError):
        Client(path)
    server = ControlServer(desk, [bind_control(path)])
    server.start()
    with Client(path, timeout=60) as client:
        assert client.ask("status") == {"names": []}
    server.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a second user: run as root")
@pytest.mark.usefixtures("server")
def test_another_user_is_sent_away(path: Path) -> None:
    path.chmod(0o666)
    path.parent.chmod(0o755)
    # From within its directory: those above are pytest's, and another pytest that begins now closes them again.
    code = (
        "import os,socket,sys; os.setresuid(65534, 65534, 65534); s = socket.socket(socket.AF_UNIX);"
        "s.connect(sys.argv[1]); sys.stdout.buffer.write(s.makefile('rb').read()[4:])"
    )
    words = [sys.executable, "-c", code, path.name]
    done = subprocess.run(words, cwd=path.parent, capture_output=True, check=True)
    assert "user 65534 may not" in json.loads(done.stdout)["lines"][0]


def test_who_connected_is_what_the_kernel_says() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert peer_uid(one) == os.getuid()


def test_client_and_server_speak_the_same_protocol() -> None:
    assert client_module.PROTOCOL == protocol.PROTOCOL


@pytest.mark.row("F22")
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    junk=st.binary(max_size=200)
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(repr).map(str.encode)
)
@pytest.mark.usefixtures("server")
def test_whatever_is_sent_the_server_answers_the_next_client(path: Path, junk: bytes) -> None:
    with raw(path) as sock:
        sock.sendall(frame(junk) + junk)
    with Client(path, timeout=60) as client:
        assert client.ask("status") == {"names": []}
