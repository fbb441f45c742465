"""What the projections say of sessions that are over.

Owns the reading of ``sessions/<session>/session.json`` of other sessions. Refuses to know what it is asked for. What
cannot be read proves nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import msgspec

from actors.events import SessionStatus
from actors.files import read_bytes
from actors.log_lines import timestamp
from actors.paths import ProjectPaths

_ID: Final = re.compile(r"exec-(?P<milestone>.+)-(?P<begun>\d{8}_\d{6})-[0-9a-f]{8}")


def milestone_of_session(session: str) -> str:
    """Return the milestone that a session's id names; ``""`` for what is no such id."""
    found = _ID.fullmatch(session)
    return "" if found is None else found["milestone"]


class _Sheet(msgspec.Struct, frozen=True):
    """The part of ``session.json`` that matters here."""

    milestone_id: str
    status: str
    ended_at: str | None


class PastSessions:
    """The sessions of a project, as they are when they are first asked for.

    Args:
        project: Absolute path of the project directory.
    """

    def __init__(self, project: str) -> None:
        self._paths = ProjectPaths(Path(project))
        self._latest: dict[str, str] | None = None

    def completed_before(self, session: str, wall: float) -> bool:
        """Return whether the latest session of a session's milestone completed it before a moment.

        Args:
            session: Id of any session of the milestone.
            wall: Seconds of the epoch.
        """
        milestone = milestone_of_session(session)
        if not milestone:
            return False
        if self._latest is None:
            self._latest = self._list()
        latest = self._latest.get(milestone)
        sheet = None if latest is None else self._sheet(latest)
        if sheet is None or sheet.milestone_id != milestone or sheet.ended_at is None:
            return False
        return sheet.status == SessionStatus.COMPLETED.value and sheet.ended_at < timestamp(wall)

    def _list(self) -> dict[str, str]:
        """Return the latest session of each milestone."""
        try:
            names = [entry.name for entry in self._paths.sessions.iterdir()]
        except OSError:
            return {}
        found = [match for match in map(_ID.fullmatch, names) if match is not None]
        return {match["milestone"]: match[0] for match in sorted(found, key=lambda match: match["begun"])}

    def _sheet(self, session: str) -> _Sheet | None:
        try:
            return msgspec.json.decode(read_bytes(self._paths.session_json(session)), type=_Sheet)
        except (OSError, ValueError):
            return None
