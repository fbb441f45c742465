"""Which processes belong to which attempt, and how all of them are made to end.

The runner is a subreaper: whatever a task starts, however often it forks and calls setsid, either descends
from the task's leader or, once its parents are dead, becomes a child of the runner. Such a child is a
*stray*. So nothing of an attempt is left exactly when its leader has exited and no stray is its.

Whose a stray is, is decided when it is first seen: by its session or group, which the leader's pid names (a
leader is not reaped before its tree is empty, so that number is nobody else's); else by the mark in its
environment. One that has shed both may come from any attempt that lived then: it counts as the last of these
that is left. One that is just ending, or executing another program, shows neither: it is looked at again.

A process that forks faster than it can be found is caught by looking again as long as something new turns up.
There is no promise against one that forks itself in numbers; that needs a control group
(:mod:`supervisor.cgroups`).

Owns looking, attributing, signalling and reaping. Refuses to know steps, outcomes and deadlines.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Final

import attrs

from supervisor import linux
from supervisor.environment import ATTEMPT_MARK, SESSION_MARK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MOST_ROUNDS: Final = 200
"""Rounds of one hunt after a forker before the loop gets its turn."""

_MOST_LOOKS: Final = 8
"""Readings of the list of children in one look."""

_MOST_SILENT: Final = 2000
"""Looks at one that shows nothing of itself for a moment, after which it counts as one that never will."""

_COMPLETE_BELOW: Final = 4000
"""Bytes of a list of children that the kernel surely gave in one piece (its buffer has a page)."""


@attrs.frozen
class Usage:
    """What reaped processes used.

    Attributes:
        cpu_seconds: User and system time, their own reaped children included.
        max_rss: Bytes of the largest resident set. Linux lets no process report less than its parent had when
            it
            was started, so small programs report the runner's.
    """

    cpu_seconds: float = 0.0
    max_rss: int = 0

    def with_more(self, other: Usage) -> Usage:
        """Add what another process used."""
        return Usage(self.cpu_seconds + other.cpu_seconds, max(self.max_rss, other.max_rss))


@attrs.frozen
class _Stray:
    """An adopted child: whose it is, or (``owner`` empty) whose it may be."""

    pid: int
    owner: str
    candidates: frozenset[str]


class Trees:
    """The process trees of the attempts of one runner.

    Args:
        session: Session id, as the marks carry it.
    """

    name = "sweep"

    def __init__(self, session: str) -> None:
        self._session = session.encode()
        self._leaders: dict[int, str] = {}
        self._attempts: set[str] = set()
        self._strays: dict[int, _Stray] = {}
        self._silent: dict[int, int] = {}  # how often each was looked at
        self._doomed: set[int] = set()
        self._usage: dict[str, Usage] = {}
        self._children = _Children()
        self.settled = True

    # --- bookkeeping ----------------------------------------------------------------------------------------

    def enter(self, attempt: str, slot: int) -> tuple[str, ...]:
        """Take up an attempt; return the words to put before its programs' own (see ``start_step``)."""
        del slot
        self._attempts.add(attempt)
        return ()

    def lead(self, attempt: str, pid: int) -> None:
        """Note the leader of an attempt's present step."""
        self._leaders[pid] = attempt

    def leave(self, attempt: str) -> Usage:
        """Forget an attempt whose tree is empty; return what its processes used."""
        self._attempts.discard(attempt)
        self.forget(attempt)
        for stray in self._strays.values():
            if attempt in stray.candidates:
                self._strays[stray.pid] = attrs.evolve(stray, candidates=stray.candidates - {attempt})
        return self._usage.pop(attempt, Usage())

    def forget(self, attempt: str) -> None:
        """Let go of what a stronger containment holds for an attempt."""

    def owner_of(self, pid: int) -> str:
        """Return the attempt that a stronger containment knows a process to be of, ``""`` for none."""
        del pid
        return ""

    def shown(self, pid: int) -> int:
        """Return the number by which people know a leader that was not reaped."""
        return pid

    def close(self) -> None:
        """Give back what the containment itself holds."""
        self._children.close()

    # --- looking --------------------------------------------------------------------------------------------

    def exited(self, held: Iterable[int] = ()) -> Iterator[tuple[int, str, int]]:
        """Yield each leader that has exited, not reaped: pid, attempt, exit status (minus the signal number).

        Args:
            held: Leaders known to have exited that are kept unreaped.
        """
        kept = set(held)
        while not kept and (found := _peek(os.P_ALL, 0)) is not None:
            attempt = self._leaders.get(found.si_pid)
            if attempt is None:
                self.look()
                break
            yield found.si_pid, attempt, _status(found)
            if found.si_pid in self._leaders:  # the caller keeps it
                kept.add(found.si_pid)
        else:
            if not kept:
                return
        # Dead ones that are kept, or strays that die all the time, would be found again and again.
        for pid, attempt in list(self._leaders.items()):
            if pid not in kept and (found := _peek(os.P_PID, pid)) is not None:
                yield pid, attempt, _status(found)

    def reap(self, pid: int) -> None:
        """Wait for a leader that has exited and credit its attempt with what it used."""
        attempt = self._leaders.pop(pid)
        self._credit(attempt, _reap(pid))

    def look(self) -> None:
        """Bring the list of strays up to date: reap dead ones, attribute new ones.

        After a stray was reaped its children may have become ours, so the list is read again until nothing
        died. Where something dies all the time that is put off: ``settled`` is false then, and that nothing
        is left of an attempt must not be concluded.
        """
        for _ in range(_MOST_LOOKS):
            children = self._children.read()
            self.settled = True
            if len(children) == len(self._leaders) and not self._strays:
                return  # every leader is a child, so these are all: what an ordinary task costs
            for pid in children:
                if pid not in self._leaders and self._meet(pid):
                    self.settled = False
            if self.settled:
                return

    def _meet(self, pid: int) -> bool:
        """Reap a stray if it is dead, attribute it if it is new; return whether it has to be looked at again."""
        usage = _reap(pid)
        if usage is None:
            if pid in self._strays:
                return False
            stray = self._attributed(pid)
            if len(stray.candidates) > 1 and self._will_tell(pid):
                return True
            self._silent.pop(pid, None)
            self._strays[pid] = stray
            return False
        # What nobody saw alive is the only attempt's, or nobody's.
        self._silent.pop(pid, None)
        known = self._strays.pop(pid, None)
        self._doomed.discard(pid)
        self._credit(known.owner if known else "", usage)
        return True

    def leftovers(self, attempt: str) -> list[int]:
        """Return the strays that are the attempt's, as of the last look."""
        return [stray.pid for stray in self._strays.values() if self._belongs(stray, attempt)]

    def orphans(self) -> list[int]:
        """Return strays that can be no living attempt's any more."""
        return [stray.pid for stray in self._strays.values() if not stray.owner and not stray.candidates]

    @property
    def quiet(self) -> bool:
        """Whether there is no adopted process and no doubt about it, as of the last look."""
        return self.settled and not self._strays

    def is_empty(self, attempt: str) -> bool:
        """Tell whether no stray of the attempt is left, as of the last look."""
        return self.settled and not self.leftovers(attempt)

    # --- ending ---------------------------------------------------------------------------------------------

    def terminate(self, attempt: str, leader: int) -> None:
        """Ask every process of an attempt to end: TERM, and CONT for those that are stopped.

        Args:
            attempt: Which one.
            leader: Its leader's pid, not reaped.
        """
        self.look()
        below = self._below([leader, *self.leftovers(attempt)])
        for sig in (signal.SIGTERM, signal.SIGCONT):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(leader, sig)
            for pid in self.leftovers(attempt):
                _signal_child(pid, sig, unless_in=leader)
            for stat in below:
                if stat.group != leader:
                    _signal_other(stat, sig)

    def kill(self, attempt: str, leader: int, *, leader_exited: bool) -> None:
        """Kill what is found of an attempt.

        What lives further down is killed too, for speed; what is forked meanwhile becomes a stray.

        Args:
            attempt: Which one.
            leader: Its leader's pid, not reaped.
            leader_exited: Whether the leader has exited.
        """
        self.look()
        roots = self.leftovers(attempt) if leader_exited else [leader, *self.leftovers(attempt)]
        below = self._below(roots)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)
        for stat in below:
            _signal_other(stat, signal.SIGKILL)
        self.hunt(attempt)

    def hunt(self, attempt: str) -> None:
        """Kill the strays of an attempt, and look again as long as new ones turn up."""
        for _ in range(_MOST_ROUNDS):
            found = {*self.leftovers(attempt)} - self._doomed
            if not found:
                return
            for pid in found:
                _signal_child(pid, signal.SIGKILL)
            self._doomed |= found
            self.look()

    def kill_orphans(self) -> None:
        """Kill strays that can be no living attempt's any more."""
        for pid in self.orphans():
            if pid not in self._doomed:
                _signal_child(pid, signal.SIGKILL)
                self._doomed.add(pid)

    # --- inner ----------------------------------------------------------------------------------------------

    def _belongs(self, stray: _Stray, attempt: str) -> bool:
        return stray.owner == attempt if stray.owner else stray.candidates == {attempt}

    def _will_tell(self, pid: int) -> bool:
        """Tell whether whose one is cannot be said yet; what it has forked meanwhile becomes ours when it is dead."""
        looks = self._silent[pid] = self._silent.get(pid, 0) + 1
        return looks < _MOST_SILENT and linux.is_in_between(pid)

    def _attributed(self, pid: int) -> _Stray:
        if len(self._attempts) <= 1:  # no question, and a forker is caught by being quick
            return _Stray(pid, "", frozenset(self._attempts))
        if owner_id := self.owner_of(pid):
            return _Stray(pid, owner_id, frozenset())
        stat = linux.stat_of(pid)
        if stat is not None:
            owner = self._leaders.get(stat.session) or self._leaders.get(stat.group)
            if owner is not None:
                return _Stray(pid, owner, frozenset())
        variables = linux.environment_of(pid)
        marked = variables.get(ATTEMPT_MARK.encode(), b"").decode(errors="replace")
        if marked in self._attempts and variables.get(SESSION_MARK.encode()) == self._session:
            return _Stray(pid, marked, frozenset())
        return _Stray(pid, "", frozenset(self._attempts))

    def _below(self, pids: Iterable[int]) -> list[linux.Stat]:
        found = (linux.stat_of(below) for pid in pids for below in linux.descendants(pid))
        return [stat for stat in found if stat is not None]

    def _credit(self, attempt: str, usage: Usage | None) -> None:
        if not attempt and len(self._attempts) == 1:
            (attempt,) = self._attempts
        if usage is not None and attempt in self._attempts:
            self._usage[attempt] = self._usage.get(attempt, Usage()).with_more(usage)


class _Children:
    """Reads the list of this process's children through one descriptor, kept open: one system call."""

    def __init__(self) -> None:
        try:
            self._list = os.open("/proc/thread-self/children", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # a kernel without CONFIG_PROC_CHILDREN
            self._list = -1

    def read(self) -> tuple[int, ...]:
        """Name the children, zombies included; complete, because nobody else waits for them."""
        if self._list >= 0:
            block = os.pread(self._list, 2 * _COMPLETE_BELOW, 0)
            if len(block) < _COMPLETE_BELOW:
                return tuple(map(int, block.split()))
        return linux.children_of(os.getpid())

    def close(self) -> None:
        if self._list >= 0:
            os.close(self._list)
            self._list = -1


def _peek(kind: int, pid: int) -> os.waitid_result | None:
    try:
        return os.waitid(kind, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None


def _status(found: os.waitid_result) -> int:
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def _reap(pid: int) -> Usage | None:
    """Wait for a child if it has ended."""
    try:
        ended, _, usage = os.wait4(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return Usage(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024) if ended else None


def _signal_child(pid: int, sig: int, unless_in: int = 0) -> None:
    """Signal an own child that was not reaped: its pid is nobody else's."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if not unless_in or os.getpgid(pid) != unless_in:
            os.kill(pid, sig)


def _signal_other(stat: linux.Stat, sig: int) -> None:
    """Signal a process further down, by a pidfd; if it has gone meanwhile, its children are ours anyway."""
    with contextlib.suppress(OSError):
        linux.kill_by_pidfd(stat.pid, stat.start_ticks, sig)
