"""What happened in a session, concluded from its records: for `milestonectl report`. Pure.

Owns the counting: attempts, restarts, blockers, pauses, and the longest chain of what really ran. Refuses to know
where records come from and how a report looks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from actors import events as facts
from actors.log_lines import timestamp
from actors.plan import Plan
from actors.progress import percentage
from actors.state import Phase, SessionState
from supervisor.projection import task_word

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.events import Event, Record


@attrs.define
class _Story:
    """What the fold does not keep."""

    lives: int = 0
    attempts: dict[str, list[dict[str, Any]]] = attrs.Factory(dict)
    started: dict[str, float] = attrs.Factory(dict)
    commits: list[dict[str, Any]] = attrs.Factory(list)
    deaths: list[dict[str, Any]] = attrs.Factory(list)
    blockers: dict[str, dict[str, Any]] = attrs.Factory(dict)
    pauses: list[dict[str, Any]] = attrs.Factory(list)

    def tell(self, record: Record, event: Event) -> None:
        """Take in one record."""
        at = timestamp(record.wall)
        match event:
            case facts.SessionStarted() | facts.SessionResumed():
                self.lives += 1
            case facts.AttemptStarted(attempt=attempt):
                self.started[attempt] = record.wall
            case facts.AttemptEnded(attempt=attempt, outcome=outcome, explanation=detail, seconds=seconds):
                began = self.started.get(attempt)
                told = {
                    "id": attempt,
                    "outcome": outcome.value,
                    "started_at": None if began is None else timestamp(began),
                    "seconds": seconds,
                    "detail": detail,
                }
                self.attempts.setdefault(facts.task_of(attempt), []).append(told)
            case facts.Landed(attempt=attempt, sha=sha, files=files) if sha and attempt:
                self.commits.append({"task_id": facts.task_of(attempt), "sha": sha, "files": files, "at": at})
            case facts.ChildGone(child=child, reason=reason):
                self.deaths.append({"role": child, "at": at, "reason": reason})
            case facts.ChildQuarantined(child=child, reason=reason):
                self.deaths.append({"role": child, "at": at, "reason": f"left out: {reason}"})
            case facts.BlockerRaised():
                self.blockers[event.claim] = _blocker(event, at)
            case facts.BlockerResolved(claim=claim) if claim in self.blockers:
                self.blockers[claim] |= {"resolved_at": at, "how": event.how}
            case facts.SessionPaused(reason=reason):
                self.pauses.append({"at": at, "reason": reason})
            case _:
                pass


def _blocker(event: facts.BlockerRaised, at: str) -> dict[str, Any]:
    return {
        "category": event.category,
        "severity": event.severity.value,
        "task_id": event.task or None,
        "headline": event.shown,
        "proposal": event.proposal,
        "raised_at": at,
        "resolved_at": None,
        "how": None,
    }


def report_of(records: Iterable[Record]) -> dict[str, Any]:
    """Return the report of one session, as plain values; its form is described by ``supervisor/cli/schemas.json``.

    Args:
        records: All of the session's, in order.
    """
    state, story = SessionState(), _Story()
    for record in records:
        story.tell(record, state.apply(record))
    attempts = [one for several in story.attempts.values() for one in several]
    work = sum(one["seconds"] for one in attempts if one["outcome"] == facts.Outcome.OK.value)
    active = state.active_seconds(state.ended_wall or state.wall)
    path = _critical_path(state)
    return {
        "id": state.session,
        "milestone_id": state.milestone.id,
        "title": state.milestone.title,
        "status": state.status.value,
        "reason": state.reason,
        "branch": None if state.git.ready is None else state.git.ready.branch,
        "started_at": timestamp(state.started_wall),
        "ended_at": timestamp(state.ended_wall) if state.ended_wall else None,
        "lives": story.lives,
        "active_seconds": round(active, 3),
        "work_seconds": round(work, 3),
        "speedup": round(work / active, 2) if active > 0 else None,
        "percentage": percentage(state),
        "critical_path": [key for key, _ in path],
        "critical_seconds": round(sum(seconds for _, seconds in path), 3),
        "tasks": [_task(state, key, story) for key in state.tasks],
        "commits": story.commits,
        "role_exits": story.deaths,
        "blockers": list(story.blockers.values()),
        "pauses": story.pauses,
    }


def _task(state: SessionState, key: str, story: _Story) -> dict[str, Any]:
    task = state.tasks[key]
    ended = task.phase in {Phase.COMPLETED, Phase.FAILED}
    return {
        "id": key,
        "title": state.milestone.by_id[key].title,
        "status": task_word(task),
        "reason": task.reason,
        "seconds": task.attempt.seconds if ended and task.attempt is not None else None,
        "commit": (task.attempt.sha or None) if task.attempt is not None else None,
        "attempts": story.attempts.get(key, []),
    }


def _critical_path(state: SessionState) -> list[tuple[str, float]]:
    """Return the longest chain of dependent tasks that were completed here, by what they really took."""
    took = {
        key: one.attempt.seconds
        for key, one in state.tasks.items()
        if one.phase is Phase.COMPLETED and not one.before and one.attempt is not None
    }
    best: dict[str, tuple[float, str]] = {}
    for key in Plan.of(state.milestone).order:
        if key in took:
            before = [one for one in state.milestone.by_id[key].depends_on if one in best]
            former = max(before, key=lambda one: best[one][0], default="")
            best[key] = (took[key] + (best[former][0] if former else 0.0), former)
    path: list[tuple[str, float]] = []
    key = max(best, key=lambda one: best[one][0], default="")
    while key:
        path.append((key, took[key]))
        key = best[key][1]
    return path[::-1]
