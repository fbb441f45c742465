"""The base of the five roles: a pykka actor that folds the journal and acts on what it sees.

A role is a reconciler. It rebuilds the session's state from the :class:`~actors.frames.Welcome`, folds every
record that is delivered, and whenever nothing of its own is on the way to the journal it compares the state with
the world and states facts (:meth:`RoleActor.propose`) or starts flows (:meth:`RoleActor.run_flow`). After a crash
the same code does the same comparison, so recovery is the ordinary path.

Every hook runs in the role process, in the actor's thread. Whatever a hook raises ends the process: the supervisor
starts the next incarnation, which folds the journal again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, TypeVar, assert_never

import attrs
import pykka

from actors.events import Event, Record, RoleFinished, encode_event
from actors.frames import Beat, Deliver, Hello, Leave, Propose, Ready, Welcome
from actors.log import log
from actors.messages import ProgramEnded, RoleMessage, Tick
from actors.programs import Finished, Flow
from actors.projection import Jsonl, holds, lines_of
from actors.state import SessionState, decode_state

if TYPE_CHECKING:
    from actors.host import Host

T = TypeVar("T")


@attrs.frozen
class RoleContext:
    """What a role process was started with.

    Attributes:
        role: Role id.
        incarnation: 1 for the first of this supervising process, counting up.
        project: Absolute path of the project directory.
        session: Session id.
    """

    role: str
    incarnation: int
    project: str
    session: str


class RoleActor(pykka.ThreadingActor):
    """A role's message loop.

    Attributes:
        state: The folded session; changed by delivered records only.
        wall: Seconds since the epoch, as last told.
        mono: Seconds of the monotonic clock, as last told.
    """

    use_daemon_thread: ClassVar[bool] = True
    role: ClassVar[str] = ""

    def __init__(self, host: Host, context: RoleContext) -> None:
        super().__init__()
        self.host = host
        self.context = context
        self.state = SessionState()
        self.wall = 0.0
        self.mono = 0.0
        self._jsonl = Jsonl.of_role(context.project, context.session, context.role)
        self._tickets = 0
        self._outstanding: set[int] = set()
        self._flows: dict[int, Callable[[Finished], None]] = {}
        self._tokens = 0
        self._welcomed = False
        self._unprojected: list[tuple[Record, Event]] = []

    # --- hooks ---------------------------------------------------------------------------------------------------

    def rebuilt(self) -> None:
        """Build what the role derives from the state; called once, before the first :meth:`reconcile`."""

    def observe(self, record: Record, event: Event) -> None:
        """Take notice of a record that was just folded."""

    def reconcile(self) -> None:
        """Compare state and world, and act; called after every message while no own proposal is on its way."""

    # --- what a role can do --------------------------------------------------------------------------------------

    def propose(self, *events: Event) -> None:
        """State facts; they are durable when they are delivered. No hook but :meth:`observe` runs before that."""
        if not events:
            return
        self._tickets += 1
        self._outstanding.add(self._tickets)
        self.host.send(Propose(self._tickets, tuple(encode_event(event) for event in events)))

    def run_flow(self, flow: Flow[T], then: Callable[[T], None]) -> None:
        """Run a flow; ``then`` gets its result, in this thread, after the last of its programs has ended."""
        self._advance(flow, then, None)

    def wake_at_wall(self, wall: float | None) -> None:
        """Have :meth:`reconcile` called at a moment (epoch seconds) even if nothing is delivered until then."""
        if wall is not None:
            self.host.wake_at(self.mono + max(0.0, wall - self.wall))

    def finish(self, summary: str) -> None:
        """State, once, that the role has done all that it had to do in this session's life."""
        if self.context.role not in self.state.finished:
            self.propose(RoleFinished(self.context.role, summary))

    # --- the loop ------------------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Say hello; in the actor's thread."""
        self._guarded(lambda: self.host.send(self._hello()))

    def on_receive(self, message: RoleMessage) -> None:
        """Handle one message; whatever is raised ends the process."""
        self._guarded(lambda: self._receive(message))

    def _guarded(self, work: Callable[[], None]) -> None:
        # pykka would stop every actor on SystemExit and only log the rest: a broken role must die as a process.
        try:
            work()
        except ConnectionError:
            self.host.leave()
        except BaseException as error:  # noqa: BLE001 - the one place where a role receives
            self.host.crash(error)

    def _hello(self) -> Hello:
        return Hello(self.context.role, self.context.incarnation, os.getpid(), self._jsonl.last_seq())

    def _receive(self, message: RoleMessage) -> None:
        self.wall, self.mono = time.time(), time.monotonic()  # noqa: TID251 - records carry wall time, and it is compared with theirs
        match message:
            case Welcome():
                self._welcome(message)
            case Deliver():
                self._deliver(message)
            case Tick(beat=beat):
                if beat:
                    self.host.send(Beat(self.mono))
                    self._project(())
            case ProgramEnded(token=token, finished=finished):
                self._flows.pop(token)(finished)
            case Leave():
                self.host.leave()
                return
            case _:
                assert_never(message)
        if self._welcomed and not self._outstanding:
            self.reconcile()

    def _welcome(self, message: Welcome) -> None:
        self.state = decode_state(message.state)
        self._project((record, record.event()) for record in message.missed)
        self.rebuilt()
        self._welcomed = True
        self.host.send(Ready())

    def _deliver(self, message: Deliver) -> None:
        folded: list[tuple[Record, Event]] = []
        for record in message.records:
            event = self.state.apply(record)
            self.observe(record, event)
            folded.append((record, event))
        self._project(folded)
        self._outstanding.difference_update(message.tickets)
        for refusal in message.refusals:
            log().bind(refusal=refusal).warning("fact refused")

    def _project(self, records: Iterable[tuple[Record, Event]]) -> None:
        """Write the role's own lines; what a full disk refuses is written when there is room again."""
        self._unprojected += (item for item in records if holds(self.context.role, item[1]))
        if not self._unprojected:
            return
        try:
            self._jsonl.append(lines_of(self._unprojected, self.state.milestone.id, self.context.role))
        except OSError:
            return
        self._unprojected.clear()

    def _advance(self, flow: Flow[T], then: Callable[[T], None], finished: Finished | None) -> None:
        try:
            program = next(flow) if finished is None else flow.send(finished)
            while True:
                self._tokens += 1
                token = self._tokens
                self._flows[token] = lambda ended: self._advance(flow, then, ended)
                refused = self.host.start(token, program)
                if refused is None:
                    return
                del self._flows[token]
                program = flow.send(refused)
        except StopIteration as stop:
            then(stop.value)
