"""``milestonectl report``: what happened in a session. Owns the text; the page is :mod:`supervisor.cli.report_page`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from actors.paths import ProjectPaths
from actors.wording import duration_text
from supervisor.cli import completing
from supervisor.cli.journaled import open_sessions
from supervisor.cli.output import FAILED, CommandError, harmless, print_json, require_project, visible
from supervisor.cli.report_page import page
from supervisor.cli.report_words import facts_of, sections_of
from supervisor.cli.status_text import STATUS_COLOURS
from supervisor.cli.verbs import verb
from supervisor.selection import Unknown, resolve
from supervisor.story import report_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisor.sessions import Sessions

SHA_SHOWN: Final = 10


@verb("report", "milestonectl report milestone-001 --html > report.html")
@click.argument("name", metavar="[NAME]", default="", shell_complete=completing.sessions)
@click.option("--html", is_flag=True, help="A page that needs no other file, on standard output.")
def command(ctx: click.Context, name: str, *, html: bool, as_json: bool) -> int:
    """Tell what happened in the session NAME (or the latest one of the milestone): without NAME the latest of all.

    Tasks with their attempts and durations, commits, the longest chain, exits of roles, blockers and pauses. Nobody
    needs to supervise the project; of a session that lives it is what happened so far.

    Exit codes: 0 told; 1 there is no such session; 2 both --html and --json; 78 the journal cannot be read.
    """
    if html and as_json:
        raise click.UsageError("either --html or --json, not both", ctx)
    project = require_project(ctx, as_json=as_json)
    with open_sessions(ProjectPaths(project), as_json=as_json) as sessions:
        session = _find(name, sessions, as_json=as_json)
        report = report_of(sessions.records(session, 0))
        # What was running when its process died is interrupted.
        report["status"] = sessions.view(session).status.value
    if as_json:
        print_json(report)
    elif html:
        click.echo(page(report).encode("utf-8", "backslashreplace"), nl=False)
    else:
        for line in _lines(report):
            click.echo(harmless(line))
    return 0


def _find(name: str, sessions: Sessions, *, as_json: bool) -> str:
    if not sessions.summaries:
        raise CommandError(
            FAILED, "no session has been run here yet", "begin with: milestonectl run ID", as_json=as_json
        )
    if not name:
        return sessions.summaries[-1].id
    found = resolve(name.partition(":")[0], sessions)
    if isinstance(found, Unknown):
        line = f"{name}: there is no such session{found.hint}"
        raise CommandError(FAILED, line, "all there are: milestonectl sessions", as_json=as_json)
    return found.view.id


def _lines(report: dict[str, Any]) -> Iterator[str]:
    word = click.style(report["status"], fg=STATUS_COLOURS[report["status"]], bold=True)
    yield f"{click.style(report['milestone_id'], bold=True)}  {word}  {report['id']}  {visible(report['title'])}"
    for label, text in facts_of(report):
        yield f"{label:<14}{visible(text)}"
    yield ""
    width = max((len(one["id"]) for one in report["tasks"]), default=0)
    for task in report["tasks"]:
        yield from _task_lines(task, width)
    for title, lines in sections_of(report):
        yield ""
        yield click.style(title, bold=True)
        yield from (f"  {visible(line)}" for line in lines)


def _task_lines(task: dict[str, Any], width: int) -> Iterator[str]:
    seconds = "" if task["seconds"] is None else duration_text(task["seconds"])
    commit = (task["commit"] or "")[:SHA_SHOWN]
    line = f"{task['id']:{width}}  {task['status']:<12}{seconds:>8}  {commit or visible(task['reason'])}".rstrip()
    yield click.style(line, fg="red") if task["status"] == "failed" else line
    if len(task["attempts"]) > 1:
        for attempt in task["attempts"]:
            detail = f": {visible(attempt['detail'])}" if attempt["detail"] else ""
            said = f"{attempt['id']} {attempt['outcome']} after {duration_text(attempt['seconds'])}{detail}"
            yield f"{'':{width}}    {said}"
