"""Getting a project going again whose journal is damaged or behind what is known of it.

What is whole is kept: the longest beginning of the journal whose chain holds. What is not is put aside,
never deleted: the damaged files, and every projection that speaks of events which the kept beginning does
not have (their roles rebuild those). What tasks did in the lost part is not known afterwards: they count as
not done. So this is done when a person asks for it, under the project lock, and never by itself.

Where a process lost the file of its journal, and left a copy of what it held, the longer whole beginning is kept.

The protocol, which can be cut short anywhere and done again. The whole beginning is written to
``state.db.recovered``, which is there whole or not at all; while it is there the journal is refused by everybody
else. Then the files get second names (``state.db.lost-1``...), and what is ahead is renamed; then the log and the
witness of the old journal lose their first names, since they would be taken for the new one's; then the copy takes
the journal's name. Who finds the copy goes on from there, and not from what may be half put aside.

Owns the repair. Refuses to decide that there should be one.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import msgspec

from actors.events import Fact, Record
from supervisor import chain, journal_file, journal_verify
from supervisor.journal import judge
from supervisor.journal_errors import JournalDamagedError, JournalVersionError, LostHistoryError
from supervisor.journal_reader import CURRENT
from supervisor.journal_verify import UNDECODABLE
from supervisor.ledger import Ledger
from supervisor.projection import SessionSheet, load_session_json, seen_by, task_word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actors.paths import ProjectPaths

_Event = tuple[str, float, float, Fact]

_KEPT_PARTS: Final = ("", "-wal", "-head", ".rescued")
_PARTS: Final = (*_KEPT_PARTS, "-shm", ".rescued-wal", ".rescued-shm")

UNKNOWN: Final = "unknown"
"""Word for a task of a session of which nothing is left."""


@attrs.frozen
class Found:
    """What a journal is like.

    Attributes:
        last: Its last event; 0 for none.
        fault: What is wrong with it, ``""`` when nothing is.
    """

    last: int
    fault: str = ""


@attrs.frozen
class LostTask:
    """A task of which the lost events told more than the kept ones do.

    Attributes:
        session: Session id.
        task: Task id.
        was: What it was, as the session's projection says.
        now: What it counts as from here on.
    """

    session: str
    task: str
    was: str
    now: str


@attrs.frozen
class Recovered:
    """What became of a journal.

    Attributes:
        kept: The last event that was kept; 0 for none.
        known: The last event that anything knows of: those after ``kept`` are lost.
        tasks: What that means for tasks.
        aside: Where the damaged files and the projections that were ahead are now.
    """

    kept: int
    known: int = 0
    tasks: tuple[LostTask, ...] = ()
    aside: tuple[Path, ...] = ()


def look(paths: ProjectPaths) -> Found:
    """Judge a journal as a run would; nothing is changed.

    Args:
        paths: The project.

    Raises:
        JournalError: It cannot be read, or is of a newer form.
    """
    path = paths.state_db
    if _has_begun(path):
        return Found(0, journal_file.UNFINISHED)
    if journal_file.rescued_path(path).exists():
        return Found(0, journal_file.TAKEN_AWAY)
    try:
        verified = judge(path, seen_by(paths))
    except (JournalDamagedError, LostHistoryError) as error:
        return Found(0, error.what)
    # Somebody has brought back a whole journal meanwhile.
    journal_file.recovered_path(path).unlink(missing_ok=True)
    return Found(0 if verified is None else verified.seq)


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
    copy = journal_file.recovered_path(path)
    if not _has_begun(path):
        kept: list[_Event] = []
        for source in (path, journal_file.rescued_path(path)):
            whole = list(whole_beginning(source)) if source.exists() else []
            kept = whole if len(whole) > len(kept) else kept
        journal_file.create(copy, CURRENT, kept)
    folds: dict[str, Ledger] = {}

    def fold(record: Record) -> None:
        folds.setdefault(record.session, Ledger(record.session)).state.apply(record)

    verified = journal_verify.verify(copy, CURRENT, None, fold)
    number = _number(path)
    seqs = [seen.seq for seen in seen_by(paths)] + [_witnessed(path, number)]
    last = {name: summary.last_seq for name, summary in verified.sessions.items()}
    aside = [*_link_aside(path, number), *_rename_ahead(paths, number, last)]
    sheets = _sheets_aside(paths, number)
    tasks = tuple(lost for sheet in sheets for lost in _lost_tasks(sheet, folds.get(sheet.id)))
    for part in _PARTS[1:]:
        path.with_name(path.name + part).unlink(missing_ok=True)
    copy.rename(path)
    journal_file.sync(path.parent)
    known = max(verified.seq, *seqs, *(sheet.seq for sheet in sheets))
    return Recovered(verified.seq, known, tasks, tuple(aside))


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
        head = chain.linker(expected)(previous, form)
        if head != digest:
            return
        yield session.decode(), wall, mono, Fact(kind.decode(), msgspec.Raw(body))


# --- putting aside -----------------------------------------------------------------------------------------------


def _lost(path: Path, number: int, part: str) -> Path:
    return path.with_name(f"{path.name}.lost-{number}{part}")


def _number(path: Path) -> int:
    """Return the number of this recovery: that of the one that was cut short, or the first that is free."""
    for number in itertools.count(1):
        name = _lost(path, number, "")
        if name.exists() and path.exists() and name.samefile(path):
            return number
        if not any(_lost(path, number, part).exists() for part in _PARTS):
            return number
    raise AssertionError("numbers do not end")


def _has_begun(path: Path) -> bool:
    """Tell whether a recovery was cut short after it had begun to put things aside."""
    if not journal_file.recovered_path(path).exists():
        return False
    return not path.exists() or _lost(path, _number(path), "").exists()


def _link_aside(path: Path, number: int) -> Iterator[Path]:
    for part in _KEPT_PARTS:
        source, name = path.with_name(path.name + part), _lost(path, number, part)
        if not name.exists() and source.exists():
            name.hardlink_to(source)
        if name.exists():
            yield name


def _rename_ahead(paths: ProjectPaths, number: int, last: Mapping[str, int]) -> Iterator[Path]:
    for one in seen_by(paths):
        if one.session not in last or one.seq > last[one.session]:
            ahead = Path(one.where)
            yield ahead.rename(ahead.with_name(f"{ahead.name}.lost-{number}"))


# --- what is lost ------------------------------------------------------------------------------------------------


def _witnessed(path: Path, number: int) -> int:
    """Return the last event that the old journal's witness speaks of, 0 without one."""
    witness = journal_file.read_witness(path) or journal_file.read_witness(_lost(path, number, ""))
    return 0 if witness is None else witness[0]


def _sheets_aside(paths: ProjectPaths, number: int) -> list[SessionSheet]:
    found = (load_session_json(path) for path in sorted(paths.sessions.glob(f"*/session.json.lost-{number}")))
    return [sheet for sheet in found if sheet is not None]


def _lost_tasks(sheet: SessionSheet, ledger: Ledger | None) -> Iterator[LostTask]:
    for task, was in sheet.tasks.items():
        state = None if ledger is None else ledger.state.tasks.get(task)
        now = UNKNOWN if state is None else task_word(state)
        if was != now:
            yield LostTask(sheet.id, task, was, now)
