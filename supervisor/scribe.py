"""Writing: what is proposed is judged, journaled in one transaction, and only then told to anybody.

Everything that was proposed by the moment of a commit shares it, so a burst costs one sync. The records go to the
children of their session (:mod:`supervisor.deliveries`), with the tickets of a child's own proposals, and to who
observes the session; whoever stated a fact for the supervising process itself is told last.

A full disk: nothing of the batch is in the journal, so the folds are taken back to what is durable, and what children
said waits, unanswered. What the supervising process states goes on in what the reserve leaves, the pause first of all,
until there is room again.

Owned by the hub's thread. Refuses to know processes, links and the meaning of facts (the ledger's).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import attrs

from actors.events import Event, Fact, Record, SessionPaused, SessionUnpaused, encode_event
from actors.failpoints import at
from actors.standstill import DISK_FULL
from supervisor.beginning import journal_beginning
from supervisor.deliveries import IDLE_GIT, WATCHERS, Answer, Answers, Deliveries
from supervisor.journal_errors import JournalFullError
from supervisor.ledger import Ledger
from supervisor.notices import FactRefused, Notice, Recorded, Troubled

if TYPE_CHECKING:
    from actors.state import SessionState
    from supervisor.journal import Journal

_RETRY_FULL: Final = 1.0


@attrs.define
class _Session:
    ledger: Ledger
    observe: Callable[[Notice], None]


@attrs.frozen
class Proposal:
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


def _without_those_who_wait(proposals: Sequence[Proposal]) -> tuple[list[Proposal], list[Proposal]]:
    """Return what is journaled even on a full disk, and what waits for room, each in order.

    What children said waits, and that one of them came or went waits behind what it said before: what a runner says of
    its predecessor's attempts would else be taken for its own end.
    """
    taken: list[Proposal] = []
    left: list[Proposal] = []
    talked: set[tuple[str, str]] = set()
    for one in proposals:
        if one.child:
            talked.add((one.session, one.child))
        (left if one.child or (one.session, one.of) in talked else taken).append(one)
    return taken, left


class Scribe:
    """The journal's writer, with the folds of the sessions that live.

    Args:
        journal: Open for writing; the scribe owns it from here on and closes it.
        deliveries: To the children.

    Attributes:
        timed: Is told how many seconds each group of events took to be durable; must not block.
    """

    def __init__(self, journal: Journal, deliveries: Deliveries) -> None:
        self.timed: Callable[[float], None] | None = None
        self._journal = journal
        self._deliveries = deliveries
        self._sessions: dict[str, _Session] = {}
        self._proposals: list[Proposal] = []
        self._full_until: float | None = None
        self._own_until = 0.0

    # --- sessions ------------------------------------------------------------------------------------------------

    def begin(self, ledger: Ledger, events: tuple[Event, ...]) -> None:
        """Journal what a session, or its next life, begins with.

        Raises:
            RunRefusedError: A fact of it is not admitted.
            JournalFullError: There is no room; nothing was journaled.
            JournalBrokenError: As of :meth:`commit`.
        """
        journal_beginning(self._journal, ledger, events)

    def open(self, ledger: Ledger, observe: Callable[[Notice], None]) -> None:
        """Take up a session, whose fold up to now this is."""
        self._sessions[ledger.session] = _Session(ledger, observe)

    def forget(self, session: str) -> None:
        """Let a session go."""
        self._sessions.pop(session, None)

    def observe(self, notice: Notice) -> None:
        """Tell whoever observes a session."""
        for session in self._sessions.values():
            session.observe(notice)

    def state(self, session: str) -> SessionState | None:
        """Return the fold of a session, not to be changed or kept; ``None`` when it does not live."""
        found = self._sessions.get(session)
        return None if found is None else found.ledger.state

    def missed(self, session: str, after: int, kinds: Collection[str]) -> tuple[Record, ...]:
        """Return the records of a session after one of them that are of these kinds."""
        return tuple(record for record in self._journal.records(session, after) if record.kind in kinds)

    # --- writing -------------------------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Whether the disk was full when something was last to be journaled; from any thread."""
        return self._full_until is not None

    @property
    def due(self) -> float:
        """Monotonic moment at which :meth:`commit` is to be called without a proposal; infinite for none."""
        return float("inf") if self._full_until is None else self._full_until

    def propose(self, proposal: Proposal) -> None:
        """Have facts journaled by the next commit."""
        self._proposals.append(proposal)

    def check_place(self) -> None:
        """See whether the journal's file still has its name; see :meth:`Journal.check_place`."""
        self._journal.check_place()

    def commit(self) -> None:
        """Journal everything that was proposed, and tell of it.

        Raises:
            JournalBrokenError: The journal must be given up.
        """
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

    def close(self) -> None:
        """Close the journal.

        Raises:
            JournalBrokenError: It could not be brought into one file; what it holds is durable already.
        """
        self._journal.close()

    def _commit_together(self, proposals: Sequence[Proposal]) -> None:
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
            for reason in judged.surprises if proposal.told is None else ():  # else who asked is told
                session.observe(FactRefused(proposal.session, proposal.child, reason))
            if proposal.child:
                key = (proposal.session, proposal.child, proposal.incarnation)
                answer = answers.setdefault(key, Answer())
                answer.tickets.append(proposal.ticket)
                answer.refusals.extend(judged.refusals)
        records = self._journal.append(facts, wall, mono) if facts else ()
        if self.timed is not None and facts:
            self.timed(time.monotonic() - mono)
        at("hub.journaled")
        self._deliver(records, events, answers)
        at("hub.delivered")
        for index, proposal in enumerate(proposals):
            if proposal.told is not None:
                proposal.told(refused[index])
        self._propose_ends(records)

    def _deliver(self, records: Sequence[Record], events: Sequence[Event], answers: Answers) -> None:
        for name, session in self._sessions.items():
            items = tuple(item for item in zip(records, events, strict=True) if item[0].session == name)
            own = tuple(record for record, _ in items)
            watchers = IDLE_GIT if session.ledger.state.git.idle else WATCHERS
            self._deliveries.deliver(name, own, answers, time.monotonic(), watchers)
            if items:
                session.observe(Recorded(items))

    def _propose_ends(self, records: Sequence[Record]) -> None:
        for name in {record.session for record in records}:
            ending = self._sessions[name].ledger.ending()
            if ending is not None:
                at("session.ending")
                self.propose(Proposal(name, (encode_event(ending),)))

    # --- a full disk ---------------------------------------------------------------------------------------------

    def _disk_full(self, proposals: list[Proposal]) -> None:
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
            try:
                self._journal_at_once(self._those(paused=""), SessionPaused(DISK_FULL))
            except JournalFullError:  # that nothing is acknowledged pauses it all the same
                self.observe(Troubled("the disk is full: not even the pause can be journaled"))

    def _space_again(self) -> bool:
        """Whether a full disk has room again: for the reserve, and for the end of the pause."""
        now = time.monotonic()
        if self._full_until is None or now < self._full_until:
            return self._full_until is None
        self._full_until = now + _RETRY_FULL
        if not self._journal.restore_reserve():
            return False
        try:
            self._journal_at_once(self._those(paused=DISK_FULL), SessionUnpaused())
        except JournalFullError:
            self._journal.use_reserve()
            return False
        self._full_until = None
        return True

    def _those(self, *, paused: str) -> Iterator[str]:
        """Iterate over the sessions that are paused for this reason, ``""`` for those that are not."""
        return (name for name, one in self._sessions.items() if one.ledger.state.paused == paused)

    def _journal_at_once(self, sessions: Iterator[str], event: SessionPaused | SessionUnpaused) -> None:
        wall, mono = time.time(), time.monotonic()  # noqa: TID251 - the wall clock is stored with the records
        records = self._journal.append([(name, encode_event(event)) for name in sessions], wall, mono)
        for record in records:
            self._sessions[record.session].ledger.state.apply(record, event)
        self._deliver(records, [event] * len(records), {})
