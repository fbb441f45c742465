"""The host of a role: what stands between its link, its programs, time, and its mailbox.

Runs in a role process, in its main thread, beside which there are only the short ones of disk work that a flow waits
for. The role actor's mailbox calls :meth:`Host.turn` whenever it is empty, and the host waits for what comes next (a
frame, a moment, the end of a program) and tells it. So a heartbeat is answered by the loop that does the work, and a
replacement need not start a thread before it is ready. When the link ends the supervising process is dead, and so is
the role; one that is stuck is killed by the fork server, which goes as well.

Owns the link's reading side, the watching of programs and the clock. Refuses to know what any role does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from actors.frames import Beat, Deliver, Frame, FrameReader, Leave, Welcome, encode_frame, next_beat
from actors.log import log, open_log_late, without_secrets
from actors.messages import ProgramEnded, RoleMessage, Short, Tick
from actors.paths import ProjectPaths
from actors.programs import DONE, Finished, Program, Work, environment_of, not_started

if TYPE_CHECKING:
    import socket

_CHUNK: Final = 1 << 18
_SHORTAGES: Final = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 1.0

SHORT_SECONDS: Final = 2.0
"""Longest time that a program which the system refuses is tried again, before its flow is told so."""

RESERVE: Final = 16
"""Descriptors that a role needs to be able to open before it does anything: what cannot be opened is no file that is
not there, but only who asks each time could tell the two apart."""

MOST_OUTPUT: Final = 256 << 20
"""Bytes on each stream after which a program is killed: it is kept in memory, and a flood would fill that."""

_OUTPUT_LOOK: Final = 0.25
"""Seconds between two looks at how much there is."""

_TOO_LONG: Final = b"\nran out of time and was killed"
_TOO_MUCH: Final = b"\nprinted more than 256 MiB and was killed"

_LOOK_AGAIN: Final = 0.1
_SHORT_LOOKS: Final = 10
"""Looks after which a shortage of descriptors is said to be one: a second."""

_UNWANTED: Final = Finished(-signal.SIGTERM, b"", b"", by_host=True)
"""How a program "ended" that was never started, and need not be."""

CRASHED: Final = 70
"""Exit status of a role whose code is broken (EX_SOFTWARE of sysexits.h)."""


class Mailbox(Protocol):
    """Where a host tells its messages to: a pykka actor reference, or a list in a test."""

    def tell(self, message: RoleMessage) -> None:
        """Put a message into the mailbox; never blocks."""


@attrs.define
class _Running:
    token: int
    process: subprocess.Popen[bytes]
    stdout: int
    stderr: int
    kill_at: float
    killed_for: bytes = b""
    is_unwanted: bool = False

    def printed(self) -> int:
        """Return how many bytes there are on the longer stream."""
        return max(os.fstat(descriptor).st_size for descriptor in (self.stdout, self.stderr))


@attrs.define
class _Postponed:
    """A program that the system had no process, descriptor or memory for."""

    token: int
    program: Program
    at: float
    delay: float
    give_up_at: float
    is_unwanted: bool = False


def _memory_file(name: str, content: bytes = b"") -> int:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
    if content:
        os.write(descriptor, content)
        os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _take(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as stream:
        stream.seek(0)
        return stream.read(MOST_OUTPUT)


def _has_descriptors() -> bool:
    """Whether this process may open :data:`RESERVE` more files, and the machine at least one."""
    try:
        lowest = os.dup(0)
    except OSError as error:
        return error.errno not in {errno.EMFILE, errno.ENFILE}  # without a standard input nothing can be told
    os.close(lowest)
    return lowest + RESERVE <= resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def _abandon(process: subprocess.Popen[bytes]) -> None:
    """End a program that nobody could be told about the end of."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Host:
    """What a role process waits with.

    Args:
        link: The child's end of the link, blocking.
    """

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self._poller: select.poll | None = None
        self._wake = -1
        self._programs: dict[int, _Running] = {}
        self._next_beat = next_beat(time.monotonic())
        self._wake_at: float | None = None
        self._worked: deque[int] = deque()
        self._postponed: list[_Postponed] = []
        self._short_looks = 0
        self._leaving = False
        self._asked = False
        self._reader = FrameReader()

    # --- called by the role --------------------------------------------------------------------------------------

    def send(self, frame: Frame) -> None:
        """Write a frame to the link.

        Raises:
            OSError: The supervising process is gone.
        """
        self._link.sendall(encode_frame(frame))

    def wake_at(self, mono: float) -> None:
        """Ask for a tick at a moment of the monotonic clock, if that is before the next one."""
        self._wake_at = mono if self._wake_at is None else min(mono, self._wake_at)

    def start(self, token: int, due: Program | Work) -> Finished | None:
        """Start what a flow yielded; its end is told as :class:`ProgramEnded` with the token.

        Returns:
            ``None``, or how it "ended" when it could not even be started.
        """
        if isinstance(due, Program):
            return self._try_program(_Postponed(token, due, 0.0, _FIRST_DELAY, time.monotonic() + SHORT_SECONDS))
        # A daemon thread: a disk that never answers must not keep the process from ending.
        thread = threading.Thread(target=self._work, args=(token, due), daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads for us: then the loop has to wait for the disk
            self._work(token, due)
        return None

    def end(self, token: int, grace: float) -> None:
        """Ask what a flow waits for to end, of which is told as ever; what is done in a thread takes its time.

        Args:
            token: What :meth:`start` was given.
            grace: Seconds between TERM and KILL.
        """
        for running in self._programs.values():
            if running.token == token:
                running.is_unwanted = True
                running.kill_at = min(running.kill_at, time.monotonic() + grace)
                self._signal(running, signal.SIGTERM, signal.SIGCONT)
        for postponed in self._postponed:
            postponed.is_unwanted = postponed.is_unwanted or postponed.token == token

    def _try_program(self, tried: _Postponed) -> Finished | None:
        """Start a program; put it off when the system refuses what another moment may have."""
        if tried.is_unwanted:
            return _UNWANTED
        try:
            self._start_program(tried.token, tried.program)
        except (OSError, ValueError) as error:  # ValueError: a NUL in a word, which no program can be given
            now = time.monotonic()
            if getattr(error, "errno", None) not in _SHORTAGES or now >= tried.give_up_at:
                return not_started(tried.program, error)
            later, longer = now + tried.delay, min(2 * tried.delay, _LONGEST_DELAY)
            self._postponed.append(attrs.evolve(tried, at=later, delay=longer))
        return None

    def _work(self, token: int, work: Work) -> None:
        work.do()
        self._worked.append(token)
        os.eventfd_write(self._wake, 1)

    def _start_program(self, token: int, program: Program) -> None:
        with contextlib.ExitStack() as undo:
            stdout = _memory_file("stdout")
            undo.callback(os.close, stdout)
            stderr = _memory_file("stderr")
            undo.callback(os.close, stderr)
            stdin = _memory_file("stdin", program.stdin) if program.stdin else os.open(os.devnull, os.O_RDONLY)
            try:
                process = subprocess.Popen(
                    program.argv,
                    cwd=program.cwd,
                    env=environment_of(program, os.environ),
                    stdin=stdin,
                    stdout=stdout,
                    stderr=stderr,
                    start_new_session=True,
                )
            finally:
                os.close(stdin)
            undo.callback(_abandon, process)
            descriptor = os.pidfd_open(process.pid)
            undo.pop_all()
        kill_at = time.monotonic() + program.timeout
        self._programs[descriptor] = _Running(token, process, stdout, stderr, kill_at)
        self._listening().register(descriptor, select.POLLIN)

    def leave(self) -> None:
        """End the process in order: the actor has done what it had to."""
        self._leaving = True

    def crash(self, error: BaseException) -> None:
        """End the process at once because the role's code is broken; never returns."""
        try:
            self._kill_programs()
            log().opt(exception=error).critical("role crashed")
            sys.stderr.write(without_secrets("".join(traceback.format_exception(error))))
            sys.stderr.flush()
        finally:
            os._exit(CRASHED)

    # --- waiting -------------------------------------------------------------------------------------------------

    def _listening(self) -> select.poll:
        """Return what waits; made when it is first needed, which is once the role has said hello."""
        if self._poller is None:
            self._poller = select.poll()
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._poller.register(self._link, select.POLLIN)
            self._poller.register(self._wake, select.POLLIN)
            signal.signal(signal.SIGTERM, self._asked_by_signal)
        return self._poller

    def turn(self, mailbox: Mailbox) -> bool:
        """Wait for what comes next, and tell it.

        Returns:
            Whether to go on: ``False`` when the link has ended or the role has left, its programs killed.
        """
        poller = self._listening()
        found = [] if self._leaving else poller.poll(self._timeout() * 1000)
        # After it has waited, and before anything is read: what is found now is found again.
        if not (self._leaving or self._asked or _has_descriptors()):
            self._wait_for_descriptors(mailbox)
            return True
        if self._short_looks:
            self._short_looks = 0
            mailbox.tell(Short(over=True))
        for descriptor, _ in found:
            if descriptor == self._link.fileno():
                self._link_ready(mailbox)
            elif descriptor == self._wake:
                os.eventfd_read(self._wake)
                self._woken(mailbox)
            else:
                self._program_ended(descriptor, mailbox)
        if self._leaving:
            self._kill_programs()
            return False
        self._tell_time(mailbox)
        return True

    def _wait_for_descriptors(self, mailbox: Mailbox) -> None:
        """Do nothing but live: nothing is read, decided or written until there are descriptors again."""
        self._short_looks += 1
        if self._short_looks % _SHORT_LOOKS == 0:
            mailbox.tell(Short(over=False))
        select.select([], [], [], _LOOK_AGAIN)
        now = time.monotonic()
        if now >= self._next_beat:
            self._next_beat = next_beat(now)
            with contextlib.suppress(ConnectionError):  # found when there are descriptors, or we are killed before
                self.send(Beat(now))

    def _woken(self, mailbox: Mailbox) -> None:
        if self._asked:
            self._asked = False
            mailbox.tell(Leave(0.0))
        while self._worked:
            mailbox.tell(ProgramEnded(self._worked.popleft(), DONE))

    def _link_ready(self, mailbox: Mailbox) -> None:
        data = self._receive()
        if not data:
            self._leaving = True
        for frame in self._reader.feed(data):
            if isinstance(frame, Welcome | Deliver | Leave):
                mailbox.tell(frame)

    def _receive(self) -> bytes:
        try:
            return self._link.recv(_CHUNK)
        except ConnectionError:  # the other side ended without having read all that we had sent
            return b""

    def _asked_by_signal(self, *_: object) -> None:
        # Only noted: this may be in the middle of anything.
        self._asked = True
        os.eventfd_write(self._wake, 1)

    def _timeout(self) -> float:
        moments = [self._next_beat, *(running.kill_at for running in self._programs.values())]
        moments += [time.monotonic() + _OUTPUT_LOOK] if self._programs else ()
        moments += [postponed.at for postponed in self._postponed]
        if self._wake_at is not None:
            moments.append(self._wake_at)
        return max(0.0, min(moments) - time.monotonic())

    def _program_ended(self, descriptor: int, mailbox: Mailbox) -> None:
        running = self._programs.pop(descriptor)
        self._listening().unregister(descriptor)
        os.close(descriptor)
        if running.is_unwanted:  # and what it leaves in its group, which may not have heeded TERM, all the more
            self._signal(running, signal.SIGKILL)
        code = running.process.wait()
        if running.printed() > MOST_OUTPUT and not running.killed_for:  # and ended before anybody looked
            running.killed_for, code = _TOO_MUCH, code or -signal.SIGKILL
        stdout, stderr = _take(running.stdout), _take(running.stderr)
        by_host = bool(running.killed_for) or running.is_unwanted
        mailbox.tell(ProgramEnded(running.token, Finished(code, stdout, stderr + running.killed_for, by_host)))

    def _tell_time(self, mailbox: Mailbox) -> None:
        now = time.monotonic()
        for running in self._programs.values():
            if not running.killed_for and (now >= running.kill_at or running.printed() > MOST_OUTPUT):
                running.killed_for = _TOO_LONG if now >= running.kill_at else _TOO_MUCH
                running.kill_at = float("inf")
                self._signal(running, signal.SIGKILL)
        due_again = [one for one in self._postponed if now >= one.at]
        self._postponed = [one for one in self._postponed if now < one.at]
        for postponed in due_again:
            refused = self._try_program(postponed)
            if refused is not None:
                mailbox.tell(ProgramEnded(postponed.token, refused))
        beat = now >= self._next_beat
        if beat:
            self._next_beat = next_beat(now)
        due = self._wake_at is not None and now >= self._wake_at
        if due:
            self._wake_at = None
        if beat or due:
            mailbox.tell(Tick(now, beat))

    def _signal(self, running: _Running, *numbers: signal.Signals) -> None:
        # The program leads a group of its own; its pid is not reaped before process.wait(), so it is still its. One
        # that has changed its user (`sudo`, say) is out of reach, and goes on until it ends by itself.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            for number in numbers:
                os.killpg(running.process.pid, number)

    def _kill_programs(self) -> None:
        for running in self._programs.values():
            self._signal(running, signal.SIGKILL)


def main(link: socket.socket, args: Mapping[str, object]) -> int:
    """Run a role: the entry that a role process is forked for.

    Args:
        link: The child's end of the link.
        args: ``role`` (role id), ``incarnation`` (int), ``project`` (absolute directory) and ``session``.

    Returns:
        The exit status of the process.
    """
    from actors.cast import role_class  # noqa: PLC0415 - the roles import this module
    from actors.role import RoleContext  # noqa: PLC0415

    paths = ProjectPaths(Path(str(args["project"])))
    open_log_late(paths.logs(str(args["session"])) / f"{args['role']}.log")
    host = Host(link)
    context = RoleContext(
        role=str(args["role"]),
        incarnation=int(str(args["incarnation"])),
        project=str(args["project"]),
        session=str(args["session"]),
    )
    role_class(context.role).start(host, context)  # returns when the role's loop has ended
    return 0
