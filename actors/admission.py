"""The journal's door: why a fact contradicts what a session knows already.

By it a completed task can never be granted again, an attempt ends once and lands once, whoever asks and however often.

Owns the refusals. Refuses to know how facts change what is known (:mod:`actors.state`).
"""

from __future__ import annotations

from typing import Final

import attrs

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptOverLimit,
    AttemptStarted,
    ChildHeld,
    Event,
    LandConflicted,
    Landed,
    LandFailed,
    MilestoneUpdated,
    SessionEnded,
    SessionPaused,
    SessionSettled,
    SessionStarted,
    SessionStatus,
    SessionUnpaused,
    SlotFailed,
    SlotPrepared,
    TaskCompleted,
    TaskFailed,
    TaskRetried,
    TaskSkipped,
    TaskStalled,
)
from actors.knowledge import Knowledge
from actors.model import Milestone
from actors.standing import Phase, Stage

_RESULTS: Final = frozenset({SessionStatus.COMPLETED, SessionStatus.FAILED, SessionStatus.BLOCKED})
_DONE: Final = frozenset({Phase.COMPLETED, Phase.SKIPPED})


@attrs.define
class Admission(Knowledge):
    """What a session knows, with the judgement of what may be added to it."""

    def admits(self, event: Event) -> str:
        """Return why a fact contradicts what is known, ``""`` when it may be journaled.

        Judged are facts about attempts, and those by which a completed task could be forgotten.
        """
        match event:
            case SessionStarted():
                return "the session has begun already" if self.started is not None else ""
            case MilestoneUpdated(milestone=milestone):
                return self._admits_update(milestone)
            case SessionSettled(status=status):
                return self._admits_settlement(status)
            case SessionEnded():
                return "the session has ended already" if self.ended_wall else ""
            case AttemptGranted():
                return self._admits_grant(event)
            case AttemptStarted(attempt=attempt):
                return self._expect(attempt, Stage.GRANTED, Stage.PREPARED)
            case SlotPrepared(attempt=attempt) | SlotFailed(attempt=attempt):
                return self._expect(attempt, Stage.GRANTED)
            case AttemptEnded(attempt=attempt):
                return self._expect(attempt, Stage.GRANTED, Stage.PREPARED, Stage.STARTED)
            case Landed(attempt=attempt) | LandConflicted(attempt=attempt) | LandFailed(attempt=attempt):
                return self._expect(attempt, Stage.ENDED)
            case TaskCompleted():
                return self._admits_completion(event)
            case TaskStalled(attempt=attempt) | AttemptOverLimit(attempt=attempt):
                return self._expect(attempt, Stage.STARTED)
            case TaskFailed():
                return self._admits_failure(event)
            case TaskRetried(task=task):
                return self._admits_change(task, Phase.FAILED, Phase.SKIPPED)
            case TaskSkipped(task=task):
                return self._admits_change(task, Phase.PENDING, Phase.FAILED)
            case SessionPaused() | SessionUnpaused():
                return self._admits_pause(event)
            case ChildHeld(child=child):
                return f"{child} is stopped already" if child in self.held else ""
            case _:
                return ""

    def _admits_pause(self, event: SessionPaused | SessionUnpaused) -> str:
        """Refuse what was decided before it was known that there is another pause: whoever made that ends it."""
        if self._is_over:
            return "the session is over"
        match event:
            case SessionPaused(passing=passing):
                return "the session is paused already" if passing and self.paused else ""
            case SessionUnpaused(reason=reason):
                return "the session is not paused for that" if reason not in {"", self.paused} else ""

    def _admits_settlement(self, status: SessionStatus) -> str:
        """Refuse a result that what somebody wanted meanwhile has made untrue: it is to be found anew."""
        if status is SessionStatus.INTERRUPTED and self.stop is not None and self.stop.final:
            return "the session is to be cancelled"
        phases = {key: task.phase for key, task in self.tasks.items()}
        failed = Phase.FAILED in phases.values()
        closed = self.preflight is not True or not self.git_known or self.git.refused is not None
        if status not in _RESULTS or closed or (self.settings.fail_fast and failed):
            return ""
        for task in self.milestone.tasks:
            waits = phases[task.id] is Phase.PENDING
            if waits and all(phases[one] is Phase.COMPLETED for one in task.depends_on):
                return f"task {task.id} is to be attempted"
        left = SessionStatus.COMPLETED if set(phases.values()) <= _DONE else SessionStatus.BLOCKED
        called_for = SessionStatus.FAILED if failed else left
        return "" if status is called_for else f"its tasks make it {called_for.value}"

    @property
    def _is_over(self) -> bool:
        """Whether nothing more can be wanted of this life; it may end without having settled."""
        return self.settled is not None or bool(self.ended_wall)

    def _expect(self, attempt_id: str, *stages: Stage) -> str:
        found = self.attempt(attempt_id)
        if found is None:
            return f"attempt {attempt_id} is not alive"
        stage = found[2].stage
        return "" if stage in stages else f"attempt {attempt_id} is {stage.value}"

    def _admits_update(self, milestone: Milestone) -> str:
        if self._is_over:
            return "the session is over"  # whoever takes it up again says so first, and takes the file as it is then
        alive = set(self.live.values())
        for key, task in self.tasks.items():
            if key not in milestone.by_id and (task.phase is Phase.COMPLETED or key in alive):
                return f"task {key} is {task.phase.value}, and not in the newer snapshot"
        for newer in milestone.tasks:
            for needed in newer.depends_on:
                if needed not in milestone.by_id:
                    return f"task {newer.id} needs {needed}, which is not in the newer snapshot"
        return ""

    def _admits_completion(self, event: TaskCompleted) -> str:
        found = self.attempt(event.attempt)
        if found is not None and found[0] != event.task:
            return f"attempt {event.attempt} is one of task {found[0]}"
        # What ran in a slot lies there until it has landed, whatever the session was told since.
        in_slot = self.isolated or (found is not None and bool(found[2].path))
        return self._expect(event.attempt, *((Stage.LANDED,) if in_slot else (Stage.ENDED, Stage.LANDED)))

    def _admits_grant(self, event: AttemptGranted) -> str:
        closed = {"stopping": self.stop, "settled": self.settled, "over": self.ended_wall, "paused": self.paused}
        if why := next((why for why, is_so in closed.items() if is_so), ""):
            return f"the session is {why}"
        task = self.tasks.get(event.task)
        if task is None:
            return f"there is no task {event.task}"
        if event.snapshot != self.snapshots:  # decided before it was known: the task may be another one now
            return "a newer snapshot was taken in meanwhile"
        if task.phase is not Phase.PENDING:
            return f"task {event.task} is {task.phase.value}"
        if event.attempt != f"{event.task}.{event.number}":
            return f"{event.attempt} is no name for attempt {event.number} of {event.task}"
        if event.number != task.attempts + 1:
            return f"attempt {event.number} of {event.task} does not follow {task.attempts}"
        for dependency in self.milestone.by_id[event.task].depends_on:
            if self.tasks[dependency].phase is not Phase.COMPLETED:
                return f"task {event.task} needs {dependency}, which is {self.tasks[dependency].phase.value}"
        for other in self.live.values():
            attempt = self.tasks[other].attempt
            if attempt is not None and attempt.slot == event.slot:
                return f"slot {event.slot} is held by {attempt.id}"
        return ""

    def _admits_failure(self, event: TaskFailed) -> str:
        task = self.tasks.get(event.task)
        if task is None:
            return f"there is no task {event.task}"
        if task.phase is not Phase.PENDING:
            return f"task {event.task} is {task.phase.value}"
        # Without an attempt it is the task itself that cannot be attempted, whatever was.
        latest = "" if task.attempt is None else task.attempt.id
        return f"attempt {event.attempt} is not the latest of task {event.task}" * (event.attempt not in {"", latest})

    def _admits_change(self, task_id: str, *phases: Phase) -> str:
        if self._is_over or self.stop is not None:
            return f"the session is {'over' if self._is_over else 'stopping'}"
        task = self.tasks.get(task_id)
        if task is None:
            return f"there is no task {task_id}"
        return "" if task.phase in phases else f"task {task_id} is {task.phase.value}"
