"""Verifying a journal: one pass over the chain, from the genesis to the last event.

Reads through a connection that cannot write, so a file that is refused stays exactly as it was found. Who wants to
fold what it reads is told each event in the same pass: reading a long journal twice takes as long as hashing it.

Owns the judgement whether the file holds what was written. Refuses to change anything.
"""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

import attrs
import msgspec

from actors.events import Record, SessionStarted
from supervisor import chain, journal_file
from supervisor.journal_errors import JournalDamagedError, JournalVersionError

UNDECODABLE: Final = (struct.error, TypeError, ValueError, OverflowError, MemoryError, msgspec.MsgspecError)
"""What reading a row raises of which a length or a type is damaged: it has another type, or asks for more memory than
there is."""


@attrs.frozen
class SessionSummary:
    """Where a session stands in the journal.

    Attributes:
        id: Session id.
        milestone_id: What it executes.
        first_seq: Its first event.
        last_seq: Its last event so far.
    """

    id: str
    milestone_id: str
    first_seq: int
    last_seq: int


@attrs.frozen
class Verified:
    """A journal whose every event was checked.

    Attributes:
        seq: The last event; 0 for none.
        head: Its hash, or the journal's genesis.
        sessions: In the order in which they began.
        version: Form that the file has.
    """

    seq: int
    head: bytes
    sessions: dict[str, SessionSummary]
    version: int


@attrs.frozen
class _Named:
    id: str


@attrs.frozen
class _Started:
    milestone: _Named


_STARTED: Final = msgspec.json.Decoder(_Started)


def milestone_of(body: bytes | msgspec.Raw) -> str:
    """Return the milestone id in the body of a :class:`~actors.events.SessionStarted`, without its tasks."""
    return _STARTED.decode(body).milestone.id


def version_of(connection: sqlite3.Connection, path: Path, form: journal_file.Form) -> int:
    """Return the form that a file has.

    Raises:
        JournalDamagedError: It is no journal.
        JournalVersionError: Its form is newer than ours.
        sqlite3.Error: It cannot be read.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != journal_file.APPLICATION:
        raise JournalDamagedError(path, 0, "this file is not a journal of milestoned, or its first bytes are damaged")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version < 1:
        raise JournalDamagedError(path, 0, f"the journal says that it has form {version}: its first bytes are damaged")
    if version > form.version:
        raise JournalVersionError(path, version, form.version)
    tables = connection.execute("SELECT sql FROM sqlite_master ORDER BY rowid").fetchall()
    if [table for (table,) in tables] != [table.encode() for table in journal_file.SCHEMA]:
        raise JournalDamagedError(path, 0, "the journal's tables are not those that were made")
    return int(version)


def verify(
    path: Path,
    form: journal_file.Form,
    known: tuple[int, bytes] | None,
    told: Callable[[Record], object] | None = None,
) -> Verified:
    """Walk the whole chain in one pass.

    Args:
        path: The file.
        form: The current form.
        known: Seq and hash of an event that must be in the journal, ``None`` for none.
        told: Called with each event, once it is known to follow the one before it; the whole may still be refused.
            Events of an older form are not told. Raises nothing.

    Raises:
        JournalDamagedError: An event, or the file, is not what was written.
        JournalVersionError: The form is newer than ours.
        JournalBrokenError: It cannot be read.
    """
    progress = [1]
    try:
        with contextlib.closing(journal_file.connect(path, "ro")) as connection:
            version = version_of(connection, path, form)
            return _walk(connection, path, progress, known, version, told if version == form.version else None)
    except (sqlite3.Error, *UNDECODABLE) as error:
        raise journal_file.failure(path, error, progress[0] if progress[0] > 1 else 0) from error


def _walk(
    connection: sqlite3.Connection,
    path: Path,
    progress: list[int],
    known: tuple[int, bytes] | None,
    version: int,
    told: Callable[[Record], object] | None,
) -> Verified:
    ids = connection.execute("SELECT id FROM meta").fetchall()
    if len(ids) != 1:
        raise JournalDamagedError(path, 0, "the journal has lost its own id")
    head = chain.genesis(*ids[0])
    present, name, span = b"", "", [0, 0]
    spans: dict[str, list[int]] = {}
    names: dict[str, str] = {}
    words: dict[bytes, str] = {}
    known_seq, known_hash = known or (0, b"")
    (last,) = connection.execute("SELECT max(seq) FROM events").fetchone()
    canonical, crc, link = chain.canonical, chain.crc, chain.linker(last or 0)
    started = SessionStarted.__name__.encode()
    expected = 1
    for row in connection.execute(f"SELECT {journal_file.COLUMNS} FROM events ORDER BY seq"):  # noqa: S608 - constants
        seq, session, wall, mono, kind, body, check, previous, digest = row
        progress[0] = expected
        form = canonical(seq, session, wall, mono, kind, body)
        if seq != expected or previous != head or crc(form) != check:
            raise JournalDamagedError(path, expected, _difference(row, expected, head))
        head = link(previous, form)
        if head != digest:
            raise JournalDamagedError(path, expected, "its hash is not the hash of what stands there")
        if seq == known_seq and head != known_hash:
            raise JournalDamagedError(path, seq, "another event was acknowledged with this number")
        if session != present:
            present, name = session, session.decode()
            span = spans.setdefault(name, [seq, seq])
        span[1] = seq
        if kind == started:
            names[name] = milestone_of(body)
        if told is not None:
            word = words.get(kind) or words.setdefault(kind, kind.decode())
            told(Record(seq, name, wall, mono, word, msgspec.Raw(body)))
        expected += 1
    summaries = (SessionSummary(session, names.get(session, ""), *span) for session, span in spans.items())
    return Verified(expected - 1, head, {summary.id: summary for summary in summaries}, version)


def _difference(row: journal_file.Row, expected: int, head: bytes) -> str:
    if row[0] != expected:
        return f"event {row[0]} stands in its place"
    if row[7] != head:
        return "it does not follow the event before it"
    return "its checksum is not that of what stands there"
