"""The journal of a project: every session's events, in order, durable, with one writer.

The protocol. The supervising process holds the project lock, opens the journal, and is its only writer.
Opening verifies the whole chain and compares its end with everything that can know of later events: the
witness beside the file, and what the caller has *seen* in projections. Only then is anything written. An
append is one transaction; when it returns, its events are on the disk, and nothing may be acknowledged
before. An append that found no space left no trace and may be repeated. After any other failure nobody knows
what is on the disk, so this object refuses every further write: the process ends, and the next start verifies
before it acts. Errors of a sync are never retried, because the kernel reports them once and then forgets the
data.

Owns order, durability and the chain. Refuses to know what the facts mean, the clock, and the lock. An
instance belongs to one thread at a time.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, ClassVar, Final, Self

import attrs

from actors.events import Fact, Record, SessionStarted
from actors.failpoints import at
from supervisor import chain, journal_file, journal_verify
from supervisor.journal_errors import (
    JournalBrokenError,
    JournalDamagedError,
    JournalError,
    JournalFullError,
    JournalGoneError,
    JournalMissingError,
    JournalVersionError,
    LostHistoryError,
)
from supervisor.journal_file import FULL, Form
from supervisor.journal_reader import CURRENT, JournalReader
from supervisor.journal_verify import SessionSummary, Verified

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

__all__ = [
    "CURRENT",
    "Journal",
    "JournalBrokenError",
    "JournalDamagedError",
    "JournalError",
    "JournalFullError",
    "JournalGoneError",
    "JournalMissingError",
    "JournalReader",
    "JournalVersionError",
    "LostHistoryError",
    "Seen",
    "SessionSummary",
]

RESERVE: Final = 256 * 1024
"""Bytes kept back, so that a pause can be journaled on a full disk."""


@attrs.frozen
class Seen:
    """Something outside the journal that knows of an event.

    Attributes:
        where: What, as a message should name it (a path, a commit).
        session: The session that it speaks of.
        seq: The last event that it knows of that session; 0 when it only knows the session.
    """

    where: str
    session: str
    seq: int


class Journal(JournalReader):
    """A journal with its one writer. Make one with :meth:`open`, under the project lock."""

    # Opening has verified what is read here, and nobody else writes.
    _checks: ClassVar[bool] = False

    def __init__(self, path: Path, connection: sqlite3.Connection, verified: Verified) -> None:
        super().__init__(path, connection)
        self._seq = verified.seq
        self._head = verified.head
        self._sessions = dict(verified.sessions)
        self._broken = ""
        self._file = journal_file.identity(path)
        self._directory = journal_file.identity(path.parent)
        self._witness = os.open(
            journal_file.witness_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        self._leave_witness()
        self.restore_reserve()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        seen: Iterable[Seen] = (),
        form: Form = CURRENT,
        told: Callable[[Record], object] | None = None,
    ) -> Self:
        """Verify a journal and take it up, or make one where nothing says that there was one.

        Args:
            path: ``.milestones/state.db``.
            seen: What projections know; each must be in the journal.
            form: The current form.
            told: Called with each event, in order, while the chain is verified: what it makes of them is void when
                this raises. Raises nothing itself.

        Raises:
            JournalDamagedError: An event, or the file, is not what was written.
            JournalVersionError: The file has a newer form.
            LostHistoryError: Something knows of events that are not there.
            JournalFullError: There is no space to make or update the file.
            JournalBrokenError: The file cannot be read or written.
        """
        seen = tuple(seen)
        try:
            journal_file.refuse_unfinished(path)
            if not path.exists():
                _refuse_lost(path, seen)
                journal_file.create(path, form)
            verified = _verified(path, seen, form, told)
            if verified.version < form.version:
                journal_file.migrate(path, form, verified.version)
                verified = _verified(path, seen, form, told)
            return cls(path, _connect_to_write(path, verified), verified)
        except OSError as error:
            raise JournalBrokenError(path, str(error)) from error

    # --- writing --------------------------------------------------------------------------------------------

    def append(self, facts: Sequence[tuple[str, Fact]], wall: float, mono: float) -> tuple[Record, ...]:
        """Write facts in one transaction; they are durable when this returns.

        Args:
            facts: Session id and fact, in order.
            wall: Seconds since the epoch.
            mono: Seconds of the monotonic clock.

        Returns:
            The facts with their places in the journal.

        Raises:
            JournalFullError: No space; nothing was written, and it can be repeated.
            JournalBrokenError: The write failed, or an earlier one did; this journal must be given up.
            JournalGoneError: As :meth:`check_place`.
            msgspec.ValidationError: A fact that begins a session names no milestone; nothing was written.
        """
        if self._broken:
            raise JournalBrokenError(self.path, self._broken)
        self.check_place()
        records: list[Record] = []
        rows: list[journal_file.Row] = []
        head = self._head
        # Minus zero comes back from SQLite as zero, and would have another hash.
        wall, mono = wall + 0.0, mono + 0.0
        for seq, (session, fact) in enumerate(facts, self._seq + 1):
            record = Record(seq, session, wall, mono, fact.kind, fact.body)
            row = journal_file.row_of(record, head)
            head = row[-1]
            records.append(record)
            rows.append(row)
        summaries = self._summaries(records)
        if rows:
            self._write(rows)
            self._seq, self._head = rows[-1][0], head
            self._sessions.update(summaries)
            self._leave_witness()
            at("journal.append.witnessed")
        return tuple(records)

    def check_place(self) -> None:
        """See whether the file still has its name: what is written to another one is lost with this process.

        Whoever moves the whole directory takes the lock along, and is found by that. Who removes it is found here, by
        the witness, which has no name any more.

        Raises:
            JournalGoneError: It was removed or replaced. What it held was copied, and this journal must be given up.
        """
        found = journal_file.identity(self.path)
        if found == self._file:
            return
        is_in_place = journal_file.identity(self.path.parent) == self._directory
        if not is_in_place and (found is not None or os.fstat(self._witness).st_nlink):
            return
        self._broken = f"the file was {'removed' if found is None else 'replaced'} while it was in use"
        raise JournalGoneError(self.path, self._broken, journal_file.rescue(self.path, self._connection))

    def _write(self, rows: list[journal_file.Row]) -> None:
        connection = self._connection
        try:
            at("journal.append.begun")
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(journal_file.INSERT, rows)
            at("journal.append.written")
            connection.execute("COMMIT")
            at("journal.append.committed")
        except sqlite3.Error as error:
            raise self._failed(error) from error
        except BaseException:
            self._broken = "a write was interrupted half-way"
            raise

    def _failed(self, error: sqlite3.Error) -> JournalError:
        reason = f"{error} [{getattr(error, 'sqlite_errorname', 'unknown')}]"
        self._broken = reason
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if getattr(error, "sqlite_errorcode", 0) in FULL:
                self._broken = ""
                return JournalFullError(self.path, reason)
        return JournalBrokenError(self.path, reason)

    def _summaries(self, records: list[Record]) -> dict[str, SessionSummary]:
        summaries: dict[str, SessionSummary] = {}
        for record in records:
            name = record.session
            known = summaries.get(name) or self._sessions.get(name)
            first, milestone = (record.seq, "") if known is None else (known.first_seq, known.milestone_id)
            if record.kind == SessionStarted.__name__:
                milestone = journal_verify.milestone_of(record.body)
            summaries[name] = SessionSummary(name, milestone, first, record.seq)
        return summaries

    def _leave_witness(self) -> None:
        # The events are durable whatever becomes of this; a witness that is behind claims less, never more.
        with contextlib.suppress(OSError):
            os.pwrite(self._witness, chain.pack_witness(self._seq, self._head), 0)

    # --- reading --------------------------------------------------------------------------------------------

    @property
    def last_seq(self) -> int:
        """Seq of the last durable event; 0 for none."""
        return self._seq

    @property
    def head(self) -> bytes:
        """Hash of the last durable event, or the journal's genesis."""
        return self._head

    def sessions(self) -> tuple[SessionSummary, ...]:
        """Return where each session stands, in the order in which they began."""
        return tuple(self._sessions.values())

    # --- space ----------------------------------------------------------------------------------------------

    @property
    def _reserve(self) -> Path:
        return self.path.with_name("state.reserve")

    def use_reserve(self) -> bool:
        """Give up the space that is kept back; return whether there was any."""
        try:
            self._reserve.unlink()
        except FileNotFoundError:
            return False
        return True

    def restore_reserve(self) -> bool:
        """Keep space back again; return whether there was enough."""
        try:
            reserve = os.open(self._reserve, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            return False
        try:
            os.posix_fallocate(reserve, 0, RESERVE)
        except OSError:
            self._reserve.unlink(missing_ok=True)
            return False
        finally:
            os.close(reserve)
        return True

    # --- the end --------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Move everything into the one file and close it; closing twice does nothing.

        A reader, or a disk without space, leaves the log beside the file, which is as good. What a file holds that has
        lost its name meanwhile is saved first, as by :meth:`check_place`.
        """
        if self._witness < 0:
            return
        if not self._broken:
            with contextlib.suppress(JournalGoneError):  # it is given up here in any case
                self.check_place()
        os.close(self._witness)
        self._witness = -1
        at("journal.close.begun")
        try:
            if not self._broken:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) not in FULL:
                self._broken = str(error)
                raise JournalBrokenError(self.path, self._broken) from error
        finally:
            with contextlib.ExitStack() as stack:
                if self._broken:
                    # SQLite's last connection syncs the log again, copies it and removes it. After a failed sync that
                    # is for the next start, which verifies it first; so this must not be the last.
                    with contextlib.suppress(sqlite3.Error, JournalError, OSError):
                        guard = stack.enter_context(contextlib.closing(journal_file.connect(self.path, "ro")))
                        guard.execute("SELECT count(*) FROM meta").fetchone()
                self._connection.close()
        at("journal.closed")


def _refuse_lost(path: Path, seen: tuple[Seen, ...]) -> None:
    """Refuse to begin anew where something says that there was a journal."""
    left = [journal_file.witness_path(path), path.with_name(path.name + "-wal")]
    traces = [str(trace) for trace in left if trace.exists()] + [one.where for one in seen]
    if traces:
        raise LostHistoryError(path, f"the journal is gone, but {traces[0]} speaks of sessions that it held")


def examine(path: Path, seen: Iterable[Seen] = (), told: Callable[[Record], object] | None = None) -> Verified | None:
    """Verify a journal as :meth:`Journal.open` does, without taking it up; ``None`` where there is none and never was.

    Needs no lock: beside a live writer the events up to this moment are verified. Arguments and errors as of
    :meth:`Journal.open`.
    """
    journal_file.refuse_unfinished(path)
    return judge(path, seen, told)


def judge(path: Path, seen: Iterable[Seen] = (), told: Callable[[Record], object] | None = None) -> Verified | None:
    """Do as :func:`examine`, also where a recovery was cut short."""
    seen = tuple(seen)
    try:
        if not path.exists():
            _refuse_lost(path, seen)
            return None
        return _verified(path, seen, CURRENT, told)
    except OSError as error:
        raise JournalBrokenError(path, str(error)) from error


def _verified(path: Path, seen: tuple[Seen, ...], form: Form, told: Callable[[Record], object] | None) -> Verified:
    witness = journal_file.read_witness(path)
    verified = journal_verify.verify(path, form, witness, told)
    if witness is not None and witness[0] > verified.seq:
        raise LostHistoryError(
            path, f"the journal ends at event {verified.seq}, but event {witness[0]} was acknowledged"
        )
    for one in seen:
        session = verified.sessions.get(one.session)
        if session is None:
            raise LostHistoryError(path, f"{one.where} speaks of session {one.session}, which the journal lacks")
        if one.seq > session.last_seq:
            raise LostHistoryError(
                path,
                f"{one.where} knows of event {one.seq} of session {one.session}; "
                f"the journal ends that session at {session.last_seq}",
            )
    return verified


def _connect_to_write(path: Path, verified: Verified) -> sqlite3.Connection:
    connection = journal_file.connect(path, "rw")
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(journal_file.CACHE)
        # A former life may have failed to sync its log: what was verified must be in the file before more
        # follows.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        ((seq, head),) = connection.execute(
            "SELECT coalesce(max(seq), 0), coalesce((SELECT hash FROM events ORDER BY seq DESC LIMIT 1), ?) "
            "FROM events",
            (verified.head,),
        ).fetchall()
        # SQLite does this too when it has made its log, and does not say when it fails.
        journal_file.sync(path.parent)
    except OSError:
        connection.close()
        raise
    except sqlite3.Error as error:
        connection.close()
        raise journal_file.failure(path, error) from error
    if (seq, head) != (verified.seq, verified.head):
        connection.close()
        raise JournalBrokenError(path, "another process writes it")
    return connection
