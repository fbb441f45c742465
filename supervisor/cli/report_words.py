"""What a report says of a session as a whole, as text and on the page. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.wording import duration_text
from supervisor.cli.output import count

if TYPE_CHECKING:
    from collections.abc import Iterator


def facts_of(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is said of the session as a whole: a label, and what is so."""
    if report["reason"]:
        yield "reason", report["reason"]
    until = f" until {report['ended_at']}" if report["ended_at"] else ", not ended"
    yield "time", f"{report['started_at']}{until}"
    lives = f", in {report['lives']} lives" if report["lives"] > 1 else ""
    faster = f", {report['speedup']:g} times as fast as one after the other" if report["speedup"] else ""
    active, work = duration_text(report["active_seconds"]), duration_text(report["work_seconds"])
    yield "active", f"{active}{lives}; successful attempts took {work} together{faster}"
    done = sum(task["status"] == "completed" for task in report["tasks"])
    yield "tasks", f"{report['percentage']}%, {done} of {len(report['tasks'])} completed"
    if report["critical_path"]:
        chain = " > ".join(report["critical_path"])
        yield "longest chain", f"{duration_text(report['critical_seconds'])}: {chain}"
    if report["branch"]:
        yield "branch", f"{report['branch']}, {count(len(report['commits']), 'commit')}"


def sections_of(report: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield what else happened, under a title each; nothing where it did not."""
    if exits := report["role_exits"]:
        yield "Roles that ended", [f"{one['at']}  {one['role']}: {one['reason']}" for one in exits]
    if blockers := report["blockers"]:
        lines = []
        for one in blockers:
            about = f"{one['task_id']}: " if one["task_id"] else ""
            how = f"resolved: {one['how']}" if one["resolved_at"] else f"proposal: {one['proposal']}"
            lines.append(f"{one['raised_at']}  {one['severity']}: {about}{one['headline']}; {how}")
        yield "Blockers", lines
    if pauses := report["pauses"]:
        yield "Pauses", [f"{one['at']}  {one['reason']}" for one in pauses]
