"""How messages of a closed set of classes travel as a stream of bytes, and never as pickles.

A frame is a four-byte big-endian length and a JSON object ``{"kind": ..., "body": ...}`` with ``kind`` out of a closed
table. Owns encoding, decoding and the cutting of a stream. Refuses to know sockets, and what any message means.
"""

from __future__ import annotations

import struct
from typing import Final, Generic, TypeVar

import attrs
import msgspec

MAX_FRAME: Final = 256 * 1024 * 1024
"""Bytes of the largest frame: a snapshot of 20,000 tasks is below 32 MiB."""

_LENGTH: Final = struct.Struct(">I")
_LARGE: Final = 1 << 16

F = TypeVar("F")


@attrs.frozen
class _Envelope:
    kind: str
    body: msgspec.Raw


_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_ENCODER: Final = msgspec.json.Encoder()


class FrameError(ValueError):
    """Bytes that are no frame of this protocol."""


class Framing(Generic[F]):
    """One closed table of messages.

    Args:
        types: Frozen structs or attrs classes; the name of each is its kind.
    """

    def __init__(self, *types: type[F]) -> None:
        self._bodies = {cls.__name__: msgspec.json.Decoder(cls) for cls in types}

    def encode(self, frame: F) -> bytes:
        """Write a frame down, its length before it.

        Raises:
            TypeError: It holds something that JSON has no form for.
        """
        payload = _ENCODER.encode(_Envelope(type(frame).__name__, msgspec.Raw(_ENCODER.encode(frame))))
        return _LENGTH.pack(len(payload)) + payload

    def decode(self, payload: bytes | memoryview) -> F:
        """Read one frame's payload.

        Raises:
            FrameError: It is not JSON of a known kind with the fields of that kind.
        """
        try:
            envelope = _ENVELOPE.decode(payload)
            return self._bodies[envelope.kind].decode(envelope.body)
        # Nested too deep, msgspec raises RecursionError; bytes that are no UTF-8 are a UnicodeDecodeError of Python's.
        except (msgspec.MsgspecError, KeyError, UnicodeDecodeError, RecursionError) as error:
            message = f"not a frame: {error}"
            raise FrameError(message) from error

    def reader(self) -> StreamReader[F]:
        """Return what cuts one stream into frames of this table."""
        return StreamReader(self)


class StreamReader(Generic[F]):
    """Cuts a stream of bytes into frames; keeps what is incomplete.

    Args:
        framing: The table.
    """

    def __init__(self, framing: Framing[F]) -> None:
        self._framing = framing
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[F]:
        """Take in bytes as they came; return the frames that are complete now, in order.

        Raises:
            FrameError: The stream holds something that is no frame; the link is of no more use.
        """
        # What came is read where it lies, unless it goes on with what came before.
        stream: bytes | bytearray = data
        if self._buffer:
            self._buffer += data
            stream = self._buffer
        frames: list[F] = []
        start = 0
        while len(stream) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(stream, start)
            if length > MAX_FRAME:
                message = f"a frame of {length} bytes is larger than {MAX_FRAME}"
                raise FrameError(message)
            end = start + _LENGTH.size + length
            if len(stream) < end:
                break
            if length >= _LARGE:  # given away as it stands: a copy of a snapshot would touch as much memory again
                payload = memoryview(stream)[start + _LENGTH.size : end]
                start = end
                if stream is self._buffer:
                    stream, start = self._buffer[end:], 0
                    self._buffer = stream
                frames.append(self._framing.decode(payload))
                continue
            with memoryview(stream) as view:  # a slice of a buffer itself would be one more copy
                copied = bytes(view[start + _LENGTH.size : end])
            frames.append(self._framing.decode(copied))
            start = end
        if stream is self._buffer:
            del self._buffer[:start]
        else:
            self._buffer += memoryview(data)[start:]
        return frames
