"""What is said of a role and of a task, in a word or in a line. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from actors.attempts import RetryAt, judge
from actors.conflicts import overlapping
from actors.state import Phase, TaskState
from actors.wording import duration_text
from supervisor.projection import INTERRUPTED, task_word

if TYPE_CHECKING:
    from supervisor.sessions import RoleView, SessionView

AT_WORK: Final = frozenset({Phase.PREPARING, Phase.RUNNING, Phase.LANDING})
"""Phases in which somebody works on a task."""


def task_reason(view: SessionView, task_id: str, now: float) -> str:
    """Return why a task is where it is, ``""`` where that goes without saying; ``now`` in epoch seconds."""
    task = view.state.tasks[task_id]
    match task.phase:
        case Phase.FAILED:
            return task.reason
        case Phase.SKIPPED:
            return task.reason or "cancelled in the file"
        case Phase.COMPLETED if task.before:
            return "completed before the session"
        case Phase.COMPLETED:
            return task.attempt.sha[:10] if task.attempt is not None else ""
        case Phase.PENDING:
            return _waiting(view, task_id, task, now)
        case _:
            return f"attempt {task.attempts}" if task.attempts > 1 else ""


def _waiting(view: SessionView, task_id: str, task: TaskState, now: float) -> str:
    dependencies = view.state.milestone.by_id[task_id].depends_on
    states = view.state.tasks
    if task_id in view.unreachable:
        lost = [one for one in dependencies if states[one].phase in {Phase.FAILED, Phase.SKIPPED}]
        lost = lost or [one for one in dependencies if one in view.unreachable]
        return f"cannot run any more: {', '.join(lost)} did not complete"
    if task.attempt is not None and task.attempt.detail:
        return task.attempt.detail + _again(view, task_id, task, now)
    missing = [one for one in dependencies if states[one].phase is not Phase.COMPLETED]
    if missing:
        return f"waits for {', '.join(missing)}"
    rivals = _rivals(view, task_id)
    return f"waits for {', '.join(rivals)}: the same files" if rivals else ""


def _again(view: SessionView, task_id: str, task: TaskState, now: float) -> str:
    """Say when a task is attempted again, where that is to be waited for."""
    state = view.state
    verdict = judge(state.milestone, state.settings, state.milestone.by_id[task_id], task, isolated=state.isolated)
    if not view.lives or not isinstance(verdict, RetryAt) or verdict.wall - now < 1.0:
        return ""
    return f"; again in {duration_text(verdict.wall - now)}"


def _rivals(view: SessionView, task_id: str) -> list[str]:
    """Return the tasks at work because of whose files one has to wait."""
    tasks = view.state.milestone.by_id
    return [other for other in view.state.live.values() if view.lives and overlapping(tasks[task_id], tasks[other])]


def task_word_now(view: SessionView, task: TaskState) -> str:
    """Return the word for where a task is; what ran when the supervising process died was interrupted."""
    return task_word(task) if view.lives or task.phase not in AT_WORK else INTERRUPTED


def full_name(view: SessionView, role: RoleView) -> str:
    """Return a role's name as one types it."""
    return f"{view.id}:{role.role}"


def describe(role: RoleView, now: float) -> str:
    """Describe a role's state as ``supervisorctl`` does (reference: supervisorctl, section 1)."""
    match role.state:
        case "RUNNING":
            return f"pid {role.pid}, uptime {uptime(now - role.since_wall)}"
        case "STOPPED" | "EXITED":
            if not role.since_wall:
                return "Not started"
            return datetime.fromtimestamp(role.since_wall).strftime("%b %d %I:%M %p")  # noqa: DTZ006 - for people
        case "FATAL" | "BACKOFF":
            return role.last_exit
        case _:
            return ""


def uptime(seconds: float) -> str:
    """Write a duration as ``[D days, ]H:MM:SS``."""
    whole = max(0, int(seconds))
    days, rest = divmod(whole, 86_400)
    clock = f"{rest // 3600}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days} day{'' if days == 1 else 's'}, {clock}" if days else clock
