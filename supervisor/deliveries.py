"""Who is told of journaled records, and when.

Every child of a session is told of every record, in order and without gaps, as soon as it is durable; with one
exception. Those who only watch are told of the everyday facts about tasks up to :data:`PATIENCE` later, in one
frame: a session of short tasks would otherwise wake three processes for each commit that have nothing to do. What
is not everyday, and what answers a child's own proposal, takes everything before it along at once.

Owned by the hub's thread. Refuses to know how frames are sent (the fleet's) and what records mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    Landed,
    Record,
    SlotPrepared,
    TaskCompleted,
)
from actors.frames import Deliver, Frame, encode_frame

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from supervisor.fleet import Child, Fleet

PATIENCE: Final = 0.03
"""Longest time in seconds that an everyday fact is kept from who only watches."""

WATCHERS: Final = frozenset({"progress_monitor", "dependency_validator", "blocker_detector"})
"""Children that decide nothing that a task waits for."""

IDLE_GIT: Final = WATCHERS | {"git_integration"}
"""The same where there is nothing to land."""

EVERYDAY: Final = frozenset(
    kind.__name__ for kind in (AttemptGranted, SlotPrepared, AttemptStarted, AttemptEnded, Landed, TaskCompleted)
)
"""Kinds of facts that a session of tasks that go well consists of."""


@attrs.define
class Answer:
    """What a child's next ``Deliver`` tells it of its own proposals."""

    tickets: list[int] = attrs.Factory(list)
    refusals: list[str] = attrs.Factory(list)


Answers = dict[tuple[str, str, int], Answer]
"""By session, child and incarnation."""


class Deliveries:
    """What is on its way to the children.

    Args:
        fleet: Sends.

    Attributes:
        due: When :meth:`flush` has something to do, monotonic seconds; infinity for never.
    """

    def __init__(self, fleet: Fleet[Frame]) -> None:
        self._fleet = fleet
        self._kept: dict[str, tuple[Child[Frame], list[Record]]] = {}
        self.due = float("inf")

    def deliver(
        self,
        session: str,
        records: tuple[Record, ...],
        answers: Mapping[tuple[str, str, int], Answer],
        now: float,
        watchers: AbstractSet[str] = WATCHERS,
    ) -> None:
        """Tell the children of a session, now or a little later.

        Args:
            session: Session id.
            records: Its records of one commit, in order.
            answers: What became of proposals.
            now: Monotonic seconds.
            watchers: Children that can wait.
        """
        everyday = all(record.kind in EVERYDAY for record in records)
        shared = b""
        for child in self._fleet.of_session(session):
            answer = answers.get((session, child.id, child.incarnation))
            if answer is not None:
                everything = (*self._take(child), *records)
                frame = Deliver(everything, tuple(answer.tickets), tuple(answer.refusals))
                self._fleet.send(child, frame)
            elif records and everyday and child.id in watchers:
                self._keep(child, records, now)
            elif records:
                kept = self._take(child)
                shared = shared or encode_frame(Deliver(records))
                self._fleet.send_bytes(child, encode_frame(Deliver((*kept, *records))) if kept else shared)

    def flush(self) -> None:
        """Send all that was kept."""
        kept, self._kept, self.due = self._kept, {}, float("inf")
        encoded: dict[tuple[int, int], bytes] = {}
        for child, records in kept.values():
            extent = (records[0].seq, len(records))  # of one session, without gaps: so these say which they are
            if extent not in encoded:
                encoded[extent] = encode_frame(Deliver(tuple(records)))
            self._fleet.send_bytes(child, encoded[extent])

    def _keep(self, child: Child[Frame], records: tuple[Record, ...], now: float) -> None:
        known = self._kept.get(child.key)
        if known is None or known[0] is not child:  # what was kept for a dead incarnation is of no use to another
            known = self._kept[child.key] = (child, [])
        known[1].extend(records)
        self.due = min(self.due, now + PATIENCE)

    def _take(self, child: Child[Frame]) -> list[Record]:
        known = self._kept.pop(child.key, None)
        return known[1] if known is not None and known[0] is child else []
