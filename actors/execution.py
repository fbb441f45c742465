"""The Task Executor's decisions: what is granted, completed and given up, and when the session is settled.

The executor is a reconciler. It folds the journal into a :class:`~actors.state.SessionState`, tells
:class:`Execution` of each record *after* it was folded, and asks it to :meth:`~Execution.decide`. What comes
back is proposed to the journal; it takes effect only when it comes back from there as a record. Until it did,
nothing is decided again (and if it were, the answer would be the same). An :class:`Execution` holds nothing
that does not follow from the fold: one that is built in the middle of a session decides as the one that saw
it all.

What a completion makes possible is granted in the same breath, behind it: the journal judges facts in order,
each against what those before it made of the state, and two round trips to the disk for a task become one.

A task that may be what kills the runner (:func:`~actors.attempts.is_suspect`) is granted alone: nothing else runs
beside it, so that another death of the runner is its doing. And after some deaths of the runner nothing is granted for
a while, or tasks that kill it would use up the restarts of the session.

A slot is held until its attempt is *over*, not merely ended: what the attempt changed is captured from that
slot while it lands.

Owns order, slots, conflicts, pauses and the end. Refuses to know processes, git and clocks (time is an
argument). What a single attempt is and means stands in :mod:`actors.attempts`.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, Final

import attrs
import msgspec

from actors.attempts import Again, GiveUp, RetryAt, grant, is_over, is_suspect, judge, missing_agents
from actors.conflicts import Claims, overlapping
from actors.events import (
    AttemptEnded,
    AttemptGranted,
    Event,
    LandConflicted,
    LandFailed,
    MilestoneUpdated,
    Outcome,
    SessionResumed,
    SessionSettled,
    SessionStarted,
    SessionStatus,
    SlotFailed,
    TaskCompleted,
    TaskFailed,
    TaskRetried,
    TaskSkipped,
)
from actors.frontier import Frontier
from actors.plan import Plan
from actors.state import RUNNER, Attempt, Phase, SessionState, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from actors.model import Task

QUICK_DEATHS: Final = 3
"""Deaths of the runner in a life after which grants go on at once; after each further one they wait."""

DEATH_PAUSE: Final = 12.0
"""Seconds without grants after such a death: with the first ones that makes nine in the worst minute, and ten are
mended."""

_DECIDED: Final = frozenset({Phase.COMPLETED, Phase.SKIPPED})
_RUNS: Final = frozenset({Stage.GRANTED, Stage.PREPARED, Stage.STARTED})
"""Stages of an attempt whose programs run, or may."""

__all__ = ["Decision", "Execution", "missing_agents"]


@attrs.frozen
class Decision:
    """What the executor states now.

    Attributes:
        events: Facts to propose, in order; empty for nothing.
        wake_wall: When to decide again though nothing happens, epoch seconds; ``None`` for no such moment.
    """

    events: tuple[Event, ...] = ()
    wake_wall: float | None = None


class Execution:
    """The executor's view of one session, kept up to date record by record.

    Args:
        state: The fold. Its owner goes on folding into it and calls :meth:`observe` after each record.
        durations: Measured seconds by task id from former executions, for the order of grants.
    """

    def __init__(self, state: SessionState, durations: Mapping[str, float] | None = None) -> None:
        self._state = state
        self._durations = durations
        self._rebuild()

    def _rebuild(self) -> None:
        self._is_stale = False
        state = self._state
        milestone = state.milestone
        self._tasks = milestone.by_id
        self._plan = Plan.of(milestone, self._durations)
        self._frontier = Frontier(milestone, self._plan, state.tasks)
        self._claims = Claims(self._frontier, self._tasks)
        self._task_of = dict(state.live)
        # Pending tasks with an attempt behind them: what becomes of them is decided when something may be
        # granted.
        self._unjudged = {task for task, one in state.tasks.items() if one.phase is Phase.PENDING and is_over(one)}
        self._failed = sum(one.phase is Phase.FAILED for one in state.tasks.values())
        self._delayed: list[tuple[float, float, str]] = []
        self._wall = 0.0
        # Attempts whose completion was stated, and is counted already, before it has come back as a record.
        self._foreseen: set[str] = set()
        for task in self._unjudged:
            self._frontier.granted(task)
        for task in state.live.values():
            self._claims.held(task)

    # --- observing ------------------------------------------------------------------------------------------

    def observe(self, event: Event) -> None:
        """Take note of a fact that was folded into the state a moment ago."""
        if self._is_stale:
            return
        match event:
            case SessionStarted() | SessionResumed() | MilestoneUpdated() | TaskRetried() | TaskSkipped():
                # Once for all that comes together: somebody may want thousands of tasks attempted again.
                self._is_stale = True
            case AttemptGranted(attempt=attempt, task=task):
                self._task_of[attempt] = task
                self._frontier.granted(task)
                self._claims.held(task)
            case AttemptEnded() | SlotFailed() | LandConflicted() | LandFailed():
                self._came_back(event.attempt)
            case TaskCompleted(task=task, attempt=attempt):
                self._task_of.pop(attempt, None)
                self._foresee(task, attempt)
                self._foreseen.discard(attempt)
            case TaskFailed(task=task):
                self._unjudged.discard(task)
                self._frontier.failed(task)
                self._claims.dropped(task)
                self._failed += 1
            case _:
                pass

    def _foresee(self, task: str, attempt: str) -> None:
        """Count a task as completed, once."""
        if attempt not in self._foreseen:
            self._foreseen.add(attempt)
            self._claims.released(task)
            self._frontier.completed(task)

    def _came_back(self, attempt: str) -> None:
        if attempt in self._state.live:
            return
        task = self._task_of.pop(attempt, None)
        if task is None:
            return
        if self._state.tasks[task].phase in _DECIDED:
            self._is_stale = True
            return
        self._claims.released(task)
        self._unjudged.add(task)

    # --- deciding -------------------------------------------------------------------------------------------

    def decide(self, wall: float) -> Decision:
        """Return what is to be stated at ``wall`` (epoch seconds).

        Its cost follows from what changed and from the number of live attempts, not from that of the tasks.
        """
        state = self._state
        if self._is_stale:
            self._rebuild()
        if state.started is None or state.settled is not None:
            return Decision()
        failures = list(self._failures(wall))
        completions = list(self._completions())
        events: list[Event] = [*completions, *failures]
        held_until = self._held_until(wall)
        if self._may_grant() and held_until is None and not (failures and state.settings.fail_fast):
            for completed in completions:
                self._foresee(completed.task, completed.attempt)
            self._release_delayed(wall)
            events += self._grants({completed.task for completed in completions})
        if not events:
            events += self._settlement()
        return Decision(tuple(events), self._wake() if held_until is None else held_until)

    def _open(self) -> bool:
        """Whether this life's pre-flight passed and it is known where attempts run."""
        return self._state.preflight is True and self._state.git_known

    def _may_grant(self) -> bool:
        state = self._state
        refused = state.git.refused is not None
        # What is granted while no runner is there would be called interrupted by the next one, unstarted.
        runner = state.children.get(RUNNER)
        absent = runner is not None and not runner.ready
        return self._open() and not (state.stop or state.paused or refused or absent or self._failing_fast())

    def _held_until(self, wall: float) -> float | None:
        """Return until when the deaths of the runner keep anything from being granted, ``None`` when they do not."""
        died = self._state.runner_died_wall
        if self._state.runner_deaths <= QUICK_DEATHS or not died <= wall < died + DEATH_PAUSE:
            return None
        return died + DEATH_PAUSE

    def _failing_fast(self) -> bool:
        return self._state.settings.fail_fast and self._failed > 0

    def _attempts(self) -> Iterator[tuple[str, Attempt]]:
        for task in self._state.live.values():
            attempt = self._state.tasks[task].attempt
            if attempt is not None:
                yield task, attempt

    def _completions(self) -> Iterator[TaskCompleted]:
        state = self._state
        in_place = state.git_known and not state.isolated
        for task, attempt in self._attempts():
            # What ran in a slot lies there until it has landed, whatever the session was told since.
            if attempt.stage is Stage.LANDED or (attempt.stage is Stage.ENDED and in_place and not attempt.path):
                yield TaskCompleted(task, attempt.id)

    def _failures(self, wall: float) -> Iterator[TaskFailed]:
        """Judge what came back; put aside what is to be attempted again."""
        state = self._state
        if not self._open():
            return
        for task in sorted(self._unjudged, key=self._frontier.key):
            one = state.tasks[task]
            attempt = one.attempt
            if attempt is None or (state.stop and attempt.outcome in {Outcome.INTERRUPTED, Outcome.CANCELLED}):
                continue
            verdict = judge(state.milestone, state.settings, self._tasks[task], one, isolated=state.isolated)
            match verdict:
                case GiveUp(reason=reason):
                    yield TaskFailed(task, attempt.id, reason)
                # Who failed "later" than now did so before the clock was set back, and is due.
                case RetryAt(wall=due) if attempt.ended_wall <= wall < due:
                    self._unjudged.discard(task)
                    heapq.heappush(self._delayed, (due, attempt.ended_wall, task))
                case Again() | RetryAt():
                    self._unjudged.discard(task)
                    self._frontier.back(task)

    def _release_delayed(self, wall: float) -> None:
        if wall < self._wall:
            # The clock was set back: nobody shall wait until it has caught up. Who failed "later" than now is
            # due.
            early = [one for one in self._delayed if one[1] > wall]
            self._delayed = [one for one in self._delayed if one[1] <= wall]
            heapq.heapify(self._delayed)
            for _, _, task in early:
                self._frontier.back(task)
        self._wall = wall
        while self._delayed and self._delayed[0][0] <= wall:
            self._frontier.back(heapq.heappop(self._delayed)[2])

    def _grants(self, completed: AbstractSet[str]) -> Iterator[AttemptGranted | TaskFailed]:
        """Grant what is ready, in slots that are free once ``completed`` tasks have let go of theirs."""
        state = self._state
        taken = {attempt.slot for task, attempt in self._attempts() if task not in completed}
        free = state.settings.max_parallel - len(state.live) + len(completed)
        slots = itertools.filterfalse(taken.__contains__, itertools.count())
        slot = next(slots)
        running = [task for task, attempt in self._attempts() if attempt.stage in _RUNS]
        if any(is_suspect(state.tasks[task]) for task in running):
            return
        popped: list[str] = []
        granted: list[Task] = []
        while free > 0 and (task_id := self._frontier.pop()) is not None:
            if self._claims.makes_wait(task_id):
                continue
            popped.append(task_id)
            task = self._tasks[task_id]
            suspect = is_suspect(state.tasks[task_id])
            if any(overlapping(task, other) for other in granted) or (suspect and (running or granted)):
                continue
            number = state.tasks[task_id].attempts + 1
            fact = grant(state.milestone, state.settings, task, number=number, slot=slot)
            if isinstance(fact, GiveUp):
                yield TaskFailed(task_id, "", fact.reason)
                free = 0 if state.settings.fail_fast else free
                continue
            yield msgspec.structs.replace(fact, snapshot=state.snapshots) if state.snapshots else fact
            granted.append(task)
            free, slot = 0 if suspect else free - 1, next(slots)
        # Nothing is granted before it is journaled: until then they are as ready as before.
        for task_id in popped:
            self._frontier.back(task_id)

    def _wake(self) -> float | None:
        return self._delayed[0][0] if self._delayed and self._may_grant() else None

    # --- settling -------------------------------------------------------------------------------------------

    def _settlement(self) -> Iterator[SessionSettled]:
        state = self._state
        if not all(self._rests(attempt) for _, attempt in self._attempts()):
            return
        if state.stop is not None:
            status = SessionStatus.CANCELLED if state.stop.final else SessionStatus.INTERRUPTED
            yield SessionSettled(status, state.stop.reason)
        elif state.preflight is False:
            yield SessionSettled(SessionStatus.BLOCKED, _and_more(state.preflight_problems, "problem"))
        elif state.git.refused is not None:
            refused = state.git.refused
            yield SessionSettled(SessionStatus.BLOCKED, "; ".join(filter(None, (refused.reason, refused.cure))))
        elif self._open() and (self._failing_fast() or not (self._frontier or self._delayed or self._unjudged)):
            yield self._result()

    def _rests(self, attempt: Attempt) -> bool:
        """Whether a live attempt does not keep the session from settling.

        One that ended rests while git cannot land it: the next life does. Without git nobody ever would. One that waits
        for a worktree rests when git will make none: it has not begun, and the next life grants it anew.
        """
        state = self._state
        if attempt.stage is Stage.GRANTED and state.git.refused is not None:
            return True
        git_role = state.children.get("git_integration")
        held = state.stop is not None and bool(state.paused)  # a stop does not wait until landing can go on
        unable = state.git.ready is None or (git_role is not None and git_role.fatal) or held
        return attempt.stage is Stage.ENDED and unable

    def _result(self) -> SessionSettled:
        tasks = self._state.tasks
        failed = [f"task {key} failed: {one.reason}" for key, one in tasks.items() if one.phase is Phase.FAILED]
        left = [key for key, one in tasks.items() if one.phase not in {Phase.COMPLETED, Phase.FAILED, Phase.SKIPPED}]
        if failed:
            rest = f"; {len(left)} {'task was' if len(left) == 1 else 'tasks were'} not run" if left else ""
            return SessionSettled(SessionStatus.FAILED, _and_more(failed, "failed task") + rest)
        if left:
            return SessionSettled(SessionStatus.BLOCKED, self._why_blocked(left))
        return SessionSettled(SessionStatus.COMPLETED)

    def _why_blocked(self, left: list[str]) -> str:
        tasks = self._state.tasks
        lines = []
        for task in left:
            attempt = tasks[task].attempt
            if attempt is not None and attempt.stage is Stage.ENDED:
                lines.append(f"task {task} ended in a worktree slot, and git does not land it: {self._state.git.idle}")
            lines += [
                f"task {task} needs {needed}, which is cancelled"
                for needed in self._tasks[task].depends_on
                if tasks[needed].phase is Phase.SKIPPED
            ]
        return _and_more(lines, "reason")


def _and_more(lines: tuple[str, ...] | list[str], noun: str) -> str:
    """Return the first line, and how many there are besides."""
    more = len(lines) - 1
    plural = "s" if more > 1 else ""
    return (lines[0] if lines else "") + (f" (and {more} more {noun}{plural})" if more > 0 else "")
