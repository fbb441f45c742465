"""``milestonectl status``: sessions, roles, tasks and blockers.

Whoever supervises the project is asked, and has the answer in memory; where nobody does, or nobody answers in time, the
journal is read. Both make the same document (:mod:`supervisor.status_document`), so what is shown is the same.

Names, lines and states of roles are those of ``supervisorctl status``. Deviations: a role in BACKOFF or FATAL makes the
exit code 3, and the stopped roles of a session that is done do not.

Owns the two ways to the document. To be quick it imports only what the asking needs: the reading is imported where
nobody answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from supervisor.cli.output import escaped, find_project, harmless, print_json
from supervisor.cli.reaching import ask_if_there
from supervisor.cli.status_text import status_lines
from supervisor.cli.verbs import names_argument, verb
from supervisor.client import AnswerTimeoutError

if TYPE_CHECKING:
    from pathlib import Path

ANSWER_SECONDS: Final = 5.0
"""Longest wait for whoever supervises the project, before the journal is read."""


@verb("status", "milestonectl status milestone-001")
@names_argument()
@click.option("--all", "everything", is_flag=True, help="Also sessions of milestones whose file is gone.")
def command(ctx: click.Context, names: tuple[str, ...], *, everything: bool, as_json: bool) -> int:
    """Show sessions, roles, tasks and blockers; without NAME the latest session of each milestone.

    NAME is a milestone, a session, SESSION:ROLE, SESSION:* or all; a milestone stands for its latest session there
    too. Works beside a run and without one.

    Exit codes: 0 fine; 3 something that should run does not (a session interrupted, paused, blocked or failed, or one
    that waits for a role that was stopped, a role in BACKOFF or FATAL); 4 unknown name; 78 the journal cannot be read.
    """
    document = described(find_project(ctx), names, everything=everything, as_json=as_json)
    if (holder := document["supervisor"]) is not None and not holder["answers"]:
        for line in _silence(holder):
            click.echo(escaped(line), err=True)
    if as_json:
        print_json(document)
    else:
        for line in status_lines(document):
            click.echo(harmless(line))
    return int(document["exit_code"])


def described(project: Path, names: tuple[str, ...], *, everything: bool, as_json: bool) -> dict[str, Any]:
    """Return the document that describes sessions of a project.

    Args:
        project: The project directory.
        names: As they were typed; none for the latest session of each milestone.
        everything: Whether sessions of milestones whose file is gone are wanted too.
        as_json: Whether a failure is JSON too.

    Raises:
        CommandError: Nobody answers, and the journal cannot be read (78).
    """
    answers, found = True, None
    try:
        found = ask_if_there(project, "describe", ANSWER_SECONDS, names=names, everything=everything)
    except AnswerTimeoutError:
        answers = False
    if found is None:
        from supervisor.cli.journaled import describe_journaled  # noqa: PLC0415 - not for who is answered

        found = describe_journaled(project, names, everything=everything, as_json=as_json)
    document: dict[str, Any] = found
    if document["supervisor"] is not None:
        document["supervisor"]["answers"] = answers
    return document


def _silence(holder: dict[str, Any]) -> tuple[str, ...]:
    """Say that whoever supervises the project does not answer, and what can be done about it."""
    who = f"process {holder['pid']}" if holder["pid"] else "the process"
    said = f" ({holder['what']})" if holder["what"] else ""
    cure = f"wake it if somebody stopped it: kill -CONT {holder['pid']}; " if holder["pid"] else ""
    return (
        f"milestonectl: {who}{said}, which supervises this project, has not answered within {ANSWER_SECONDS:g} s",
        f"  what is shown is what the journal says; {cure}look closer with: milestonectl doctor",
    )
