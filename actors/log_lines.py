"""The lines of the roles' logs: what a fact of the journal becomes for people and programs that read logs.

A line has ``timestamp, event_type, milestone_id, session_id, agent_id, task_id?, seq, details``. The names of
events are those of the milestone convention where it has one. What a log shows is a choice, not the fact as
it stands: prompts, environments and whole milestones stay out of it.

Owns the line, and the tables of who writes what. Refuses to know files (:mod:`actors.projection`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from actors import events as facts
from actors.events import Event, Record

FILES: Final[dict[str, str]] = {
    "task_executor": "execution.jsonl",
    "progress_monitor": "progress.jsonl",
    "git_integration": "git.jsonl",
    "dependency_validator": "dependencies.jsonl",
    "blocker_detector": "blockers.jsonl",
}
"""Name of each role's file in ``.milestones/logs/<session>/``."""

_NAMES: Final[dict[str, dict[type[Event], str]]] = {
    "task_executor": {
        facts.SessionStarted: "session_created",
        facts.SessionResumed: "session_resumed",
        facts.MilestoneUpdated: "milestone_updated",
        facts.StopRequested: "session_stop_requested",
        facts.SessionPaused: "session_paused",
        facts.SessionUnpaused: "session_unpaused",
        facts.SettingsChanged: "session_settings_changed",
        facts.SessionSettled: "session_settled",
        facts.SessionEnded: "session_ended",
        facts.ChildReady: "agent_deployed",
        facts.ChildGone: "agent_failed",
        facts.ChildQuarantined: "agent_quarantined",
        facts.ChildHeld: "agent_held",
        facts.ChildReleased: "agent_released",
        facts.ContainmentChosen: "containment_chosen",
        facts.AttemptGranted: "attempt_granted",
        facts.AttemptStarted: "task_started",
        facts.AttemptOverLimit: "task_over_limit",
        facts.AttemptEnded: "attempt_ended",
        facts.TaskCompleted: "task_completed",
        facts.TaskFailed: "task_failed",
        facts.TaskRetried: "task_retried",
        facts.TaskSkipped: "task_skipped",
        facts.WriteBackFailed: "status_write_failed",
        facts.RoleFinished: "agent_finished",
    },
    "progress_monitor": {
        facts.ProgressReported: "progress_updated",
        facts.TaskStalled: "task_stalled",
        facts.CompletionAlert: "completion_alert",
        facts.RoleFinished: "agent_finished",
    },
    "git_integration": {
        facts.GitReady: "branch_ready",
        facts.GitIdle: "git_idle",
        facts.GitRefused: "git_refused",
        facts.SlotPrepared: "git_operation",
        facts.SlotFailed: "git_operation_failed",
        facts.Landed: "task_committed",
        facts.LandConflicted: "conflict_detected",
        facts.LandFailed: "commit_failed",
        facts.Pushed: "branch_synced",
        facts.PushRefused: "push_refused",
        facts.UncommittedSeen: "uncommitted_changes",
        facts.GitNoticed: "git_notice",
        facts.RoleFinished: "agent_finished",
    },
    "dependency_validator": {
        facts.PreflightPassed: "validation_completed",
        facts.PreflightFailed: "validation_failed",
        facts.DependencyAlert: "dependency_blocker",
        facts.TaskCompleted: "dependency_resolved",
        facts.RoleFinished: "agent_finished",
    },
    "blocker_detector": {
        facts.BlockerRaised: "blocker_detected",
        facts.BlockerEscalated: "blockers_escalated",
        facts.BlockerResolved: "blocker_resolved",
        facts.HookRan: "hook_ran",
        facts.RoleFinished: "agent_finished",
    },
}

KINDS: Final[dict[str, frozenset[str]]] = {
    role: frozenset(kind.__name__ for kind in names) for role, names in _NAMES.items()
}
"""Kinds of facts of which each role's file has lines; a finished role has one in its own file only."""


def holds(role: str, event: Event) -> bool:
    """Tell whether a role's file has a line for a fact."""
    if isinstance(event, facts.RoleFinished):
        return event.role == role
    return type(event) in _NAMES[role]


def line_for(record: Record, event: Event, milestone_id: str, agent_id: str) -> bytes:
    """Return the line of a fact in a role's file, with its line break.

    Args:
        record: The record.
        event: Its fact, decoded.
        milestone_id: What the session executes.
        agent_id: The role whose file it is; it must hold facts of this kind.
    """
    line: dict[str, object] = {
        "timestamp": timestamp(record.wall),
        "event_type": _name(agent_id, event),
        "milestone_id": milestone_id,
        "session_id": record.session,
        "agent_id": agent_id,
    }
    task = task_about(event)
    if task:
        line["task_id"] = task
    line["seq"] = record.seq
    line["details"] = _details(event)
    return msgspec.json.encode(line) + b"\n"


def lines_of(records: Iterable[tuple[Record, Event]], milestone_id: str, agent_id: str) -> Iterator[tuple[int, bytes]]:
    """Yield seq and line of each fact that belongs into a role's file."""
    for record, event in records:
        if holds(agent_id, event):
            yield record.seq, line_for(record, event, milestone_id, agent_id)


def timestamp(wall: float) -> str:
    """Return a moment as ISO 8601 in UTC, to the microsecond, with ``Z``.

    Args:
        wall: Seconds since the epoch.
    """
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def task_about(event: Event) -> str:
    """Return the task that a fact is about, ``""`` for none."""
    task = getattr(event, "task", "")
    if not task and (attempt := getattr(event, "attempt", "")):
        task = facts.task_of(attempt)
    return str(task)


def _name(role: str, event: Event) -> str:
    match event:
        case facts.GitReady(created=True):
            return "branch_created"
        case facts.Landed(sha=""):
            return "task_unchanged"
        case facts.DependencyAlert(kind="edited"):
            return "milestone_modified"
        case facts.DependencyAlert(kind="resolved"):
            return "dependency_resolved"
        case _:
            return _NAMES[role][type(event)]


def _details(event: Event) -> dict[str, Any]:
    short = _DETAILS.get(type(event))
    details: dict[str, Any] = short(event) if short is not None else msgspec.to_builtins(event)
    details.pop("task", None)
    return details


def _milestone(event: Any) -> dict[str, Any]:  # noqa: ANN401 - the table below says which facts come here
    return {"title": event.milestone.title, "tasks": len(event.milestone.tasks)}


def _started(event: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    return {**_milestone(event), "path": event.path, "pid": event.pid, **_settings(event.settings)}


def _settings(settings: facts.Settings) -> dict[str, Any]:
    return {"max_parallel": settings.max_parallel, "isolation": settings.isolation.value}


def _granted(event: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    return {
        "attempt": event.attempt,
        "number": event.number,
        "slot": event.slot,
        "steps": [step.label for step in event.steps],
        "timeout": event.timeout,
    }


def _progress(event: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    details: dict[str, Any] = msgspec.to_builtins(event)
    return {"progress_percentage": details.pop("percentage"), **details}


def _blocker(event: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    details: dict[str, Any] = msgspec.to_builtins(event)
    return {"type": details.pop("category"), **details, "headline": event.shown}


def _slot(event: Any) -> dict[str, Any]:  # noqa: ANN401 - as above
    return {"operation": "worktree", **msgspec.to_builtins(event)}


_DETAILS: Final[dict[type[Event], Callable[[Any], dict[str, Any]]]] = {
    facts.SessionStarted: _started,
    facts.SessionResumed: lambda event: {"pid": event.pid, **_settings(event.settings)},
    facts.SettingsChanged: lambda event: _settings(event.settings),
    facts.MilestoneUpdated: _milestone,
    facts.AttemptGranted: _granted,
    facts.ProgressReported: _progress,
    facts.BlockerRaised: _blocker,
    facts.SlotPrepared: _slot,
    facts.SlotFailed: _slot,
}
