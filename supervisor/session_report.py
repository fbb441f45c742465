"""What is answered about a session that lives, without looking into the journal: frozen data.

Owns the fields, and the counting of tasks. Refuses to know who folds and who asks.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import attrs

from actors.progress import percentage
from actors.state import Phase

if TYPE_CHECKING:
    from actors.state import SessionState


@attrs.frozen
class ChildReport:
    """A role, or the runner.

    Attributes:
        role: Its id.
        state: As Supervisor names it.
        pid: Its process, ``None`` without one.
        restarts: Restarts in this life of the session.
        last_exit: Why the former incarnation ended, ``""`` for none.
        cpu_percent: Of one core, ``None`` when it is not known.
        rss_bytes: Resident set, ``None`` as above.
    """

    role: str
    state: str
    pid: int | None = None
    restarts: int = 0
    last_exit: str = ""
    cpu_percent: float | None = None
    rss_bytes: int | None = None


@attrs.frozen
class Tally:
    """How far the tasks are.

    Attributes:
        seq: Of the last event that counts.
        counts: Tasks in each phase, by the phase's word.
        percentage: How much is done, by the tasks' weights.
    """

    seq: int
    counts: dict[str, int]
    percentage: int

    @classmethod
    def of(cls, state: SessionState) -> Tally:
        """Count."""
        found = Counter(task.phase for task in state.tasks.values())
        return cls(state.seq, {phase.value: found[phase] for phase in Phase}, percentage(state))


@attrs.frozen
class Vitals:
    """What a session is asked for by who measures it.

    Attributes:
        queued: Tasks that could start and wait for a free place.
        blockers: Blockers that are not resolved, by severity.
        beats: When each role last gave a sign of life, seconds of the monotonic clock.
    """

    queued: int
    blockers: dict[str, int]
    beats: dict[str, float]


@attrs.frozen
class SessionReport:
    """A session.

    Attributes:
        id: Session id.
        milestone_id: What it executes.
        title: Of that.
        status: What the session is.
        reason: Why it is paused, ``""`` otherwise.
        tally: How far the tasks are.
        roles: Its children, in the order in which they were first shown.
    """

    id: str
    milestone_id: str
    title: str
    status: str
    reason: str
    tally: Tally
    roles: tuple[ChildReport, ...]
