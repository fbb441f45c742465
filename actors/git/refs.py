"""A branch is moved without a program.

Owns git's protocol for a ref that is a file of its own: ``<ref>.lock`` is made, the value is compared, the new
one is written and flushed, the log gets its line, the lock is renamed to the ref. Whoever else moves the ref
takes the same lock. Whatever is stored otherwise (packed, a symbolic ref, reftable) or is not free is left to
git. Refuses to know why a branch moves; what to do about a lock that stays is known to
:mod:`actors.git.reflock`.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final

import attrs

from actors.failpoints import at
from actors.git.objects import is_clean
from actors.git.plumbing import flush_few, ref_paths
from actors.git.repository import Identity, Repository

_SHA1_LINE: Final = re.compile(rb"[0-9a-f]{40}\n")


@attrs.frozen
class LogLine:
    """What the ref's log says about a move.

    Attributes:
        identity: Who moves it.
        when: Seconds of the epoch.
        note: Why, in a few words.
    """

    identity: Identity
    when: int
    note: str

    def encode(self, old: str, new: str) -> bytes:
        """Return the line of the log for a move from `old` to `new`."""
        who = f"{self.identity.name} <{self.identity.email}>"
        line = f"{old} {new} {who} {self.when} +0000\t{' '.join(self.note.split())}\n"
        return line.encode()


def move(repo: Repository, old: str, new: str, log: LogLine, needs: tuple[str, ...] = ()) -> bool | None:
    """Move the milestone branch from `old` to `new`, or not at all.

    Args:
        repo: The repository.
        old: Name of the commit that it must be at.
        new: Name of the commit that it is to be at; its content is on the disk.
        log: For the log of the branch.
        needs: The few files and folders to flush before the branch names the commit.

    Returns:
        ``True`` when it was moved: the file is on the disk, its folder's list not yet. ``False`` when it is
        not at `old`. ``None`` when it is for git to say.

    Raises:
        OSError: The disk did not take it; nothing has changed.
    """
    if not is_clean(log.identity.name) or not is_clean(log.identity.email):
        return None
    ref, journal = Path(repo.common_dir, repo.ref), Path(repo.common_dir, "logs", repo.ref)
    try:
        mode = ref.lstat().st_mode
        plain = stat.S_ISREG(mode) and stat.S_ISREG(journal.lstat().st_mode)
        if not plain or Path(repo.common_dir, "reftable").exists():
            return None
        lock = os.open(f"{ref}.lock", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except OSError:
        return None
    try:
        with os.fdopen(lock, "wb") as fresh:
            at("git.ref.locked")
            found = ref.read_bytes()
            moved = found == f"{old}\n".encode()
            if moved:
                fresh.write(f"{new}\n".encode())
                fresh.flush()
                os.fchmod(lock, stat.S_IMODE(mode))
                os.fsync(lock)
        at("git.ref.written")
        if moved:
            # After the lock, whose flush brings a journaling file system to write most of these as well.
            flush_few(needs)
            at("git.ref.flushed")
            _append(journal, log.encode(old, new))
            at("git.ref.logged")
            Path(f"{ref}.lock").replace(ref)
            return True
    except BaseException:
        Path(f"{ref}.lock").unlink(missing_ok=True)
        raise
    Path(f"{ref}.lock").unlink()
    return False if _SHA1_LINE.fullmatch(found) else None


def write_again(repo: Repository) -> bool:
    """Write the file of the branch anew, with the commit that it names, and bring it to the disk.

    A branch that is no file of its own was flushed by the git that stored it otherwise.

    Returns:
        ``False`` when somebody is at it, or left a lock.

    Raises:
        OSError: The disk did not take it; the branch names what it named.
    """
    ref = Path(repo.common_dir, repo.ref)
    try:
        mode = ref.lstat().st_mode
    except FileNotFoundError:
        return True
    if not stat.S_ISREG(mode):
        return True
    try:
        lock = os.open(f"{ref}.lock", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    except FileExistsError:
        return False
    try:
        with os.fdopen(lock, "wb") as fresh:
            at("git.ref.locked.again")
            fresh.write(ref.read_bytes())
            fresh.flush()
            os.fchmod(lock, stat.S_IMODE(mode))
            os.fsync(lock)
        Path(f"{ref}.lock").replace(ref)
    except BaseException:
        Path(f"{ref}.lock").unlink(missing_ok=True)
        raise
    flush_few(ref_paths(repo.common_dir, repo.ref))
    return True


def _append(journal: Path, line: bytes) -> None:
    descriptor = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
