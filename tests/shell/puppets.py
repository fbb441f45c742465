"""What tests of the shell have forked: a relay that lends its link to a test, and a role that does as it is told.

Runs in forked children. Owns doing exactly what was asked; refuses to decide anything.
"""

import json
import os
import selectors
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from actors import cast, host
from actors.events import Event, Record, RoleFinished, SessionPaused
from actors.programs import Finished, Flow, Program, beside
from actors.role import RoleActor


def relay(link: socket.socket, args: Mapping[str, object]) -> int:
    """Carry bytes between the link and a socket of the test; end when either ends, with what was under way sent.

    Args:
        link: The link.
        args: ``control``: name of the test's listening socket in the abstract namespace.
    """
    control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    control.connect(f"\0{args['control']}")
    control.sendall(json.dumps({"pid": os.getpid(), **args}).encode() + b"\n")
    selector = selectors.DefaultSelector()
    selector.register(link, selectors.EVENT_READ, control)
    selector.register(control, selectors.EVENT_READ, link)
    while True:
        for key, _ in selector.select():
            assert isinstance(key.fileobj, socket.socket)
            data = key.fileobj.recv(1 << 16)
            if not data:
                return 0
            key.data.sendall(data)


class Puppet(RoleActor):
    """A role that obeys the reasons of pauses, which hold JSON, and answers by stating that it has finished."""

    role: ClassVar[str] = "progress_monitor"

    def rebuilt(self) -> None:
        """Begin with nothing to do."""
        self._due: float | None = None
        self._reconciled = 0

    def observe(self, record: Record, event: Event) -> None:  # noqa: ARG002 - the hook's signature
        """Obey."""
        if isinstance(event, SessionPaused):
            self._obey(json.loads(event.reason))

    def _obey(self, order: dict[str, Any]) -> None:
        match order["do"]:
            case "run":
                programs = [msgspec.convert(one, Program) for one in order["programs"]]
                self._latest = self.run_flow(self._in_order(programs), self._tell)
            case "keep little":
                host.MOST_OUTPUT = order["bytes"]  # type: ignore[misc]
            case "give up":
                self.give_up(self._latest, lambda: self._tell("given up"))
            case "read":
                self.run_flow(beside(Path(order["path"]).read_text), self._tell)
            case "raise":
                raise LookupError(order["message"])
            case "exit":
                raise SystemExit(3)
            case "stick":
                threading.Event().wait()
            case "wake":
                self._due = self.mono + order["seconds"]
            case "say":
                self._tell(order["what"])
            case unknown:
                raise ValueError(unknown)

    def reconcile(self) -> None:
        """Say when a wake-up came, and how late."""
        if self._due is None:
            return
        if self.mono < self._due:
            self.host.wake_at(self._due)
            return
        late, self._due = self.mono - self._due, None
        self._tell({"late": late})

    def _in_order(self, programs: list[Program]) -> Flow[list[dict[str, Any]]]:
        ended: list[dict[str, Any]] = []
        for program in programs:
            finished: Finished = yield program
            ended.append(
                {
                    "code": finished.code,
                    "length": len(finished.stdout),
                    "out": finished.stdout[:200].decode(errors="replace"),
                    "err": finished.stderr[-200:].decode(errors="replace"),
                }
            )
        return ended

    def _tell(self, what: object) -> None:
        self.propose(RoleFinished(self.role, json.dumps(what)))


def puppet_host(link: socket.socket, args: Mapping[str, object]) -> int:
    """Be the real host of a role, with the puppet in the part of a role."""
    cast.CAST[Puppet.role] = Puppet
    return host.main(link, args)
