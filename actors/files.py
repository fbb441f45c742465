"""Milestone files on the disk: read with care, replaced whole, never half written.

Whoever can write such a file decides what is executed as us. So it has to be ours, root's, or of whom its directory
belongs to, and not open to everybody; what its group may is the group's affair, because where every user has a group of
his own files are made writable for it.

Owns opening, the limit of size, whose a file may be, and durable replacement (temporary file in the same directory,
fsync, rename, fsync of the directory). Refuses to know what the bytes mean beyond handing them to the reader.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from actors.failpoints import at
from actors.problems import Problem
from actors.reader import Reading, read

MOST_BYTES: Final = 8 << 20
"""Most bytes of a milestone file: 10,000 tasks with all their fields take 2 to 5 MB; more is some other
file."""

_MOST_ROUNDS: Final = 20
_RANDOM_BYTES: Final = 4
_TEMPORARY: Final = re.compile(rf"\.(.+)\.[0-9a-f]{{{2 * _RANDOM_BYTES}}}\.tmp", re.DOTALL)
_NO_FILE: Final = "it is {}, no regular file; give it another name, or remove it"
_KINDS: Final = ((stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a named pipe (FIFO)"))


class FileChangedError(Exception):
    """Somebody else wrote a file again and again while it was to be updated."""


class FileRefusedError(OSError):
    """A path that cannot be a milestone file: a link, a directory, a device, or too large."""


class FileTooLargeError(FileRefusedError):
    """A file has more bytes than it may have."""


def read_milestone_file(path: Path, most: int = MOST_BYTES) -> Reading:
    """Read a milestone file; what keeps it from being read is a problem like any other.

    Args:
        path: The file; a symbolic link is refused.
        most: Most bytes that it may have.
    """
    try:
        data = read_bytes(path, most)
    except OSError as error:
        reason = error.strerror or str(error)
        return Reading(None, (Problem(str(path), 1, 1, f"cannot be read: {reason}"),), None, str(path))
    return read(data, str(path))


def read_bytes(path: Path, most: int = MOST_BYTES, *, follow: bool = False) -> bytes:
    """Return the content of a regular file.

    Args:
        path: The file.
        most: Most bytes that it may have.
        follow: Whether the last part of the path may be a symbolic link: where a person named it.

    Raises:
        FileNotFoundError: There is none.
        FileRefusedError: It is no regular file, larger, or somebody else could have written it.
        OSError: It cannot be opened or read.
    """
    data, _ = _read(path, most, 0 if follow else os.O_NOFOLLOW)
    return data


def _read(path: Path, most: int, flags: int = os.O_NOFOLLOW) -> tuple[bytes, os.stat_result]:
    try:
        # O_NONBLOCK: a FIFO in this place must not keep us waiting for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FileRefusedError(errno.ELOOP, "it is a symbolic link; put the file itself there") from None
        if error.errno == errno.ENXIO:  # a socket cannot be opened
            raise FileRefusedError(errno.ENXIO, _NO_FILE.format("a socket or device")) from None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            kind = next((name for fits, name in _KINDS if fits(status.st_mode)), "a device")
            raise FileRefusedError(errno.EINVAL, _NO_FILE.format(kind))
        _refuse_foreign(path, status)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(most + 1)
    finally:
        os.close(descriptor)
    if len(data) > most:
        raise FileTooLargeError(errno.EFBIG, f"it has more than {most:,} bytes; split the milestone")
    return data, status


def _refuse_foreign(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in {os.geteuid(), 0} and status.st_uid != path.parent.stat().st_uid:
        what = f"it belongs to user {status.st_uid}, neither to you nor to whom its directory belongs to"
        what += ", and what it says would be executed as you; take it over with chown"
        raise FileRefusedError(errno.EPERM, what)
    if status.st_mode & stat.S_IWOTH:
        what = "every user of the machine may write it, and what it says would be executed as you"
        raise FileRefusedError(errno.EPERM, f"{what}; mend it: chmod o-w {path}")


def update_file(path: Path, edit: Callable[[bytes], bytes], most: int = MOST_BYTES) -> bool:
    """Replace a file by an edit of what it holds at that moment.

    The new content is durable in a temporary file before the old one is compared a last time, so that nothing
    but the rename stands between the comparison and the change: what a person saves meanwhile is edited anew.

    Args:
        path: The file.
        edit: Makes the new content from the present one; called again when the file changed meanwhile. What
            it raises is passed on, and leaves the file alone.
        most: Most bytes that the file may have.

    Returns:
        Whether the file was changed.

    Raises:
        FileChangedError: It changed each time.
        OSError: It cannot be read or replaced.
    """
    _remove_abandoned(path)
    for _ in range(_MOST_ROUNDS):
        data, status = _read(path, most)
        edited = edit(data)
        if edited == data:
            return False
        with _durable_temporary(path, edited, status) as temporary:
            if _read(path, most)[0] == data:
                at("splice.compared")
                temporary.replace(path)
                at("splice.renamed")
                _sync_directory(path.parent)
                at("splice.durable")
                return True
    times = f"{_MOST_ROUNDS} times in a row"
    raise FileChangedError(f"{path} was written by somebody else {times}; it was left alone")


def move_file(source: Path, target: Path) -> bool:
    """Move a file into another directory of the same file system, durably, without replacing anything there.

    Done again after a crash it completes what was begun, even if the source was written anew meanwhile, to the same
    content.

    Returns:
        Whether the file stands at its target and no longer at its source; otherwise somebody has saved another one
        there meanwhile, and it is as if nothing had been done.

    Raises:
        FileExistsError: Another file stands at the target.
        OSError: The move failed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        # A rename would replace what stands there; a link does not.
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        if not _is_same(source, target):
            message = "another file of this name is there; compare the two, and remove the one that is not wanted"
            raise FileExistsError(errno.EEXIST, message, str(target)) from None
    except FileNotFoundError:
        if not target.exists():
            raise
        return True
    at("archive.linked")
    _sync_directory(target.parent)
    at("archive.linked.durable")
    if not _is_same(source, target):  # what an editor saves is a new file, and there is no other copy of it
        target.unlink()
        return False
    source.unlink()
    at("archive.unlinked")
    _sync_directory(source.parent)
    at("archive.durable")
    return True


def _is_same(one: Path, other: Path) -> bool:
    return one.samefile(other) or read_bytes(one) == read_bytes(other)


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary files of writers of this path that were killed; there is never more than one writer."""
    for entry in path.parent.iterdir():
        found = _TEMPORARY.fullmatch(entry.name)
        if found is not None and found[1] == path.name:
            entry.unlink(missing_ok=True)


@contextmanager
def _durable_temporary(path: Path, data: bytes, like: os.stat_result) -> Iterator[Path]:
    """Write a temporary file beside the path and fsync it; it is gone at the end unless it was renamed."""
    temporary = path.with_name(f".{path.name}.{os.urandom(_RANDOM_BYTES).hex()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _take_after(descriptor, like)
            file.write(data)
            file.flush()
            at("splice.written")
            os.fsync(descriptor)
        at("splice.synced")
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _take_after(descriptor: int, like: os.stat_result) -> None:
    own = os.fstat(descriptor)
    if (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid):
        # Only root may give a file away; anybody else becomes its owner, as with every editor.
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, like.st_uid, like.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(like.st_mode))


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
