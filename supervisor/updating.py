"""What was edited in a milestone file while its session runs: shown first, and taken in when asked for.

The difference is made in a thread of its own: to read a large file takes longer than other clients should wait. What
is taken in is a fact that the roles act on. Attempts that run were begun with the former definition, so a task that
runs, or is completed, must not change.

Owns the comparison. Refuses to know who asks.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from actors.events import MilestoneUpdated
from actors.model import Milestone, Task
from actors.preflight import without_statuses
from actors.set_by_hand import counts_at_once, set_by_hand
from actors.state import Phase
from supervisor.addressees import NOT_RUNNING
from supervisor.beginning import IO_ERROR, USAGE, RunRefusedError, read_milestone, refuse_what_cannot_run
from supervisor.shortage import refusal, starting_threads

if TYPE_CHECKING:
    from actors.state import SessionState
    from supervisor.control import Ticket
    from supervisor.session_run import SessionRun


@attrs.frozen
class Difference:
    """What a newer snapshot changes; the answer to ``update``.

    Attributes:
        session: Session id.
        milestone_id: What it executes.
        added: Ids of tasks that it does not have.
        removed: Ids of tasks that the file does not have any more.
        changed: Ids of tasks with the names of the fields that are other ones.
        fields: Names of the milestone's own fields that are other ones.
        refusal: Why it cannot be taken in now, ``""`` when it can.
        applied: Whether it was taken in.
    """

    session: str
    milestone_id: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: dict[str, tuple[str, ...]]
    fields: tuple[str, ...]
    refusal: str = ""
    applied: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing changes."""
        return not (self.added or self.removed or self.changed or self.fields)


def compare(state: SessionState, newer: Milestone) -> Difference:
    """Compare what a session executes with a newer snapshot."""
    then, now = without_statuses(state.milestone), without_statuses(newer)
    changed = {
        task.id: _fields(then.by_id[task.id], task)
        for task in now.tasks
        if task.id in then.by_id and then.by_id[task.id] != task
    }
    for key in set_by_hand(state, newer):
        if counts_at_once(state.tasks[key]):
            changed[key] = (*changed.get(key, ()), "status")
    return Difference(
        state.session,
        newer.id,
        tuple(task.id for task in now.tasks if task.id not in then.by_id),
        tuple(task.id for task in then.tasks if task.id not in now.by_id),
        changed,
        tuple(name for name in _fields(then, now) if name != "tasks"),
        _refusal(state, now, changed),
    )


def begin_update(run: SessionRun, ticket: Ticket, *, apply: bool) -> None:
    """Compare, and take in what is to be; answers through the ticket, with a :class:`Difference`."""

    def compared(state: SessionState, newer: Milestone) -> None:
        difference = compare(state, newer)
        if not apply or difference.is_empty:
            ticket.done(difference)
        elif difference.refusal:
            ticket.failed(USAGE, difference.refusal)
        else:
            run.state(MilestoneUpdated(newer), told=lambda refusals: taken(difference, refusals))

    def taken(difference: Difference, refusals: Sequence[str]) -> None:
        if refusals:
            ticket.failed(USAGE, *refusals)
        else:
            ticket.done(attrs.evolve(difference, applied=True))

    def read() -> None:
        try:
            newer, _ = read_milestone(run.paths, run.milestone.id)
            refuse_what_cannot_run(newer, run.settings)
        except RunRefusedError as error:
            ticket.failed(error.code or USAGE, *error.lines)
            return
        except OSError as error:
            ticket.failed(IO_ERROR, refusal(error))
            return
        run.look(lambda state: compared(state, newer), gone)

    def gone() -> None:
        ticket.failed(NOT_RUNNING, f"session {run.session} has ended meanwhile")

    try:
        with starting_threads():
            threading.Thread(target=read, name="update", daemon=True).start()
    except OSError as error:
        ticket.failed(IO_ERROR, refusal(error))


def _fields(then: Task | Milestone, now: Task | Milestone) -> tuple[str, ...]:
    names = (field.name for field in attrs.fields(type(now)))
    return tuple(name for name in names if getattr(then, name) != getattr(now, name))


def _refusal(state: SessionState, newer: Milestone, changed: dict[str, tuple[str, ...]]) -> str:
    other = [key for key in state.tasks if key in changed or key not in newer.by_id]
    completed = [key for key in other if state.tasks[key].phase is Phase.COMPLETED]
    if completed:
        return f"completed tasks changed: {', '.join(completed)}; undo the edit of these"
    running = set(state.live.values())
    alive = [key for key in other if key in running]
    return f"tasks that run changed: {', '.join(alive)}; wait for them, or undo the edit of these" if alive else ""
