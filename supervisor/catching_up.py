"""What a killed life has left behind the journal: ``session.json`` and the roles' logs of sessions that have ended.

A session that goes on brings its own files up to date. One whose end was journaled, and whose supervising process was
killed before it could show that, is never taken up again: its files would say for ever that it was running.

Owns which sessions those are, and writing them. Refuses to know the lock and who writes the journal.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from actors.events import UnknownKindError
from actors.plan import Plan
from actors.projection import Jsonl, lines_of
from actors.state import ROLES
from supervisor.ledger import Ledger
from supervisor.projection import load_session_json, replace_file, session_json, unreachable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.events import Record
    from actors.paths import ProjectPaths
    from supervisor.journal_reader import JournalReader


def catch_up(paths: ProjectPaths, journal: JournalReader, *, only: str = "") -> None:
    """Write the files of each session that has ended and whose ``session.json`` knows less than the journal.

    What cannot be read or written is left for another start: all of this can be rebuilt.

    Args:
        paths: Of the project, whose lock is held.
        journal: Verified.
        only: The session to look at, ``""`` for all: the files of one that lives are others' to write.
    """
    for summary in journal.sessions():
        if only not in {"", summary.id}:
            continue
        path = paths.session_json(summary.id)
        if not path.parent.is_dir():
            continue  # cleaned away by somebody
        sheet = load_session_json(path)
        if sheet is None or sheet.seq < summary.last_seq:
            with contextlib.suppress(OSError, UnknownKindError, msgspec.ValidationError):
                _write(paths, summary.id, tuple(journal.records(summary.id)))


def _write(paths: ProjectPaths, session: str, records: Sequence[Record]) -> None:
    state = Ledger(session, records).state
    if not state.ended_wall:
        return
    for role in ROLES:
        log = Jsonl.of_role(str(paths.project), session, role)
        with contextlib.closing(log):
            log.append(lines_of([(record, record.event()) for record in records], state.milestone.id, role))
    # Last: it is what says that the rest is there.
    replace_file(paths.session_json(session), session_json(state, unreachable(state, Plan.of(state.milestone))))
