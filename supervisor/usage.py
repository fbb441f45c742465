"""What processes use, read from /proc, and how often that may be.

One file is read for each process: ``stat`` has its times, its threads and its resident pages. That costs some ten
microseconds; the same through psutil's objects costs ten times as much. What is below a process is found by the
kernel's lists of children. Only who asks for descriptors pays for counting them.

A process is named by its id and its start time, so a number that came round is not taken for it; a child is counted
only while its parent is the one below which it was found. A process that ends while it is looked at is left out.

Owns the reading and its pace. Refuses to know limits and what the processes are for. Not thread-safe: each meter has
one owner.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import attrs

from supervisor import linux
from supervisor.limits import Sample

SAMPLE_SECONDS: Final = 2.0
"""Shortest time between two rounds that measure everybody."""

SHARE: Final = 0.01
"""Share of a core that rounds may take."""

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_MOST_PROCESSES: Final = 100_000
"""Processes of one tree at which a walk is given up: it grows faster than it can be read."""


class Pace:
    """When the next round may be, by what the former ones cost.

    Args:
        interval: Shortest seconds between two rounds.
        share: Share of a core that rounds may take.
    """

    def __init__(self, interval: float = SAMPLE_SECONDS, share: float = SHARE) -> None:
        self._interval = interval
        self._share = share
        self._cost = 0.0

    def spent(self, cost: float) -> None:
        """Take in what a round cost, in processor seconds; a costly one counts at once, cheap ones by and by."""
        self._cost = max(cost, (self._cost + cost) / 2)

    @property
    def rest(self) -> float:
        """Seconds to let go by before any further round."""
        return self._cost / self._share

    @property
    def interval(self) -> float:
        """Seconds from one round to the next."""
        return max(self._interval, self.rest)


@attrs.frozen
class _Process:
    pid: int
    parent: int
    alive: bool
    own_ticks: int
    waited_ticks: int
    threads: int
    start_ticks: int
    pages: int


class Meter:
    """Measures a process, or a tree of them, from one call to the next.

    Args:
        below: Whether what is below the roots counts as well.
        descriptors: Whether open descriptors are counted.
    """

    def __init__(self, *, below: bool = True, descriptors: bool = False) -> None:
        self._below = below
        self._descriptors = descriptors
        self._ticks: int | None = None
        self._at = 0.0

    def measure(self, roots: Iterable[int], now: float, start_ticks: int | None = None) -> Sample | None:
        """Measure what is there now.

        Args:
            roots: Process ids of the tree's tops.
            now: Monotonic seconds.
            start_ticks: When the first root started, in clock ticks since boot, where it may be somebody else by now.

        Returns:
            The sample; ``None`` when none of the roots lives, or the first is not the one that was meant.
        """
        found: list[_Process] = []
        for root in roots:
            process = _look(root)
            if start_ticks is not None and (process is None or process.start_ticks != start_ticks):
                return None
            start_ticks = None
            if process is not None and process.alive:
                found.append(process)
        if not found:
            return None
        if self._below:
            _add_descendants(found)
        return self._sample(found, now)

    def _sample(self, found: list[_Process], now: float) -> Sample:
        # The time of a child that was waited for is its parent's from then on, so that sums do not fall.
        ticks = sum(one.own_ticks + (one.waited_ticks if self._below else 0) for one in found)
        percent = 0.0
        if self._ticks is not None and now > self._at:
            percent = 100.0 * max(0, ticks - self._ticks) / _TICKS / (now - self._at)
        self._ticks, self._at = ticks, now
        return Sample(
            cpu_percent=percent,
            rss_bytes=sum(one.pages for one in found) * _PAGE,
            threads=sum(one.threads for one in found),
            descriptors=_descriptors(found) if self._descriptors else None,
            processes=len(found),
        )


def _add_descendants(found: list[_Process]) -> None:
    """Add what lives below the given processes; the list grows while it is walked."""
    seen = {one.pid for one in found}
    for parent in found:
        if len(seen) > _MOST_PROCESSES:
            return
        for pid in _children(parent):
            if pid in seen:
                continue
            seen.add(pid)
            child = _look(pid)
            # Another parent: it was adopted meanwhile, or is somebody else altogether.
            if child is not None and child.parent == parent.pid and child.alive:
                found.append(child)


def _children(parent: _Process) -> Iterable[int]:
    if parent.threads == 1:
        # One file instead of a listing and a file; without the kernel's lists there is none.
        block = linux.read_proc(parent.pid, f"task/{parent.pid}/children")
        if block is not None:
            return map(int, block.split())
    return linux.children_of(parent.pid)


def _look(pid: int) -> _Process | None:
    line = linux.read_proc(pid, "stat")
    if not line:
        return None
    # The name stands in parentheses and may hold anything, parentheses and spaces too: count from its end.
    fields = line[line.rindex(b")") + 2 :].split()
    return _Process(
        pid=pid,
        parent=int(fields[1]),
        alive=fields[0] not in {b"Z", b"X", b"x"},
        own_ticks=int(fields[11]) + int(fields[12]),
        waited_ticks=int(fields[13]) + int(fields[14]),
        threads=int(fields[17]),
        start_ticks=int(fields[19]),
        pages=int(fields[21]),
    )


def _descriptors(found: Iterable[_Process]) -> int | None:
    total = 0
    for one in found:
        try:
            total += _count_descriptors(one.pid)
        except FileNotFoundError:  # it has ended
            continue
        except OSError:  # its user is another
            return None
    return total


def _count_descriptors(pid: int) -> int:
    directory = Path("/proc", str(pid), "fd")
    # Linux 6.2 and later say the number itself; earlier ones say 0 and want the entries counted.
    counted = directory.stat().st_size
    if counted:
        return counted
    with os.scandir(directory) as entries:
        return sum(1 for _ in entries)
