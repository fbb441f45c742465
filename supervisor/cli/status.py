"""``milestonectl status``: sessions, roles, tasks and blockers, from the journal, without asking anybody.

Names, lines and states of roles are those of ``supervisorctl status``. Deviations: a role in BACKOFF or FATAL makes the
exit code 3, and the stopped roles of a session that is done do not.

Owns the report. What is true is found by :mod:`supervisor.cli.sessions`.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Final

import attrs
import click

from actors.events import SessionStatus
from actors.log_lines import timestamp
from actors.paths import ProjectPaths
from actors.problems import closest, did_you_mean
from actors.progress import bar, duration_text
from actors.state import ROLES, RUNNER, Phase, TaskState
from supervisor.cli.milestones import known_ids
from supervisor.cli.output import count, find_project, json_option, print_json, printable
from supervisor.cli.sessions import Overview, RoleView, Sessions, SessionView, open_sessions
from supervisor.cli.task_words import task_reason
from supervisor.projection import INTERRUPTED, task_word

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NEEDS_ATTENTION: Final = 3
UNKNOWN_NAME: Final = 4
"""Exit codes of ``supervisorctl status`` (reference: supervisorctl, section 1)."""

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
_AT_WORK: Final = frozenset({Phase.PREPARING, Phase.RUNNING, Phase.LANDING})
_LIVELY: Final = _AT_WORK | {Phase.FAILED}
_QUIET: Final = frozenset({SessionStatus.COMPLETED, SessionStatus.CANCELLED})


@attrs.frozen
class Wanted:
    """What a name stands for.

    Attributes:
        view: The session.
        roles: Which of its roles; ``None`` for the session as a whole.
    """

    view: SessionView
    roles: tuple[str, ...] | None = None


@attrs.frozen
class Unknown:
    """A name that stands for nothing.

    Attributes:
        name: As it was typed.
        message: As ``supervisorctl`` says it.
        hint: What was probably meant, ``""`` without one.
    """

    name: str
    message: str
    hint: str


@click.command(
    "status",
    epilog="Example: milestonectl status milestone-001",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@json_option
@click.pass_context
def command(ctx: click.Context, names: tuple[str, ...], *, as_json: bool) -> int:
    """Show sessions, roles, tasks and blockers; without NAME the latest session of each milestone.

    NAME is a milestone, a session, SESSION:ROLE, SESSION:* or all; a milestone stands for its latest session there
    too. Works beside a run and without one.

    Exit codes: 0 fine; 3 something that should run does not (a session interrupted, paused, blocked or failed, a role
    in BACKOFF or FATAL); 4 unknown name; 78 the journal cannot be read.
    """
    paths = ProjectPaths(find_project(ctx))
    now = time.time()  # noqa: TID251 - shown to people
    with open_sessions(paths, as_json=as_json) as sessions:
        found = [_resolve(name, sessions) for name in names if name != "all"]
        overview = sessions.overview(known_ids(paths)) if len(found) < max(1, len(names)) else None
    wanted = [one for one in found if isinstance(one, Wanted)]
    unknown = [one for one in found if isinstance(one, Unknown)]
    if overview is not None:
        wanted += [Wanted(view) for view in overview.latest]
    if as_json:
        print_json(_as_json(paths, sessions, overview, wanted, unknown, now))
    else:
        _print(paths, sessions, overview, wanted, unknown, now)
    return _exit_code(wanted, unknown)


def _exit_code(wanted: Sequence[Wanted], unknown: Sequence[Unknown]) -> int:
    if unknown:
        return UNKNOWN_NAME
    return NEEDS_ATTENTION if any(_needs_attention(one) for one in wanted) else 0


def _needs_attention(one: Wanted) -> bool:
    if one.roles is None or not one.view.lives:
        return one.view.needs_attention
    return any(role.is_troubled for role in one.view.roles if role.role in one.roles)


def _resolve(name: str, sessions: Sessions) -> Wanted | Unknown:
    """Find what a name stands for; a milestone's id is that of its latest session."""
    session_name, colon, role = name.partition(":")
    by_name = {one.milestone_id: one.id for one in sessions.summaries}
    by_name |= {one.id: one.id for one in sessions.summaries}
    if session_name not in by_name:
        kind = "group" if colon and role == "*" else "process"
        return Unknown(name, f"no such {kind}", did_you_mean(closest(session_name, by_name)))
    view = sessions.view(by_name[session_name])
    roles = (*ROLES, RUNNER)
    if not colon:
        return Wanted(view)
    if role in {"*", ""}:
        return Wanted(view, roles)
    if role not in roles:
        return Unknown(name, "no such process", did_you_mean(closest(role, roles)))
    return Wanted(view, (role,))


# --- for people --------------------------------------------------------------------------------------------------


def _print(
    paths: ProjectPaths,
    sessions: Sessions,
    overview: Overview | None,
    wanted: Sequence[Wanted],
    unknown: Sequence[Unknown],
    now: float,
) -> None:
    for other in unknown:
        click.echo(f"{other.name}: ERROR ({other.message}{other.hint})")
    longest = max((len(_full_name(one.view, role)) for one in wanted for role in one.view.roles), default=0)
    width = max(30, longest) + 3
    is_named = overview is None
    for number, one in enumerate(wanted):
        if one.roles is None and number:
            click.echo()
        for line in _lines(one, width, now, is_named=is_named):
            click.echo(line)
    if overview is None:
        return
    if not overview.latest:
        _print_nothing_yet(paths, sessions, overview)
    elif overview.not_started:
        click.echo()
        click.echo(f"Not started yet: {', '.join(overview.not_started)}")


def _print_nothing_yet(paths: ProjectPaths, sessions: Sessions, overview: Overview) -> None:
    if sessions.holder is not None:
        click.echo(f"Nothing is journaled yet; the project is held by {sessions.holder}.")
    elif not paths.milestones.is_dir():
        click.echo(f"There are no milestones in {paths.project} yet. Next: milestonectl init")
    elif overview.not_started:
        click.echo(f"No session yet. Next: milestonectl run {overview.not_started[0]}")
    else:
        click.echo("No milestone and no session yet. An example to begin with: milestonectl init --example")


def _lines(one: Wanted, width: int, now: float, *, is_named: bool) -> Iterator[str]:
    view = one.view
    if one.roles is not None:
        yield from (_role_line(view, role, width, now) for role in view.roles if role.role in one.roles)
        return
    yield from _head(view, now)
    if view.status in _QUIET and not is_named:
        return
    yield from (_role_line(view, role, width, now) for role in view.roles)
    yield from _task_lines(view, now, is_named=is_named)
    for blocker in view.state.blockers.values():
        raised = blocker.raised
        about = f"{raised.task}: " if raised.task else ""
        what = f"{raised.severity.value}: {about}{raised.category.replace('_', ' ')}"
        evidence = raised.evidence.strip().splitlines()
        yield click.style(f"blocker   {what}, for {duration_text(now - blocker.since_wall)}", fg="red")
        yield from (f"          {line}" for line in evidence[-3:])
        yield f"          proposal: {raised.proposal}"
    yield from (click.style(f"alert     {detail}", fg="yellow") for detail in view.state.alerts.values())


def _head(view: SessionView, now: float) -> Iterator[str]:
    state, counts = view.state, view.counts()
    word = click.style(view.status.value, fg=_STATUS_COLOURS[view.status], bold=True)
    yield f"{click.style(state.milestone.id, bold=True)}  {word}  {view.id}  {state.milestone.title}"
    running = counts[Phase.RUNNING] + counts[Phase.PREPARING] + counts[Phase.LANDING]
    percent = view.percentage()
    drawn = bar(percent) if printable("█░") else bar(percent).replace("█", "#").replace("░", "-")
    said = [f"{percent}%", f"{counts[Phase.COMPLETED]}/{len(state.tasks) - counts[Phase.SKIPPED]} tasks"]
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
        case SessionStatus.INTERRUPTED | SessionStatus.PAUSED:
            yield click.style(f"{view.status.value}{reason}; go on with: {again}", fg="yellow")
        case SessionStatus.FAILED | SessionStatus.BLOCKED:
            yield click.style(f"{view.status.value}{reason}; when it is mended: {again}", fg="red")
        case _:
            pass


def _task_lines(view: SessionView, now: float, *, is_named: bool) -> Iterator[str]:
    tasks = view.state.tasks
    shown = tasks
    if len(tasks) > MOST_TASKS and not is_named:
        shown = {key: one for key, one in tasks.items() if one.phase in _LIVELY}
    width = max((len(key) for key in shown), default=0)
    for key, task in shown.items():
        reason = task_reason(view, key)
        line = f"{key:{width}}  {_word(view, task):<12}{_duration(task, now, lives=view.lives):>8}"
        line = f"{line}  {reason}".rstrip()
        yield click.style(line, fg="red") if task.phase is Phase.FAILED else line
    if len(shown) < len(tasks):
        hidden = count(len(tasks) - len(shown), "more task")
        yield f"{hidden}; all of them: milestonectl status {view.state.milestone.id}"


def _word(view: SessionView, task: TaskState) -> str:
    """Return the word for where a task is; what ran when the supervising process died was interrupted."""
    return task_word(task) if view.lives or task.phase not in _AT_WORK else INTERRUPTED


def _duration(task: TaskState, now: float, *, lives: bool) -> str:
    attempt = task.attempt
    if attempt is None:
        return ""
    if task.phase is Phase.RUNNING:
        return duration_text(now - attempt.started_wall) if lives else ""
    return duration_text(attempt.seconds) if attempt.outcome is not None else ""


def _full_name(view: SessionView, role: RoleView) -> str:
    return f"{view.id}:{role.role}"


def _role_line(view: SessionView, role: RoleView, width: int, now: float) -> str:
    return f"{_full_name(view, role):<{width}}{role.state:<10}{describe(role, now)}".rstrip()


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


# --- for programs ------------------------------------------------------------------------------------------------


def _as_json(
    paths: ProjectPaths,
    sessions: Sessions,
    overview: Overview | None,
    wanted: Sequence[Wanted],
    unknown: Sequence[Unknown],
    now: float,
) -> dict[str, object]:
    holder = sessions.holder
    return {
        "project": str(paths.project),
        "supervisor": None if holder is None else {"pid": holder.pid, "what": holder.what, "since": holder.since},
        "sessions": [_session_json(one, now) for one in wanted],
        "not_started": list(overview.not_started) if overview is not None else [],
        "unknown": [one.name for one in unknown],
        "exit_code": _exit_code(wanted, unknown),
    }


def _session_json(one: Wanted, now: float) -> dict[str, object]:
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
        "branch": state.git.ready.branch if state.git.ready is not None else None,
        "commits": state.git.landed,
        "started_at": timestamp(state.started_wall),
        "ended_at": timestamp(state.ended_wall) if state.ended_wall else None,
        "active_seconds": round(state.active_seconds(now if view.lives else state.wall), 3),
        "eta_seconds": view.eta(now),
        "percentage": view.percentage(),
        "counts": {phase.value: number for phase, number in counts.items()},
        "roles": [_role_json(view, role, now) for role in roles],
    }
    if one.roles is not None:
        return found
    return {
        **found,
        "tasks": [
            {
                "id": key,
                "title": state.milestone.by_id[key].title,
                "status": _word(view, task),
                "attempts": task.attempts,
                "seconds": task.attempt.seconds if task.attempt is not None else None,
                "commit": task.attempt.sha or None if task.attempt is not None else None,
                "reason": task_reason(view, key),
            }
            for key, task in state.tasks.items()
        ],
        "unreachable": list(view.unreachable),
        "blockers": [
            {
                "claim": claim,
                "category": blocker.raised.category,
                "severity": blocker.raised.severity.value,
                "task_id": blocker.raised.task or None,
                "evidence": blocker.raised.evidence,
                "proposal": blocker.raised.proposal,
                "age_seconds": round(max(0.0, now - blocker.since_wall), 3),
            }
            for claim, blocker in state.blockers.items()
        ],
        "alerts": list(state.alerts.values()),
    }


def _role_json(view: SessionView, role: RoleView, now: float) -> dict[str, object]:
    running = role.state == "RUNNING"
    return {
        "name": _full_name(view, role),
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
