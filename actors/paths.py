"""Where everything of a project stands below its ``.milestones`` directory.

Owns names and modes: what is ours alone (``sessions``, ``logs``) is closed to others, the rest is the user's
and left as it is. Refuses to know what the files hold. Ids come from files and from people, so none of them
is joined to a path before it was found to be a plain name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

IGNORED: Final = ("/state.db*", "/state.reserve", "/lock", "/run/", "/sessions/", "/logs/")
"""What never belongs into the user's commits, as lines of ``.milestones/.gitignore``."""

_GITIGNORE_HEAD: Final = b"# Written by milestoned: its own records, which do not belong into commits.\n"


def new_session_id(milestone_id: str, now: datetime, random: str) -> str:
    """Return ``exec-<milestone>-<YYYYmmdd_HHMMSS>-<8 hex>``.

    Args:
        milestone_id: What the session executes.
        now: When it begins, in the zone that the id should show.
        random: At least 8 random hexadecimal digits; the first 8 are used.
    """
    return f"exec-{_plain(milestone_id)}-{now:%Y%m%d_%H%M%S}-{_plain(random[:8])}"


@attrs.frozen
class ProjectPaths:
    """The paths of one project.

    Attributes:
        project: Absolute path of the project directory.
    """

    project: Path

    @property
    def milestones(self) -> Path:
        """The directory that everything stands in; the user's own, often committed."""
        return self.project / ".milestones"

    @property
    def active(self) -> Path:
        """Milestone files that can be executed."""
        return self.milestones / "active"

    @property
    def completed(self) -> Path:
        """Milestone files whose milestones are done."""
        return self.milestones / "completed"

    @property
    def state_db(self) -> Path:
        """The journal."""
        return self.milestones / "state.db"

    @property
    def lock(self) -> Path:
        """The project lock; never deleted by us."""
        return self.milestones / "lock"

    @property
    def control(self) -> Path:
        """The control socket of whoever holds the lock, in a directory that is closed to others."""
        return self.milestones / "run" / "control.sock"

    @property
    def config(self) -> Path:
        """The project's own configuration."""
        return self.milestones / "config" / "milestoned.yaml"

    @property
    def gitignore(self) -> Path:
        """What keeps our records out of the user's commits."""
        return self.milestones / ".gitignore"

    @property
    def sessions(self) -> Path:
        """The directory of all sessions' projections."""
        return self.milestones / "sessions"

    @property
    def all_logs(self) -> Path:
        """The directory of all sessions' logs."""
        return self.milestones / "logs"

    def file(self, milestone_id: str) -> Path:
        """Return where an active milestone's file stands.

        Raises:
            ValueError: The id is no plain name.
        """
        return self.active / f"{_plain(milestone_id)}.yaml"

    def completed_file(self, milestone_id: str) -> Path:
        """Return where a completed milestone's file stands.

        Raises:
            ValueError: The id is no plain name.
        """
        return self.completed / f"{_plain(milestone_id)}.yaml"

    def session_dir(self, session: str) -> Path:
        """Return the directory of a session's projections."""
        return self.sessions / _plain(session)

    def session_json(self, session: str) -> Path:
        """Return where a session's state is shown."""
        return self.session_dir(session) / "session.json"

    def agent_json(self, session: str, role: str) -> Path:
        """Return where a role's state in a session is shown."""
        return self.session_dir(session) / "agents" / f"{_plain(role)}.json"

    def logs(self, session: str) -> Path:
        """Return the directory of a session's logs."""
        return self.all_logs / _plain(session)

    def jsonl(self, session: str, role: str) -> Path:
        """Return where a role writes the events of a session.

        Raises:
            KeyError: There is no such role.
        """
        from actors.log_lines import FILES  # noqa: PLC0415 - who only completes a name needs no vocabulary of events

        return self.logs(session) / FILES[role]

    def task_log(self, session: str, attempt: str) -> Path:
        """Return where the output of an attempt (``<task>.<number>``) goes."""
        return self.logs(session) / "tasks" / f"{_plain(attempt)}.log"

    def prepare_session(self, session: str) -> None:
        """Make a session's directories, each closed to others.

        Raises:
            OSError: They cannot be made.
        """
        leaves = (self.session_dir(session) / "agents", self.logs(session) / "tasks")
        for leaf in leaves:
            for directory in (leaf.parent.parent, leaf.parent, leaf):
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write_gitignore(self) -> bool:
        """Add the lines that are missing to ``.milestones/.gitignore``; return whether any were.

        What the user wrote stays byte for byte, and what the user took back (``!/logs/``) stays taken back.

        Raises:
            OSError: The file cannot be read or written.
        """
        try:
            present = self.gitignore.read_bytes()
        except FileNotFoundError:
            present = b""
        lines = {line.strip().lstrip(b"!").strip(b"/") for line in present.splitlines()}
        missing = [line for line in IGNORED if line.strip("/").encode() not in lines]
        if not missing or b"*" in lines:
            return False
        lead = b"\n" if present and not present.endswith(b"\n") else b""
        addition = lead + _GITIGNORE_HEAD + "".join(f"{line}\n" for line in missing).encode()
        with self.gitignore.open("ab") as file:
            file.write(addition)
        return True


def _plain(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        message = f"{name!r} is no plain name: letters, digits, '.', '_' and '-', beginning with a letter or digit"
        raise ValueError(message)
    return name
