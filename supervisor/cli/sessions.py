"""``milestonectl sessions``: every session that the journal holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from actors.log_lines import timestamp
from actors.paths import ProjectPaths
from actors.state import Phase
from actors.wording import duration_text
from supervisor.cli import completing
from supervisor.cli.journaled import open_sessions
from supervisor.cli.output import FAILED, CommandError, harmless, print_json, require_project
from supervisor.cli.status_text import STATUS_COLOURS
from supervisor.cli.verbs import verb

if TYPE_CHECKING:
    from supervisor.sessions import Sessions, SessionView


@verb("sessions", "milestonectl sessions milestone-001")
@click.argument("milestones", metavar="[MILESTONE]...", nargs=-1, shell_complete=completing.milestones)
@click.option("-n", "--last", type=click.IntRange(min=1), metavar="NUMBER", help="Only so many, the latest.")
def command(ctx: click.Context, milestones: tuple[str, ...], *, last: int | None, as_json: bool) -> int:
    """List the sessions of the project, or of each MILESTONE, in the order in which they began.

    Nobody needs to supervise the project.

    Exit codes: 0 listed, even when there is none; 1 no session of such a milestone; 78 the journal cannot be read.
    """
    project = require_project(ctx, as_json=as_json)
    with open_sessions(ProjectPaths(project), as_json=as_json) as sessions:
        wanted = _wanted(sessions, milestones, as_json=as_json)
        rows = [_row(sessions.view(session)) for session in wanted[-last if last else 0 :]]
    if as_json:
        print_json({"project": str(project), "sessions": rows})
    else:
        _print(rows)
    return 0


def _wanted(sessions: Sessions, milestones: tuple[str, ...], *, as_json: bool) -> list[str]:
    known = {one.milestone_id for one in sessions.summaries}
    for name in milestones:
        if name not in known:
            from actors.problems import closest, did_you_mean  # noqa: PLC0415 - for who mistyped

            line = f"{name}: there is no session of such a milestone{did_you_mean(closest(name, known))}"
            raise CommandError(FAILED, line, "all there are: milestonectl sessions", as_json=as_json)
    return [one.id for one in sessions.summaries if not milestones or one.milestone_id in milestones]


def _row(view: SessionView) -> dict[str, object]:
    state, counts = view.state, view.counts()
    end = state.ended_wall or state.wall
    return {
        "id": view.id,
        "milestone_id": state.milestone.id,
        "status": view.status.value,
        "supervised": view.lives,
        "started_at": timestamp(state.started_wall),
        "ended_at": timestamp(state.ended_wall) if state.ended_wall else None,
        "active_seconds": round(state.active_seconds(end), 3),
        "tasks": len(state.tasks) - counts[Phase.SKIPPED],
        "completed": counts[Phase.COMPLETED],
        "failed": counts[Phase.FAILED],
        "percentage": view.percentage(),
        "commits": state.git.landed,
    }


def _print(rows: list[dict[str, object]]) -> None:
    if not rows:
        click.echo("No session yet. Next: milestonectl run ID")
        return
    width = max(len(str(row["id"])) for row in rows)
    click.echo(f"{'session':{width}}  {'status':<11}  {'began':<19}  {'active':>8}  tasks")
    for row in rows:
        status = str(row["status"])
        word = click.style(f"{status:<11}", fg=STATUS_COLOURS[status])
        began = str(row["started_at"])[:19].replace("T", " ")
        active = duration_text(float(str(row["active_seconds"])))
        done = f"{row['completed']}/{row['tasks']}" + (f", {row['failed']} failed" if row["failed"] else "")
        click.echo(harmless(f"{row['id']:{width}}  {word}  {began}  {active:>8}  {done}"))
