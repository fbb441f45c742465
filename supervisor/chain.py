"""The hash chain of the journal: what makes a lost, changed or moved event visible.

Every event is written down in one canonical form, in which each part has a fixed width or its length before
it, so that no two different events have the same form. Its CRC finds damage to the event itself. Its hash
covers the form and the hash of the event before, back to the journal's own id; so an event cannot be changed,
left out, doubled or moved, nor taken from another journal, without a difference here.

Owns the form and the arithmetic. Refuses to know where events are stored: values in, values out.
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Callable
from typing import Final

from actors.digests import sha256

FORM: Final = b"milestoned journal 1\n"
"""Names the form; another form needs another name."""

HASH_SIZE: Final = 32
"""Bytes of a hash."""

_LONG: Final = 2_000
"""Events that are hashed in 13 ms without OpenSSL, and in 5 with it."""

_HEAD: Final = struct.Struct(">QddIIQ")
_WITNESS: Final = struct.Struct(f">Q{HASH_SIZE}sI")

WITNESS_SIZE: Final = _WITNESS.size
"""Bytes of a written witness."""


def genesis(journal_id: bytes) -> bytes:
    """Return what stands for the hash before the first event of a journal."""
    return sha256(FORM + journal_id).digest()


def canonical(seq: int, session: bytes, wall: float, mono: float, kind: bytes, body: bytes) -> bytes:
    """Write an event down so that no other event looks the same.

    Args:
        seq: Place in the journal, from 1.
        session: Session id, UTF-8.
        wall: Seconds since the epoch.
        mono: Seconds of the monotonic clock.
        kind: Kind of the fact, UTF-8.
        body: JSON of the fact, UTF-8.

    Raises:
        struct.error: A number is none, or does not fit.
        TypeError: A text is no bytes.
    """
    head = _HEAD.pack(seq, wall, mono, len(session), len(kind), len(body))
    return b"".join((head, session, kind, body))


crc: Final = zlib.crc32
"""CRC-32 of an event's canonical form."""


def link(previous: bytes, form: bytes) -> bytes:
    """Return the hash of an event.

    Args:
        previous: Hash of the event before, or :func:`genesis`.
        form: The event's :func:`canonical` form.
    """
    return sha256(previous + form).digest()


def linker(events: int) -> Callable[[bytes, bytes], bytes]:
    """Return what does :func:`link` for a journal with so many events: a long one is worth OpenSSL's memory."""
    return link if events < _LONG else _swift_link()


@functools.cache
def _swift_link() -> Callable[[bytes, bytes], bytes]:
    from hashlib import sha256 as swift  # noqa: PLC0415 - 4 MB, see actors/digests.py

    return lambda previous, form: swift(previous + form).digest()


def pack_witness(seq: int, head: bytes) -> bytes:
    """Write down how far a journal goes: the seq and the hash of its last event."""
    bare = _WITNESS.pack(seq, head, 0)
    return _WITNESS.pack(seq, head, zlib.crc32(bare))


def unpack_witness(data: bytes) -> tuple[int, bytes] | None:
    """Read what :func:`pack_witness` wrote; ``None`` when it is torn or damaged."""
    if len(data) != WITNESS_SIZE:
        return None
    seq, head, check = _WITNESS.unpack(data)
    return (seq, head) if zlib.crc32(_WITNESS.pack(seq, head, 0)) == check else None
