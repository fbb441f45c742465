"""One session in the supervising process: its fold, and the door through which facts enter the journal.

Facts are judged against the fold in the order in which they came, each on its own: one that contradicts what is
known (a second grant of a completed task, a late end of a dead attempt) is refused with the reason and never
journaled. That is where the promises about tasks are kept, whoever asks and however often.

What a fact says for people is journaled without the values of secrets, so that nothing that is made of the journal has
them either.

Owned by the hub's thread. Refuses to know links, processes and files.
"""

from __future__ import annotations

import contextlib
import gc
import os
from typing import TYPE_CHECKING, Final

import attrs
import msgspec

from actors.events import (
    Event,
    Fact,
    Record,
    SessionEnded,
    SessionPaused,
    SessionStarted,
    SessionUnpaused,
    UnknownKindError,
    decode_event,
    encode_event,
)
from actors.state import ROLES, SessionState
from actors.veil import Veil
from supervisor.journal_verify import milestone_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from supervisor.journal_reader import JournalReader

_STARTED: Final = SessionStarted.__name__


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Keep the collector away while a long history is folded: nothing of it is garbage, and looking costs half."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@attrs.frozen
class Judged:
    """What became of a proposal.

    Attributes:
        admitted: Facts to journal, with what they decode to.
        refusals: A line for each fact that was not admitted.
        surprises: Those of them that somebody has to hear of who did not state the fact.
    """

    admitted: tuple[tuple[Fact, Event], ...]
    refusals: tuple[str, ...]
    surprises: tuple[str, ...]


def _is_superfluous(event: Event) -> bool:
    """Whether a fact that is not admitted says what is known: of one shortage every role wants the session to pause."""
    match event:
        case SessionPaused(passing=passing):
            return passing
        case SessionUnpaused():
            return True
        case _:
            return False


class Ledger:
    """A session's fold and admission.

    Args:
        session: Session id.
        records: The session's journal so far, in order.
    """

    def __init__(self, session: str, records: Iterable[Record] = ()) -> None:
        self.session = session
        self.state = SessionState(session=session)
        self._secrets: tuple[str, ...] = ()
        self._veil = Veil()
        with without_collection():
            for record in records:
                self.state.apply(record)

    def admit(self, facts: Iterable[Fact], seq: int, wall: float, mono: float) -> Judged:
        """Judge facts and fold those that are admitted, as if they were journaled from ``seq`` on.

        The caller must journal exactly ``admitted``, or throw this ledger away and fold the journal again.

        Args:
            facts: In the order in which they were stated.
            seq: The seq that the first admitted fact will get.
            wall: Seconds since the epoch that they will carry.
            mono: Seconds of the monotonic clock that they will carry.
        """
        admitted: list[tuple[Fact, Event]] = []
        refusals: list[str] = []
        surprises: list[str] = []
        for fact in facts:
            try:
                event = decode_event(fact.kind, fact.body)
            except (UnknownKindError, msgspec.DecodeError) as error:
                refusals.append(f"{fact.kind}: {error}")
                surprises.append(refusals[-1])
                continue
            refusal = self.state.admits(event)
            if refusal:
                refusals.append(f"{fact.kind}: {refusal}")
                if not _is_superfluous(event):
                    surprises.append(refusals[-1])
                continue
            event = self._veiled(event)
            self.state.apply(Record(seq + len(admitted), self.session, wall, mono, fact.kind, fact.body), event)
            # Written anew: what the decoder skipped (fields that we do not know, in any shape) is not ours to keep.
            admitted.append((encode_event(event), event))
        return Judged(tuple(admitted), tuple(refusals), tuple(surprises))

    def _veiled(self, event: Event) -> Event:
        """Hide what this process's environment says are the values of secrets: its tasks have theirs from there."""
        names = self.state.settings.secrets
        if names != self._secrets:
            self._secrets, self._veil = names, Veil.of(os.environ, names)
        return self._veil.hide_in(event) if self._veil.values else event

    def ending(self) -> SessionEnded | None:
        """Return the fact that ends the session, when it has settled and every role has finished."""
        state = self.state
        if state.settled is None or state.ended_wall:
            return None
        for role in ROLES:
            if role not in state.finished and not state.is_absent(role):
                return None
        return SessionEnded(state.settled.status, state.settled.reason)


class Latest:
    """Folds the latest session of a milestone while a journal is read (``Journal.open(..., told=latest.tell)``).

    Args:
        milestone_id: Which milestone.

    Attributes:
        ledger: The session that began last, ``None`` without one.
        unreadable: Why a fact of that session cannot be folded, ``""`` when all are.
    """

    def __init__(self, milestone_id: str) -> None:
        self.ledger: Ledger | None = None
        self.unreadable = ""
        self.milestone_id = milestone_id

    def tell(self, record: Record) -> None:
        """Take the next event of the journal, whosever it is."""
        if record.kind == _STARTED and milestone_of(record.body) == self.milestone_id:
            self.ledger, self.unreadable = Ledger(record.session), ""
        ledger = self.ledger
        if ledger is None or record.session != ledger.session or self.unreadable:
            return
        try:
            ledger.state.apply(record)
        except (UnknownKindError, msgspec.ValidationError) as error:
            self.unreadable = f"event {record.seq}: {error}"


def latest_in(reader: JournalReader, milestone_id: str) -> Latest:
    """Fold the latest session of a milestone from a journal that is only read.

    Raises:
        JournalError: It cannot be read.
    """
    latest = Latest(milestone_id)
    known = [one.id for one in reader.sessions() if one.milestone_id == milestone_id]
    for record in reader.records(known[-1]) if known else ():
        latest.tell(record)
    return latest
