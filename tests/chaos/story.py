"""The journal of a project told session by session, for the checker.

A second reading of the facts, on purpose: what the product's own fold makes of them is what is being judged.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    Event,
    LandConflicted,
    Landed,
    LandFailed,
    MilestoneUpdated,
    Outcome,
    Record,
    SessionEnded,
    SessionPaused,
    SessionResumed,
    SessionStarted,
    SessionStatus,
    SessionUnpaused,
    SlotFailed,
    TaskCompleted,
    TaskFailed,
    TaskRetried,
    TaskSkipped,
)
from actors.model import FileStatus, Milestone


@attrs.frozen
class Told:
    """A decoded record."""

    record: Record
    event: Event

    @property
    def line(self) -> str:
        """The record in one line, for evidence."""
        text = bytes(self.record.body).decode(errors="replace")
        return f"seq {self.record.seq} {self.record.session} {self.record.kind} {text[:200]}"


@attrs.define
class Session:
    """What the journal says of one session.

    Attributes:
        id: Session id.
        facts: All of them, in order.
        milestone: The latest snapshot.
        before: Tasks that the file declared completed when the session took them up.
        cancelled: Tasks that the file declared cancelled in the latest snapshot.
        completed: Task -> the attempt that completed it.
        landed: Attempt -> commit, ``""`` for nothing to land.
        failed: Task -> why, while it is failed for good.
        skipped: Task -> why, while it is left out.
        paused: Why it is paused, ``""`` when not.
        status: How it ended, ``None`` while it has not.
        reason: Why it ended so.
    """

    id: str
    facts: list[Told] = attrs.Factory(list)
    milestone: Milestone = Milestone("", "")
    before: set[str] = attrs.Factory(set)
    cancelled: set[str] = attrs.Factory(set)
    completed: dict[str, str] = attrs.Factory(dict)
    landed: dict[str, str] = attrs.Factory(dict)
    failed: dict[str, str] = attrs.Factory(dict)
    skipped: dict[str, str] = attrs.Factory(dict)
    paused: str = ""
    status: SessionStatus | None = None
    reason: str = ""

    def needs(self, task: str) -> tuple[str, ...]:
        """Return what a task depends on, by the latest snapshot; nothing for a task that it does not have."""
        known = self.milestone.by_id.get(task)
        return () if known is None else tuple(known.depends_on)

    def tell(self, told: Told) -> None:
        """Take the next fact in."""
        self.facts.append(told)
        match told.event:
            case SessionStarted(milestone=milestone) | MilestoneUpdated(milestone=milestone):
                self._take(milestone)
            case SessionResumed():
                self.status, self.paused, self.reason = None, "", ""
            case TaskCompleted(task=task, attempt=attempt):
                self.completed.setdefault(task, attempt)
            case Landed(attempt=attempt, sha=sha):
                self.landed[attempt] = sha
            case TaskFailed(task=task, reason=reason):
                self.failed[task] = reason
            case TaskSkipped(task=task, reason=reason):
                self.skipped[task] = reason
                self.failed.pop(task, None)
            case TaskRetried(task=task):
                self.failed.pop(task, None)
                self.skipped.pop(task, None)
            case SessionPaused(reason=reason):
                self.paused = reason
            case SessionUnpaused():
                self.paused = ""
            case SessionEnded(status=status, reason=reason):
                self.status, self.reason = status, reason
            case _:
                pass

    def _take(self, milestone: Milestone) -> None:
        self.milestone = milestone
        declared = {task.id for task in milestone.tasks if task.status is FileStatus.COMPLETED}
        self.before |= declared - self.completed.keys()
        self.cancelled = {task.id for task in milestone.tasks if task.status is FileStatus.CANCELLED}


def sessions_of(records: Iterable[Record]) -> dict[str, Session]:
    """Tell the journal session by session, in the order in which they began."""
    found: dict[str, Session] = {}
    for record in records:
        found.setdefault(record.session, Session(record.session)).tell(Told(record, record.event()))
    return found


def closes(event: Event) -> str:
    """Return the attempt that a fact ends for good, so that another one of its task may follow; ``""`` for none."""
    match event:
        case AttemptEnded(attempt=attempt, outcome=outcome) if outcome is not Outcome.OK:
            return attempt
        case SlotFailed(attempt=attempt) | LandConflicted(attempt=attempt) | LandFailed(attempt=attempt):
            return attempt
        case TaskCompleted(attempt=attempt):
            return attempt
        case _:
            return ""


def begins(event: Event) -> str:
    """Return the attempt that a fact lets run, ``""`` for none."""
    match event:
        case AttemptGranted(attempt=attempt) | AttemptStarted(attempt=attempt):
            return attempt
        case _:
            return ""
