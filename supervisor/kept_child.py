"""One incarnation of a service's own child: how it is launched, what it has said, and what its end is called.

Owns what the keeper remembers of a process between its launch and its end, and what stands between the process and the
program: the notify socket, the relay of its output. Belongs to the keeper's thread. Refuses to know links, pidfds, and
what a supervisor makes of any of it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.child import PRINTING
from supervisor.branch import Branch, settle
from supervisor.exits import Crashed, ExitReason, Normal, describe
from supervisor.readiness import NotifySocket
from supervisor.relay import Relay
from supervisor.shortage import refusal
from supervisor.spec import ChildSpec, SupervisorFlags

if TYPE_CHECKING:
    from supervisor.api_errors import SupervisionError
    from supervisor.program_spec import ProgramSpec

LOOKS: Final = 4
"""Heartbeats within a heartbeat timeout."""

_STDERR: Final = 2


class CannotLaunchError(Exception):
    """The system refused what an incarnation needs before it is forked; the message is for people."""


@attrs.define(eq=False)
class KeptChild:
    """A child that has a process, or is to have one.

    Attributes:
        branch: Its supervisor.
        spec: Its spec; replaced when that is changed at run time.
        incarnation: Which start of it this is.
        notify: Where it says that it is ready and alive, if it does so by systemd's protocol.
        relay: What passes on what it prints, if one of its lines says that it is ready.
        spawned: Whether its process is known.
        early: What it said with its readiness, in a tuple, when that came before its process was known.
        ready: Whether it has said that it is ready.
        error: Its last word.
        declined: Whether it has said that it does not want to run.
        asks: Questions that it has not answered, by ticket.
    """

    branch: Branch
    spec: ChildSpec
    incarnation: int
    notify: NotifySocket | None = None
    relay: Relay | None = None
    spawned: bool = False
    early: tuple[object] | None = None
    ready: bool = False
    error: str = ""
    declined: bool = False
    asks: dict[int, Future[Any]] = attrs.Factory(dict)

    @property
    def path(self) -> str:
        """Its path in the tree."""
        return self.branch.path_of(self.spec.id)

    @property
    def says_ready(self) -> bool:
        """Whether it is a program that says by itself when it is ready."""
        program = self.spec.program
        return program is not None and (program.notify or program.ready_line is not None)

    def prepare(self, output: int | None, found: Callable[[object], None]) -> Mapping[str, str]:
        """Open what its readiness is to be seen by.

        Args:
            output: Descriptor for what children print; ``None`` for standard error.
            found: Is called in another thread with what the line says by which it is ready.

        Returns:
            Variables for the environment of the program.

        Raises:
            CannotLaunchError: The system refused it.
        """
        program = self.spec.program
        if program is None:
            return {}
        try:
            if program.notify:
                self.notify = NotifySocket(self.path, self.incarnation)
                return self.notify.environment(None if self.branch.flags.strict else self.spec.heartbeat_timeout)
            if program.ready_line is not None:
                self.relay = self._relay(program.ready_line, program.output, output, found)
        except OSError as error:  # this child cannot start, the others go on
            where = f"{program.output}: " if error.filename is not None else ""
            raise CannotLaunchError(f"{where}{refusal(error)}") from error
        return {}

    def _relay(self, line: str, file: str | None, output: int | None, found: Callable[[object], None]) -> Relay:
        name = f"supervisor-output {self.path}"
        descriptor = os.open(file, PRINTING, 0o600) if file is not None else _duplicate(output)
        try:
            return Relay(name, line, descriptor, found)
        finally:
            os.close(descriptor)

    def launch(self, last_exit: ExitReason | None, variables: Mapping[str, str]) -> tuple[str, Mapping[str, object]]:
        """Return the entry of its process, and the entry's arguments.

        Args:
            last_exit: Why the former incarnation ended.
            variables: Of :meth:`prepare`.
        """
        spec, program = self.spec, self.spec.program
        if program is not None:
            return "actors.child:execute", {
                "argv": program.argv,
                "cwd": program.cwd,
                "env": {**program.env, **variables},
                "output": program.output,
            }
        return "actors.child:main", {
            "target": spec.target,
            "args": spec.args,
            "incarnation": self.incarnation,
            "last_exit": "" if last_exit is None else describe(last_exit),
            "beat_seconds": beat_seconds(spec, self.branch.flags),
        }

    def explain(self, reason: ExitReason) -> ExitReason:
        """Return why it ended, with its success codes and its last word."""
        program = self.spec.program
        match reason:
            case Crashed() if program is None and self.error:
                return attrs.evolve(reason, error=self.error)
            case Normal(code=int(code)) | Crashed(code=int(code)) if program is not None:
                if code in program.success_codes:
                    return Normal(code, self._missing(program))
                return Crashed(code, error=self.error or self._missing(program))
            case Crashed() if program is not None:
                return attrs.evolve(reason, error=self.error or self._missing(program))
            case _:
                return reason

    def _missing(self, program: ProgramSpec) -> str:
        """Return by what the program had not yet said that it is ready, ``""`` when it had, or need not."""
        if self.ready or self.early or not self.says_ready or (self.relay is not None and self.relay.has_found):
            return ""
        if program.notify:
            return "ended before it announced itself with READY=1"
        return f"ended before the line it announces itself with: {program.ready_line!r}"

    def fail_asks(self, error: Callable[[], SupervisionError]) -> None:
        """Fail every question that it has not answered."""
        for future in self.asks.values():
            settle(future, error=error())
        self.asks.clear()


def _duplicate(output: int | None) -> int:
    """Duplicate a descriptor that is printed to; standard error may have been closed by the host."""
    if output is not None:
        return os.dup(output)
    try:
        return os.dup(_STDERR)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)


def beat_seconds(spec: ChildSpec, flags: SupervisorFlags) -> float | None:
    """Return how often a child is to show that its loop comes round; ``None`` for never."""
    timeout = None if flags.strict else spec.heartbeat_timeout
    return None if timeout is None else timeout / LOOKS
