"""Worktrees of sessions that are over: whoever takes the project next removes what nobody else would.

The git role removes the slots of its session before that ends. It cannot where an operator had stopped it, where a
cancelled session was ended at once, and where everything was killed when there was nothing more to execute. Nobody
begins a completed milestone again, so those slots would be there for ever.

Removed is what is provably ours and of no use: a slot in this repository's slots directory, of a milestone whose latest
session the journal knows to be over. What did not land is archived first, as at the end of any session. A session that
may go on keeps its slots: its work is in them. What cannot be judged, kept or removed is left for another start.

Owns that judgement. Refuses to know the lock, and who ended the processes that worked there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, assert_never

from actors.events import SessionEnded, SessionResumed, SessionSettled, SessionStatus
from actors.surroundings import slots_directory
from supervisor.beginning import RESUMABLE
from supervisor.waited import complete

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.events import Record
    from actors.paths import ProjectPaths
    from supervisor.journal_reader import JournalReader

_SLOT: Final = re.compile(r"(?P<milestone>.+)-slot-\d+(?:\.(?:index|capture|record|setup)(?:\.lock)?)?")

_LAST: Final = 256
"""How many of the journal's events, up to a session's last, are looked at: what becomes of it is said near its end."""

_TELLING: Final = frozenset(kind.__name__ for kind in (SessionResumed, SessionSettled, SessionEnded))


def clear_leftovers(paths: ProjectPaths, journal: JournalReader, configured: str, *, only: str = "") -> tuple[str, ...]:
    """Remove the slots of milestones whose latest session is over; takes some programs only where there are any.

    Args:
        paths: Of the project, whose lock is held, and of whose former sessions no process lives.
        journal: Verified.
        configured: The slots directory as configured, ``""`` for the user's cache directory.
        only: The milestone whose slots are meant, ``""`` for all: a session that lives removes its own.

    Returns:
        A line for people for each milestone: what was removed and kept, or why it was not.

    Raises:
        JournalError: The journal cannot be read.
    """
    directory = slots_directory(str(paths.project), configured)
    left = {one for one in _milestones_in(directory) if only in {"", one}}
    if not left:
        return ()
    latest = {one.milestone_id: one for one in journal.sessions() if one.milestone_id in left}
    return tuple(
        _clear(paths, milestone, session.id, directory)
        for milestone, session in sorted(latest.items())
        if is_over(journal.records(session.id, max(0, session.last_seq - _LAST)))
    )


def is_over(records: Iterable[Record]) -> bool:
    """Tell from the last events of a session whether nothing will ever be executed in its slots again."""
    over = False
    for record in records:
        if record.kind not in _TELLING:
            continue
        match record.event():
            case SessionResumed():
                over = False
            case SessionSettled(status=status):
                over = status is SessionStatus.COMPLETED
            case SessionEnded(status=status):
                over = over or status not in RESUMABLE
            case _:
                pass
    return over


def _milestones_in(directory: str) -> frozenset[str]:
    try:
        found = (_SLOT.fullmatch(entry.name) for entry in Path(directory).iterdir())
        return frozenset(match["milestone"] for match in found if match is not None)
    except OSError:  # as a rule there is none
        return frozenset()


def _clear(paths: ProjectPaths, milestone: str, session: str, directory: str) -> str:
    """Remove the slots of one milestone; return what came of it."""
    from actors.git import flows as git  # noqa: PLC0415 - as a rule nothing is left, and it takes half a megabyte

    try:
        repo = complete(git.inspect(str(paths.project), milestone, directory))
        results = complete(git.remove_slots(repo)) if isinstance(repo, git.Repository) else (repo,)
    except OSError as error:
        return f"worktrees of {session}, which is over, are left in {directory}: {error}"
    reasons, kept = [], []
    for one in results:
        match one:
            case git.Archived(ref=ref):
                kept.append(ref)
            case git.SetAside(path=path):
                kept.append(path)
            case git.Refusal(reason=reason) | git.NotARepository(reason=reason):
                reasons.append(reason)
            case _:
                assert_never(one)
    if reasons:
        return f"worktrees of {session}, which is over, are left in {directory}: {'; '.join(reasons)}"
    said = f"; what had not landed is kept: {', '.join(kept)}" if kept else ""
    return f"worktrees of {session}, which is over, were removed{said}"
