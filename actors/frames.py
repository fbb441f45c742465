"""What travels over a link between the supervising process and a child, and how it is framed.

The protocol, told once. A link is a stream socket pair; each side owns one end, and end of file means that the
other side is dead. A frame is a four-byte big-endian length and a JSON object ``{"kind": ..., "body": ...}`` with
``kind`` out of a closed table.

A child says :class:`Hello` first. The supervising process answers :class:`Welcome`: the session's folded state and
the records that the child's own projection has missed. From then on every journaled record of the session reaches
the child in a :class:`Deliver`, in order and without gaps. The child states facts with :class:`Propose`; each
proposal has a ticket, and the ``Deliver`` that carries the ticket says that what was admitted is durable. A
proposal whose child dies before the ticket came back may or may not have been journaled: the next incarnation sees
which, because it folds the journal. :class:`Ready` is said once, after the state was rebuilt; :class:`Beat` answers
each tick from the child's own loop; :class:`Leave` asks the child to go.

Owns names, encoding and framing. Refuses to know sockets.
"""

from __future__ import annotations

import struct
from typing import Final

import attrs
import msgspec

from actors.events import Fact, Record

MAX_FRAME: Final = 256 * 1024 * 1024
"""Bytes of the largest frame: a snapshot of 20,000 tasks is below 32 MiB."""

_LENGTH: Final = struct.Struct(">I")


@attrs.frozen
class Hello:
    """First frame of a child.

    Attributes:
        child: Role id, or ``runner``.
        incarnation: The number that it was started with.
        pid: Its process id.
        since: Last seq that its projection holds; 0 for none, -1 when it keeps none.
    """

    child: str
    incarnation: int
    pid: int
    since: int


@attrs.frozen
class Welcome:
    """The answer to :class:`Hello`.

    Attributes:
        session: Session id.
        state: The folded :class:`actors.state.SessionState` as JSON.
        seq: Last record that ``state`` holds.
        missed: Records after ``Hello.since`` up to ``seq``: for the projection only, ``state`` holds them.
    """

    session: str
    state: msgspec.Raw
    seq: int
    missed: tuple[Record, ...]


@attrs.frozen
class Deliver:
    """Journaled records, in order, and what became of the child's own proposals.

    Attributes:
        records: In order of seq.
        tickets: Proposals of this child that are durable now (or refused).
        refusals: Why facts of these proposals were not admitted, a line each.
    """

    records: tuple[Record, ...]
    tickets: tuple[int, ...] = ()
    refusals: tuple[str, ...] = ()


@attrs.frozen
class Propose:
    """Facts that the child wants journaled: judged one by one, and what is admitted of them is durable together."""

    ticket: int
    facts: tuple[Fact, ...]


@attrs.frozen
class Ready:
    """The child has rebuilt its state and works."""


@attrs.frozen
class Beat:
    """The child's own loop is alive.

    Attributes:
        mono: Seconds of the machine's monotonic clock when the loop answered.
    """

    mono: float


@attrs.frozen
class Leave:
    """The child is asked to end in order.

    Attributes:
        grace: Seconds until it is killed.
    """

    grace: float


Frame = Hello | Welcome | Deliver | Propose | Ready | Beat | Leave

FRAME_TYPES: Final[dict[str, type[Frame]]] = {cls.__name__: cls for cls in Frame.__args__}


@attrs.frozen
class _Envelope:
    kind: str
    body: msgspec.Raw


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_BODIES: Final[dict[str, msgspec.json.Decoder[Frame]]] = {
    kind: msgspec.json.Decoder(cls) for kind, cls in FRAME_TYPES.items()
}
_ENCODER: Final = msgspec.json.Encoder()


class FrameError(ValueError):
    """Bytes that are no frame of this protocol."""


def encode_frame(frame: Frame) -> bytes:
    """Write a frame down, its length before it."""
    payload = _ENCODER.encode(_Envelope(type(frame).__name__, msgspec.Raw(_ENCODER.encode(frame))))
    return _LENGTH.pack(len(payload)) + payload


def decode_frame(payload: bytes) -> Frame:
    """Read one frame's payload.

    Raises:
        FrameError: It is not JSON of a known kind with the fields of that kind.
    """
    try:
        envelope = _ENVELOPE.decode(payload)
        return _BODIES[envelope.kind].decode(envelope.body)
    # Nested too deep, msgspec raises RecursionError; bytes that are no UTF-8 are a UnicodeDecodeError of Python's.
    except (msgspec.MsgspecError, KeyError, UnicodeDecodeError, RecursionError) as error:
        message = f"not a frame: {error}"
        raise FrameError(message) from error


class FrameReader:
    """Cuts a stream of bytes into frames; keeps what is incomplete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Take in bytes as they came; return the frames that are complete now, in order.

        Raises:
            FrameError: The stream holds something that is no frame; the link is of no more use.
        """
        self._buffer += data
        frames: list[Frame] = []
        start = 0
        while len(self._buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer, start)
            if length > MAX_FRAME:
                message = f"a frame of {length} bytes is larger than {MAX_FRAME}"
                raise FrameError(message)
            end = start + _LENGTH.size + length
            if len(self._buffer) < end:
                break
            frames.append(decode_frame(bytes(self._buffer[start + _LENGTH.size : end])))
            start = end
        del self._buffer[:start]
        return frames
