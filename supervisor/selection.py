"""What was asked of ``status``: names that people type, and the sessions and roles that they stand for. Pure.

Owns the syntax of names (``session``, ``session:role``, ``session:*``; a milestone stands for its latest session) and
the exit code. Refuses to know how anything is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.problems import closest, did_you_mean
from actors.state import ROLES, RUNNER
from supervisor.sessions import Overview, Sessions, SessionView

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from supervisor.lock import Holder

NEEDS_ATTENTION: Final = 3
UNKNOWN_NAME: Final = 4
"""Exit codes of ``supervisorctl status`` (reference: supervisorctl, section 1)."""


@attrs.frozen
class Wanted:
    """What a name stands for.

    Attributes:
        view: The session.
        roles: Which of its roles; ``None`` for the session as a whole.
    """

    view: SessionView
    roles: tuple[str, ...] | None = None


@attrs.frozen
class Unknown:
    """A name that stands for nothing.

    Attributes:
        name: As it was typed.
        message: As ``supervisorctl`` says it.
        hint: What was probably meant, ``""`` without one.
    """

    name: str
    message: str
    hint: str


@attrs.frozen
class Answer:
    """Everything that is shown.

    Attributes:
        project: The project directory.
        now: Epoch seconds.
        holder: Who supervises the project, ``None`` for nobody.
        wanted: Sessions and roles, in the order in which they are shown.
        unknown: Names that stand for nothing.
        overview: The latest sessions; ``None`` when only names were asked for.
    """

    project: Path
    now: float
    holder: Holder | None
    wanted: Sequence[Wanted]
    unknown: Sequence[Unknown]
    overview: Overview | None

    @property
    def exit_code(self) -> int:
        """0 when all is fine, else why it is not."""
        if self.unknown:
            return UNKNOWN_NAME
        return NEEDS_ATTENTION if any(_needs_attention(one) for one in self.wanted) else 0


def _needs_attention(one: Wanted) -> bool:
    if one.roles is None or not one.view.lives:
        return one.view.needs_attention
    return any(role.is_troubled for role in one.view.roles if role.role in one.roles)


def resolve(name: str, sessions: Sessions) -> Wanted | Unknown:
    """Find what a name stands for; a milestone's id is that of its latest session."""
    session_name, colon, role = name.partition(":")
    by_name = sessions.by_name()
    if session_name not in by_name:
        kind = "group" if colon and role == "*" else "process"
        return Unknown(name, f"no such {kind}", did_you_mean(closest(session_name, by_name)))
    view = sessions.view(by_name[session_name])
    roles = (*ROLES, RUNNER)
    if not colon:
        return Wanted(view)
    if role in {"*", ""}:
        return Wanted(view, roles)
    if role not in roles:
        return Unknown(name, "no such process", did_you_mean(closest(role, roles)))
    return Wanted(view, (role,))


def select(  # noqa: PLR0913 - one parameter per thing that is known
    project: Path,
    sessions: Sessions,
    names: Sequence[str],
    now: float,
    active: Sequence[str],
    completed: Sequence[str],
    *,
    everything: bool,
) -> Answer:
    """Find what was asked for.

    Args:
        project: The project directory.
        sessions: Its sessions.
        names: As they were typed; none for the latest session of each milestone.
        now: Epoch seconds.
        active: Ids of the active milestones.
        completed: Ids of the completed ones.
        everything: Whether sessions of milestones without a file are wanted too.
    """
    found = [resolve(name, sessions) for name in names if name != "all"]
    overview = None
    if everything or len(found) < max(1, len(names)):
        overview = sessions.overview(active, completed, everything=everything)
    wanted = [one for one in found if isinstance(one, Wanted)]
    wanted += [] if overview is None else [Wanted(view) for view in overview.latest]
    unknown = [one for one in found if isinstance(one, Unknown)]
    return Answer(project, now, sessions.holder, wanted, unknown, overview)
