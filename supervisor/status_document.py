"""What `milestonectl status` shows, as one JSON document: for programs, and to be written down as text.

Owns the form, described by supervisor/cli/schemas.json. Refuses to know how it is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.log_lines import timestamp
from actors.paths import ProjectPaths
from actors.state import Phase
from supervisor.status_words import describe, full_name, task_reason, task_word_now

if TYPE_CHECKING:
    from actors.events import ContainmentChosen
    from actors.state import Blocker, TaskState
    from supervisor.selection import Answer, Wanted
    from supervisor.sessions import RoleView, SessionView


def document(answer: Answer) -> dict[str, object]:
    """Return the one document that is printed."""
    holder, overview = answer.holder, answer.overview
    return {
        "project": str(answer.project),
        "supervisor": None
        if holder is None
        else {"pid": holder.pid, "what": holder.what, "since": holder.since, "answers": True},
        "sessions": [_session_json(one, answer) for one in answer.wanted],
        "initialized": (answer.project / ".milestones").is_dir(),
        "not_started": list(overview.not_started) if overview is not None else None,
        "gone": [
            {"id": view.id, "milestone_id": view.state.milestone.id, "status": view.status.value}
            for view in (overview.gone if overview is not None else ())
        ],
        "unknown": [{"name": one.name, "message": f"{one.message}{one.hint}"} for one in answer.unknown],
        "exit_code": answer.exit_code,
    }


def _session_json(one: Wanted, answer: Answer) -> dict[str, object]:
    now, paths = answer.now, ProjectPaths(answer.project)
    view, state, counts = one.view, one.view.state, one.view.counts()
    roles = [role for role in view.roles if one.roles is None or role.role in one.roles]
    found: dict[str, object] = {
        "id": view.id,
        "milestone_id": state.milestone.id,
        "title": state.milestone.title,
        "status": view.status.value,
        "reason": state.reason,
        "pid": state.pid,
        "supervised": view.lives,
        "daemon": state.daemon,
        "branch": state.git.ready.branch if state.git.ready is not None else None,
        "commits": state.git.landed,
        "started_at": timestamp(state.started_wall),
        "ended_at": timestamp(state.ended_wall) if state.ended_wall else None,
        "active_seconds": round(state.active_seconds(now if view.lives else state.wall), 3),
        "eta_seconds": view.eta(now),
        "percentage": view.percentage(),
        "declared_percentage": state.milestone.declared_percentage,
        "counts": {phase.value: number for phase, number in counts.items()},
        "left": list(view.left),
        "containment": _containment_json(state.containment),
        "roles": [_role_json(view, role, now) for role in roles],
    }
    if one.roles is not None:
        return found
    return {
        **found,
        "tasks": [_task_json(view, key, paths, now) for key in state.tasks],
        "unreachable": list(view.unreachable),
        "blockers": [_blocker_json(blocker, now) for blocker in state.blockers.values()],
        "alerts": list(state.alerts.values()),
        "waits": [{"role": wait.role or None, "why": wait.why, "command": wait.command or None} for wait in view.waits],
    }


def _containment_json(chosen: ContainmentChosen | None) -> dict[str, str] | None:
    return None if chosen is None else {"name": chosen.name, "detail": chosen.detail}


def _task_json(view: SessionView, task_id: str, paths: ProjectPaths, now: float) -> dict[str, object]:
    task = view.state.tasks[task_id]
    return {
        "id": task_id,
        "title": view.state.milestone.by_id[task_id].title,
        "status": task_word_now(view, task),
        "attempts": task.attempts,
        "seconds": _seconds(view, task, now),
        "commit": task.attempt.sha or None if task.attempt is not None else None,
        "reason": task_reason(view, task_id, now),
        "log": str(paths.task_log(view.id, task.attempt.id)) if task.attempt is not None else None,
    }


def _seconds(view: SessionView, task: TaskState, now: float) -> float | None:
    """Return how long a task's latest attempt took, or has taken so far; ``None`` when that is not known."""
    attempt = task.attempt
    if attempt is None:
        return None
    if task.phase is Phase.RUNNING:
        return round(max(0.0, now - attempt.started_wall), 3) if view.lives else None
    return attempt.seconds if attempt.outcome is not None else None


def _blocker_json(blocker: Blocker, now: float) -> dict[str, object]:
    raised = blocker.raised
    return {
        "claim": raised.claim,
        "category": raised.category,
        "severity": raised.severity.value,
        "task_id": raised.task or None,
        "headline": raised.shown,
        "evidence": raised.evidence,
        "proposal": raised.proposal,
        "age_seconds": round(max(0.0, now - blocker.since_wall), 3),
    }


def _role_json(view: SessionView, role: RoleView, now: float) -> dict[str, object]:
    running = role.state == "RUNNING"
    return {
        "name": full_name(view, role),
        "role": role.role,
        "state": role.state,
        "description": describe(role, now),
        "pid": role.pid,
        "uptime_seconds": round(max(0.0, now - role.since_wall), 3) if running else None,
        "restarts": role.restarts,
        "last_exit": role.last_exit or None,
        "cpu_percent": role.cpu_percent,
        "rss_bytes": role.rss_bytes,
    }
