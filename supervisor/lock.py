"""The project lock: at most one supervising process acts on a project.

The lock is the kernel's (`flock`), so the death of its holder frees it, however it died. It is taken twice:
on the file ``.milestones/lock``, whose content says who holds it, and on the directory ``.milestones``
itself, so that a second start is refused even after somebody deleted the file. The file is never deleted by
us: two processes could then hold two files of the same name.

`flock` is inherited by forked children and would outlive its holder in them. Both descriptors are
close-on-exec, and what is forked without exec (by a host program, if at all) closes them first: :meth:`disown`.

Owns mutual exclusion and the holder's name. Refuses to know what the holder does.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import attrs
import msgspec

from actors.failpoints import at
from actors.surroundings import boot_id
from supervisor.premises import refuse_odd_places

if TYPE_CHECKING:
    from actors.paths import ProjectPaths

_ATTEMPTS: Final = 10
"""How often to begin again because the file was deleted while it was being locked."""

_LONGEST: Final = 4096


@attrs.frozen
class Holder:
    """Who holds a lock.

    Attributes:
        pid: Its process; 0 when it cannot be told.
        what: What it is (``milestonectl run milestone-001``), ``""`` when it has not said so.
        since: When it took the lock, ISO 8601.
        host: Name of its machine.
        boot: Boot id of its machine.
    """

    pid: int = 0
    what: str = ""
    since: str = ""
    host: str = ""
    boot: str = ""

    def __str__(self) -> str:
        who = f"process {self.pid}" if self.pid else "a process that cannot be seen from here"
        said = f" ({self.what})" if self.what else ""
        return f"{who}{said}" + (f" since {self.since}" if self.since else "")


class LockHeldError(Exception):
    """Another process acts on the project.

    Attributes:
        path: The lock.
        holder: Who.
    """

    def __init__(self, path: Path, holder: Holder) -> None:
        super().__init__(
            f"{path}: the project is held by {holder}; use `milestonectl status` to see what it does; "
            "it ends in order when that process is interrupted (Ctrl-C, or a TERM signal)"
        )
        self.path = path
        self.holder = holder


class ProjectLock:
    """The lock, held. Make one with :meth:`acquire`; leave it with :meth:`close`, or as a context manager."""

    def __init__(self, path: Path, file: int, directory: int) -> None:
        self.path: Final = path
        self._file = file
        self._directory = directory

    @classmethod
    def acquire(cls, paths: ProjectPaths, what: str) -> Self:
        """Take the lock at once, or not at all.

        Args:
            paths: The project; its ``.milestones`` directory is made when it is missing.
            what: What to tell others about the holder, one line.

        Raises:
            LockHeldError: Another process, or another place in this one, has it.
            OSError: The lock cannot be made (a read-only directory), or a place of ours is something else (a link).
        """
        refuse_odd_places(paths)
        paths.milestones.mkdir(exist_ok=True)
        with contextlib.ExitStack() as undo:
            directory = os.open(paths.milestones, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            undo.callback(os.close, directory)
            file = _lock_file(paths.lock, undo)
            at("lock.file.locked")
            if not _flock(directory):
                raise LockHeldError(paths.lock, _holder_by_kernel(directory))
            lock = cls(paths.lock, file, directory)
            lock._tell(what)
            at("lock.taken")
            undo.pop_all()
        return lock

    def _tell(self, what: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        line = msgspec.json.encode(Holder(os.getpid(), what, now, socket.gethostname(), boot_id())) + b"\n"
        os.pwrite(self._file, line, 0)
        os.ftruncate(self._file, len(line))

    def still_ours(self) -> bool:
        """Tell whether the lock that everyone else would find is still the one that is held."""
        if self._file < 0:
            return False
        try:
            found, parent = self.path.lstat(), self.path.parent.stat()
        except OSError:
            return False
        held, directory = os.fstat(self._file), os.fstat(self._directory)
        return os.path.samestat(found, held) and os.path.samestat(parent, directory)

    def close(self) -> None:
        """Give the lock back; closing twice does nothing."""
        if self._file < 0:
            return
        # An empty file names nobody, so that the next one to be refused is not told of this holder.
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, 0)
        at("lock.emptied")
        os.close(self._file)
        os.close(self._directory)
        self._file = self._directory = -1

    def disown(self) -> None:
        """Let go of the lock in a process that was forked from its holder's, or it would outlive the holder here."""
        if self._file >= 0:
            os.close(self._file)
            os.close(self._directory)
            self._file = self._directory = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_holder(paths: ProjectPaths) -> Holder | None:
    """Return who holds a project at this moment, without trying to take it; ``None`` when nobody does."""
    flags = os.O_RDONLY | os.O_CLOEXEC
    for path in (paths.lock, paths.milestones):
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            continue
        try:
            if _kernel_pids(descriptor):
                return _holder(descriptor) if path == paths.lock else _holder_by_kernel(descriptor)
        finally:
            os.close(descriptor)
    return None


def is_replaced(paths: ProjectPaths, holder: Holder) -> bool:
    """Tell whether a holder holds another file than the one that stands in the lock's place now, or none stands there.

    Whoever holds it notices within seconds, and ends everything; one that hangs does not.
    """
    try:
        descriptor = os.open(paths.lock, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return True
    try:
        return holder.pid not in _kernel_pids(descriptor)
    finally:
        os.close(descriptor)


def _lock_file(path: Path, undo: contextlib.ExitStack) -> int:
    for _ in range(_ATTEMPTS):
        with contextlib.ExitStack() as opened:
            file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            opened.callback(os.close, file)
            if not _flock(file):
                raise LockHeldError(path, _holder(file))
            # Deleted between opening and locking: the next one would make and lock another file.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(path.lstat(), os.fstat(file)):
                    undo.push(opened.pop_all())
                    return file
    raise OSError(errno.EAGAIN, "somebody keeps deleting the lock file", str(path))


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(file: int) -> Holder:
    """Return the holder as the file's content names it, if the kernel agrees.

    A holder that was killed leaves its name behind, and a new one may not have written its own yet.
    """
    try:
        holder = msgspec.json.decode(os.pread(file, _LONGEST, 0), type=Holder)
    except (OSError, msgspec.MsgspecError):
        holder = Holder()
    # Processes of other PID namespaces have the pid 0 here: of them only the content can tell.
    visible = [pid for pid in _kernel_pids(file) if pid > 0]
    return Holder(pid=visible[0]) if visible and holder.pid not in visible else holder


def _holder_by_kernel(descriptor: int) -> Holder:
    pids = _kernel_pids(descriptor)
    return Holder(pid=pids[0] if pids else 0)


def _kernel_pids(descriptor: int) -> list[int]:
    """Return the processes that took a `flock` on an open file, out of ``/proc/locks``."""
    found = os.fstat(descriptor)
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}"
    exact: list[int] = []
    similar: list[int] = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()
            # A waiting lock has "->" before its words: it holds nothing.
            if fields[1] == "FLOCK" and (place := fields[5].rpartition(":"))[2] == str(found.st_ino):
                (exact if place[0] == device else similar).append(int(fields[4]))
    # Stacked file systems show another device number in stat than the kernel's table has.
    return exact or similar
