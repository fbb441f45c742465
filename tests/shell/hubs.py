"""A real hub with a real journal and fork server, and children that are relays: a test speaks through their links.

Owns the hub, what it tells and shows, and the relays. Refuses to supervise: nobody restarts anything here.
"""

import contextlib
import json
import os
import resource
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Final, Self, TypeVar
from uuid import uuid4

import attrs

from actors.events import Event, Record, SessionStarted, Settings, encode_event
from actors.frames import Deliver, Frame, FrameError, FrameReader, Hello, Propose, Welcome, encode_frame
from actors.model import Isolation, Milestone, Task
from actors.state import SessionState, decode_state
from supervisor import core_events as told
from supervisor.hub import Hub
from supervisor.journal import Journal, JournalReader
from supervisor.ledger import Ledger
from supervisor.linux import is_alive
from supervisor.notices import Escalated, FactRefused, Notice, Recorded, Troubled
from tests.shell.hosting import SESSION, TIMEOUT, abstract_listener
from tests.waiting import wait_until

PUPPETS: Final = "tests.shell.puppets"
TASKS: Final = tuple(Task(f"t{number}", f"T{number}", run="true") for number in range(400))

F = TypeVar("F", bound=Frame)
T = TypeVar("T", bound=told.Event)


@attrs.define
class Relay:
    """A child of the hub that does what the test does at this end."""

    child: str
    incarnation: int
    pid: int
    socket: socket.socket
    reader: FrameReader = attrs.Factory(FrameReader)
    frames: list[Frame] = attrs.Factory(list)
    tickets: int = 0

    def say(self, *frames: Frame) -> None:
        """Send frames through the child's link."""
        self.socket.sendall(b"".join(map(encode_frame, frames)))

    def propose(self, *events: Event) -> int:
        """State facts; return the ticket."""
        self.tickets += 1
        self.say(Propose(self.tickets, tuple(map(encode_event, events))))
        return self.tickets

    def hello(self, since: int = -1) -> Welcome:
        """Say hello and return the answer."""
        self.say(Hello(self.child, self.incarnation, self.pid, since))
        return self.expect(Welcome)

    def expect(self, kind: type[F], wanted: Callable[[F], bool] = lambda _: True) -> F:
        """Return the first frame of a kind; it and those before it are taken."""
        give_up_at = monotonic() + TIMEOUT
        while True:
            for number, frame in enumerate(self.frames):
                if isinstance(frame, kind) and wanted(frame):
                    del self.frames[: number + 1]
                    return frame
            assert self.read(give_up_at - monotonic()), f"no {kind.__name__}, but {self.frames}"

    def settle(self, ticket: int) -> tuple[list[Record], tuple[str, ...]]:
        """Read until a ticket comes back; return all records up to it, and its refusals."""
        records: list[Record] = []
        while True:
            deliver = self.expect(Deliver)
            records += deliver.records
            if ticket in deliver.tickets:
                return records, deliver.refusals

    def read(self, timeout: float = 0.0) -> bool:
        """Take in what comes within a time; False when nothing did, or the child is gone."""
        if not select.select([self.socket], [], [], max(0.0, timeout))[0]:
            return False
        try:
            data = self.socket.recv(1 << 20)
            self.frames += self.reader.feed(data)
        except (ConnectionError, FrameError):
            return False
        return bool(data)

    def is_gone(self) -> bool:
        """Read what is there and tell whether the child has ended."""
        while self.read():
            pass
        return not is_alive(self.pid)

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        os.kill(self.pid, number)


class Stage:
    """A project directory with a journal, one session and a hub.

    Args:
        directory: Where the journal is.
        preload: Modules for the fork server.
        output: Where children print; standard error when not given.
    """

    def __init__(self, directory: Path, preload: tuple[str, ...] = (PUPPETS,), output: int | None = None) -> None:
        self.directory = directory
        self.journal = Journal.open(directory / "state.db")
        self.hub = Hub(self.journal, preload, output)
        self.told: list[told.Event] = []
        self.notices: list[Notice] = []
        self.commits: list[str] = []
        self._name = uuid4().hex
        self._listener = abstract_listener(self._name)
        self._open = contextlib.ExitStack()
        self.ledger = self.begin(SESSION)
        self.journal._connection.set_trace_callback(self._trace)

    def __enter__(self) -> Self:
        self.hub.start()
        self.hub.open_session(self.ledger, self, self.notices.append)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hub.close()
        assert not self.hub.is_alive()
        self._open.close()
        self._listener.close()

    def begin(self, session: str) -> Ledger:
        """Journal the beginning of a session; return its ledger."""
        milestone = Milestone("m1", "One", tasks=TASKS)
        settings = Settings(isolation=Isolation.NONE, max_parallel=len(TASKS))
        started = SessionStarted(milestone, ".milestones/active/m1.yaml", str(self.directory), settings, "boot", 1)
        return Ledger(session, self.journal.append([(session, encode_event(started))], 1e9, 1.0))

    def tell(self, message: told.Event) -> None:
        """Be told, as a supervisor is; in the hub's thread."""
        self.told.append(message)

    def _trace(self, statement: str) -> None:
        if statement.startswith("COMMIT"):
            self.commits.append(statement)

    # --- children ------------------------------------------------------------------------------------------------

    def relay(
        self, child: str = "task_executor", incarnation: int = 1, *, role: bool = True, session: str = SESSION
    ) -> Relay:
        """Have a relay forked and wait until it is connected."""
        args = {"control": self._name, "child": child, "incarnation": incarnation}
        self.hub.spawn(session, child, incarnation, f"{PUPPETS}:relay", args, role=role)
        connection, _ = self._listener.accept()
        self._open.callback(connection.close)
        line = b""
        while not line.endswith(b"\n"):
            line += connection.recv(1)
        return Relay(child, incarnation, json.loads(line)["pid"], connection)

    def welcomed(
        self, child: str = "task_executor", incarnation: int = 1, *, role: bool = True, session: str = SESSION
    ) -> Relay:
        """Return a relay that has had its welcome."""
        relay = self.relay(child, incarnation, role=role, session=session)
        relay.hello()
        return relay

    def wait_told(self, kind: type[T], child: str = "", incarnation: int = 0) -> T:
        """Wait until the supervisor is told something about a child."""

        def find() -> T | None:
            for message in self.told:
                whose = (getattr(message, "child", ""), getattr(message, "incarnation", 0))
                if isinstance(message, kind) and child in {"", whose[0]} and incarnation in {0, whose[1]}:
                    return message
            return None

        found = wait_until(find, TIMEOUT, f"{kind.__name__} of {child or 'anybody'} is told; so far {self.told}")
        assert found is not None
        return found

    # --- what there is -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Keep the hub's thread busy meanwhile."""
        at_it, go_on = threading.Event(), threading.Event()

        def wait() -> None:
            at_it.set()
            go_on.wait(TIMEOUT)

        self.hub.call(wait)
        assert at_it.wait(TIMEOUT)
        try:
            yield
        finally:
            go_on.set()

    def recorded(self) -> list[Event]:
        """Return the facts that were shown, in order."""
        return [event for one in self.notices if isinstance(one, Recorded) for _, event in one.items]

    def refused(self) -> list[FactRefused]:
        """Return the refusals that were shown."""
        return [one for one in self.notices if isinstance(one, FactRefused)]

    def escalated(self) -> list[Escalated]:
        """Return the escalations that were shown."""
        return [one for one in self.notices if isinstance(one, Escalated)]

    def troubled(self) -> list[Troubled]:
        """Return the troubles that were shown."""
        return [one for one in self.notices if isinstance(one, Troubled)]

    def durable(self) -> list[Event]:
        """Read the facts from the file, as another process would."""
        with JournalReader.open(self.directory / "state.db") as journal:
            return [record.event() for record in journal.records()]

    def folded(self) -> SessionState:
        """Fold what is durable."""
        with JournalReader.open(self.directory / "state.db") as journal:
            return Ledger(SESSION, journal.records(SESSION)).state


def state_in(welcome: Welcome) -> SessionState:
    """Return the state that a welcome holds."""
    return decode_state(welcome.state)


@contextlib.contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Have this process get no further descriptor meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)  # the lowest number that is free
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
