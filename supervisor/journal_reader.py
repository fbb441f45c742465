"""Reading a journal without owning it, for `status` and the like, beside a live writer or without one.

A reader never changes the journal and never makes it wait. What it returns is checked event by event; the
chain as a whole is verified by the writer when it opens the file.

Owns reading. Refuses to know writing and verification. An instance belongs to one thread at a time.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import msgspec

from actors.events import Record, SessionStarted
from supervisor import chain, journal_file, journal_verify
from supervisor.journal_errors import (
    JournalDamagedError,
    JournalError,
    JournalMissingError,
    JournalVersionError,
)
from supervisor.journal_file import Form, failure
from supervisor.journal_verify import UNDECODABLE, SessionSummary

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CURRENT: Final = Form()
"""The form that this version writes."""

_CHUNK: Final = 1_000
_LAST_NUMBER: Final = (1 << 63) - 1
"""The largest number that SQLite knows."""

# As bytes, because a damaged type does not change what stands there, and must not keep it from being found.
_SESSION: Final = "CAST(session AS BLOB)"
_SELECT: Final = "SELECT seq, session, wall, mono, kind, body, crc FROM events"


class JournalReader:
    """A journal that is only read; the writer may be alive, or nobody.

    Args:
        path: The file, for messages.
        connection: To it; closed by :meth:`close`.
    """

    _checks: ClassVar[bool] = True

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path: Final = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a journal for reading, without the project lock.

        Raises:
            JournalMissingError: There is none.
            JournalVersionError: It has another form.
            JournalDamagedError: It is no journal.
            JournalBrokenError: It cannot be read.
        """
        journal_file.refuse_unfinished(path)
        if not path.exists():
            raise JournalMissingError(path)
        connection = None
        # Read before the journal is: a live writer writes the journal first, so it can only be ahead of this.
        witness = journal_file.read_witness(path)
        try:
            connection = _connect_to_read(path)
            version = journal_verify.version_of(connection, path, CURRENT)
            if version != CURRENT.version:
                raise JournalVersionError(path, version, CURRENT.version)
            ((last,),) = connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchall()
            if witness is not None and witness[0] > last:
                raise JournalDamagedError(path, last + 1, f"it ends before event {witness[0]}, which it held")
        except (sqlite3.Error, JournalError, *UNDECODABLE) as error:
            if connection is not None:
                connection.close()
            if isinstance(error, JournalError):
                raise
            raise journal_file.failure(path, error) from error
        return cls(path, connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def last_seq(self) -> int:
        """Seq of the last event; 0 for none."""
        ((seq,),) = self._fetch("SELECT coalesce(max(seq), 0) FROM events", ())
        return int(seq)

    def sessions(self) -> tuple[SessionSummary, ...]:
        """Return where each session stands, in the order in which they began.

        Raises:
            JournalDamagedError: The beginning of one is not what was written.
            JournalBrokenError: They cannot be read.
        """
        spans = self._fetch(
            f"SELECT {_SESSION}, min(seq), max(seq), count(*) FROM events GROUP BY 1 ORDER BY 2",  # noqa: S608 - constants
            (),
        )
        present, last = sum(count for *_, count in spans), max((last for _, _, last, _ in spans), default=0)
        if present != last:
            raise JournalDamagedError(self.path, 0, f"of the journal's {last} events {present} can be found")
        return tuple(self._summary(first, last) for _, first, last, _ in spans)

    def _summary(self, first: int, last: int) -> SessionSummary:
        """Read the beginning of a session, which is the one place that names it and its milestone."""
        for record in self._decoded(self._fetch(f"{_SELECT} WHERE seq = ?", (first,))):
            is_start = record.kind == SessionStarted.__name__
            return SessionSummary(
                record.session, journal_verify.milestone_of(record.body) if is_start else "", first, last
            )
        raise JournalDamagedError(self.path, first, "it cannot be found")

    def records(self, session: str | None = None, after: int = 0) -> Iterator[Record]:
        """Yield events in order.

        Args:
            session: Only those of this session; ``None`` for all.
            after: Only those with a greater seq.

        Raises:
            JournalDamagedError: One is not what was written.
            JournalBrokenError: They cannot be read.
        """
        where, parameters = " WHERE seq > ?", [min(after, _LAST_NUMBER)]
        if session is not None:
            where += f" AND {_SESSION} = ?"
        # In chunks, so that no statement stays open: a reader that is slow would keep the log from being
        # reset.
        while rows := self._fetch(
            f"{_SELECT}{where} ORDER BY seq LIMIT {_CHUNK}",
            (*parameters, session.encode()) if session is not None else (*parameters,),
        ):
            for record in self._decoded(rows):
                if record.seq != parameters[0] + 1 and (session is None or record.seq <= parameters[0]):
                    raise JournalDamagedError(self.path, parameters[0] + 1, f"event {record.seq} stands in its place")
                parameters[0] = record.seq
                yield record
            if len(rows) < _CHUNK:
                return

    def _decoded(self, rows: list[tuple[int, bytes, float, float, bytes, bytes, int]]) -> Iterator[Record]:
        texts: dict[bytes, str] = {}
        checks = self._checks
        for seq, session, wall, mono, kind, body, check in rows:
            try:
                whole = not checks or chain.crc(chain.canonical(seq, session, wall, mono, kind, body)) == check
            except UNDECODABLE as error:
                raise failure(self.path, error, seq) from error
            if not whole:
                raise JournalDamagedError(self.path, seq, "its checksum is not that of what stands there")
            name = texts.get(session) or texts.setdefault(session, session.decode())
            word = texts.get(kind) or texts.setdefault(kind, kind.decode())
            yield Record(seq, name, wall, mono, word, msgspec.Raw(body))

    def _fetch(self, query: str, parameters: tuple[object, ...]) -> list[Any]:
        try:
            return self._connection.execute(query, parameters).fetchall()
        except (sqlite3.Error, *UNDECODABLE) as error:
            raise journal_file.failure(self.path, error) from error

    def close(self) -> None:
        """Close the file; closing twice does nothing."""
        self._connection.close()


def _connect_to_read(path: Path) -> sqlite3.Connection:
    connection = journal_file.connect(path, "ro")
    try:
        connection.execute("SELECT 1 FROM events LIMIT 1").fetchone()
        connection.execute(journal_file.CACHE)
    except UNDECODABLE:
        connection.close()
        raise
    except sqlite3.Error:
        connection.close()
        log = path.with_name(path.name + "-wal")
        # SQLite shares memory through a file beside the database. Where we may not make one and nobody has
        # left a log, nobody can be writing either.
        if os.access(path.parent, os.W_OK) or (log.exists() and log.stat().st_size):
            raise
        return journal_file.connect(path, "ro&immutable=1")
    return connection
