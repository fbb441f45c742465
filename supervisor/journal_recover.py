"""Getting a project going again whose journal is damaged or behind what is known of it.

What is whole is kept: the longest beginning of the journal whose chain holds. What is not is put aside,
never deleted: the damaged files, and every projection that speaks of events which the kept beginning does
not have (their roles rebuild those). What tasks did in the lost part is not known afterwards: they count as
not done. So this is done when a person asks for it, under the project lock, and never by itself.

Owns the repair. Refuses to decide that there should be one.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import msgspec

from actors.events import Fact
from supervisor import chain, journal_file
from supervisor.journal import Journal
from supervisor.journal_errors import JournalDamagedError, JournalVersionError, LostHistoryError
from supervisor.journal_reader import CURRENT
from supervisor.journal_verify import UNDECODABLE
from supervisor.projection import seen_by

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.paths import ProjectPaths

_Event = tuple[str, float, float, Fact]

_PARTS: Final = ("", "-wal", "-shm", "-head")


@attrs.frozen
class Recovered:
    """What became of a journal.

    Attributes:
        kept: The last event that was kept; 0 for none.
        aside: Where the damaged files and the projections that were ahead are now.
    """

    kept: int
    aside: tuple[Path, ...]


def last_of_whole(paths: ProjectPaths) -> int | None:
    """Return the last event of a journal with which nothing is wrong, 0 where there never was one.

    Args:
        paths: The project; its lock must be held.

    Returns:
        ``None`` when a run would refuse the journal as damaged or lost.

    Raises:
        JournalError: It cannot be read, or is of a newer form.
    """
    seen = seen_by(paths)
    if not paths.state_db.exists():
        left = any(paths.state_db.with_name(paths.state_db.name + part).exists() for part in _PARTS)
        return None if seen or left else 0
    try:
        with Journal.open(paths.state_db, seen=seen) as journal:
            return journal.last_seq
    except (JournalDamagedError, LostHistoryError):
        return None


def recover(paths: ProjectPaths) -> Recovered:
    """Make a journal of what is whole and put the rest aside.

    Args:
        paths: The project; its lock must be held and its journal closed.

    Raises:
        JournalFullError: There is no space for the copy; nothing was changed.
        JournalVersionError: The journal was written by a newer version.
        JournalBrokenError: The journal cannot be read.
        OSError: Something cannot be moved.
    """
    path = paths.state_db
    number = 1
    while any(_lost(path, number, part).exists() for part in _PARTS):
        number += 1
    events = list(whole_beginning(path)) if path.exists() else []
    copy = path.with_name("state.db.recovered")
    journal_file.create(copy, CURRENT, events)
    last = {session: seq for seq, (session, *_) in enumerate(events, 1)}
    aside: list[Path] = []
    for part in _PARTS:
        with contextlib.suppress(FileNotFoundError):
            aside.append(path.with_name(path.name + part).rename(_lost(path, number, part)))
    for one in seen_by(paths):
        if one.session not in last or one.seq > last[one.session]:
            ahead = Path(one.where)
            aside.append(ahead.rename(ahead.with_name(f"{ahead.name}.lost-{number}")))
    copy.rename(path)
    return Recovered(len(events), tuple(aside))


def whole_beginning(path: Path) -> Iterator[_Event]:
    """Yield the events of a journal up to the first that is not what was written.

    Raises:
        JournalVersionError: The form is newer than ours.
        JournalBrokenError: The file cannot be read.
    """
    try:
        with contextlib.closing(journal_file.connect(path, "ro")) as connection:
            ((version,),) = connection.execute("PRAGMA user_version").fetchall()
            ((application,),) = connection.execute("PRAGMA application_id").fetchall()
            if application == journal_file.APPLICATION and version > CURRENT.version:
                raise JournalVersionError(path, version, CURRENT.version)
            yield from _whole(connection)
    except sqlite3.Error as error:
        # Damage ends the whole beginning; a machine that cannot read says nothing about the file.
        failure = journal_file.failure(path, error)
        if not isinstance(failure, JournalDamagedError):
            raise failure from error
    except (JournalDamagedError, *UNDECODABLE):
        return


def _whole(connection: sqlite3.Connection) -> Iterator[_Event]:
    ids = connection.execute("SELECT id FROM meta").fetchall()
    head = chain.genesis(ids[0][0]) if ids else None
    query = f"SELECT {journal_file.COLUMNS} FROM events ORDER BY seq"  # noqa: S608 - constants
    for expected, row in enumerate(connection.execute(query), 1):
        seq, session, wall, mono, kind, body, check, previous, digest = row
        form = chain.canonical(seq, session, wall, mono, kind, body)
        head = previous if head is None else head
        if (seq, previous, check) != (expected, head, chain.crc(form)):
            return
        head = chain.link(previous, form)
        if head != digest:
            return
        yield session.decode(), wall, mono, Fact(kind.decode(), msgspec.Raw(body))


def _lost(path: Path, number: int, part: str) -> Path:
    return path.with_name(f"{path.name}.lost-{number}{part}")
