"""A peer that does not read never holds its sender up, and one that is gone or speaks nonsense is noticed."""

import contextlib
import socket
from collections.abc import Iterator

import attrs
import pytest

from actors.events import RoleFinished, encode_event
from actors.frames import FRAMING, Beat, Deliver, Frame, FrameReader, Propose, Ready, encode_frame
from supervisor import links
from supervisor.links import Link


@attrs.frozen
class Pair:
    """A link and its peer's end, which does not block either."""

    link: Link[Frame]
    peer: socket.socket

    def read(self) -> bytes:
        """Take what has arrived at the peer."""
        taken = b""
        with contextlib.suppress(BlockingIOError):
            while data := self.peer.recv(1 << 20):
                taken += data
        return taken

    def drain(self) -> bytes:
        """Let the peer read until nothing waits for it any more."""
        taken = self.read()
        while self.link.wants_to_write:
            assert self.link.flush()
            taken += self.read()
        return taken


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.settimeout(0.0)
    with theirs:
        link = Link(ours, "session/runner", 1, FRAMING)
        yield Pair(link, theirs)
        link.close()


def large(number: int) -> Frame:
    return Propose(number, (encode_event(RoleFinished("runner", "x" * (1 << 20))),))


def test_what_fits_is_sent_at_once(pair: Pair) -> None:
    assert pair.link.send(Ready())
    assert pair.read() == encode_frame(Ready())
    assert not pair.link.wants_to_write


@pytest.mark.row("F24")
def test_a_peer_that_does_not_read_blocks_nobody_and_gets_everything_later_in_order(pair: Pair) -> None:
    frames = [large(number) for number in range(5)]
    for frame in frames:
        assert pair.link.send(frame)
    assert pair.link.wants_to_write
    taken = pair.drain()
    assert [encode_frame(frame) for frame in FrameReader().feed(taken)] == [encode_frame(one) for one in frames]


def test_a_small_frame_does_not_overtake_what_waits(pair: Pair) -> None:
    pair.link.send(large(1))
    pair.link.send(Ready())
    taken = pair.drain()
    assert [type(frame) for frame in FrameReader().feed(taken)] == [Propose, Ready]


@pytest.mark.row("F24")
def test_beyond_the_limit_a_peer_that_does_not_read_is_beyond_help(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MAX_BACKLOG", 3 << 20)
    sent = [pair.link.send(large(number)) for number in range(5)]
    assert sent[:2] == [True, True]
    assert sent[-1] is False


def test_a_single_frame_beyond_the_limit_is_sent_to_a_peer_that_is_not_behind(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "MAX_BACKLOG", 1 << 10)
    assert pair.link.send(large(1))


def test_what_waits_for_a_peer_that_died_is_noticed(pair: Pair) -> None:
    pair.link.send(large(1))
    pair.peer.close()
    assert not pair.link.flush()


def test_sending_to_a_peer_that_is_gone_fails(pair: Pair) -> None:
    pair.peer.close()
    assert not pair.link.send(Ready())
    assert pair.link.read() == ([], True)


def test_reading_without_anything_there_returns_at_once(pair: Pair) -> None:
    assert pair.link.read() == ([], False)


def test_what_a_peer_said_before_it_died_is_read_with_its_end(pair: Pair) -> None:
    pair.peer.sendall(encode_frame(Ready()) + encode_frame(Beat(1.0)) + encode_frame(Beat(2.0))[:-1])
    pair.peer.close()
    frames, gone = pair.link.read()
    assert frames == [Ready(), Beat(1.0)]
    assert gone or pair.link.read() == ([], True)


def test_much_that_a_dead_peer_left_in_the_socket_is_read_to_its_end(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links, "_CHUNK", 64)
    stream = encode_frame(Deliver(())) * 500
    pair.peer.sendall(stream)
    pair.peer.close()
    frames, gone = pair.link.read()
    assert len(frames) == 500
    assert gone or pair.link.read() == ([], True)


def test_a_peer_that_ended_without_reading_is_noticed_too(pair: Pair) -> None:
    pair.link.send(Ready())
    pair.peer.close()
    assert pair.link.read() == ([], True)


@pytest.mark.parametrize(
    "nonsense", [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\2{}", b"\xff" * 8], ids=["text", "no frame", "too large"]
)
def test_nonsense_counts_as_the_end_of_the_peer(pair: Pair, nonsense: bytes) -> None:
    pair.peer.sendall(nonsense)
    assert pair.link.read() == ([], True)


def test_frames_are_put_together_from_several_readings(pair: Pair) -> None:
    data = encode_frame(Beat(3.5))
    pair.peer.sendall(data[:5])
    assert pair.link.read() == ([], False)
    pair.peer.sendall(data[5:])
    assert pair.link.read() == ([Beat(3.5)], False)
