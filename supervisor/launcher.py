"""The supervising process's side of the fork server: starts it, asks it for children, hears how they ended.

A :class:`Launcher` belongs to one thread, the one whose loop watches its descriptor; it has no thread of its
own, sets no signal handler and holds no lock. It may be started from any thread, and that thread may end: the
fork server watches its socket, not a parent. What is said is told in :mod:`supervisor.fork_protocol`.

Owns the fork server as a process. Refuses to know what the children are for: that is the hub's, and whether
one is replaced is the core's.
"""

import contextlib
import os
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self, assert_never

import attrs
import msgspec

from supervisor.fork_protocol import (
    MAX_MESSAGE,
    ChildExited,
    Forked,
    FromServer,
    Launch,
    LaunchFailed,
    Namespace,
    Standby,
    StandbyGone,
    StandbyReady,
    Start,
    StartFailed,
    Terminate,
    ToServer,
    decode_from_server,
    encode,
)

STOP_SECONDS: Final = 10.0
"""Longest time that an orderly stop takes: a little more than the fork server allows its children."""

_SEND_SECONDS: Final = 5.0
_END_SECONDS: Final = 1.0
_STDERR: Final = 2


@attrs.frozen
class Launched:
    """A child runs.

    Attributes:
        child: Child id.
        incarnation: Which start of it this is.
        pid: Its process id.
        mark: What ``MILESTONED_CHILD`` is set to in the environment of the programs that it starts: by it
            they can be found should both the child and the fork server be gone.
        pidfd: Becomes readable when it ends; the reader's to close. ``None`` when this process had no
            descriptor left for it: then :class:`ChildExited` alone tells of the end, and :meth:`Launcher.kill` kills.
    """

    child: str
    incarnation: int
    pid: int
    mark: str
    pidfd: int | None


@attrs.frozen
class ServerGone:
    """The fork server has ended, and was waited for.

    Everything that was launched with ``dies_with_server`` ends as well, killed by the kernel. A launch that
    was not answered yet has been answered by a :class:`LaunchFailed` before this.

    Attributes:
        status: Its exit status, or the number of the signal that killed it, negative.
        error: What it had to say, in one line; empty when it said nothing.
    """

    status: int
    error: str = ""


@attrs.frozen
class Surroundings:
    """What a fork server, and with it every child, gets of the process that starts it.

    Attributes:
        environment: Its variables.
        folder: Its working folder; ``None`` for one that has no path any more. Where nothing can be entered at this
            path any more, a fork server gets the folder that this process has then.
        import_path: Where it looks for modules.
    """

    environment: Mapping[str, str]
    folder: Path | None
    import_path: Sequence[str]

    @classmethod
    def now(cls, *, relative: bool = False) -> Self:
        """Return those of this process; see :func:`import_path`."""
        return cls(dict(os.environ), _folder(), import_path(relative=relative))

    def enterable(self) -> Path | None:
        """Return the folder, ``None`` where it cannot be entered."""
        return self.folder if self.folder is not None and os.access(self.folder, os.X_OK) else None


Report = Launched | LaunchFailed | ChildExited | StandbyReady | StandbyGone | ServerGone


class Launcher:
    """One fork server and the socket to it; made by :meth:`start`."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self._process = process
        self._control = control
        self._pidfd = os.pidfd_open(process.pid)
        self._unanswered: dict[tuple[str, int], None] = {}
        self._error = ""
        self._gone: ServerGone | None = None
        self._told = False

    @classmethod
    def start(
        cls,
        preload: Sequence[str],
        *,
        warm_up: Sequence[str] = (),
        output: int | None = None,
        surroundings: Surroundings | None = None,
    ) -> Self:
        """Exec a fork server; returns at once, while it still preloads.

        It sees the modules that this process sees, and has a session of its own, out of reach of a terminal's Ctrl-C.

        Args:
            preload: Modules to import before the first fork.
            warm_up: Functions (``module:function``) to call once before the first fork.
            output: Descriptor for what it and its children print; standard error when not given.
            surroundings: What it gets of this process; what it is now when not given.

        Raises:
            OSError: The process cannot be started.
        """
        given = surroundings or Surroundings.now()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        call, words = "sys.exit(main(int(sys.argv[1])))", (str(theirs.fileno()),)
        try:
            process = subprocess.Popen(
                interpreter(call, "supervisor.forkserver", *words, path=given.import_path),
                cwd=given.enterable(),
                env=given.environment,
                stdin=subprocess.DEVNULL,
                stdout=_output(output),
                stderr=_output(output),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.settimeout(0.0)
        launcher = cls(process, ours)
        launcher._say(Start(tuple(preload), tuple(warm_up)))
        return launcher

    @property
    def pid(self) -> int:
        """The fork server's process id."""
        return self._process.pid

    def fileno(self) -> int:
        """Return the descriptor that is readable when :meth:`read` has something."""
        return self._control.fileno()

    def launch(  # noqa: PLR0913 - one parameter per field of the message
        self,
        child: str,
        incarnation: int,
        entry: str,
        args: Mapping[str, object],
        *,
        dies_with_server: bool = True,
        namespace: Namespace = Namespace.NONE,
        prints_to: int | None = None,
        standby: str = "",
    ) -> socket.socket:
        """Ask for a child; :meth:`read` tells later whether there is one.

        Does not block, but for a server that is still preloading when ten launches wait already, or that was
        stopped: one that takes nothing for 5 s is killed.

        Args:
            child: Child id.
            incarnation: Which start of it this is; never used twice for a child.
            entry: ``module:function``, called as ``function(link, args)`` in the child's main thread.
            args: What JSON has a form for.
            dies_with_server: Whether the kernel kills the child when the fork server ends.
            namespace: Whether it shall have a PID namespace of its own.
            prints_to: Descriptor that goes with it, for the entry to print to; ``None`` for none.
            standby: Name of the standbys of which one may be used, see :meth:`keep_standby`; ``""`` for none.

        Returns:
            Our end of the link, non-blocking; at its end of file already when the launch cannot succeed.

        Raises:
            ValueError: The arguments are too large for a message.
            TypeError: The arguments have no form in JSON.
            OSError: No descriptor is left.
        """
        body = msgspec.Raw(msgspec.json.encode(args))
        request = Launch(child, incarnation, entry, body, dies_with_server, namespace, prints_to is not None, standby)
        packet = encode(request)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.settimeout(0.0)
        with theirs:
            self._unanswered[child, incarnation] = None
            self._send(packet, theirs.fileno(), *([] if prints_to is None else [prints_to]))
        return ours

    def terminate(self, child: str, incarnation: int) -> None:
        """Have a child, and what is in its group, asked to end by a SIGTERM; after its :meth:`launch`."""
        self._say(Terminate(child, incarnation))

    def kill(self, child: str, incarnation: int) -> None:
        """Have a child killed of which we have no pidfd; after its :meth:`launch`."""
        self._say(Terminate(child, incarnation, force=True))

    def keep_standby(self, name: str, count: int, load: str = "") -> None:
        """Have children forked in advance, for launches that name them.

        Args:
            name: What launches name.
            count: How many; 0 for none any more.
            load: Module, or script by its absolute path, that they load ahead.
        """
        self._say(Standby(name, count, load))

    def read(self) -> list[Report]:
        """Take what the fork server has said since; never blocks, but for the moment in which it ends.

        After :class:`ServerGone`, which comes once and last, there is nothing more, and the descriptor stays
        readable: stop watching it.
        """
        reports: list[Report] = []
        while self._gone is None:
            try:
                packet, descriptors, _, _ = socket.recv_fds(self._control, MAX_MESSAGE, 1, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return reports
            except ConnectionError:
                continue  # said once, and before what the server had still written
            if packet:
                reports += self._hear(decode_from_server(packet), descriptors)
            else:
                self._wait_for_end(_END_SECONDS)
        if not self._told:
            self._told = True
            reports += [LaunchFailed(child, incarnation, self._why()) for child, incarnation in self._unanswered]
            self._unanswered.clear()
            reports.append(self._gone)
        return reports

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """End the fork server and all that is below it; returns when it is gone.

        Call it when the children have ended: those that have not are given little time. May be called again.

        Args:
            timeout: Seconds to wait before it is killed.
        """
        self._control.close()
        if self._gone is None:
            self._wait_for_end(timeout)
        self._told = True

    def _say(self, message: ToServer) -> None:
        self._send(encode(message))

    def _send(self, packet: bytes, *descriptors: int) -> None:
        rights = []
        if descriptors:
            packed = struct.pack(f"{len(descriptors)}i", *descriptors)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, packed)]
        while self._gone is None:
            try:
                self._control.sendmsg([packet], rights, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                # It reads whenever it lives: this happens while it preloads, and when it was stopped.
                if not _wait(self._control.fileno(), select.POLLOUT, _SEND_SECONDS):
                    self._error = f"the fork server took nothing for {_SEND_SECONDS:g} s and was killed"
                    self._wait_for_end(0.0)
            except ConnectionError:
                return  # read() finds the same, and what it had said before
            else:
                return

    def _hear(self, message: FromServer, descriptors: list[int]) -> list[Report]:
        match message:
            case Forked(child, incarnation, pid, mark):
                self._unanswered.pop((child, incarnation), None)
                return [Launched(child, incarnation, pid, mark, descriptors[0] if descriptors else None)]
            case LaunchFailed(child, incarnation):
                self._unanswered.pop((child, incarnation), None)
                return [message]
            case ChildExited() | StandbyReady() | StandbyGone():
                return [message]
            case StartFailed(error):
                self._error = error
                return []
            case unknown:
                assert_never(unknown)

    def _why(self) -> str:
        return f"the fork server is gone: {self._error}" if self._error else "the fork server is gone"

    def _wait_for_end(self, seconds: float) -> None:
        """Wait for the end of the process, by force after a time."""
        if not _wait(self._pidfd, select.POLLIN, seconds):
            self._process.kill()
        self._gone = ServerGone(self._process.wait(), self._error)
        os.close(self._pidfd)


def _wait(descriptor: int, wanted: int, seconds: float) -> bool:
    poller = select.poll()
    poller.register(descriptor, wanted)
    return bool(poller.poll(seconds * 1000))


def _output(descriptor: int | None) -> int:
    """Return the descriptor to print to; nowhere when the process has no standard error."""
    if descriptor is not None:
        return descriptor
    with contextlib.suppress(OSError):
        os.fstat(_STDERR)
        return _STDERR
    return subprocess.DEVNULL


def interpreter(call: str, module: str, *words: str, path: Sequence[str] | None = None) -> list[str]:
    """Return the command line of another interpreter that sees the modules that this one sees.

    Args:
        call: Expression that it evaluates; ``main`` is that of the module, and ``sys`` is there.
        module: Module of ours.
        words: Its arguments, ``sys.argv[1]`` and so on.
        path: Where it looks for modules; :func:`import_path` when not given.
    """
    # Written out, because `-m` would need the package on the path of a bare interpreter, and a script its own
    # folder. With -P nothing is added to the path that is handed over: no `yaml.py` of the user's folder.
    first = len(words) + 1
    line = f"import sys; sys.path[:] = sys.argv[{first}:]; from {module} import main; {call}"
    return [sys.executable, *_flags(), "-c", line, *words, *(import_path() if path is None else path)]


def _flags() -> list[str]:
    """Return the options of this interpreter that say where it looks for modules, and how it treats them."""
    given = {
        "-E": sys.flags.ignore_environment,
        "-I": sys.flags.isolated,
        "-s": sys.flags.no_user_site,
        "-B": sys.flags.dont_write_bytecode,
    }
    return ["-P", *(option for option, on in given.items() if on)]


def import_path(*, relative: bool = False) -> list[str]:
    """Return where this process looks for modules, and this package's place if that is not among it.

    Args:
        relative: Whether relative entries (`''` in an interactive session, a `lib` that was inserted) are among it, as
            they are for a service's own children: taken from the working folder of now. For milestones they are not:
            no `yaml.py` of the repository is loaded. Those that name nothing there are no place but a word to an import
            hook, and stay here.
    """
    place, folder = str(Path(__file__).resolve().parents[1]), _folder() if relative else None
    found = [Path(entry) if folder is None else folder / entry for entry in sys.path]
    there = [str(one) for entry, one in zip(sys.path, found, strict=True) if _is_place(Path(entry), one)]
    return there if place in there else [*there, place]


def _is_place(entry: Path, place: Path) -> bool:
    return entry.is_absolute() or (place.is_absolute() and os.access(place, os.F_OK))


def _folder() -> Path | None:
    """Return the working folder; ``None`` for one that has no path any more."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None
