"""What a run says, line by line: facts of the journal as sentences of the roles that stated them.

Pure: a record, its fact and the fold after it go in, lines come out. Refuses to know terminals and colours.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Final

import attrs

from actors import events as facts
from actors.plan import Plan
from actors.standstill import Wait, held_up, pause_command, pause_text, start_command
from actors.state import ROLES, Phase, SessionState
from actors.wording import duration_text, left_text

TITLES: Final = {
    "task_executor": "Task Executor",
    "progress_monitor": "Progress Monitor",
    "git_integration": "Git Integration",
    "dependency_validator": "Dependency Validator",
    "blocker_detector": "Blocker Detector",
    "runner": "Task Runner",
    "supervisor": "Supervisor",
}
"""How a child is called in front of people."""


_ENDED: Final = {
    facts.Outcome.OK: "ended",
    facts.Outcome.FAILED: "failed",
    facts.Outcome.TIMEOUT: "timed out",
    facts.Outcome.INTERRUPTED: "was interrupted",
    facts.Outcome.CANCELLED: "was cancelled",
}
_MINUTE: Final = 60
_MOST_PATHS: Final = 3


class Tone(enum.Enum):
    """How a line is meant."""

    PLAIN = "plain"
    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@attrs.frozen
class Line:
    """One line of the run's narration.

    Attributes:
        wall: When it was journaled, epoch seconds.
        speaker: Id of the role that says it.
        text: One sentence without a full stop.
        tone: How it is meant.
    """

    wall: float
    speaker: str
    text: str
    tone: Tone = Tone.PLAIN


def narrate(record: facts.Record, event: facts.Event, state: SessionState, plan: Plan) -> tuple[Line, ...]:
    """Say what a record means.

    Args:
        record: The record.
        event: Its fact.
        state: The fold with the record in it.
        plan: Of the session's milestone.
    """
    return tuple(Line(record.wall, *said) for said in _said(event, state, plan))


_Said = tuple[str, str, Tone]


def _said(event: facts.Event, state: SessionState, plan: Plan) -> Iterator[_Said]:
    yield from _about_attempts(event, state, plan)
    yield from _about_git(event)
    yield from _about_the_rest(event, state)


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f}s" if seconds < _MINUTE else duration_text(seconds)


def _about_attempts(event: facts.Event, state: SessionState, plan: Plan) -> Iterator[_Said]:
    executor = "task_executor"
    match event:
        case facts.AttemptStarted(attempt=attempt):
            task = facts.task_of(attempt)
            title = state.milestone.by_id[task].title if task in state.milestone.by_id else ""
            again = "" if attempt.endswith(".1") else f" (attempt {attempt.rpartition('.')[2]})"
            yield executor, f"Starting {task}{again}: {title}", Tone.PLAIN
        case facts.AttemptOverLimit(attempt=attempt, what=what):
            yield executor, f"{facts.task_of(attempt)} {what}", Tone.WARNING
        case facts.AttemptEnded(outcome=facts.Outcome.OK):
            pass
        case facts.AttemptEnded(attempt=attempt, outcome=outcome, explanation=detail, seconds=seconds):
            tone = Tone.WARNING if outcome is facts.Outcome.INTERRUPTED else Tone.BAD
            yield executor, f"{facts.task_of(attempt)} {_ENDED[outcome]} after {_seconds(seconds)}: {detail}", tone
        case facts.SlotFailed(attempt=attempt, reason=reason):
            yield "git_integration", f"No worktree for {facts.task_of(attempt)}: {reason}", Tone.BAD
        case facts.TaskCompleted(task=task):
            latest = state.tasks[task].attempt
            yield executor, f"Completed {task} in {_seconds(latest.seconds if latest else 0.0)}", Tone.GOOD
        case facts.TaskFailed(task=task, reason=reason):
            latest = state.tasks[task].attempt
            if latest is None or latest.detail != reason:  # else the end of its attempt has said it all
                yield executor, f"Failed {task}: {reason}", Tone.BAD
            waiting = _waiting_for(task, state, plan)
            if waiting:
                yield executor, f"Cannot run any more: {', '.join(waiting)}", Tone.BAD
        case facts.TaskRetried(task=task):
            yield executor, f"Trying {task} again", Tone.PLAIN
        case facts.TaskSkipped(task=task, reason=reason):
            yield executor, f"Skipped {task}: {reason}", Tone.WARNING
        case facts.WriteBackFailed(reason=reason):
            what = "The milestone file is not finished; once what hinders it is mended, the next run does that"
            yield executor, f"{what}: {reason}", Tone.WARNING
        case facts.SessionSettled(status=facts.SessionStatus.COMPLETED):
            yield executor, "All tasks are done", Tone.GOOD
        case facts.SessionSettled(status=status, reason=reason):
            yield executor, f"The session is {status.value}{': ' + reason if reason else ''}", Tone.WARNING
        case _:
            pass


def _waiting_for(failed: str, state: SessionState, plan: Plan) -> list[str]:
    """List the pending tasks that can never run because of one, in the file's order."""
    gone = plan.unreachable([failed])
    return [key for key, task in state.tasks.items() if key in gone and task.phase is Phase.PENDING]


def _about_git(event: facts.Event) -> Iterator[_Said]:
    git = "git_integration"
    match event:
        case facts.GitReady(branch=branch, base=base, created=created, uncommitted=uncommitted):
            verb = "Created" if created else "Going on with"
            yield git, f"{verb} branch {branch} at {base[:10]}", Tone.PLAIN
            if uncommitted:
                yield (
                    git,
                    f"{_count(uncommitted, 'uncommitted file')} in the checkout: tasks do not see them",
                    Tone.WARNING,
                )
        case facts.GitIdle(reason=reason):
            yield git, f"Idle: {reason}; tasks run in place", Tone.PLAIN
        case facts.GitRefused(reason=reason, cure=cure):
            yield git, f"{reason}; {cure}", Tone.BAD
        case facts.Landed(attempt=attempt, sha="") if attempt:
            yield git, f"{facts.task_of(attempt)} changed nothing: no commit", Tone.PLAIN
        case facts.Landed(attempt=attempt, sha=sha, files=files):
            yield git, f"Committed {facts.task_of(attempt)} as {sha[:10]} ({_count(files, 'file')})", Tone.GOOD
        case facts.LandConflicted(attempt=attempt, paths=paths):
            where = ", ".join(paths[:_MOST_PATHS]) + (" ..." if len(paths) > _MOST_PATHS else "")
            yield git, f"{facts.task_of(attempt)} conflicts in {where}: it runs again on the new tip", Tone.WARNING
        case facts.LandFailed(attempt=attempt, reason=reason):
            yield git, f"{facts.task_of(attempt)} could not be committed: {reason}", Tone.BAD
        case facts.Pushed(remote=remote, sha=sha):
            yield git, f"Pushed {sha[:10]} to {remote}", Tone.PLAIN
        case facts.PushRefused(remote=remote, reason=reason):
            yield git, f"{remote} refused the push: {reason}", Tone.WARNING
        case facts.UncommittedSeen(count=count):
            yield git, f"{_count(count, 'uncommitted file')} in the checkout", Tone.PLAIN
        case facts.GitNoticed(text=text):
            yield git, text, Tone.WARNING
        case _:
            pass


def _about_the_rest(event: facts.Event, state: SessionState) -> Iterator[_Said]:
    match event:
        case facts.ChildReady(child=child, pid=pid, restarts=restarts):
            again = f", restart {restarts}" if restarts else ""
            yield child, f"ready (pid {pid}{again})", Tone.PLAIN
        case facts.ChildGone(child=child, reason=reason):
            ended = reason if reason.startswith("ended ") else f"ended: {reason}"
            yield "supervisor", f"{TITLES.get(child, child)} {ended}", Tone.WARNING
        case facts.ChildQuarantined(child=child, reason=reason):
            yield "supervisor", f"{TITLES.get(child, child)} is left out (FATAL): {reason}", Tone.BAD
        case facts.ContainmentChosen(name=name, detail=detail):
            yield "runner", f"containment {name}: {detail}", Tone.PLAIN
        case facts.PreflightPassed(warnings=warnings):
            yield "dependency_validator", "Prerequisites, tools, environment and disk are fine", Tone.PLAIN
            for warning in warnings:
                yield "dependency_validator", warning, Tone.WARNING
        case facts.PreflightFailed(problems=problems):
            for problem in problems:
                yield "dependency_validator", problem, Tone.BAD
        case facts.DependencyAlert(detail=detail):
            yield "dependency_validator", detail, Tone.WARNING
        case facts.ProgressReported() as report:
            yield "progress_monitor", progress_text(report), Tone.PLAIN
        case facts.TaskStalled(task=task, quiet_seconds=quiet, facts=seen):
            yield (
                "progress_monitor",
                f"{task} has been quiet for {duration_text(quiet)}: {seen}",
                Tone.WARNING,
            )
        case facts.CompletionAlert(text=text):
            yield "progress_monitor", text, Tone.GOOD
        case facts.BlockerRaised() | facts.BlockerEscalated() | facts.BlockerResolved() | facts.HookRan():
            yield from _about_blockers(event)
        case facts.StopRequested(reason=reason):
            yield "supervisor", f"Stopping: {reason}", Tone.WARNING
        case facts.SessionPaused(reason=reason):
            wait = Wait("", pause_text(reason), pause_command(state))
            yield "supervisor", f"Paused: {wait.text}", Tone.WARNING
        case facts.SessionUnpaused():
            yield "supervisor", "Going on", Tone.PLAIN
        case facts.ChildHeld(child=child):
            idle = Wait(child, "is stopped until somebody starts it", start_command(state, child))
            wait = next((one for one in held_up(state) if one.role == child), idle)
            yield "supervisor", f"{TITLES.get(child, child)} {wait.text}", Tone.WARNING
        case facts.RoleFinished(role=role, summary=summary):
            yield role, f"finished{': ' + summary if summary else ''}", Tone.PLAIN
        case _:
            pass


def _about_blockers(
    event: facts.BlockerRaised | facts.BlockerEscalated | facts.BlockerResolved | facts.HookRan,
) -> Iterator[_Said]:
    detector = "blocker_detector"
    match event:
        case facts.BlockerRaised(category=category, severity=severity, task=task, shown=shown, proposal=proposal):
            about = f"{task}: " if task else ""
            tone = Tone.WARNING if severity is facts.Severity.WARNING else Tone.BAD
            yield (
                detector,
                f"{severity.value}: {about}{category.replace('_', ' ')}: {shown}; proposal: {proposal}",
                tone,
            )
        case facts.BlockerEscalated(claim=claim, level=level, age_seconds=age):
            yield detector, f"{claim} stands for {duration_text(age)} (level {level})", Tone.WARNING
        case facts.BlockerResolved(claim=claim, how=how):
            yield detector, f"resolved: {claim}: {how}", Tone.PLAIN
        case facts.HookRan(target=target, ok=ok, detail=detail):
            yield (
                detector,
                f"hook {target} {'told' if ok else 'failed: ' + detail}",
                Tone.PLAIN if ok else Tone.WARNING,
            )


def refusal_text(child: str, reason: str) -> str:
    """Say that a fact was not journaled: it contradicts what is known, as when two things happen at the same moment."""
    who = TITLES.get(child, child or TITLES["supervisor"])
    return (
        f"{who} stated something that came too late or twice, and it was left out ({reason}). The session goes on;"
        " if this comes again and again, report it with the session's supervisor.log"
    )


def progress_text(report: facts.ProgressReported) -> str:
    """Say a report in one line: bar, percentage, counts and what is left."""
    left = left_text(report.eta_seconds)
    eta = f", {left}" if left else ""
    failed = f", {report.failed} failed" if report.failed else ""
    declared = ""
    if report.declared is not None and report.declared != report.percentage:
        declared = f" (the file says {report.declared}%)"
    counts = f"{report.completed}/{report.total} tasks, {report.running} running{failed}"
    return f"{report.bar} {report.percentage}%{declared}, {counts}{eta}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def roles_in_order() -> tuple[str, ...]:
    """Return the ids of a session's children as a table lists them."""
    return (*ROLES, "runner")
