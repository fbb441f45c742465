"""Why a task is where it is, in one line. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.state import Phase, TaskState

if TYPE_CHECKING:
    from supervisor.cli.sessions import SessionView


def task_reason(view: SessionView, task_id: str) -> str:
    """Return why a task is where it is, ``""`` where that goes without saying."""
    task = view.state.tasks[task_id]
    match task.phase:
        case Phase.FAILED:
            return task.reason
        case Phase.SKIPPED:
            return "cancelled in the file"
        case Phase.COMPLETED if task.before:
            return "completed before the session"
        case Phase.COMPLETED:
            return task.attempt.sha[:10] if task.attempt is not None else ""
        case Phase.PENDING:
            return _waiting(view, task_id, task)
        case _:
            return f"attempt {task.attempts}" if task.attempts > 1 else ""


def _waiting(view: SessionView, task_id: str, task: TaskState) -> str:
    dependencies = view.state.milestone.by_id[task_id].depends_on
    states = view.state.tasks
    if task_id in view.unreachable:
        lost = [one for one in dependencies if states[one].phase in {Phase.FAILED, Phase.SKIPPED}]
        lost = lost or [one for one in dependencies if one in view.unreachable]
        return f"cannot run any more: {', '.join(lost)} did not complete"
    if task.attempt is not None and task.attempt.detail:
        return task.attempt.detail
    missing = [one for one in dependencies if states[one].phase is not Phase.COMPLETED]
    return f"waits for {', '.join(missing)}" if missing else ""
