"""The places below ``.milestones`` that are ours to write, looked at before anything is written there.

A repository can bring symbolic links along. One in the place of ``.gitignore``, of ``logs`` or of the journal would
have us write wherever it leads, with the rights of who runs milestoned; a named pipe would have us wait for ever. So
each place that is there has to be what we would have made of it.

Owns that look. Refuses to make or mend anything.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from actors.paths import ProjectPaths


def refuse_odd_places(paths: ProjectPaths) -> None:
    """Refuse to work where a place of ours is a link, another kind of thing, another user's, or has no name in UTF-8.

    Args:
        paths: Of the project.

    Raises:
        OSError: With the place, what it is, and what to do.
    """
    try:
        str(paths.project).encode()
    except UnicodeEncodeError:  # what processes say to each other is JSON, and names its path
        shown = os.fsencode(paths.project).decode(errors="backslashreplace")
        raise OSError(errno.EINVAL, f"{shown} is no path in UTF-8: rename the directory that is not") from None
    for path, kind in _places(paths):
        try:
            found = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if stat.S_IFMT(found.st_mode) != kind:
            wanted = "a directory" if kind == stat.S_IFDIR else "a regular file"
            what = "a symbolic link" if stat.S_ISLNK(found.st_mode) else f"not {wanted}"
            raise OSError(errno.EINVAL, f"{path} is {what}: milestoned writes there; make it {wanted}, or remove it")
    owner = paths.milestones.stat().st_uid if paths.milestones.exists() else os.geteuid()
    if os.geteuid() not in {owner, 0}:
        raise OSError(errno.EPERM, f"{paths.milestones} belongs to user {owner}: run milestoned as that user")


def _places(paths: ProjectPaths) -> Iterator[tuple[Path, int]]:
    for folder in (
        *(paths.milestones, paths.active, paths.completed, paths.config.parent),
        *(paths.control.parent, paths.sessions, paths.all_logs),
    ):
        yield folder, stat.S_IFDIR
    beside = ("-wal", "-shm", "-journal", "-head")
    for file in (
        *(paths.gitignore, paths.lock, paths.state_db, paths.state_db.with_name("state.reserve")),
        *(paths.state_db.with_name(paths.state_db.name + suffix) for suffix in beside),
    ):
        yield file, stat.S_IFREG
