"""The document of ``milestonectl status`` as lines for people. Pure, and light: nothing of the domain is imported.

Owns the wording and the layout. Refuses to know where the document comes from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from actors.wording import bar, duration_text, left_text
from supervisor.cli.output import count, escaped, printable, visible
from supervisor.control_socket import DAEMON
from supervisor.finding import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_TASKS: Final = 40
"""Of a session with more tasks only those are listed that something happens to, unless it was named."""

TROUBLED: Final = frozenset({"BACKOFF", "FATAL", "UNKNOWN"})
"""States of a role that should run and does not."""

STATUS_COLOURS: Final = {
    "running": "green",
    "completed": "green",
    "cancelled": None,
    "paused": "yellow",
    "interrupted": "yellow",
    "blocked": "red",
    "failed": "red",
}
_AT_WORK: Final = ("preparing", "running", "landing")
_LIVELY: Final = frozenset({*_AT_WORK, "interrupted", "failed"})
_QUIET: Final = frozenset({"completed", "cancelled"})

_LEAST_WIDTH: Final = 30
_GAP: Final = 3
"""Of the column of names, as Supervisor has it (reference: supervisorctl, section 1)."""


def status_lines(document: dict[str, Any]) -> Iterator[str]:
    """Write down what a document says.

    Args:
        document: As :func:`supervisor.status_document.document` makes it.
    """
    for other in document["unknown"]:
        yield escaped(f"{other['name']}: ERROR ({other['message']})")
    sessions = document["sessions"]
    longest = max((len(role["name"]) for session in sessions for role in session["roles"]), default=0)
    width = max(_LEAST_WIDTH, longest) + _GAP
    is_named = document["not_started"] is None
    for number, session in enumerate(sessions):
        if "tasks" not in session:
            yield from (_role_line(role, width) for role in session["roles"])
            continue
        if number:
            yield ""
        yield from _session_lines(session, document, width, is_named=is_named)
    if not is_named:
        yield from _others(document)


def _others(document: dict[str, Any]) -> Iterator[str]:
    """Speak of what has no session to be shown."""
    sessions, not_started, gone = document["sessions"], document["not_started"], document["gone"]
    if not sessions and not gone:
        yield _nothing_yet(document)
    elif not_started:
        if sessions:
            yield ""
        yield f"Not started yet: {', '.join(not_started)}"
    if gone:
        told = ", ".join(f"{one['milestone_id']} ({one['status']})" for one in gone)
        yield f"Without a milestone file any more: {told}; their sessions: milestonectl status --all"


def _nothing_yet(document: dict[str, Any]) -> str:
    holder = document["supervisor"]
    if holder is not None:
        who = f"process {holder['pid']}" if holder["pid"] else "a process that cannot be seen from here"
        said = f" ({holder['what']})" if holder["what"] else ""
        since = f" since {holder['since']}" if holder["since"] else ""
        waiting = document["not_started"] if holder["what"] == DAEMON else ()
        then = f" Next: milestonectl start {waiting[0]}" if waiting else ""
        return f"Nothing is journaled yet; the project is held by {who}{said}{since}.{then}"
    if not document["initialized"]:
        return f"There are no milestones in {document['project']} yet. Next: milestonectl init"
    if document["not_started"]:
        return f"No session yet. Next: milestonectl run {document['not_started'][0]}"
    return "No milestone and no session yet. An example to begin with: milestonectl init --example"


def _session_lines(session: dict[str, Any], document: dict[str, Any], width: int, *, is_named: bool) -> Iterator[str]:
    yield from _head(session, document["supervisor"])
    if session["status"] in _QUIET and not is_named:
        return
    # Of a session that nobody supervises the stopped roles say nothing, unless one asks for them.
    roles = (one for one in session["roles"] if is_named or session["supervised"] or one["state"] in TROUBLED)
    yield from (_role_line(role, width) for role in roles)
    yield from _task_lines(session, is_named=is_named)
    if session["counts"]["failed"]:
        logs = shown(f"{document['project']}/.milestones/logs/{session['id']}")
        yield f"output of the tasks: {logs}/tasks/"
    for blocker in session["blockers"]:
        yield from blocker_lines(blocker)
    yield from (click.style(f"alert     {visible(detail)}", fg="yellow") for detail in session["alerts"])


def blocker_lines(blocker: dict[str, Any]) -> Iterator[str]:
    """Write a blocker down: what it is, its evidence, and what is proposed."""
    about = f"{blocker['task_id']}: " if blocker["task_id"] else ""
    what = f"{blocker['severity']}: {about}{blocker['category'].replace('_', ' ')}"
    evidence = [line for line in blocker["evidence"].strip().splitlines() if line != blocker["headline"]]
    yield click.style(f"blocker   {what}, for {duration_text(blocker['age_seconds'])}", fg="red")
    yield from (f"          {visible(line)}" for line in (blocker["headline"], *evidence[-2:]))
    yield f"          proposal: {visible(blocker['proposal'])}"


def head_line(session: dict[str, Any]) -> str:
    """Write down which session it is, and how it is."""
    word = click.style(session["status"], fg=STATUS_COLOURS[session["status"]], bold=True)
    return f"{click.style(session['milestone_id'], bold=True)}  {word}  {session['id']}  {visible(session['title'])}"


def progress_line(session: dict[str, Any]) -> str:
    """Write down how far a session is."""
    counts = session["counts"]
    percent, declared = session["percentage"], session["declared_percentage"]
    drawn = bar(percent) if printable("█░") else bar(percent).replace("█", "#").replace("░", "-")
    claimed = "" if declared in {None, percent} else f" (the file says {declared}%)"
    said = [f"{percent}%{claimed}", f"{counts['completed']}/{sum(counts.values()) - counts['skipped']} tasks"]
    said += [f"{sum(counts[phase] for phase in _AT_WORK)} running"] if session["supervised"] else []
    said += [f"{counts['failed']} failed"] if counts["failed"] else []
    left = left_text(session["eta_seconds"])
    said += [left] if left else []
    said.append(f"active for {duration_text(session['active_seconds'])}")
    if session["branch"] is not None or session["commits"]:
        branch = "" if session["branch"] is None else f" on {session['branch']}"
        said.append(f"{count(session['commits'], 'commit')}{branch}")
    return f"{drawn} {', '.join(said)}"


def _head(session: dict[str, Any], holder: dict[str, Any] | None) -> Iterator[str]:
    yield head_line(session)
    yield progress_line(session)
    yield from _whereabouts(session, _way_on(session, holder))
    for wait in session.get("waits", ()):  # a supervising process of an older version does not say
        if wait["role"] is not None or session["status"] != "paused":
            yield click.style(_wait_text(wait), fg="yellow")
    if session["containment"] is not None and session["status"] not in _QUIET:
        yield f"containment {session['containment']['name']}: {session['containment']['detail']}"


def _way_on(session: dict[str, Any], holder: dict[str, Any] | None) -> str:
    """Say what begins the session again: it was a daemon's, or is one's to take now, or is for who runs it."""
    run, start = (f"milestonectl {verb} {session['milestone_id']}" for verb in ("run", "start"))
    if holder is not None:
        return start if holder["what"] == DAEMON else run
    if not session["daemon"]:
        return run
    by_itself = session["ended_at"] is None and session["status"] == "interrupted"
    started = "which takes it up, or" if by_itself else f"then: {start}; or"
    return f"start {DAEMON}, {started} in the foreground: {run}"


def _whereabouts(session: dict[str, Any], way_on: str) -> Iterator[str]:
    """Say who supervises the session, or why nobody does and what to do."""
    status, pid = session["status"], session["pid"]
    reason = f": {visible(session['reason'])}" if session["reason"] else ""
    if session["supervised"]:
        pause = "; ".join(_wait_text(one) for one in session.get("waits", ()) if one["role"] is None)
        reason = f": {pause}" if pause else reason
        said = f"paused{reason}; " if status == "paused" else ""
        yield click.style(f"{said}supervised by process {pid}", fg="yellow" if said else None)
    elif status == "interrupted" and session["ended_at"] is None:
        who = f"{DAEMON} (process {pid})" if session["daemon"] else f"process {pid}"
        yield click.style(f"{who}, which supervised it, is gone; to go on: {way_on}", fg="yellow")
        if left := session["left"]:
            still = "1 process of its tasks still runs" if len(left) == 1 else ""
            still = still or f"{len(left)} processes of its tasks still run"
            yield click.style(f"{still}; the next run ends them first: {', '.join(map(str, left))}", fg="red")
    elif status in {"interrupted", "paused"}:
        yield click.style(f"{status}{reason}; to go on: {way_on}", fg="yellow")
    elif status in {"failed", "blocked"}:
        yield click.style(f"{status}{reason}; when it is mended: {way_on}", fg="red")


def _wait_text(wait: dict[str, Any]) -> str:
    """Say what a session waits for, and what makes it go on."""
    about = "" if wait["role"] is None else f"waits for {wait['role']}, which "
    way = "" if wait["command"] is None else f"; to go on: {wait['command']}"
    return f"{about}{visible(wait['why'])}{way}"


def _task_lines(session: dict[str, Any], *, is_named: bool) -> Iterator[str]:
    tasks = session["tasks"]
    listed = tasks
    if len(tasks) > MOST_TASKS and not is_named:
        listed = [one for one in tasks if one["status"] in _LIVELY]
    width = max((len(one["id"]) for one in listed), default=0)
    for one in listed:
        seconds = "" if one["seconds"] is None else duration_text(one["seconds"])
        line = f"{one['id']:{width}}  {one['status']:<12}{seconds:>8}  {visible(one['reason'])}".rstrip()
        yield click.style(line, fg="red") if one["status"] == "failed" else line
    if len(listed) < len(tasks):
        hidden = count(len(tasks) - len(listed), "more task")
        yield f"{hidden}; all of them: milestonectl status {session['milestone_id']}"


def _role_line(role: dict[str, Any], width: int) -> str:
    return f"{role['name']:<{width}}{role['state']:<10}{role['description']}".rstrip()
