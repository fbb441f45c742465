"""How far a session is, in numbers and for people.

Owns percentages, the expected time to the end, throughput, speed-up, the stalled rule, and when the next
report is due. Refuses to know clocks, files and output: what time it is and when a task last gave a sign of
life are arguments. Walls are seconds since the epoch, durations are seconds.

A report looks at every task. Therefore changes are reported at most once a second, however fast tasks come
and go.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import attrs

from actors.events import CompletionAlert, ProgressReported, TaskStalled
from actors.plan import DurationSource, Plan
from actors.state import Phase, SessionState, Stage, TaskState
from actors.wording import bar, duration_text

if TYPE_CHECKING:
    from collections.abc import Mapping

CHANGE_INTERVAL: Final = 1.0
"""Seconds that lie between two reports at the least, as long as the session is not settled."""

_GAIN: Final = 1.05
"""Ratio from which on a session was faster than its tasks one after the other: the first that is not shown as 1.0."""

_SHOWN_SECONDS: Final = 0.05
"""Least duration that is not shown as nothing."""

_MINUTE: Final = 60


def percentage(state: SessionState) -> int:
    """Return how much of a milestone is done, rounded down: completed tasks by their weight (milestones.md, 2.4).

    The weight is 1 where the file says none, so that without weights this is ``floor(completed * 100 / total)``.
    Cancelled tasks do not count. 100 is said when every other task is completed, and not before, whatever those that
    are left weigh; where nothing weighs anything, tasks are counted.
    """
    phases = {key: one.phase for key, one in state.tasks.items() if one.phase is not Phase.SKIPPED}
    done = [key for key, phase in phases.items() if phase is Phase.COMPLETED]
    if len(done) == len(phases):
        return 100 if phases else 0
    weights = {task.id: task.weight for task in state.milestone.tasks if task.id in phases}
    total = math.fsum(weights.values())
    share = math.fsum(weights[key] for key in done) / total if total > 0 else len(done) / len(phases)
    # Sums of decimal fractions fall short of what they stand for: 57/100 of the weight shall not read 56 %.
    return min(99, math.floor(share * 100 + 1e-9))


# --- the expected end ---------------------------------------------------------------------------------------


@attrs.frozen
class Pace:
    """What the attempts so far say about durations.

    Attributes:
        estimate_scale: Measured seconds per estimated second; 1 without a completed estimated task.
        mean: Mean seconds of a successful attempt, ``None`` before the first.
    """

    estimate_scale: float
    mean: float | None

    @classmethod
    def of(cls, state: SessionState, plan: Plan) -> Pace:
        """Compare what was completed in this session with what the plan expected."""
        took: list[float] = []
        estimated, measured = 0.0, 0.0
        for key, one in state.tasks.items():
            if one.phase is not Phase.COMPLETED or not one.completed_wall or one.attempt is None:
                continue
            took.append(one.attempt.seconds)
            if plan.sources[key] is DurationSource.ESTIMATED:
                estimated += plan.seconds[key]
                measured += one.attempt.seconds
        scale = measured / estimated if estimated > 0 else 1.0
        return cls(scale, math.fsum(took) / len(took) if took else None)

    def seconds(self, plan: Plan, task: str) -> float | None:
        """Return how long a task is expected to take, ``None`` when nothing speaks of it."""
        match plan.sources[task]:
            case DurationSource.ESTIMATED:
                return plan.seconds[task] * self.estimate_scale
            case DurationSource.ASSUMED:
                return self.mean
            case _:
                return plan.seconds[task]


def eta_seconds(state: SessionState, plan: Plan, wall: float) -> float | None:
    """Return the seconds until everything that can still be completed is.

    The larger of the longest remaining path and the remaining work spread over the slots, with the time that
    running attempts have had taken off. Tasks that failed, and those that depend on them, count for nothing.

    Returns:
        ``None`` while paused or stopping, once settled, and while nothing is known of some remaining task: it has no
        estimate, and no attempt has succeeded yet.
    """
    if state.paused or state.stop is not None or state.settled is not None:
        return None
    lost = {key for key, one in state.tasks.items() if one.phase in {Phase.FAILED, Phase.SKIPPED}}
    lost |= plan.unreachable(lost)
    pace = Pace.of(state, plan)
    path: dict[str, float] = {}
    work = 0.0
    for key in reversed(plan.order):
        one = state.tasks[key]
        done = one.phase is Phase.COMPLETED or key in lost
        rest = 0.0 if done else _rest(one, pace.seconds(plan, key), wall)
        if rest is None:
            return None
        work += rest
        # What is done holds nobody up, even where something before it is not.
        path[key] = 0.0 if done else rest + max([path[after] for after in plan.dependents[key]], default=0.0)
    return max(max(path.values(), default=0.0), work / max(1, state.settings.max_parallel))


def _rest(one: TaskState, expected: float | None, wall: float) -> float | None:
    if one.phase is Phase.LANDING:
        return 0.0
    if expected is None or one.phase is not Phase.RUNNING or one.attempt is None:
        return expected
    return max(0.0, expected - max(0.0, wall - one.attempt.started_wall))


# --- reporting ----------------------------------------------------------------------------------------------


def report(state: SessionState, plan: Plan, wall: float) -> ProgressReported:
    """Return how far the session is at ``wall``; the computed percentage has the declared one beside it."""
    phases = [one.phase for one in state.tasks.values()]
    completed, failed = phases.count(Phase.COMPLETED), phases.count(Phase.FAILED)
    counted = len(phases) - phases.count(Phase.SKIPPED)
    percent = percentage(state)
    minutes = state.active_seconds(wall) / _MINUTE
    return ProgressReported(
        percentage=percent,
        declared=state.milestone.declared_percentage,
        completed=completed,
        total=counted,
        running=len(state.live),
        failed=failed,
        eta_seconds=eta_seconds(state, plan, wall),
        throughput=state.completed_here / minutes if minutes > 0 else 0.0,
        bar=bar(percent),
    )


def report_due(state: SessionState, last_report_wall: float) -> float:
    """Return when the next report is due: after the interval, sooner if something moved since the last.

    Args:
        state: The fold.
        last_report_wall: When the last report was made; 0 for none, which makes one due at once.
    """
    if not last_report_wall:
        return 0.0
    due = last_report_wall + state.settings.progress_interval
    if state.progress_wall > last_report_wall:
        at_once = state.settled is not None
        due = min(due, last_report_wall + (0.0 if at_once else CHANGE_INTERVAL))
    return due


def should_report(state: SessionState, last_report_wall: float, wall: float) -> bool:
    """Return whether a report is due at ``wall``; also if the clock was set back behind the last one."""
    return wall >= report_due(state, last_report_wall) or wall < last_report_wall


def stalled(state: SessionState, wall: float, last_sign: Mapping[str, float]) -> tuple[TaskStalled, ...]:
    """Return the attempts that have given no sign of life for more than ``settings.stall_after`` seconds.

    Each attempt is reported once; what the fold knows as reported is left out.

    Args:
        state: The fold.
        wall: Now.
        last_sign: When an attempt last wrote output, by attempt id; its start counts where there is none.
    """
    found = []
    for attempt_id, task in state.live.items():
        attempt = state.tasks[task].attempt
        if attempt is None or attempt.stage is not Stage.STARTED or attempt_id in state.stalled:
            continue
        sign = max(attempt.started_wall, last_sign.get(attempt_id, 0.0))
        quiet = wall - sign
        if quiet <= state.settings.stall_after:
            continue
        silence = "since its last output" if sign > attempt.started_wall else "and it has written nothing"
        running = duration_text(wall - attempt.started_wall)
        facts = f"running for {running}, {duration_text(quiet)} without a sign of life {silence}"
        found.append(TaskStalled(task, attempt_id, quiet, facts))
    return tuple(found)


# --- the end ------------------------------------------------------------------------------------------------


def completion(state: SessionState, wall: float) -> CompletionAlert:
    """Return the session's summary: its time, and how it compares with one task after the other."""
    active = state.active_seconds(wall)
    speedup = state.task_seconds / active if active > 0 else 0.0
    counted = [one for one in state.tasks.values() if one.phase is not Phase.SKIPPED]
    done = sum(one.phase is Phase.COMPLETED for one in counted)
    # Of a milestone that was not finished a ratio would compare two different things.
    unfinished = f"{done} of {len(counted)} tasks completed" if done else "no task was completed"
    comparison = _comparison(state.completed_here, state.task_seconds, active) if done == len(counted) else unfinished
    return CompletionAlert(
        wall_seconds=active,
        task_seconds=state.task_seconds,
        speedup=speedup,
        completed=state.completed_here,
        failed=sum(one.phase is Phase.FAILED for one in state.tasks.values()),
        text=f"Milestone execution time: {duration_text(active)} ({comparison})",
    )


def _comparison(completed: int, work: float, active: float) -> str:
    """Compare with one task after the other; where nothing was gained, say what the tasks took instead.

    Args:
        completed: Successful tasks.
        work: Seconds that their attempts took.
        active: Seconds that the session was active.
    """
    if not completed:
        return "no task was completed"
    took = duration_text(work) if work >= _SHOWN_SECONDS else f"less than {duration_text(2 * _SHOWN_SECONDS)}"
    if completed == 1:
        return f"one task, which took {took}"
    ratio = work / active if active > 0 else 0.0
    if ratio >= _GAIN:
        return f"{ratio:.1f}x faster than sequential"
    if ratio > 1 / _GAIN:
        return "as fast as sequential"
    return f"{completed} tasks, which took {took} together"
