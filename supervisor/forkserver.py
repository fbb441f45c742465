"""The fork server: a process that preloads what children need, forks them, and tells how they ended.

Always exec'd by :mod:`supervisor.launcher`, never forked from a process with threads, and single-threaded
itself: so every child starts as a sound copy, and the kernel's parent-death signal, which watches a thread,
watches the whole server. What it says and hears is told in :mod:`supervisor.fork_protocol`, what it does with
the remains of a child in :mod:`supervisor.offspring`.

Nothing here waits for anybody: the loop sleeps until the control socket or a SIGCHLD wakes it, and what
cannot be said at once is said later. The server itself is not armed with a parent-death signal, for a host
may start it from a thread that ends: it watches its socket.

Owns the loop and the forking. Refuses to know what the children are for, and whether to replace them.
"""

import contextlib
import os
import select
import signal
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, assert_never

from actors.failpoints import at
from actors.wording import one_line
from supervisor import linux
from supervisor.fork_protocol import (
    MAX_MESSAGE,
    Forked,
    FromServer,
    Launch,
    LaunchFailed,
    Namespace,
    ProtocolError,
    Standby,
    StandbyGone,
    StandbyReady,
    Start,
    StartFailed,
    Terminate,
    decode_to_server,
    encode,
)
from supervisor.forked import CRASHED, Server, run_child, run_standby
from supervisor.namespaces import Born, NamespaceRefusedError, fork_inside
from supervisor.offspring import EMPTY_SECONDS, Child, Offspring
from supervisor.preload import preload, reset_signals
from supervisor.shortage import refusal
from supervisor.standby import Standbys

LEAVE_SECONDS: Final = 1.0
"""How long children that die with the server may take to end once the supervising process is gone."""

LINGER_SECONDS: Final = 4.0
"""The same for the others, which may have tasks to end: nothing of a session lives 5 s after it."""

_WAKEUPS: Final = 4096


class ForkServer:
    """The loop of the process.

    Args:
        control: This side of the socket pair, non-blocking; the other end is the supervising process's.
        wakeup: Read end of the pipe that the interpreter writes a byte to for each signal.
    """

    def __init__(self, control: socket.socket, wakeup: int) -> None:
        self._control = control
        self._wakeup = wakeup
        self._server = Server(os.getpid(), f"{os.getpid()}.{linux.start_ticks(os.getpid())}", (control,))
        self._standbys = Standbys(self._fork_standby)
        self._offspring = Offspring(self._standbys.owns)
        self._unsent: deque[tuple[bytes, int | None]] = deque()
        self._closing_since: float | None = None

    def run(self) -> None:
        """Serve until the supervising process is gone and nothing is left below this one."""
        poller = select.poll()
        poller.register(self._wakeup, select.POLLIN)
        poller.register(self._control, select.POLLIN)
        watched = select.POLLIN
        listened: set[int] = set()
        while not self._finished():
            listened = _listen(poller, listened, set(self._standbys.descriptors()))
            wanted = self._wanted()
            if wanted != watched:
                if wanted:
                    poller.modify(self._control, wanted)
                else:
                    poller.unregister(self._control)
                watched = wanted
            for descriptor, _ in poller.poll(self._timeout()):
                if descriptor == self._wakeup:
                    os.read(self._wakeup, _WAKEUPS)
                elif descriptor in listened:
                    self._tell_of_standby(self._standbys.hear(descriptor))
                else:
                    self._flush()
                    self._receive()
            for pid, status in self._offspring.wait_for_dead():
                self._tell_of_standby(self._standbys.ended(pid, status))
            for exited in self._offspring.empty():
                at("fork_server.emptied")
                self._say(exited)
            self._fill_standbys()
            self._close_down()

    def _wanted(self) -> int:
        if self._closing_since is not None:
            return 0
        return select.POLLIN | (select.POLLOUT if self._unsent else 0)

    def _timeout(self) -> float | None:
        """Return the milliseconds until something is due without an event; ``None`` for never."""
        now = time.monotonic()
        give_up_at = self._offspring.give_up_at()
        moments = [moment for moment in (give_up_at, self._standbys.due) if moment is not None]
        if self._closing_since is not None:
            ends = (LEAVE_SECONDS, LINGER_SECONDS, LINGER_SECONDS + EMPTY_SECONDS)
            moments += [self._closing_since + end for end in ends if self._closing_since + end > now]
        return max(0.0, min(moments) - now) * 1000 + 1 if moments else None

    # --- the supervising process ---------------------------------------------------------------------------

    def _receive(self) -> None:
        while self._closing_since is None:
            try:
                packet, descriptors, _, _ = socket.recv_fds(self._control, MAX_MESSAGE, 2, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # said once; the end of file comes next
            if not packet:
                self._begin_closing()
                return
            match decode_to_server(packet):
                case Standby() as standby:
                    self._standbys.want(standby)
                case Launch() as launch:
                    self._launch(launch, descriptors)
                case Terminate(child, incarnation, force):
                    self._offspring.terminate(child, incarnation, force=force)
                case Start():
                    raise ProtocolError("the fork server was told to start twice")
                case unknown:
                    assert_never(unknown)

    def _say(self, message: FromServer, descriptor: int | None = None) -> None:
        self._unsent.append((encode(message), descriptor))
        self._flush()

    def _flush(self) -> None:
        """Send what there is to say; never waits for the other side, which may be busy."""
        while self._unsent:
            packet, descriptor = self._unsent[0]
            rights = [] if descriptor is None else [_rights(descriptor)]
            try:
                self._control.sendmsg([packet], rights, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return
            except ConnectionError:
                self._begin_closing()
                return
            self._unsent.popleft()
            if descriptor is not None:
                os.close(descriptor)

    # --- forking -------------------------------------------------------------------------------------------

    def _launch(self, launch: Launch, descriptors: list[int]) -> None:
        if len(descriptors) < 1 + launch.prints:
            for descriptor in descriptors:
                os.close(descriptor)
            self._refuse(launch, "the link did not arrive: no descriptor is left in the fork server")
            return
        at("fork_server.ordered")
        try:
            pid = self._start(launch, descriptors)
        except NamespaceRefusedError as error:
            self._refuse(launch, f"no PID namespace can be made: {error}")
            return
        except OSError as error:
            self._refuse(launch, f"cannot fork: {refusal(error)}")
            return
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        at("fork_server.forked")
        mark = self._server.mark_of(launch)
        self._offspring.add(Child(launch, pid, mark))
        try:
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            self._offspring.disown(pid)
            self._refuse(launch, f"cannot open a pidfd: {error.strerror}")
            return
        self._say(Forked(launch.child, launch.incarnation, pid, mark), pidfd)

    def _start(self, launch: Launch, descriptors: Sequence[int]) -> int:
        """Hand the launch to a child in advance, or fork one; return its process id."""
        waiting = self._standbys.take(launch, descriptors) if launch.standby else None
        if waiting is not None:
            return waiting
        pid, born = _fork(launch.namespace)
        if pid == 0:
            run_child(launch, descriptors, self._server, born)
        return pid

    def _fork_standby(self, waiting: socket.socket, module: str) -> int:
        pid = os.fork()
        if pid == 0:
            run_standby(waiting, module, self._server)
        return pid

    def _fill_standbys(self) -> None:
        if self._closing_since is None:
            with contextlib.suppress(OSError):  # what is short is not for who waits; it is tried again
                self._standbys.fill()

    def _tell_of_standby(self, message: StandbyReady | StandbyGone | None) -> None:
        if message is not None and self._closing_since is None:
            self._say(message)

    def _refuse(self, launch: Launch, error: str) -> None:
        self._say(LaunchFailed(launch.child, launch.incarnation, error))

    # --- the end -------------------------------------------------------------------------------------------

    def _begin_closing(self) -> None:
        if self._closing_since is None:
            self._closing_since = time.monotonic()
            self._standbys.clear()
        for _, descriptor in self._unsent:
            if descriptor is not None:
                os.close(descriptor)
        self._unsent.clear()

    def _close_down(self) -> None:
        """Give the children their time to end by themselves, then kill them."""
        if self._closing_since is None:
            return
        elapsed = time.monotonic() - self._closing_since
        for child in self._offspring.living():
            if elapsed >= (LEAVE_SECONDS if child.launch.dies_with_server else LINGER_SECONDS):
                self._offspring.kill(child)
        self._offspring.kill_strays()

    def _finished(self) -> bool:
        if self._closing_since is None:
            return False
        too_late = self._closing_since + LINGER_SECONDS + EMPTY_SECONDS
        return self._offspring.gone() or time.monotonic() >= too_late


def _fork(namespace: Namespace) -> tuple[int, Born | None]:
    """Fork; return the process id (0 in the child) and what became of the wish for a namespace.

    Raises:
        NamespaceRefusedError: One is required, and there is none.
        OSError: Nothing was forked.
    """
    if namespace is Namespace.NONE:
        return os.fork(), None
    try:
        return fork_inside()
    except NamespaceRefusedError as error:
        if namespace is Namespace.REQUIRED:
            raise
        return os.fork(), Born(refused=str(error))


def _listen(poller: select.poll, listened: set[int], wanted: set[int]) -> set[int]:
    """Have these descriptors polled, instead of those."""
    for descriptor in listened - wanted:
        poller.unregister(descriptor)
    for descriptor in wanted - listened:
        poller.register(descriptor, select.POLLIN)
    return wanted


def _rights(descriptor: int) -> tuple[int, int, bytes]:
    return socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", descriptor)


def _hear_start(control: socket.socket) -> Start | None:
    """Wait for the first message; ``None`` when the supervising process is gone before it."""
    packet = control.recv(MAX_MESSAGE)
    if not packet:
        return None
    start = decode_to_server(packet)
    if not isinstance(start, Start):
        raise ProtocolError("the fork server was not told to start first")
    return start


def _serve(control: socket.socket) -> int:
    start = _hear_start(control)
    if start is None:
        return 0
    linux.set_child_subreaper()
    linux.set_process_name("fork-server")
    with contextlib.suppress(OSError):  # of nothing, only so that no child is the first who does it
        linux.close_range(linux.LAST_DESCRIPTOR, linux.LAST_DESCRIPTOR)
    try:
        preload(start)
    except Exception as error:  # noqa: BLE001 - whatever a module raises is reported, as all there is to say
        with contextlib.suppress(ConnectionError):
            control.send(encode(StartFailed(one_line(error))))
        return CRASHED
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    control.settimeout(0.0)
    ForkServer(control, reading).run()
    return 0


def main(descriptor: int) -> int:
    """Be the fork server.

    Args:
        descriptor: Number of the inherited control socket.

    Returns:
        The exit status of the process.
    """
    control = socket.socket(fileno=descriptor)
    control.set_inheritable(False)
    reset_signals()
    try:
        return _serve(control)
    except ProtocolError as error:
        os.write(2, f"fork server: {error}\n".encode())
        return CRASHED


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
