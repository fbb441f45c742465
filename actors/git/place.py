"""Where a slot is, and what is known of its content.

Owns the files beside a slot: our index of it, what was set up in it, and its record. Refuses to know how a slot
gets its content and what becomes of that.

The files are written in place. That is safe because a record is emptied before anything else is done to a slot
and written after all of it: what a kill leaves half written belongs to a slot without a record, which is made
again. It is done because a new file takes longer than all else that is done here.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path

import attrs

from actors.git.repository import Repository
from actors.surroundings import boot_id


@attrs.frozen
class Record:
    """What is known of a slot's content.

    Attributes:
        base: Commit that it was handed out at.
        boot: Boot of the machine in which that was.
        owner: ``<session>/<attempt>`` that it was handed out to, ``""`` when that was not said.
        copied: Paths that came from the user's checkout, a folder with a slash at its end.
        landed: Whether the work in it is on the branch.
        setup: SHA-256 of the list of what set-up commands left in it, ``""`` when they left nothing.
    """

    base: str
    boot: str
    owner: str = ""
    copied: tuple[str, ...] = ()
    landed: bool = False
    setup: str = ""


@attrs.frozen
class Slot:
    """Where a slot and its files are.

    Attributes:
        repo: The repository.
        number: 0 or more.
    """

    repo: Repository
    number: int

    @property
    def path(self) -> str:
        """The worktree."""
        return f"{self.repo.cache}/{self.repo.milestone_id}-slot-{self.number}"

    @property
    def project(self) -> str:
        """The project's directory in the worktree."""
        return f"{self.path}/{self.repo.inside}" if self.repo.inside else self.path

    @property
    def setup(self) -> str:
        """The list of what set-up commands left in it."""
        return f"{self.path}.setup"

    @property
    def index(self) -> str:
        """Our index of it."""
        return f"{self.path}.index"

    @property
    def scratch(self) -> str:
        """The index that a capture works on."""
        return f"{self.path}.capture"

    @property
    def record_file(self) -> Path:
        """The record of its content."""
        return Path(f"{self.path}.record")

    def environment(self, admin: str, index: str) -> tuple[tuple[str, str], ...]:
        """Return the variables with which git works on this slot, whatever lies in it or around it."""
        return (("GIT_DIR", admin), ("GIT_WORK_TREE", self.path), ("GIT_INDEX_FILE", index))

    def record(self) -> Record | None:
        """Return what is known of the content; ``None`` when nothing is, or when that was before a reboot."""
        try:
            known = json.loads(self.record_file.read_bytes())
            record = Record(**{**known, "copied": tuple(known["copied"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record if record.boot == boot_id() else None

    def admin(self) -> str | None:
        """Return the worktree's git directory; ``None`` when the two do not name each other."""
        path = Path(self.path)
        try:
            if path.is_symlink() or not path.is_dir():
                return None
            pointer = (path / ".git").read_text(encoding="utf-8").removeprefix("gitdir: ").rstrip("\n")
            back = Path(pointer, "gitdir").read_text(encoding="utf-8").rstrip("\n")
        except (OSError, ValueError):
            return None
        registered = Path(pointer).parent == Path(self.repo.common_dir, "worktrees")
        return pointer if registered and back == f"{self.path}/.git" else None


def mark_landed(repo: Repository, slot: int) -> None:
    """Record that the work in the slot is on the branch, so that it is not archived.

    That it has landed does not depend on this: on a full disk the slot is left with no record, or the old one.
    """
    place = Slot(repo, slot)
    record = place.record()
    if record is not None and not record.landed:
        with contextlib.suppress(OSError):
            write_record(place, attrs.evolve(record, landed=True))


def write_record(place: Slot, record: Record) -> None:
    """Record what is in the slot."""
    overwrite(str(place.record_file), json.dumps(attrs.asdict(record)).encode())


def forget(place: Slot) -> None:
    """Let the record say nothing; what is in the slot proves nothing until it is written again."""
    if place.record_file.exists():
        overwrite(str(place.record_file), b"")


def copy_index(source: str, target: str) -> None:
    """Copy an index. It keeps its time: git trusts only files that are older than the index.

    Raises:
        OSError: It cannot be read or written.
    """
    with Path(source).open("rb") as file:
        old = os.fstat(file.fileno())
        overwrite(target, file.read())
    os.utime(target, ns=(old.st_atime_ns, old.st_mtime_ns))


def overwrite(path: str, content: bytes) -> None:
    """Give a file its content, in the file that is there if it has no other name: a new one takes longer.

    Raises:
        OSError: It cannot be written.
    """
    try:
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            Path(path).unlink()
    except FileNotFoundError:
        pass
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.truncate()
