"""The hub: the one thread that writes the journal, holds the links and watches processes.

The loop, told once. Wait for whatever is ready: links, the fork server's socket, pidfds, the wake-up of another
thread. Read everything. What children proposed in this turn is judged in order, journaled in *one* transaction,
and then delivered (:mod:`supervisor.deliveries`): one frame to each child of the session, which also carries the
tickets of that child's own proposals. So a burst shares one commit, and nobody is told of a fact that is not durable.

Runs in the supervising process, in a daemon thread of its own. Other threads reach it through the methods of the
section "from other threads" only. Refuses to know strategies (the supervisor actor's), the meaning of facts (the
ledger's) and how processes are watched (the fleet's).
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, assert_never

import attrs

from actors.events import ChildGone, ChildReady, Event, Fact, Record, SessionPaused, SessionUnpaused, encode_event
from actors.failpoints import at
from actors.frames import FRAMING, Beat, Deliver, Frame, Hello, Leave, Propose, Ready, Welcome
from actors.log import without_secrets
from actors.log_lines import KINDS
from actors.standstill import DISK_FULL
from actors.state import RUNNER, encode_state
from supervisor import core_events as told
from supervisor.beginning import RunRefusedError, journal_beginning
from supervisor.deliveries import IDLE_GIT, WATCHERS, Answer, Answers, Deliveries
from supervisor.environment import SESSION_MARK
from supervisor.fleet import Child, Fleet
from supervisor.fork_protocol import Namespace
from supervisor.forked import MARK
from supervisor.journal_errors import JournalBrokenError, JournalFullError
from supervisor.ledger import Ledger
from supervisor.linux import SWEEP_SECONDS, find_marked, kill_until_gone
from supervisor.loop import Loop
from supervisor.notices import Escalated, FactRefused, Notice, Recorded, Troubled
from supervisor.shortage import refusal

if TYPE_CHECKING:
    import msgspec

    from actors.state import SessionState
    from supervisor.exits import ExitReason
    from supervisor.journal import Journal

_RETRY_FULL: Final = 1.0


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
    ledger: Ledger
    teller: Teller
    observe: Callable[[Notice], None]
    snapshot: _Snapshot = attrs.Factory(_Snapshot)


@attrs.frozen
class _Proposal:
    """Facts on their way; without a child they are the supervising process's own.

    Those are ``of`` a child where they say that it is ready or gone.
    """

    session: str
    facts: tuple[Fact, ...]
    child: str = ""
    incarnation: int = 0
    ticket: int = 0
    told: Callable[[Sequence[str]], None] | None = None
    of: str = ""


def _without_those_who_wait(proposals: Sequence[_Proposal]) -> tuple[list[_Proposal], list[_Proposal]]:
    """Return what is journaled even on a full disk, and what waits for room, each in order.

    What children said waits, and that one of them came or went waits behind what it said before: what a runner says of
    its predecessor's attempts would else be taken for its own end.
    """
    taken: list[_Proposal] = []
    left: list[_Proposal] = []
    talked: set[tuple[str, str]] = set()
    for one in proposals:
        if one.child:
            talked.add((one.session, one.child))
        (left if one.child or (one.session, one.of) in talked else taken).append(one)
    return taken, left


class Hub(threading.Thread):
    """The supervising process's only writer and only reader.

    Args:
        journal: Open for writing; the hub owns it from here on and closes it.
        preload: Modules that the fork server imports before it forks.
        output: Descriptor for what children print, open as long as the hub; standard error when not given.
    """

    def __init__(self, journal: Journal, preload: Sequence[str], output: int | None = None) -> None:
        super().__init__(name="hub", daemon=True)
        self._journal = journal
        self._loop = Loop()
        self._fleet = Fleet(self._loop.selector, FRAMING, preload, self, output)
        self._deliveries = Deliveries(self._fleet)
        self._lock = threading.Lock()  # of what is below, up to the end of the thread, which others reach too
        self._observers: list[Callable[[Notice], None]] = []
        self._failure: Escalated | None = None
        self._beginnings: list[Callable[[Exception | Escalated | None], None]] = []
        self._closed = False
        self._sessions: dict[str, _Session] = {}
        self._proposals: list[_Proposal] = []
        self._full_until: float | None = None
        self._own_until = 0.0
        self._timed: Callable[[float], None] | None = None
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
        self._journal.check_place()

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
        self.call(lambda: self._sessions.update({ledger.session: _Session(ledger, teller, observe)}))

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
                journal_beginning(self._journal, ledger, events)
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
        self._timed = timed

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
        proposal = _Proposal(session, tuple(encode_event(event) for event in events), told=told, of=of)
        self.call(lambda: self._proposals.append(proposal))

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
            if session in self._sessions:
                function(self._sessions[session].ledger.state)
            else:
                gone()

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
        return self._full_until is not None

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
                self._commit()
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
        full = float("inf") if self._full_until is None else self._full_until
        return min(full, self._deliveries.due, self._fleet.due)

    def _set_tick(self, session: str, mono: float) -> None:
        if session in self._sessions:
            teller = self._sessions[session].teller
            self._loop.set_alarm(("tick", session), mono, lambda: teller.tell(told.Tick(at=time.monotonic())))

    # --- what the fleet tells (the protocol fleet.Owner) ---------------------------------------------------------

    def tell(self, session: str, message: told.Event) -> None:
        """Pass on what happened to a child."""
        if session in self._sessions:
            self._sessions[session].teller.tell(message)
            if isinstance(message, told.Spawned):  # it will say hello, and starts meanwhile beside us
                self._sessions[session].snapshot.prepare(self._sessions[session].ledger.state)

    def received(self, child: Child[Frame], frame: Frame) -> None:
        """Take a frame of a child."""
        now = time.monotonic()
        match frame:
            case Hello(since=since):
                self._welcome(child, since)
            case Propose(ticket=ticket, facts=facts):
                self._proposals.append(_Proposal(child.session, facts, child.id, child.incarnation, ticket))
            case Ready():
                if child.gets_ready():
                    self.tell(child.session, told.Ready(now, child.id, child.incarnation))
            case Beat():
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
        kill_until_gone(lambda: find_marked(*mark), SWEEP_SECONDS)

    def server_lost(self, reason: str) -> None:
        """Let every session stop."""
        for session in self._sessions.values():
            session.observe(Escalated(reason, fatal=False))

    def _welcome(self, child: Child[Frame], since: int) -> None:
        session = self._sessions.get(child.session)
        if session is None or child.link is None:
            return
        if child.link.welcomed:
            self._fleet.kill(child)  # it says hello once; each answer is as long as the session
            return
        state = session.ledger.state
        # Without this a role whose file has few lines would be sent nearly the whole journal at every restart.
        kinds = KINDS.get(child.id, frozenset())
        behind = 0 <= since < state.seq
        records = self._journal.records(child.session, since) if behind else ()
        missed = tuple(record for record in records if record.kind in kinds)
        child.link.welcomed = True
        at("hub.welcoming")
        self._fleet.send(child, Welcome(child.session, session.snapshot.take(state), state.seq, missed))

    # --- the journal ---------------------------------------------------------------------------------------------

    def _commit(self) -> None:
        full = self._full_until is not None and not self._space_again()
        if full and time.monotonic() < self._own_until:
            return  # what the supervising process states has found no room either, not even in the reserve
        while True:
            taken, self._proposals = _without_those_who_wait(self._proposals) if full else (self._proposals, [])
            if not taken:
                return
            try:
                self._commit_together(taken)
            except JournalFullError:
                self._disk_full(taken)
                return

    def _commit_together(self, proposals: Sequence[_Proposal]) -> None:
        wall, mono = time.time(), time.monotonic()  # noqa: TID251 - the wall clock is stored with the records
        facts: list[tuple[str, Fact]] = []
        events: list[Event] = []
        answers: Answers = {}
        refused: dict[int, Sequence[str]] = {}
        for index, proposal in enumerate(proposals):
            session = self._sessions.get(proposal.session)
            if session is None:
                refused[index] = (f"there is no session {proposal.session}",)
                continue
            judged = session.ledger.admit(proposal.facts, self._journal.last_seq + 1 + len(facts), wall, mono)
            facts.extend((proposal.session, fact) for fact, _ in judged.admitted)
            events.extend(event for _, event in judged.admitted)
            refused[index] = judged.refusals
            for reason in judged.refusals if proposal.told is None else ():  # else who asked is told
                session.observe(FactRefused(proposal.session, proposal.child, reason))
            if proposal.child:
                key = (proposal.session, proposal.child, proposal.incarnation)
                answer = answers.setdefault(key, Answer())
                answer.tickets.append(proposal.ticket)
                answer.refusals.extend(judged.refusals)
        records = self._journal.append(facts, wall, mono) if facts else ()
        if self._timed is not None and facts:
            self._timed(time.monotonic() - mono)
        at("hub.journaled")
        self._deliver(records, events, answers)
        at("hub.delivered")
        for index, proposal in enumerate(proposals):
            if proposal.told is not None:
                proposal.told(refused[index])
        self._end_sessions(records)

    def _deliver(self, records: Sequence[Record], events: Sequence[Event], answers: Answers) -> None:
        for name, session in self._sessions.items():
            items = tuple(item for item in zip(records, events, strict=True) if item[0].session == name)
            own = tuple(record for record, _ in items)
            watchers = IDLE_GIT if session.ledger.state.git.idle else WATCHERS
            self._deliveries.deliver(name, own, answers, time.monotonic(), watchers)
            if items:
                session.observe(Recorded(items))

    def _end_sessions(self, records: Sequence[Record]) -> None:
        for name in {record.session for record in records}:
            ending = self._sessions[name].ledger.ending()
            if ending is not None:
                at("session.ending")
                self._proposals.append(_Proposal(name, (encode_event(ending),)))

    def _disk_full(self, proposals: list[_Proposal]) -> None:
        # Nothing of the batch is in the journal, but the folds have it: take them back to what is durable. What
        # children proposed waits, unanswered: so nothing more is granted, and results stay with who holds them.
        # The supervising process's own facts go on in what the reserve leaves, so that the session can be ended.
        for name, session in self._sessions.items():
            session.ledger = Ledger(name, self._journal.records(name))
        self._proposals = proposals + self._proposals
        first = self._full_until is None
        self._full_until = time.monotonic() + _RETRY_FULL
        # Each failure folds the whole journal again: without a pause that would be all that we do.
        self._own_until = 0.0 if first else self._full_until
        if first:
            self._journal.use_reserve()
            running = [name for name, one in self._sessions.items() if not one.ledger.state.paused]
            try:
                self._journal_at_once(running, SessionPaused(DISK_FULL))
            except JournalFullError:  # that nothing is acknowledged pauses it all the same
                for session in self._sessions.values():
                    session.observe(Troubled("the disk is full: not even the pause can be journaled"))

    def _space_again(self) -> bool:
        """Whether a full disk has room again: for the reserve, and for the end of the pause."""
        now = time.monotonic()
        if self._full_until is None or now < self._full_until:
            return self._full_until is None
        self._full_until = now + _RETRY_FULL
        if not self._journal.restore_reserve():
            return False
        paused = [name for name, one in self._sessions.items() if one.ledger.state.paused == DISK_FULL]
        try:
            self._journal_at_once(paused, SessionUnpaused())
        except JournalFullError:
            self._journal.use_reserve()
            return False
        self._full_until = None
        return True

    def _journal_at_once(self, sessions: Sequence[str], event: SessionPaused | SessionUnpaused) -> None:
        wall, mono = time.time(), time.monotonic()  # noqa: TID251 - the wall clock is stored with the records
        records = self._journal.append([(name, encode_event(event)) for name in sessions], wall, mono)
        for record in records:
            self._sessions[record.session].ledger.state.apply(record, event)
        self._deliver(records, [event] * len(records), {})

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
                self._journal.close()
            with self._lock:
                self._closed = True
                waiting, self._beginnings = self._beginnings, []
            for told in waiting:
                told(self._end())
            self._loop.close()
