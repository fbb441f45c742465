"""File conflicts: which tasks may not run at the same time, and who waits for whom.

Two tasks conflict when a path that one of them may change could be one that the other may change. The rule is
on the safe side, because a conflict too many costs time and one too few costs a merge:

- a path without a wildcard stands for itself and, as it may be a directory, for everything below it;
- a pattern stands for every path that begins with its text before the first wildcard (``* ? [ {`` or a
  backslash), so ``src/*.c`` and ``src/a.py`` conflict, and ``docs/*.md`` and ``src/*.md`` do not;
- a task without ``files`` conflicts with nobody.

Waiting is kept flat for the case that people really write: thousands of tasks that all touch
``CHANGELOG.md``. Tasks that wait are bagged by the pattern of theirs that is taken. When its holder is over,
one task of a bag, the best, is offered again; if it is granted, it holds that pattern itself and the rest of
the bag waits for it without being looked at.

Owns that rule and those bags. Refuses to know why a task starts or ends.
"""

from __future__ import annotations

import functools
import heapq
import posixpath
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.frontier import Frontier
    from actors.model import Task

_WILDCARD: Final = re.compile(r"[*?\[{\\]")


@functools.lru_cache(maxsize=1 << 16)
def _reach(pattern: str) -> tuple[str, bool]:
    """Return the text that all touched paths begin with, and whether that text is a path as it stands."""
    wildcard = _WILDCARD.search(pattern)
    if wildcard is None:
        path = posixpath.normpath(pattern)
        return ("" if path == "." else path), True
    if ".." in pattern[wildcard.start() :].split("/"):
        return "", False
    folder, slash, stem = pattern[: wildcard.start()].rpartition("/")
    folder = posixpath.normpath(folder or slash or ".")
    return (stem if folder == "." else posixpath.join(folder, stem)), False


def _below(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(folder + "/")


def patterns_overlap(first: str, second: str) -> bool:
    """Return whether two entries of ``files`` could name the same path (see the module's rule)."""
    (one, one_is_path), (other, other_is_path) = _reach(first), _reach(second)
    if one_is_path and other_is_path:
        return _below(one, other) or _below(other, one)
    if not one_is_path and not other_is_path:
        return one.startswith(other) or other.startswith(one)
    path, prefix = (one, other) if one_is_path else (other, one)
    return path.startswith(prefix) or _below(prefix, path)


def overlapping(first: Task, second: Task) -> bool:
    """Return whether two tasks may not run at the same time because of their ``files``."""
    return any(patterns_overlap(one, other) for one in first.files for other in second.files)


class Claims:
    """What the running tasks hold, and who waits for it.

    A task that waits is out of the frontier; :class:`Claims` puts it back there when it is worth another
    look.

    Args:
        frontier: The ready set to take from and give back to.
        tasks: The tasks by id.
    """

    def __init__(self, frontier: Frontier, tasks: Mapping[str, Task]) -> None:
        self._frontier: Final = frontier
        self._tasks: Final = tasks
        self._held: Final[dict[str, Task]] = {}
        self._bags: Final[dict[str, list[tuple[float, int, str]]]] = {}
        self._bagged: Final[set[str]] = set()
        # A bag either waits for a holder, or has its best task on offer in the frontier; never both.
        self._waits_for: Final[dict[str, str]] = {}
        self._waiting: Final[dict[str, list[str]]] = {}
        self._on_offer: Final[dict[str, str]] = {}
        self._bag_of: Final[dict[str, str]] = {}

    def makes_wait(self, task: str) -> bool:
        """Keep a task that was popped from the frontier, if a running task holds what it changes.

        Returns:
            Whether it waits now. It comes back to the frontier by itself.
        """
        found = self._conflict(self._tasks[task])
        if found is None:
            return False
        pattern, holder = found
        former = self._bag_of.pop(task, None)
        if former is not None:
            del self._on_offer[former]
        rival = self._on_offer.pop(pattern, None)
        if rival is not None:
            # It would wait for the same pattern; taken in now, it cannot pass one that stands before it.
            del self._bag_of[rival]
            self._frontier.granted(rival)
            self._bag(pattern, rival)
        self._bag(pattern, task)
        if pattern not in self._waits_for:
            self._wait(pattern, holder)
        if former is not None and former != pattern:
            self._offer(former)
        return True

    def held(self, task: str) -> None:
        """Note that a task runs: it holds its files until it is :meth:`released`."""
        if not self._tasks[task].files:
            return
        self._held[task] = self._tasks[task]
        former = self._bag_of.pop(task, None)
        if former is not None:
            del self._on_offer[former]
            self._wait(former, task)

    def released(self, task: str) -> None:
        """Note that a task runs no longer, and offer the best of each bag that waited for it."""
        self._held.pop(task, None)
        for pattern in self._waiting.pop(task, ()):
            del self._waits_for[pattern]
            self._offer(pattern)

    def dropped(self, task: str) -> None:
        """Forget a task that will never run again."""
        self._bagged.discard(task)
        former = self._bag_of.pop(task, None)
        if former is not None:
            del self._on_offer[former]
            self._offer(former)

    def _conflict(self, task: Task) -> tuple[str, str] | None:
        for pattern in task.files:
            for holder, running in self._held.items():
                if any(patterns_overlap(pattern, other) for other in running.files):
                    return pattern, holder
        return None

    def _bag(self, pattern: str, task: str) -> None:
        self._bagged.add(task)
        heapq.heappush(self._bags.setdefault(pattern, []), (*self._frontier.key(task), task))

    def _wait(self, pattern: str, holder: str) -> None:
        self._waits_for[pattern] = holder
        self._waiting.setdefault(holder, []).append(pattern)

    def _offer(self, pattern: str) -> None:
        bag = self._bags.get(pattern, [])
        while bag:
            task = heapq.heappop(bag)[2]
            if task in self._bagged:
                self._bagged.discard(task)
                self._on_offer[pattern], self._bag_of[task] = task, pattern
                self._frontier.back(task)
                return
        self._bags.pop(pattern, None)
