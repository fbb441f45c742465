"""The base of the five roles: a pykka actor that folds the journal and acts on what it sees.

A role is a reconciler. It rebuilds the session's state from the :class:`~actors.frames.Welcome`, folds every
record that is delivered, and whenever nothing of its own is on the way to the journal it compares the state with
the world and states facts (:meth:`RoleActor.propose`) or starts flows (:meth:`RoleActor.run_flow`). After a crash
the same code does the same comparison, so recovery is the ordinary path.

Every hook runs in the role process, in its one thread: pykka's loop runs in the thread that starts the actor, and an
empty mailbox has the host wait for what comes next. Whatever a hook raises ends the process: the supervisor starts the
next incarnation, which folds the journal again.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, assert_never

import attrs
import pykka

from actors.events import Event, Record, RoleFinished, SessionPaused, SessionUnpaused, encode_event
from actors.failpoints import at
from actors.frames import Beat, Deliver, Hello, Leave, Propose, Ready, Welcome
from actors.log import keep_back, log
from actors.messages import ProgramEnded, RoleMessage, Short, Tick
from actors.programs import Finished, Flow
from actors.projection import Jsonl, holds, lines_of
from actors.standstill import ROLE_WAITS
from actors.state import SessionState, decode_state
from actors.veil import Veil

if TYPE_CHECKING:
    from pykka._envelope import Envelope

    from actors.host import Host

T = TypeVar("T")

GIVEN_UP_SECONDS: Final = 1.0
"""Seconds between TERM and KILL of the program of a flow that was given up: a stop does not wait longer for a role."""

LINES_AT_ONCE: Final = 1000
"""Lines of a role's log that are made and written in one go: of what a full disk refuses no more are made."""

TOO_FEW_DESCRIPTORS: Final = "too many open files: raise the limit (ulimit -n, LimitNOFILE= of the unit, fs.file-max)"
"""Why a role does nothing, and what can be done about it."""


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


@attrs.define(eq=False)
class UnderWay:
    """A flow that was begun.

    Attributes:
        flow: What yields its programs.
        then: Gets its result.
        token: Of what it waits for, as the host knows it; 0 while it waits for nothing, as when it is over.
        instead: Called in the place of ``then``, without a result; ``None`` unless the flow was given up.
    """

    flow: Flow[Any]
    then: Callable[[Any], None]
    token: int = 0
    instead: Callable[[], object] | None = None


class Inbox:
    """A mailbox that its own reader fills: pykka's inbox of a role.

    Attributes:
        refill: Waits for something, and puts it in.
    """

    def __init__(self) -> None:
        self._envelopes: deque[Envelope[Any]] = deque()
        self.refill: Callable[[], None]

    def put(self, envelope: Envelope[Any], /) -> None:
        """Put a message in."""
        self._envelopes.append(envelope)

    def get(self) -> Envelope[Any]:
        """Take the next message out; waits for one."""
        while not self._envelopes:
            self.refill()
        return self._envelopes.popleft()

    def empty(self) -> bool:
        """Tell whether there is none."""
        return not self._envelopes


class RoleActor(pykka.ThreadingActor):
    """A role's message loop.

    Attributes:
        state: The folded session; changed by delivered records only.
        wall: Seconds since the epoch, as last told.
        mono: Seconds of the monotonic clock, as last told.
    """

    role: ClassVar[str] = ""

    def __init__(self, host: Host, context: RoleContext) -> None:
        self._jsonl = Jsonl.of_role(context.project, context.session, context.role)
        # First of all: the answer is made while the rest of the role is.
        with contextlib.suppress(ConnectionError):  # the end of the link is found by who waits for it
            host.send(Hello(context.role, context.incarnation, os.getpid(), self._jsonl.last_seq()))
        at("role.greeted")
        super().__init__()
        self.actor_inbox: Inbox
        self.actor_inbox.refill = self._wait
        self.host = host
        self.context = context
        self.state = SessionState()
        self.wall = 0.0
        self.mono = 0.0
        self._tickets = 0
        self._outstanding: set[int] = set()
        self._flows: dict[int, UnderWay] = {}
        self._tokens = 0
        self._welcomed = False
        self._has_left = False
        self._is_short = False
        self._waiting = ROLE_WAITS.format(role=context.role)
        self._unprojected: list[tuple[Record, Event]] = []
        self._is_refused = False

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
        at("role.proposing")
        self.host.send(Propose(self._tickets, tuple(encode_event(event) for event in events)))
        at("role.proposed")

    def run_flow(self, flow: Flow[T], then: Callable[[T], None]) -> UnderWay:
        """Run a flow; ``then`` gets its result, in this thread, after the last of its programs has ended."""
        under_way = UnderWay(flow, then)
        self._advance(under_way, None)
        return under_way

    def give_up(self, under_way: UnderWay, instead: Callable[[], object]) -> None:
        """Go no further with a flow, of which everything can be cut short and done again.

        Args:
            under_way: The flow; one that is over, or given up already, is left alone.
            instead: Called once what the flow waits for has ended, to which that is asked.
        """
        if under_way.token and under_way.instead is None:
            under_way.instead = instead
            self.host.end(under_way.token, GIVEN_UP_SECONDS)

    def wake_at_wall(self, wall: float | None) -> None:
        """Have :meth:`reconcile` called at a moment (epoch seconds) even if nothing is delivered until then."""
        if wall is not None:
            self.host.wake_at(self.mono + max(0.0, wall - self.wall))

    def finish(self, summary: str) -> None:
        """State, once, that the role has done all that it had to do in this session's life."""
        if self.context.role not in self.state.finished:
            self.propose(RoleFinished(self.context.role, summary))

    # --- the loop ------------------------------------------------------------------------------------------------

    @staticmethod
    def _create_actor_inbox() -> Inbox:
        """For pykka, which leaves to each kind of actor what its messages wait in."""
        return Inbox()

    def _start_actor_loop(self) -> None:
        """For pykka, which leaves to each kind of actor where its loop runs: here, until the role has ended."""
        self._actor_loop()

    def _wait(self) -> None:
        if not self.host.turn(self.actor_ref):
            self.stop()

    def on_receive(self, message: RoleMessage) -> None:
        """Handle one message; whatever is raised ends the process."""
        if not self._has_left:
            self._guarded(lambda: self._receive(message))

    def _guarded(self, work: Callable[[], None]) -> None:
        # pykka would stop every actor on SystemExit and only log the rest: a broken role must die as a process.
        try:
            work()
        except ConnectionError:
            self._leave()
        except BaseException as error:  # noqa: BLE001 - the one place where a role receives
            self.host.crash(error)

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
                    self._project((), again=True)
            case ProgramEnded(token=token, finished=finished):
                self._advance(self._flows.pop(token), finished)
            case Short(over=over):
                self._heed_shortage(over=over)
                return
            case Leave():
                self._leave()
                return
            case _:
                assert_never(message)
        if self._welcomed and not self._outstanding and not self._take_back_pause():
            self.reconcile()

    def _heed_shortage(self, *, over: bool) -> None:
        """Pause the session, once, for what keeps this role from doing anything, reading included."""
        if not (over or self._is_short) and self._welcomed and not self.state.paused:
            self.propose(SessionPaused(self._waiting + TOO_FEW_DESCRIPTORS, passing=True))
        self._is_short = not over

    def _take_back_pause(self) -> bool:
        """End the pause that this role, or the one before it, has stated for want of descriptors."""
        if self._is_short or not self.state.paused.startswith(self._waiting):
            return False
        self.propose(SessionUnpaused(self.state.paused))
        return True

    def _leave(self) -> None:
        self._has_left = True
        at("role.leaving")
        self.host.leave()

    def _welcome(self, message: Welcome) -> None:
        self.state = decode_state(message.state)
        keep_back(Veil.of(os.environ, self.state.settings.secrets))
        self._project((record, record.event()) for record in message.missed)
        self.rebuilt()
        self._welcomed = True
        at("role.rebuilt")
        self.host.send(Ready())
        at("role.ready")

    def _deliver(self, message: Deliver) -> None:
        at("role.told")
        folded: list[tuple[Record, Event]] = []
        for record in message.records:
            event = self.state.apply(record)
            self.observe(record, event)
            folded.append((record, event))
        self._project(folded)
        at("role.logged")
        self._outstanding.difference_update(message.tickets)
        for refusal in message.refusals:
            log().bind(refusal=refusal).warning("fact refused")

    def _project(self, records: Iterable[tuple[Record, Event]], *, again: bool = False) -> None:
        """Write the role's own lines; what a full disk refuses is written when there is room again.

        Args:
            records: What came.
            again: Whether to try what was refused, which is not done for each record that comes meanwhile.
        """
        self._unprojected += (item for item in records if holds(self.context.role, item[1]))
        if self._is_refused and not again:
            return
        self._is_refused = False
        try:
            while some := self._unprojected[:LINES_AT_ONCE]:
                self._jsonl.append(lines_of(some, self.state.milestone.id, self.context.role))
                del self._unprojected[: len(some)]
        except OSError:
            self._is_refused = True

    def _advance(self, under_way: UnderWay, finished: Finished | None) -> None:
        under_way.token = 0
        if under_way.instead is not None:
            under_way.flow.close()
            under_way.instead()
            return
        try:
            due = next(under_way.flow) if finished is None else under_way.flow.send(finished)
            while True:
                self._tokens += 1
                self._flows[self._tokens], under_way.token = under_way, self._tokens
                refused = self.host.start(under_way.token, due)
                if refused is None:
                    return
                del self._flows[under_way.token]
                due = under_way.flow.send(refused)
        except StopIteration as stop:
            under_way.token = 0
            under_way.then(stop.value)
