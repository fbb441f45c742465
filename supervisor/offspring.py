"""The fork server's children, what they leave behind, and how all of it ends.

The fork server is a child subreaper: whatever loses its parent below it becomes its child. A process that it
did not fork is therefore a *stray*: something that a child of it left behind, while it ran or when it died.
When a child has ended, every stray is killed that no living child can claim (by session, by group, or by the
mark in its environment), and again what these leave behind in turn, layer by layer, until there is none: the
child's process group is among them. Only then is the end told. Strays are own children, and nobody else waits
for them: so each of these process ids is safe to signal, and an empty list of own children proves that
nothing is left.

Owns waiting, killing and emptying. Refuses to know sockets, and why a child is to end.
"""

import contextlib
import os
import resource  # noqa: F401 - os.wait4 imports it, and must not meet a full descriptor table there
import signal
import time
from collections.abc import Callable, Iterator
from typing import Final

import attrs
import msgspec

from supervisor import linux
from supervisor.fork_protocol import ChildExited, Launch
from supervisor.forked import MARK

EMPTY_SECONDS: Final = 5.0
"""How long a process may outlive its SIGKILL before the end of its child is told without it."""


@attrs.frozen
class Child:
    """A process that was forked on request.

    Attributes:
        launch: The request.
        pid: Its process id, which is also that of its session and group.
        mark: Its value of :data:`supervisor.forked.MARK`.
    """

    launch: Launch
    pid: int
    mark: str


class Offspring:
    """All processes below the fork server, as it sees them; used by its only thread.

    Args:
        is_standby: Tells whether a process waits in advance for a launch: no child, and no stray.
    """

    def __init__(self, is_standby: Callable[[int], bool]) -> None:
        self._is_standby = is_standby
        self._pid = os.getpid()
        self._living: dict[int, Child] = {}
        self._dead: list[tuple[ChildExited, float]] = []

    def add(self, child: Child) -> None:
        """Take in a child that was forked."""
        self._living[child.pid] = child

    def disown(self, pid: int) -> None:
        """Kill a child that shall not count: what becomes of it is told to nobody."""
        _kill(pid)
        self._living.pop(pid, None)

    def kill(self, child: Child) -> None:
        """Kill a child that lives."""
        _kill(child.pid)

    def terminate(self, child: str, incarnation: int, *, force: bool = False) -> None:
        """Ask a child and its group to end, or kill it; nothing happens when it was waited for already."""
        for one in self._living.values():
            if (one.launch.child, one.launch.incarnation) == (child, incarnation):
                if force:
                    _kill(one.pid)
                    continue
                for number in (signal.SIGTERM, signal.SIGCONT):
                    _signal_group(one.pid, number)

    def living(self) -> tuple[Child, ...]:
        """Return the children that were not waited for yet."""
        return tuple(self._living.values())

    def gone(self) -> bool:
        """Tell whether there is no process below this one, not even a stray."""
        return not self._living and not linux.children_of(self._pid)

    def wait_for_dead(self) -> list[tuple[int, int]]:
        """Wait for every process that has ended, whoever forked it; never waits for one that lives.

        Returns:
            Process ids and exit statuses of those that were no children.
        """
        others: list[tuple[int, int]] = []
        while (pid := _ended_child()) is not None:
            child = self._living.pop(pid, None)
            _, status, usage = os.wait4(pid, 0)
            if child is None:
                others.append((pid, os.waitstatus_to_exitcode(status)))
                continue
            exited = ChildExited(
                child=child.launch.child,
                incarnation=child.launch.incarnation,
                pid=pid,
                status=os.waitstatus_to_exitcode(status),
                cpu_seconds=usage.ru_utime + usage.ru_stime,
                max_rss=usage.ru_maxrss * 1024,
            )
            self._dead.append((exited, time.monotonic() + EMPTY_SECONDS))
        return others

    def empty(self) -> list[ChildExited]:
        """Kill what the dead have left.

        Called again after each SIGCHLD, until everything is gone.

        Returns:
            The ends that may be told now.
        """
        if not self._dead:
            return []
        left = self.kill_strays()
        now = time.monotonic()
        told = [msgspec.structs.replace(exited, left=left) for exited, until in self._dead if not left or now >= until]
        self._dead = [(exited, until) for exited, until in self._dead if left and now < until]
        return told

    def kill_strays(self) -> tuple[int, ...]:
        """Kill every stray that no living child can claim; return their process ids."""
        doomed = tuple(self._unclaimed())
        for pid in doomed:
            _kill(pid)
        return doomed

    def give_up_at(self) -> float | None:
        """Return the monotonic moment at which an end is told whatever is left; ``None`` if none is due."""
        return min((until for _, until in self._dead), default=None)

    def _unclaimed(self) -> Iterator[int]:
        below = linux.children_of(self._pid)
        strays = [pid for pid in below if pid not in self._living and not self._is_standby(pid)]
        if not strays:
            return
        marks = {child.mark.encode() for child in self._living.values()}
        for pid in strays:
            found = linux.stat_of(pid)
            claimed = found is not None and (found.session in self._living or found.group in self._living)
            if not claimed and linux.environment_of(pid).get(MARK.encode()) not in marks:
                yield pid


def _signal_group(pid: int, number: int) -> None:
    """Send a signal to a child and its group; to itself while it is so young that it has no group of its own."""
    # Whoever has changed its user may be out of reach; the kill that follows names what it leaves.
    with contextlib.suppress(PermissionError):
        try:
            os.killpg(pid, number)
        except ProcessLookupError:
            os.kill(pid, number)


def _kill(pid: int) -> None:
    """Send SIGKILL to a process that was not waited for; one that has changed its user will be named as left."""
    with contextlib.suppress(PermissionError):
        os.kill(pid, signal.SIGKILL)


def _ended_child() -> int | None:
    """Look for a child that has ended, without waiting for it."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid
