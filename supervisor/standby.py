"""Children in advance: forked, with their module loaded, and idle until a launch is handed to them.

Belongs to the fork server, which is their parent: it forks them, kills them when they are not wanted any more, and
replaces one that has ended or was used, the latter a little later, so as not to take the processor from the child that
starts just then. A standby is anonymous until it gets its launch, over a socket of its own, and what follows is a child
like any other. One that is not there yet, has been stopped or has died is passed over: then there is a fork, as without
standbys. They die with the server.

Owns which are wanted, and the handing over. Refuses to know what the children are for, and the server's loop.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import attrs

from supervisor import linux
from supervisor.fork_protocol import Launch, Standby, StandbyGone, StandbyReady, encode

REFILL_SECONDS: Final = 0.2
"""Seconds from the use of a standby, or its end, to the next fork; doubled with each end in a row."""

LONGEST_SECONDS: Final = 60.0
"""Longest time between two forks of standbys that keep ending."""

_AWAKE: Final = frozenset("RSD")


@attrs.define
class _Spare:
    """One process, and our end of its socket."""

    pid: int
    name: str
    descriptor: int
    ready: bool = False


@attrs.define
class _Wanted:
    """How many of a kind there shall be, and from when on the next may be forked."""

    standby: Standby
    fork_at: float
    ends: int = 0


class Standbys:
    """All of one fork server; used by its only thread.

    Args:
        fork: Forks one that loads a module and waits at a socket; returns its process id.
    """

    def __init__(self, fork: Callable[[socket.socket, str], int]) -> None:
        self._fork = fork
        self._wanted: dict[str, _Wanted] = {}
        self._spares: dict[int, _Spare] = {}

    @property
    def due(self) -> float | None:
        """Monotonic moment at which :meth:`fill` is to be called; ``None`` when nothing is missing."""
        return min((one.fork_at for one in self._wanted.values() if self._missing(one)), default=None)

    def descriptors(self) -> Iterator[int]:
        """Iterate over the sockets of those that have not said yet that they are ready."""
        return (spare.descriptor for spare in self._spares.values() if not spare.ready)

    def want(self, standby: Standby) -> None:
        """Keep so many from now on; what is there too many, or loads something else, is killed."""
        former = self._wanted.pop(standby.name, None)
        keep = standby.count if former is not None and former.standby.load == standby.load else 0
        for spare in self._named(standby.name)[keep:]:
            self._kill(spare)
        if standby.count:
            self._wanted[standby.name] = _Wanted(standby, time.monotonic())

    def fill(self) -> None:
        """Fork what is missing and due.

        Raises:
            OSError: The system refused it; it is tried again later.
        """
        now = time.monotonic()
        for one in self._wanted.values():
            while self._missing(one) and one.fork_at <= now:
                one.fork_at = now + LONGEST_SECONDS  # should it be refused
                self._add(one.standby)
                one.fork_at = now

    def hear(self, descriptor: int) -> StandbyReady | None:
        """Take the word of one at whose socket there is something: that it is ready, or the end of file."""
        spare = next((one for one in self._spares.values() if one.descriptor == descriptor), None)
        if spare is None or spare.ready:
            return None
        spare.ready = True  # or dead, which the attempt to use it finds out
        return StandbyReady(spare.name, spare.pid) if os.read(descriptor, 1) else None

    def take(self, launch: Launch, descriptors: Sequence[int]) -> int | None:
        """Hand a launch to one that waits for it; return its process id, ``None`` when there is none."""
        packet, rights = encode(launch), struct.pack(f"{len(descriptors)}i", *descriptors)
        for spare in self._named(launch.standby):
            if not spare.ready:
                continue
            found = linux.stat_of(spare.pid)
            if found is None or found.state not in _AWAKE:
                self._kill(spare)  # stopped, or dead already: of no use to anybody
            elif self._hand_over(spare, packet, rights):
                wanted = self._wanted[spare.name]
                wanted.fork_at, wanted.ends = time.monotonic() + REFILL_SECONDS, 0
                self._forget(spare)
                return spare.pid
        return None

    def ended(self, pid: int, status: int) -> StandbyGone | None:
        """Take in that a process was waited for; return what is to be told if it was a standby that was wanted."""
        spare = self._spares.get(pid)
        if spare is None:
            return None
        self._forget(spare)
        wanted = self._wanted[spare.name]
        wanted.fork_at = time.monotonic() + min(REFILL_SECONDS * 2**wanted.ends, LONGEST_SECONDS)
        wanted.ends = min(wanted.ends + 1, 30)
        return StandbyGone(spare.name, pid, status)

    def clear(self) -> None:
        """Kill all; none is wanted any more."""
        for spare in tuple(self._spares.values()):
            self._kill(spare)
        self._wanted.clear()

    def owns(self, pid: int) -> bool:
        """Tell whether a process is one of these."""
        return pid in self._spares

    def _named(self, name: str) -> list[_Spare]:
        return [spare for spare in self._spares.values() if spare.name == name]

    def _missing(self, one: _Wanted) -> bool:
        return len(self._named(one.standby.name)) < one.standby.count

    def _add(self, standby: Standby) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            descriptor = ours.detach()
            os.set_blocking(descriptor, False)
            try:
                pid = self._fork(theirs, standby.load)
            except OSError:
                os.close(descriptor)
                raise
        self._spares[pid] = _Spare(pid, standby.name, descriptor)

    def _hand_over(self, spare: _Spare, packet: bytes, rights: bytes) -> bool:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=spare.descriptor)
        try:
            sock.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)], socket.MSG_NOSIGNAL)
        except OSError:  # it has died, and will be waited for
            return False
        finally:
            sock.detach()
        return True

    def _kill(self, spare: _Spare) -> None:
        os.kill(spare.pid, signal.SIGKILL)  # not waited for yet, so it is ours
        self._forget(spare)

    def _forget(self, spare: _Spare) -> None:
        del self._spares[spare.pid]
        os.close(spare.descriptor)
