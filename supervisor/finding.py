"""Milestone files found by the name that somebody typed, and what to say when there is none.

Owns that search and its wording, and how a path is written for people. Refuses to read the files, and to know
commands and exit codes.
"""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from actors.paths import ProjectPaths

MOST_LISTED: Final = 20
"""Ids that are listed where one was not found."""


class NoMilestoneError(Exception):
    """There is no active milestone of that name.

    Attributes:
        lines: For people: what was looked for, and what to do.
        is_completed: Whether it stands among the completed ones.
    """

    def __init__(self, *lines: str, is_completed: bool = False) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.is_completed = is_completed


def find_milestone(paths: ProjectPaths, milestone_id: str) -> Path:
    """Return the path of the active milestone of this id; what stands there need not be a file that can be read.

    Raises:
        NoMilestoneError: There is none.
    """
    from actors.problems import closest, did_you_mean  # noqa: PLC0415 - who only writes a path needs no search

    try:
        path, completed = paths.file(milestone_id), paths.completed_file(milestone_id)
    except ValueError as error:
        meant = did_you_mean(closest(PurePath(milestone_id).stem, known_ids(paths)))
        raise NoMilestoneError(f"milestone not found: {error}{meant}") from error
    if path.exists() or path.is_symlink():
        return path
    if completed.exists():
        raise NoMilestoneError(
            f"milestone {milestone_id} is completed already: {shown(completed)}",
            f"to run it again, move the file back to {shown(paths.active)}/, and take the word completed out of the "
            "statuses of what is to be executed",
            is_completed=True,
        )
    known = known_ids(paths)
    hint = "there is none here yet; an example to begin with: milestonectl init --example"
    if known:
        hint = f"active milestones here: {', '.join(known[:MOST_LISTED])}{' ...' if len(known) > MOST_LISTED else ''}"
    raise NoMilestoneError(f"milestone not found: {shown(path)}{did_you_mean(closest(milestone_id, known))}", hint)


def known_ids(paths: ProjectPaths) -> list[str]:
    """Return the ids of the active milestones, which are the names of their files.

    Raises:
        OSError: The directory cannot be read, which is not the same as an empty one.
    """
    return _ids_in(paths.active)


def completed_ids(paths: ProjectPaths) -> list[str]:
    """Return the ids of the completed milestones, as above."""
    return _ids_in(paths.completed)


def _ids_in(folder: Path) -> list[str]:
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml") and name[0] != ".")


def shown(path: Path | str) -> str:
    """Return a path as one types it from where one is, when that is shorter than the whole of it."""
    whole = str(path)
    try:
        relative = os.path.relpath(whole)
    except FileNotFoundError:
        return whole
    return relative if len(relative) < len(whole) else whole
