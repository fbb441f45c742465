"""Who listens to the fail points of the processes that a test starts, and kills them there.

Owns the socket of :mod:`actors.failpoints`, the choice of the victims, and the proof: a kill counts once the kernel
has closed the connection of the process that had said where it is. Refuses to know what the processes do.
"""

import contextlib
import os
import signal
import socket
import struct
import threading
from collections import Counter
from pathlib import Path
from typing import Final, Self

from attrs import field, frozen

from actors.failpoints import VARIABLE
from supervisor.linux import find_marked, is_alive

ANSWER_SECONDS: Final = 60.0
"""Longest time for a process that has connected to say where it is, and for one that was killed to be gone."""

_COMM_BYTES: Final = 15
_CREDENTIALS: Final = struct.Struct("3i")


@frozen(order=True)
class Target:
    """A kill that is to happen once.

    Attributes:
        step: Name of the fail point.
        process: Whose: a role's id, ``runner``, ``fork-server``; ``""`` for whoever reaches it first.
        everything: Whether all processes of ours are killed, and not only the one that is there.
        hit: Which time it is reached, 1 for the first; by one of these processes.
        number: What the process that is there is sent; after anything but SIGKILL it is let go on.
    """

    step: str
    process: str = ""
    everything: bool = False
    hit: int = 1
    number: signal.Signals = signal.SIGKILL

    def __str__(self) -> str:
        who = self.process or "first"
        return f"{self.step}@{who}#{self.hit}" + ("!" if self.everything else "")


@frozen
class Reached:
    """A process at a step.

    Attributes:
        step: Name of the fail point.
        process: Name of the process as the kernel shows it, at most 15 characters.
        pid: Its process id as seen from here.
    """

    step: str
    process: str
    pid: int

    def fits(self, target: Target) -> bool:
        """Whether this is where the target is to be killed, whichever time it is."""
        named = not target.process or self.process == target.process[:_COMM_BYTES]
        return named and self.step == target.step


@frozen
class Stops:
    """The listener; a context manager that has a thread of its own.

    Attributes:
        place: Path of the socket, for :data:`actors.failpoints.VARIABLE`.
        targets: What is still to be killed.
        killed: What was killed, in order, and how many processes at once.
        reached: How often each step was reached, by (step, process).
    """

    place: Path
    targets: list[Target] = field(factory=list)
    killed: list[tuple[Target, int]] = field(factory=list)
    reached: Counter[tuple[str, str]] = field(factory=Counter)
    failures: list[str] = field(factory=list)
    _listener: list[socket.socket] = field(factory=list)
    _thread: list[threading.Thread] = field(factory=list)

    def __enter__(self) -> Self:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.place))
        listener.listen(128)
        self._listener.append(listener)
        thread = threading.Thread(target=self._serve, name="stops", daemon=True)
        self._thread.append(thread)
        thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Whoever comes from here on finds nobody and goes on; who waits to be accepted is reset.
        self._listener[0].shutdown(socket.SHUT_RDWR)
        self._thread[0].join(ANSWER_SECONDS)
        self._listener[0].close()
        self.place.unlink()

    def ours(self) -> tuple[int, ...]:
        """Return our processes that live: all that were started with the variable, and what they forked."""
        return find_marked(VARIABLE, str(self.place))

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listener[0].accept()
            except OSError:
                return
            with line:
                line.settimeout(ANSWER_SECONDS)
                # Somebody killed meanwhile, together with others, may have connected before.
                with contextlib.suppress(ConnectionError):
                    self._answer(line)

    def _answer(self, line: socket.socket) -> None:
        said = b""
        while not said.endswith(b"\n"):
            more = line.recv(256)
            if not more:
                return
            said += more
        pid = _CREDENTIALS.unpack(line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[0]
        try:
            process = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
        except OSError:
            return
        if not is_alive(pid):
            return  # killed while it waited to be heard
        reached = Reached(said.decode().strip(), process, pid)
        self.reached[reached.step, reached.process] += 1
        target = next((one for one in self.targets if reached.fits(one) and self._times(one) >= one.hit), None)
        if target is None:
            line.sendall(b"g")
        else:
            self._kill(target, reached, line)

    def _times(self, target: Target) -> int:
        return sum(count for key, count in self.reached.items() if Reached(*key, 0).fits(target))

    def _kill(self, target: Target, reached: Reached, line: socket.socket) -> None:
        doomed = self.ours() if target.everything else (reached.pid,)
        if reached.pid not in doomed:
            return  # it has died at this very moment, of another's end
        self.targets.remove(target)
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, target.number)
        if target.number is not signal.SIGKILL:
            line.sendall(b"g")
            self.killed.append((target, len(doomed)))
            return
        # It waits in its step until this end: the kernel closes its end, or the kill did not happen.
        if line.recv(1) == b"":
            self.killed.append((target, len(doomed)))
        else:
            self.failures.append(f"{reached} was not killed")
