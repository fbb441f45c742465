"""Looks at the machine: load, free space, tools, variables, the ends of files.

Owns the calls to the system that the dependency validator and the blocker detector need; each returns at
once. Refuses to judge what it sees.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

import attrs
import psutil

from actors.model import Requirements
from actors.observations import MachineSample
from actors.preflight import Offer

MEGABYTE: Final = 10**6


def offer(requirements: Requirements, directories: Collection[str]) -> Offer:
    """Compare requirements with this machine and the environment of this process.

    Args:
        requirements: What is needed.
        directories: Absolute directories in which space is needed.
    """
    free = {}
    for directory in directories:
        space = _space(directory)
        if space is not None:
            free[directory] = space.free // MEGABYTE
    return Offer(
        tuple(tool for tool in requirements.tools if not _is_found(tool)),
        tuple(name for name in requirements.environment if not os.environ.get(name)),
        tuple(free.items()),
    )


def _is_found(tool: str) -> bool:
    import shutil  # noqa: PLC0415 - with its three ways to compress, for the milestones that name tools

    return shutil.which(tool) is not None


class Machine:
    """Samples of this machine; the load of the processors is counted from one sample to the next.

    Args:
        directory: A directory of the file system to look at.
    """

    def __init__(self, directory: str) -> None:
        self._directory: Final = directory
        psutil.cpu_percent(interval=None)

    def sample(self) -> MachineSample:
        """Look at the machine; takes well below a millisecond."""
        space = _space(self._directory)
        # As df shows it: of what users may fill.
        disk = None if space is None or not space.used + space.free else 100.0 * space.used / (space.used + space.free)
        return MachineSample(psutil.cpu_percent(interval=None), psutil.virtual_memory().percent, disk)


@attrs.frozen
class _Space:
    used: int
    free: int


def _space(directory: str) -> _Space | None:
    try:
        status = os.statvfs(directory)
    except OSError:
        return None
    return _Space((status.f_blocks - status.f_bfree) * status.f_frsize, status.f_bavail * status.f_frsize)


def size_of(path: Path) -> int:
    """Return the length of a file in bytes, 0 when there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def read_from(path: Path, offset: int, most: int) -> bytes:
    """Return at most so many bytes of a file from an offset on; empty when there is nothing to read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return b""
    try:
        return os.pread(descriptor, most, offset)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def modified_wall(path: Path) -> float | None:
    """Return when a file last changed, epoch seconds; ``None`` when there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def signature(path: Path) -> tuple[int, int, int] | None:
    """Return what tells two contents of a path apart without reading it; ``None`` when there is no file."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
