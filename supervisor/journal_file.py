"""The journal's file: its form, how it is made, opened, and brought up to date.

A journal is made under another name and renamed when it is whole, so ``state.db`` never exists half-made: an
empty one, or one without its table, is damage and not a beginning.

Beside the file stands the *witness*: seq and hash of the last event, written after each transaction. The
witness may be behind (it is not synced), never ahead; when it is ahead, or names another hash, events are
missing that were acknowledged, which SQLite cannot notice: a single flipped bit in the write-ahead log ends
the log there.

Owns the form on disk. Refuses to know who writes when, and what the facts mean.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

import attrs
import msgspec

from actors.events import Fact, Record
from actors.failpoints import at
from supervisor import chain
from supervisor.journal_errors import (
    JournalBrokenError,
    JournalDamagedError,
    JournalDeniedError,
    JournalError,
    JournalFullError,
    JournalMissingError,
    JournalVersionError,
)

APPLICATION: Final = 0x4D53544A
"""SQLite's ``application_id`` of a journal (``MSTJ``)."""

COLUMNS: Final = "seq, session, wall, mono, kind, body, crc, previous, hash"
INSERT: Final = f"INSERT INTO events ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - constants

SCHEMA: Final = (
    "CREATE TABLE meta (id BLOB NOT NULL)",
    """\
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    session TEXT NOT NULL,
    wall REAL NOT NULL,
    mono REAL NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    crc INTEGER NOT NULL,
    previous BLOB NOT NULL,
    hash BLOB NOT NULL
)""",
)
"""The tables, word for word as SQLite keeps them: a changed word would change what reading returns."""

_SMALLEST: Final = 512
"""Bytes of the smallest page that a database can have."""

CACHE: Final = "PRAGMA cache_size=-256"
"""Bounds what a connection keeps of the file to 256 KiB, where SQLite's default is 2 MB.

The system keeps the same pages. Reads the file, so it is for a connection that has been seen to be able to.
"""

_PATIENCE: Final = 5.0
"""Seconds to wait for another connection (a reader that is recovering, somebody's SQLite shell)."""

# What says that the machine could not read, not that the file is wrong.
_UNREADABLE: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_IOERR,
    }
)
FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
"""What SQLite says when the disk has no room, of a database and of its shared memory."""

UNFINISHED: Final = "a recovery of the journal was cut short"
TAKEN_AWAY: Final = "the file of the journal was taken away under a run, which saved what it held"

Row = tuple[int, str, float, float, str, str, int, bytes, bytes]
"""One event as it is inserted, in the order of :data:`COLUMNS`."""

Migration = Callable[[Fact], Fact]
"""Rewrites a fact of one form as the next form has it. Pure."""


@attrs.frozen
class Form:
    """Which form of the journal is current, and the way there.

    Attributes:
        version: The current form, from 1.
        migrations: From each older form that can be read to the next.
    """

    version: int = 1
    migrations: Mapping[int, Migration] = attrs.Factory(dict)


def witness_path(path: Path) -> Path:
    """Return where a journal's witness stands."""
    return path.with_name(path.name + "-head")


def read_witness(path: Path) -> tuple[int, bytes] | None:
    """Return seq and hash of the last event according to the witness; ``None`` without a readable one."""
    try:
        return chain.unpack_witness(witness_path(path).read_bytes())
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise denied(path) from error


def denied(path: Path) -> JournalError:
    """Return what it means that this user may not read a journal: whose it is."""
    with contextlib.suppress(OSError, KeyError):
        return JournalDeniedError(path, path.owner())
    return JournalDeniedError(path, "another user")


def recovered_path(path: Path) -> Path:
    """Return where a recovery makes the journal that is to take a damaged one's place."""
    return path.with_name(path.name + ".recovered")


def rescued_path(path: Path) -> Path:
    """Return where a process that loses the file of its journal leaves a copy of what it held."""
    return path.with_name(path.name + ".rescued")


def identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file or directory from another one of its name; ``None`` when there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def rescue(path: Path, connection: sqlite3.Connection) -> Path | None:
    """Save what a journal holds whose file has lost its name; return where, or ``None`` when that fails.

    The directory is made again where it went as well, but not what it stood in.

    Args:
        path: The journal's path.
        connection: To the file that stood there.
    """
    fresh = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(exist_ok=True)
        fresh.unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        with contextlib.closing(connect(fresh, "rw")) as copy:
            connection.backup(copy)
        sync(fresh)
        fresh.rename(rescued_path(path))
        sync(path.parent)
    except (sqlite3.Error, OSError):
        return None
    return rescued_path(path)


def refuse_unfinished(path: Path) -> None:
    """Refuse a journal that a recovery was replacing when it was cut short, or that was saved and waits for one.

    Raises:
        JournalDamagedError: It was.
    """
    if recovered_path(path).exists():
        raise JournalDamagedError(path, 0, UNFINISHED, "run `milestonectl recover` again, which goes on with it")
    saved = rescued_path(path)
    if saved.exists():
        cure = f"run `milestonectl recover`, which goes on with what is in {saved}; until then nothing is executed"
        raise JournalDamagedError(path, 0, TAKEN_AWAY, cure)


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a database that exists.

    Nothing else may open and close the file in this process meanwhile: that would drop SQLite's POSIX locks.

    Args:
        path: The file.
        mode: ``ro`` or ``rw``, or ``ro&immutable=1`` for a file that cannot change.

    Raises:
        JournalDamagedError: It is to be read, and is empty but for a byte: SQLite would take that for a new database,
            and remove the write-ahead log beside it, which may hold everything.
        JournalMissingError: It is to be read, and has gone.
        JournalBrokenError: It is to be read, and cannot be reached.
        sqlite3.Error: It cannot be opened.
    """
    if mode.startswith("ro") and _size(path) < _SMALLEST:
        raise JournalDamagedError(path, 0, "the file is empty, or was cut off")
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=_PATIENCE,
    )
    connection.text_factory = bytes
    try:
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError as error:
        raise JournalMissingError(path) from error
    except OSError as error:
        raise JournalBrokenError(path, error.strerror or str(error)) from error


def undecoded(error: Exception) -> str:
    """Say what keeps an event from being decoded, without Python's words for what we wanted to do with it."""
    return "a value of it is missing or of another kind" if isinstance(error, TypeError) else str(error)


def failure(path: Path, error: Exception, seq: int = 0) -> JournalError:
    """Return what a failed read means: damage, or a machine that cannot read.

    Args:
        path: The file.
        error: What SQLite raised, or what Python did of what SQLite said.
        seq: The event that was being read, 0 for none in particular.
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    if code in FULL:
        return JournalFullError(path, str(error))
    if code & 0xFF in _UNREADABLE and code != sqlite3.SQLITE_IOERR_SHORT_READ:
        return JournalBrokenError(path, str(error))
    if not isinstance(error, sqlite3.Error):
        return JournalDamagedError(path, seq, f"it cannot be decoded ({undecoded(error)})")
    return JournalDamagedError(path, seq, f"SQLite cannot read it ({error})")


def create(path: Path, form: Form, events: Iterable[tuple[str, float, float, Fact]] = ()) -> None:
    """Make a journal, durably: when this returns, it is there and whole.

    Args:
        path: Where; an existing journal there is replaced.
        form: The form to write.
        events: Session, wall, mono and fact of each event to begin with.

    Raises:
        JournalFullError: No space; nothing was made.
        OSError: The directory cannot be written.
    """
    fresh = path.with_name(path.name + ".new")
    for stale in (fresh, *(fresh.with_name(fresh.name + end) for end in ("-wal", "-shm", "-journal"))):
        stale.unlink(missing_ok=True)
    os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    try:
        with contextlib.closing(connect(fresh, "rw")) as connection:
            _fill(connection, form, events)
        sync(fresh)
        at("journal.create.filled")
        fresh.rename(path)
        at("journal.create.renamed")
        sync(path.parent)
    except sqlite3.Error as error:
        fresh.unlink(missing_ok=True)
        raise failure(path, error) from error


def _fill(connection: sqlite3.Connection, form: Form, events: Iterable[tuple[str, float, float, Fact]]) -> None:
    # The file has another name and is synced as a whole, so SQLite need not be careful here.
    connection.execute("PRAGMA journal_mode=OFF")
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute(f"PRAGMA application_id={APPLICATION}")
    connection.execute(f"PRAGMA user_version={form.version}")
    for table in SCHEMA:
        connection.execute(table)
    journal_id = os.urandom(16)
    connection.execute("BEGIN")
    connection.execute("INSERT INTO meta VALUES (?)", (journal_id,))
    connection.executemany(INSERT, _rows(chain.genesis(journal_id), events))
    connection.execute("COMMIT")
    connection.execute("PRAGMA journal_mode=WAL")


def _rows(head: bytes, events: Iterable[tuple[str, float, float, Fact]]) -> Iterator[Row]:
    for seq, (session, wall, mono, fact) in enumerate(events, 1):
        row = row_of(Record(seq, session, wall, mono, fact.kind, fact.body), head)
        head = row[-1]
        yield row


def row_of(record: Record, previous: bytes) -> Row:
    """Chain an event to the one before it."""
    body = bytes(record.body)
    form = chain.canonical(record.seq, record.session.encode(), record.wall, record.mono, record.kind.encode(), body)
    return (
        record.seq,
        record.session,
        record.wall,
        record.mono,
        record.kind,
        body.decode(),
        chain.crc(form),
        previous,
        chain.linker(record.seq)(previous, form),
    )


def migrate(path: Path, form: Form, found: int) -> None:
    """Bring a verified journal of an older form up to date; the old file is kept as ``state.db.v<form>``.

    Raises:
        JournalVersionError: There is no way from that form to ours.
        JournalFullError: No space; the old file is untouched.
    """
    steps = [form.migrations.get(version) for version in range(found, form.version)]
    if any(step is None for step in steps):
        raise JournalVersionError(path, found, form.version)

    def rewritten(connection: sqlite3.Connection) -> Iterator[tuple[str, float, float, Fact]]:
        query = "SELECT session, wall, mono, kind, body FROM events ORDER BY seq"
        for session, wall, mono, kind, body in connection.execute(query):
            fact = Fact(kind.decode(), msgspec.Raw(body))
            for step in steps:
                fact = step(fact) if step is not None else fact
            yield session.decode(), wall, mono, fact

    kept = path.with_name(f"{path.name}.v{found}")
    # What an unclean end left in the write-ahead log must be in the file before that is linked to its new
    # name.
    with contextlib.closing(connect(path, "rw")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    kept.unlink(missing_ok=True)
    kept.hardlink_to(path)
    at("journal.migrate.kept")
    # The new chain has new hashes: an old witness would call it another journal.
    witness_path(path).unlink(missing_ok=True)
    at("journal.migrate.unwitnessed")
    with contextlib.closing(connect(kept, "ro&immutable=1")) as connection:
        create(path, form, rewritten(connection))


def sync(path: Path) -> None:
    """Bring a file, or a directory's list of names, to the disk.

    Raises:
        OSError: The disk did not take it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
