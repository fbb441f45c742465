"""A launcher with its puppets, as tests use them: launch until ready, tell and ask, wait for reports."""

import contextlib
import json
import os
import select
import socket
from collections.abc import Mapping
from time import monotonic
from types import TracebackType
from typing import Final, Self, TypeVar

import attrs

from supervisor.fork_protocol import ChildExited, LaunchFailed, Namespace
from supervisor.launcher import Launched, Launcher, Report, ServerGone

PUPPETS: Final = "tests.processes.puppets"
TIMEOUT: Final = 60.0

R = TypeVar("R", Launched, LaunchFailed, ChildExited, ServerGone)


@attrs.frozen
class Puppet:
    """A child that said that it is ready.

    Attributes:
        child: Child id.
        incarnation: Which start of it this is.
        pid: As it is known here.
        link: Our end of its link, blocking here.
        pidfd: As it was launched with.
        mark: The same.
    """

    child: str
    incarnation: int
    pid: int
    link: socket.socket
    pidfd: int
    mark: str

    def tell(self, line: str) -> None:
        """Say a line that is not answered."""
        self.link.sendall(f"{line}\n".encode())

    def ask(self, line: str) -> object:
        """Say a line and read what the puppet answers."""
        self.tell(line)
        return json.loads(read_line(self.link))

    def ask_pid(self, line: str) -> int:
        """Have it start something; return its process id."""
        answer = self.ask(line)
        assert isinstance(answer, int)
        return answer

    def is_over(self, timeout: float = TIMEOUT) -> bool:
        """Wait for the end of the process on its pidfd."""
        return readable(self.pidfd, timeout)


class Stage:
    """Owns a launcher and everything that comes out of it; leaves nothing open.

    Args:
        preload: Modules for the fork server, the puppets' by default.
        warm_up: As for the launcher.
    """

    def __init__(self, preload: tuple[str, ...] = (PUPPETS,), warm_up: tuple[str, ...] = ()) -> None:
        self.launcher = Launcher.start(preload, warm_up=warm_up)
        self._unread: list[Report] = []
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close_links()
        self.launcher.stop()

    def close_links(self) -> None:
        """Close our ends of all links, and all pidfds."""
        self._open.close()

    def launch(
        self,
        child: str = "one",
        incarnation: int = 1,
        *,
        entry: str = "puppet",
        args: Mapping[str, object] | None = None,
        dies_with_server: bool = True,
        namespace: Namespace = Namespace.NONE,
    ) -> Puppet:
        """Launch a puppet and wait until it says that it is ready."""
        link = self.launcher.launch(
            child,
            incarnation,
            f"{PUPPETS}:{entry}",
            args or {},
            dies_with_server=dies_with_server,
            namespace=namespace,
        )
        self._open.callback(link.close)
        launched = self.wait_for(Launched, child, incarnation)
        link.settimeout(TIMEOUT)
        ready, pid = read_line(link).split()
        assert ready == "ready"
        assert int(pid) == (launched.pid if namespace is Namespace.NONE else 1)
        assert launched.pidfd is not None
        return Puppet(child, incarnation, launched.pid, link, launched.pidfd, launched.mark)

    def ask_for(self, entry: str, child: str = "one", incarnation: int = 1) -> socket.socket:
        """Launch without waiting; `entry` has its module with it."""
        link = self.launcher.launch(child, incarnation, entry, {})
        self._open.callback(link.close)
        link.settimeout(TIMEOUT)
        return link

    def wait_for(self, kind: type[R], child: str = "", incarnation: int = 0) -> R:
        """Take the first report of a kind (and of a child) that is there or comes; leave the others."""
        give_up_at = monotonic() + TIMEOUT

        def wanted(report: Report) -> bool:
            if not isinstance(report, kind):
                return False
            whose = (getattr(report, "child", ""), getattr(report, "incarnation", 0))
            return (not child or whose[0] == child) and (not incarnation or whose[1] == incarnation)

        while not (found := [report for report in self._unread if wanted(report)]):
            assert readable(self.launcher, give_up_at - monotonic()), (
                f"no {kind.__name__} of {child!r}; instead {self._unread}"
            )
            self.read()
        self._unread.remove(found[0])
        assert isinstance(found[0], kind)
        return found[0]

    def read(self) -> list[Report]:
        """Take in what is there; return all that nobody waited for yet."""
        for report in self.launcher.read():
            if isinstance(report, Launched) and report.pidfd is not None:
                self._open.callback(os.close, report.pidfd)
            self._unread.append(report)
        return self._unread


def readable(descriptor: int | Launcher | socket.socket, timeout: float = TIMEOUT) -> bool:
    """Wait until there is something to read."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(max(0.0, timeout) * 1000))


def read_line(link: socket.socket) -> str:
    """Read a line from a blocking socket; an empty string at its end."""
    line = b""
    while not line.endswith(b"\n") and (byte := link.recv(1)):
        line += byte
    return line.decode().rstrip("\n")
