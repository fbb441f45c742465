"""The lock that a killed git leaves on the branch.

Owns telling a lock that is provably ours and dead from one that somebody may hold. A lock is removed only
when nothing changed about it during the second that our own git waited for it, it is ours by uid, no process
has it open that we can look into (libgit2, JGit and dulwich have no name that tells them, but keep it open until
the branch is moved, as git does until it has written), and either

- it holds the name of a commit with this session's trailer: landings of a session come one after the other,
  and the programs of a role are dead before its replacement starts; or
- it is empty (killed between making and writing it) and no git process of this user works near the
  repository.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from actors.git.plumbing import git, shown
from actors.programs import Flow

if TYPE_CHECKING:
    from actors.git.repository import Repository

_OBJECT_NAME: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@attrs.frozen
class RefLock:
    """What identifies a lock file and tells whether anybody touched it."""

    device: int
    inode: int
    changed_ns: int
    owner: int
    content: str


def lock_path(repo: Repository) -> Path:
    """Return where a git that moves the branch keeps its lock."""
    return Path(repo.common_dir, f"{repo.ref}.lock")


def look(repo: Repository) -> RefLock | None:
    """Look at the branch's lock; ``None`` when it is free."""
    lock = lock_path(repo)
    try:
        stat = lock.stat()
        return RefLock(
            stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_uid, lock.read_text("ascii", "replace").strip()
        )
    except OSError:
        return None


def ours_and_dead(repo: Repository, session: str, before: RefLock | None, after: RefLock) -> Flow[bool]:
    """Whether the lock may be removed.

    Args:
        repo: The repository.
        session: The value of our ``Session`` trailer.
        before: The lock before our own git waited for it.
        after: The lock since.
    """
    if before != after or after.owner != os.geteuid() or _is_held(after):
        return False
    if not after.content:
        return not _git_works_at((repo.top, repo.common_dir, repo.cache))
    if not _OBJECT_NAME.fullmatch(after.content):
        return False
    said = yield git(
        *("log", "-1", "--no-show-signature", "--format=%(trailers:key=Session,valueonly,unfold)"),
        *(after.content, "--"),
        git_dir=repo.common_dir,
    )
    return said.ok and shown(said.stdout).strip() == session


def abandoned(repo: Repository, before: RefLock | None, after: RefLock | None) -> bool:
    """Whether the lock stood before our own git waited for it, still does, is ours, and no git is there to have it."""
    if before is None or before != after or before.owner != os.geteuid() or _is_held(before):
        return False
    return not _git_works_at((repo.top, repo.common_dir, repo.cache))


def _is_held(lock: RefLock) -> bool:
    """Whether a process has the lock open; those that we may not look into, of other users, are taken not to."""
    return any(_has_open(lock, process / "fd") for process in Path("/proc").glob("[0-9]*"))


def _has_open(lock: RefLock, descriptors: Path) -> bool:
    try:
        names = os.listdir(descriptors)  # noqa: PTH208  (thousands of them, of which none is needed as a path)
    except OSError:
        return False
    for name in names:
        try:
            found = os.stat(f"{descriptors}/{name}")  # noqa: PTH116
        except OSError:  # closed meanwhile
            continue
        if (found.st_dev, found.st_ino) == (lock.device, lock.inode):
            return True
    return False


def _is_git(command: str) -> bool:
    """Tell git and its parts by their process name; a role of ours is called ``git_integration``."""
    return command == "git" or command.startswith("git-")


def _git_works_at(places: tuple[str, ...]) -> bool:
    """Whether a git process of this user stands in one of the directories, or where we cannot look."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "comm").read_text(encoding="utf-8", errors="replace")
            if not _is_git(name.strip()) or process.stat().st_uid != os.geteuid():
                continue
            place = os.readlink(process / "cwd")  # noqa: PTH115  (a deleted directory is no path)
        except FileNotFoundError:
            continue
        except OSError:
            return True
        if any(place == top or place.startswith(top + os.sep) for top in places):
            return True
    return False
