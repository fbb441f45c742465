"""Why nothing lives of a name that stands for something: a session that has ended, a milestone that nobody executes.

Owns that search and its wording. Refuses to know what is wanted of what is named, and the journal: a session that had
time to be shown anywhere has a directory.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from actors.past_sessions import milestone_of_session

if TYPE_CHECKING:
    from actors.paths import ProjectPaths


def is_past_session(paths: ProjectPaths, name: str) -> bool:
    """Tell whether a name is the id of a session that there was."""
    with contextlib.suppress(ValueError):
        return bool(milestone_of_session(name)) and paths.session_dir(name).is_dir()
    return False


def why_absent(paths: ProjectPaths, name: str) -> str:
    """Say why nothing of a session or milestone lives, and what begins it.

    Args:
        paths: Of the project.
        name: As it was typed; nothing that lives has it.

    Returns:
        One line; ``""`` where there is no such session or milestone.
    """
    was_session = is_past_session(paths, name)
    milestone = milestone_of_session(name) if was_session else name
    with contextlib.suppress(ValueError):
        if paths.file(milestone).exists():
            return f"not running; start it with: milestonectl start {milestone}"
        if was_session or paths.completed_file(milestone).exists():
            return "not running"
    return ""
