"""``milestonectl status``: sessions, roles, tasks and blockers, from the journal, without asking anybody.

Names, lines and states of roles are those of ``supervisorctl status``. Deviations: a role in BACKOFF or FATAL makes the
exit code 3, and the stopped roles of a session that is done do not.

Owns the report. What is true is found by :mod:`supervisor.cli.sessions`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click

from actors.events import SessionStatus
from actors.paths import ProjectPaths
from actors.progress import bar, duration_text
from actors.state import Phase, TaskState
from supervisor.cli import completing
from supervisor.cli.output import count, escaped, find_project, harmless, json_option, print_json, printable, visible
from supervisor.cli.selection import Answer, Unknown, Wanted, resolve
from supervisor.cli.sessions import Overview, RoleView, SessionView, open_sessions
from supervisor.cli.status_json import document
from supervisor.cli.words import AT_WORK, describe, full_name, task_reason, task_word_now
from supervisor.finding import completed_ids, known_ids, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_TASKS: Final = 40
"""Of a session with more tasks only those are listed that something happens to, unless it was named."""

_STATUS_COLOURS: Final = {
    SessionStatus.RUNNING: "green",
    SessionStatus.COMPLETED: "green",
    SessionStatus.CANCELLED: None,
    SessionStatus.PAUSED: "yellow",
    SessionStatus.INTERRUPTED: "yellow",
    SessionStatus.BLOCKED: "red",
    SessionStatus.FAILED: "red",
}
_LIVELY: Final = AT_WORK | {Phase.FAILED}
_QUIET: Final = frozenset({SessionStatus.COMPLETED, SessionStatus.CANCELLED})


@click.command(
    "status",
    epilog="Example: milestonectl status milestone-001",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=completing.sessions)
@click.option("--all", "everything", is_flag=True, help="Also sessions of milestones whose file is gone.")
@json_option
@click.pass_context
def command(ctx: click.Context, names: tuple[str, ...], *, everything: bool, as_json: bool) -> int:
    """Show sessions, roles, tasks and blockers; without NAME the latest session of each milestone.

    NAME is a milestone, a session, SESSION:ROLE, SESSION:* or all; a milestone stands for its latest session there
    too. Works beside a run and without one.

    Exit codes: 0 fine; 3 something that should run does not (a session interrupted, paused, blocked or failed, a role
    in BACKOFF or FATAL); 4 unknown name; 78 the journal cannot be read.
    """
    paths = ProjectPaths(find_project(ctx))
    now = time.time()  # noqa: TID251 - shown to people
    with open_sessions(paths, as_json=as_json) as sessions:
        found = [resolve(name, sessions) for name in names if name != "all"]
        overview = None
        if everything or len(found) < max(1, len(names)):
            overview = sessions.overview(known_ids(paths), completed_ids(paths), everything=everything)
        holder = sessions.holder
    wanted = [one for one in found if isinstance(one, Wanted)]
    unknown = [one for one in found if isinstance(one, Unknown)]
    if overview is not None:
        wanted += [Wanted(view) for view in overview.latest]
    answer = Answer(paths.project, now, holder, wanted, unknown, overview)
    if as_json:
        print_json(document(answer))
    else:
        _print(answer)
    return answer.exit_code


def _print(answer: Answer) -> None:
    for other in answer.unknown:
        click.echo(escaped(f"{other.name}: ERROR ({other.message}{other.hint})"))
    longest = max((len(full_name(one.view, role)) for one in answer.wanted for role in one.view.roles), default=0)
    width = max(30, longest) + 3
    for number, one in enumerate(answer.wanted):
        if one.roles is None and number:
            click.echo()
        for line in _lines(one, width, answer):
            click.echo(harmless(line))
    if answer.overview is None:
        return
    if not answer.overview.latest and not answer.overview.gone:
        click.echo(escaped(_nothing_yet(answer, answer.overview)))
    elif answer.overview.not_started:
        if answer.overview.latest:
            click.echo()
        click.echo(escaped(f"Not started yet: {', '.join(answer.overview.not_started)}"))
    if answer.overview.gone:
        told = ", ".join(f"{view.state.milestone.id} ({view.status.value})" for view in answer.overview.gone)
        click.echo(f"Without a milestone file any more: {told}; their sessions: milestonectl status --all")


def _nothing_yet(answer: Answer, overview: Overview) -> str:
    if answer.holder is not None:
        return f"Nothing is journaled yet; the project is held by {answer.holder}."
    if not (answer.project / ".milestones").is_dir():
        return f"There are no milestones in {answer.project} yet. Next: milestonectl init"
    if overview.not_started:
        return f"No session yet. Next: milestonectl run {overview.not_started[0]}"
    return "No milestone and no session yet. An example to begin with: milestonectl init --example"


def _lines(one: Wanted, width: int, answer: Answer) -> Iterator[str]:
    view, now, is_named = one.view, answer.now, answer.overview is None
    if one.roles is not None:
        yield from (_role_line(view, role, width, now) for role in view.roles if role.role in one.roles)
        return
    yield from _head(view, now)
    if view.status in _QUIET and not is_named:
        return
    # Of a session that nobody supervises the stopped roles say nothing, unless one asks for them.
    roles = (role for role in view.roles if is_named or view.lives or role.is_troubled)
    yield from (_role_line(view, role, width, now) for role in roles)
    yield from _task_lines(view, now, is_named=is_named)
    if view.counts()[Phase.FAILED]:
        yield f"output of the tasks: {shown(ProjectPaths(answer.project).logs(view.id))}/tasks/"
    for blocker in view.state.blockers.values():
        raised = blocker.raised
        about = f"{raised.task}: " if raised.task else ""
        what = f"{raised.severity.value}: {about}{raised.category.replace('_', ' ')}"
        evidence = [line for line in raised.evidence.strip().splitlines() if line != raised.shown]
        yield click.style(f"blocker   {what}, for {duration_text(now - blocker.since_wall)}", fg="red")
        yield from (f"          {visible(line)}" for line in (raised.shown, *evidence[-2:]))
        yield f"          proposal: {visible(raised.proposal)}"
    yield from (click.style(f"alert     {visible(detail)}", fg="yellow") for detail in view.state.alerts.values())


def _head(view: SessionView, now: float) -> Iterator[str]:
    state, counts = view.state, view.counts()
    word = click.style(view.status.value, fg=_STATUS_COLOURS[view.status], bold=True)
    yield f"{click.style(state.milestone.id, bold=True)}  {word}  {view.id}  {visible(state.milestone.title)}"
    running = counts[Phase.RUNNING] + counts[Phase.PREPARING] + counts[Phase.LANDING]
    percent = view.percentage()
    drawn = bar(percent) if printable("█░") else bar(percent).replace("█", "#").replace("░", "-")
    claimed = "" if view.declared is None else f" (the file says {view.declared}%)"
    said = [f"{percent}%{claimed}", f"{counts[Phase.COMPLETED]}/{len(state.tasks) - counts[Phase.SKIPPED]} tasks"]
    said += [f"{running} running"] if view.lives else []
    said += [f"{counts[Phase.FAILED]} failed"] if counts[Phase.FAILED] else []
    eta = view.eta(now)
    said += [] if eta is None else [f"about {duration_text(eta)} left"]
    end = now if view.lives else state.ended_wall or state.wall
    said.append(f"active for {duration_text(state.active_seconds(end))}")
    if state.git.ready is not None or state.git.landed:
        branch = f" on {state.git.ready.branch}" if state.git.ready is not None else ""
        said.append(f"{count(state.git.landed, 'commit')}{branch}")
    yield f"{drawn} {', '.join(said)}"
    yield from _whereabouts(view)
    if state.containment is not None and view.status not in _QUIET:
        yield f"containment {state.containment.name}: {state.containment.detail}"


def _whereabouts(view: SessionView) -> Iterator[str]:
    """Say who supervises the session, or why nobody does and what to do."""
    state = view.state
    again = f"milestonectl run {state.milestone.id}"
    reason = f": {state.reason}" if state.reason else ""
    match view.status:
        case SessionStatus.RUNNING:
            yield f"supervised by process {state.pid}"
        case SessionStatus.PAUSED if view.lives:
            yield click.style(f"paused{reason}; supervised by process {state.pid}", fg="yellow")
        case SessionStatus.INTERRUPTED if state.status is SessionStatus.RUNNING:
            yield click.style(f"process {state.pid}, which supervised it, is gone; go on with: {again}", fg="yellow")
            if view.left:
                left = "1 process of its tasks still runs" if len(view.left) == 1 else ""
                left = left or f"{len(view.left)} processes of its tasks still run"
                yield click.style(f"{left}; the next run ends them first: {', '.join(map(str, view.left))}", fg="red")
        case SessionStatus.INTERRUPTED | SessionStatus.PAUSED:
            yield click.style(f"{view.status.value}{reason}; go on with: {again}", fg="yellow")
        case SessionStatus.FAILED | SessionStatus.BLOCKED:
            yield click.style(f"{view.status.value}{reason}; when it is mended: {again}", fg="red")
        case _:
            pass


def _task_lines(view: SessionView, now: float, *, is_named: bool) -> Iterator[str]:
    tasks = view.state.tasks
    listed = tasks
    if len(tasks) > MOST_TASKS and not is_named:
        listed = {key: one for key, one in tasks.items() if one.phase in _LIVELY}
    width = max((len(key) for key in listed), default=0)
    for key, task in listed.items():
        reason = visible(task_reason(view, key))
        line = f"{key:{width}}  {task_word_now(view, task):<12}{_duration(task, now, lives=view.lives):>8}"
        line = f"{line}  {reason}".rstrip()
        yield click.style(line, fg="red") if task.phase is Phase.FAILED else line
    if len(listed) < len(tasks):
        hidden = count(len(tasks) - len(listed), "more task")
        yield f"{hidden}; all of them: milestonectl status {view.state.milestone.id}"


def _duration(task: TaskState, now: float, *, lives: bool) -> str:
    attempt = task.attempt
    if attempt is None:
        return ""
    if task.phase is Phase.RUNNING:
        return duration_text(now - attempt.started_wall) if lives else ""
    return duration_text(attempt.seconds) if attempt.outcome is not None else ""


def _role_line(view: SessionView, role: RoleView, width: int, now: float) -> str:
    return f"{full_name(view, role):<{width}}{role.state:<10}{describe(role, now)}".rstrip()
