"""The hub: the one thread that writes the journal, holds the links and watches processes.

The loop, told once. Wait for whatever is ready: links, the fork server's socket, pidfds, the wake-up of another
thread. Read everything. What was proposed in this turn, by children and by other threads, is journaled together and
told of (:mod:`supervisor.scribe`): so a burst shares one commit, and nobody hears of a fact that is not durable.

Runs in the supervising process, in a daemon thread of its own. Other threads reach it through the methods of the
section "from other threads" only. Refuses to know strategies (the supervisor actor's), what is written and how (the
scribe's) and how processes are watched (the fleet's).
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, assert_never

import attrs

from actors.events import ChildGone, ChildReady, Event, encode_event
from actors.failpoints import at
from actors.frames import FRAMING, Beat, Deliver, Frame, Hello, Leave, Propose, Ready, Welcome
from actors.log import without_secrets
from actors.log_lines import KINDS
from actors.state import RUNNER, encode_state
from supervisor import core_events as told
from supervisor.beginning import RunRefusedError
from supervisor.deliveries import Deliveries
from supervisor.environment import SESSION_MARK
from supervisor.fleet import Child, Fleet
from supervisor.fork_protocol import Namespace
from supervisor.forked import MARK
from supervisor.journal_errors import JournalBrokenError, JournalFullError
from supervisor.leases import still_below
from supervisor.linux import SWEEP_SECONDS, find_marked, kill_until_gone
from supervisor.loop import Loop
from supervisor.notices import Escalated, Notice
from supervisor.scribe import Proposal, Scribe
from supervisor.shortage import refusal

if TYPE_CHECKING:
    import msgspec

    from actors.state import SessionState
    from supervisor.exits import ExitReason
    from supervisor.journal import Journal
    from supervisor.ledger import Ledger


class _BrokenSupervisionError(Exception):
    """Another part of supervision says that nothing may go on, as a rule because it is broken."""

    def __init__(self, reason: str, story: str) -> None:
        super().__init__(reason)
        self.story = story


class Teller(Protocol):
    """Where observations about a session's children are told; a pykka actor reference fits."""

    def tell(self, message: told.Event) -> None:
        """Put a message into the mailbox; never blocks."""


class _Snapshot:
    """A session's state as JSON, written down before it is asked for; kept for one child, as it may be large."""

    def __init__(self) -> None:
        self._seq = -1
        self._state: msgspec.Raw | None = None

    def prepare(self, state: SessionState) -> None:
        """Write the state down, unless that was done."""
        if self._state is None or self._seq != state.seq:
            self._seq, self._state = state.seq, encode_state(state)

    def take(self, state: SessionState) -> msgspec.Raw:
        """Return the state, as it is now."""
        self.prepare(state)
        prepared, self._state = self._state, None
        return prepared or encode_state(state)


@attrs.define
class _Session:
    teller: Teller
    snapshot: _Snapshot = attrs.Factory(_Snapshot)


class Hub(threading.Thread):
    """The supervising process's only writer and only reader.

    Args:
        journal: Open for writing; the hub owns it from here on and closes it.
        preload: Modules that the fork server imports before it forks.
        output: Descriptor for what children print, open as long as the hub; standard error when not given.
    """

    def __init__(self, journal: Journal, preload: Sequence[str], output: int | None = None) -> None:
        super().__init__(name="hub", daemon=True)
        self._loop = Loop()
        self._fleet = Fleet(self._loop.selector, FRAMING, preload, self, output)
        self._deliveries = Deliveries(self._fleet)
        self._scribe = Scribe(journal, self._deliveries)
        self._lock = threading.Lock()  # of what is below, up to the end of the thread, which others reach too
        self._observers: list[Callable[[Notice], None]] = []
        self._failure: Escalated | None = None
        self._beginnings: list[Callable[[Exception | Escalated | None], None]] = []
        self._closed = False
        self._sessions: dict[str, _Session] = {}
        self._closing = False

    # --- from other threads --------------------------------------------------------------------------------------

    def call(self, function: Callable[[], None]) -> None:
        """Have a function run in the hub's thread, soon; never blocks. A closed hub does nothing."""
        self._loop.call(function)

    def call_at(self, mono: float, function: Callable[[], None]) -> None:
        """Have a function run in the hub's thread at a moment of the monotonic clock."""
        self._loop.call_at(mono, function)

    def together(self) -> contextlib.AbstractContextManager[None]:
        """Have what is asked for meanwhile done in one turn of the loop; nothing in between may wait for the hub."""
        return self._loop.together()

    def give_up(self, reason: str, story: str = "") -> None:
        """End everything at once, because nothing may go on.

        Args:
            reason: One line for people.
            story: For the log, where another part of supervision is broken.
        """

        def fail() -> None:
            raise _BrokenSupervisionError(reason, story)

        self.call(fail)

    def look_at_journal(self) -> None:
        """End everything, in the hub's thread, if the journal's file has lost its name, whether or not it is written.

        Raises:
            JournalBrokenError: It has; for the hub's own loop.
        """
        self._scribe.check_place()

    def open_session(self, ledger: Ledger, teller: Teller, observe: Callable[[Notice], None]) -> None:
        """Take up a session.

        Args:
            ledger: Its fold up to now; the hub's thread owns it from here on.
            teller: Is told what happens to its children.
            observe: Is called with notices, in the hub's thread; must not block. That the hub has failed already
                is told at once, in the caller's.
        """
        with self._lock:
            failure = self._failure
            if failure is None:
                self._observers.append(observe)
        if failure is not None:
            observe(failure)

        def take_up() -> None:
            self._sessions[ledger.session] = _Session(teller)
            self._scribe.open(ledger, observe)

        self.call(take_up)

    def begin_session(
        self, ledger: Ledger, events: tuple[Event, ...], told: Callable[[Exception | Escalated | None], None]
    ) -> None:
        """Journal what a session, or its next life, begins with; it is to be taken up after that.

        Args:
            ledger: Its fold so far; the hub's thread has it until ``told`` is called.
            events: The facts.
            told: Is called once, as a rule in the hub's thread, when they are durable, or with why they are not: an
                error, or how the hub itself has ended. Must not block.
        """

        def begin() -> None:
            try:
                self._scribe.begin(ledger, events)
            except (RunRefusedError, JournalFullError) as error:
                self._begun(told, error)
            else:
                self._begun(told, None)

        with self._lock:
            is_over = self._closed
            if not is_over:
                self._beginnings.append(told)
        if is_over:
            told(self._end())
        else:
            self.call(begin)

    def _begun(self, told: Callable[[Exception | None], None], error: Exception | None) -> None:
        with self._lock:
            self._beginnings = [one for one in self._beginnings if one is not told]
        told(error)

    def listen(self, observe: Callable[[Notice], None]) -> None:
        """Have it told that the hub has failed, or the fork server, in the hub's thread; to be called before it starts.

        For who looks after the project as a whole; sessions are told in any case.
        """
        self._observers.append(observe)

    def time_commits(self, timed: Callable[[float], None]) -> None:
        """Have it told how many seconds each group of events took to be durable; to be called before it starts.

        Args:
            timed: Is called in the hub's thread; must not block.
        """
        self._scribe.timed = timed

    def close_session(self, session: str, observe: Callable[[Notice], None]) -> None:
        """Let a session go whose children are gone.

        Args:
            session: Session id.
            observe: What it was opened with; is not called any more after this turn of the loop.
        """
        with self._lock:
            self._observers = [one for one in self._observers if one != observe]

        def forget() -> None:
            self._sessions.pop(session, None)
            self._scribe.forget(session)

        self.call(forget)

    def state(self, session: str, *events: Event, told: Callable[[Sequence[str]], None] | None = None) -> None:
        """State facts of the supervising process itself.

        Args:
            session: Session id.
            events: The facts.
            told: Is called in the hub's thread once they are durable, with a line for each that was not admitted;
                must not block.
        """
        of = next((event.child for event in events if isinstance(event, ChildReady | ChildGone)), "")
        proposal = Proposal(session, tuple(encode_event(event) for event in events), told=told, of=of)
        self.call(lambda: self._scribe.propose(proposal))

    def look(
        self, session: str, function: Callable[[SessionState], None], gone: Callable[[], None] = lambda: None
    ) -> None:
        """Have a session's fold looked at in the hub's thread; the function must not block, change or keep it.

        Args:
            session: Session id.
            function: Looks.
            gone: Is called instead when the session has been let go.
        """

        def show() -> None:
            state = self._scribe.state(session)
            if state is None:
                gone()
            else:
                function(state)

        self.call(show)

    def spawn(  # noqa: PLR0913 - one parameter per field of a launch
        self,
        session: str,
        child: str,
        incarnation: int,
        entry: str,
        args: Mapping[str, object],
        *,
        role: bool,
        namespace: Namespace = Namespace.NONE,
    ) -> None:
        """Start an incarnation of a child.

        Args:
            session: Session id.
            child: Id of the child within the session.
            incarnation: Its number.
            entry: ``module:function`` that is called with the link and ``args``.
            args: Plain values.
            role: Whether it dies with the fork server (a role does, the runner goes on).
            namespace: Whether it shall have a PID namespace of its own.
        """
        self.call(lambda: self._fleet.spawn(session, child, incarnation, entry, args, role=role, namespace=namespace))

    def ask_to_stop(self, session: str, child: str, incarnation: int, grace: float) -> None:
        """Ask an incarnation to end in order, within ``grace`` seconds."""

        def ask() -> None:
            self._deliveries.flush()  # a child that is asked to go has been told of everything
            self._fleet.ask_to_stop(session, child, incarnation, Leave(grace))

        self.call(ask)

    def kill(self, session: str, child: str, incarnation: int) -> None:
        """Kill an incarnation."""
        self.call(lambda: self._fleet.kill(self._fleet.find(session, child, incarnation)))

    def signal(self, session: str, child: str, number: int, told: Callable[[bool], None]) -> None:
        """Send a signal to a child's process; ``told`` is called in the hub's thread: whether there was one."""

        def send() -> None:
            found = self._fleet.current(session, child)
            told(found is not None and self._fleet.signal(found, number))

        self.call(send)

    def find_pid(self, session: str, child: str, told: Callable[[int], None]) -> None:
        """Find a child's process; ``told`` is called in the hub's thread with its id, 0 without one."""

        def find() -> None:
            found = self._fleet.current(session, child)
            told(0 if found is None else found.pid)

        self.call(find)

    def tick_at(self, session: str, mono: float) -> None:
        """Have a tick told to the session's supervisor at a moment of the monotonic clock."""
        self.call(lambda: self._set_tick(session, mono))

    def close(self, timeout: float = 15.0) -> None:
        """End the fork server and whatever is left of the children, close the journal, end the thread."""
        if self.is_alive():
            self.call(self._begin_close)
            self.join(timeout)
        elif not self._closed:
            self._release()

    def disown(self) -> None:
        """Let go of all descriptors, in a process that was forked from the hub's: see :meth:`Loop.disown`."""
        self._loop.disown()

    @property
    def failure(self) -> Escalated | None:
        """What the hub has failed with; ``None`` as long as it has not."""
        return self._failure

    @property
    def is_full(self) -> bool:
        """Whether the disk was full when something was last to be journaled."""
        return self._scribe.is_full

    @property
    def fork_server_pid(self) -> int:
        """Process id of the fork server, 0 without one."""
        return self._fleet.server_pid

    def identity(self, session: str, child: str, incarnation: int) -> tuple[int, int] | None:
        """Return pid and start time (clock ticks since boot) of an incarnation that lives; in the hub's thread."""
        return self._fleet.identity(session, child, incarnation)

    # --- the loop ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Loop until closed; in the hub's thread."""
        try:
            self._fleet.start_server()
            while not self._closing:
                for key, events in self._loop.wait(self._due()):
                    self._fleet.ready(key, events)
                self._loop.run_calls()
                self._scribe.commit()
                self._fleet.look()
                if time.monotonic() >= self._deliveries.due:
                    self._deliveries.flush()
                self._loop.ring()
        except _BrokenSupervisionError as error:
            self._fail(str(error), error.story)
        except JournalBrokenError as error:
            self._fail(f"the journal cannot be written: {error}")
        except OSError as error:
            self._fail(f"the system refused what supervision needs: {refusal(error)}")
        except Exception as error:  # noqa: BLE001 - a broken hub must not leave a session that looks alive
            self._fail(f"broken invariant in the hub: {type(error).__name__}: {error}", traceback.format_exc())
        finally:
            self._release()

    def _due(self) -> float:
        return min(self._scribe.due, self._deliveries.due, self._fleet.due)

    def _set_tick(self, session: str, mono: float) -> None:
        if session in self._sessions:
            teller = self._sessions[session].teller
            self._loop.set_alarm(("tick", session), mono, lambda: teller.tell(told.Tick(at=time.monotonic())))

    # --- what the fleet tells (the protocol fleet.Owner) ---------------------------------------------------------

    def tell(self, session: str, message: told.Event) -> None:
        """Pass on what happened to a child."""
        found, state = self._sessions.get(session), self._scribe.state(session)
        if found is not None and state is not None:
            found.teller.tell(message)
            if isinstance(message, told.Spawned):  # it will say hello, and starts meanwhile beside us
                found.snapshot.prepare(state)

    def received(self, child: Child[Frame], frame: Frame) -> None:
        """Take a frame of a child."""
        now = time.monotonic()
        match frame:
            case Hello(since=since):
                self._welcome(child, since)
            case Propose(ticket=ticket, facts=facts):
                self._scribe.propose(Proposal(child.session, facts, child.id, child.incarnation, ticket))
            case Ready():
                if child.gets_ready():
                    self.tell(child.session, told.Ready(now, child.id, child.incarnation))
            case Beat(below=below):
                child.below = below
                if child.beats(now):
                    self.tell(child.session, told.Beat(now, child.id, child.incarnation))
            case Welcome() | Deliver() | Leave():
                self._fleet.kill(child)  # no child says these: it does not speak our protocol
            case _:
                assert_never(frame)

    def hung_up(self, child: Child[Frame]) -> None:
        """Wait for its end: a link's is only a hint."""

    def standby(self, name: str, pid: int, ended: ExitReason | None) -> None:
        """Hear of children in advance, of which a session has none."""

    def orphaned(self, child: Child[Frame]) -> None:
        """Sweep what a child has left behind: the tasks of a runner, the programs of a role."""
        mark = (SESSION_MARK, child.session) if child.id == RUNNER else (MARK, child.mark)
        kill_until_gone(lambda: {*find_marked(*mark), *still_below(child.below)}, SWEEP_SECONDS)

    def server_lost(self, reason: str) -> None:
        """Let every session stop."""
        self._scribe.observe(Escalated(reason, fatal=False))

    def _welcome(self, child: Child[Frame], since: int) -> None:
        session, state = self._sessions.get(child.session), self._scribe.state(child.session)
        if session is None or state is None or child.link is None:
            return
        if child.link.welcomed:
            self._fleet.kill(child)  # it says hello once; each answer is as long as the session
            return
        # Without these a role whose file has few lines would be sent nearly the whole journal at every restart.
        kinds = KINDS.get(child.id, frozenset())
        missed = self._scribe.missed(child.session, since, kinds) if 0 <= since < state.seq else ()
        child.link.welcomed = True
        at("hub.welcoming")
        self._fleet.send(child, Welcome(child.session, session.snapshot.take(state), state.seq, missed))

    # --- the end -------------------------------------------------------------------------------------------------

    def _begin_close(self) -> None:
        self._closing = True

    def _fail(self, reason: str, story: str = "") -> None:
        with self._lock:
            self._failure = Escalated(without_secrets(reason), fatal=True, broken=bool(story), story=story)
            observers = tuple(self._observers)
        for observe in observers:
            observe(self._failure)

    def _end(self) -> Escalated:
        return self._failure or Escalated("the project was given back", fatal=True)

    def _release(self) -> None:
        try:
            with contextlib.suppress(OSError):  # no descriptor, no memory: what is left ends with its links
                self._fleet.release()
        finally:
            # What it holds is durable already, and the next start verifies it.
            with contextlib.suppress(JournalBrokenError):
                self._scribe.close()
            with self._lock:
                self._closed = True
                waiting, self._beginnings = self._beginnings, []
            for told in waiting:
                told(self._end())
            self._loop.close()
