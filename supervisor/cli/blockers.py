"""``milestonectl blockers``: what stands in the way, and what is proposed."""

from __future__ import annotations

from typing import Any, Final

import click

from supervisor.cli.output import escaped, harmless, print_json, require_project
from supervisor.cli.status import described
from supervisor.cli.status_text import blocker_lines
from supervisor.cli.verbs import names_argument, verb

THERE_ARE: Final = 3


@verb("blockers", "milestonectl blockers milestone-001")
@names_argument()
def command(ctx: click.Context, names: tuple[str, ...], *, as_json: bool) -> int:
    """List what stands in the way of the session NAME (or milestone), each with its evidence and a proposal.

    Without NAME that is the latest session of each milestone. Nobody needs to supervise the project.

    Exit codes: 0 there is none; 3 there is one; 4 unknown name; 78 the journal cannot be read.
    """
    project = require_project(ctx, as_json=as_json)
    document = described(project, names, everything=False, as_json=as_json)
    found = [
        {"session_id": session["id"], "milestone_id": session["milestone_id"], **blocker}
        for session in document["sessions"]
        for blocker in session.get("blockers", ())
    ]
    code = int(document["exit_code"]) if document["unknown"] else THERE_ARE if found else 0
    if as_json:
        print_json({"project": str(project), "blockers": found, "unknown": document["unknown"], "exit_code": code})
    else:
        _print(document, found)
    return code


def _print(document: dict[str, Any], found: list[dict[str, Any]]) -> None:
    for other in document["unknown"]:
        click.echo(escaped(f"{other['name']}: ERROR ({other['message']})"))
    session = ""
    for blocker in found:
        if blocker["session_id"] != session:
            session = blocker["session_id"]
            click.echo(click.style(f"{blocker['milestone_id']}  {session}", bold=True))
        for line in blocker_lines(blocker):
            click.echo(harmless(line))
    if not found and not document["unknown"]:
        click.echo("Nothing stands in the way.")
