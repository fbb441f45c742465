"""Which tasks were completed although the recovered journal has lost that: what was put aside testifies to it.

``session.json`` and ``execution.jsonl`` are written after the journal, so a completion that they have was durable: it
was reported, and the task is not to be executed again in that session. What they know of sessions that had ended the
milestone file has as well.

Owns that search. Refuses to decide what is put aside, and what becomes of the tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from actors.files import read_bytes
from actors.past_sessions import milestone_of_session
from actors.state import Phase
from supervisor.beginning import RESUMABLE
from supervisor.projection import load_session_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from actors.paths import ProjectPaths

_MOST_BYTES: Final = 1 << 30


class _Line(msgspec.Struct):
    event_type: str = ""
    task_id: str | None = None


_LINE: Final = msgspec.json.Decoder(_Line)


def testified(paths: ProjectPaths, aside: Sequence[Path]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return, by milestone, the newest session of which something was put aside, and its tasks that were completed.

    Args:
        paths: Of the project.
        aside: Where a recovery has put what knew more than it kept.
    """
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    places = {paths.sessions, paths.all_logs}
    sessions = {path.parent.name for path in aside if path.parent.parent in places}
    for session in sorted(sessions, key=begun):
        files = [path for path in aside if path.parent.name == session]
        found[milestone_of_session(session)] = (session, tuple(dict.fromkeys(_completed(paths, session, files))))
    return found


def begun(session: str) -> str:
    """Return the part of a session's id that says when it began, which sorts by it."""
    return session[-len("20260101_000000-00000000") :]


def _completed(paths: ProjectPaths, session: str, files: Sequence[Path]) -> Iterator[str]:
    sheets = [path for path in files if path.name.startswith("session.json.")]
    sheet = load_session_json(sheets[0] if sheets else paths.session_json(session))
    if sheet is not None and sheet.status not in RESUMABLE:
        return
    if sheet is not None:
        yield from (task for task, word in sheet.tasks.items() if word == Phase.COMPLETED.value)
    for path in files:
        if path.name.startswith("execution.jsonl."):
            yield from _completed_in(path)


def _completed_in(path: Path) -> Iterator[str]:
    try:
        lines = read_bytes(path, _MOST_BYTES).splitlines()
    except OSError:  # what it knew is not known then
        return
    for line in lines:
        try:
            one = _LINE.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):  # the disk may have damaged more than the journal
            continue
        if one.event_type == "task_completed" and one.task_id:
            yield one.task_id
