"""``milestonectl update``: take in an edit of a milestone file."""

from __future__ import annotations

import click

from supervisor.cli import completing
from supervisor.cli.output import escaped, print_json
from supervisor.cli.reaching import ask
from supervisor.cli.verbs import timeout_option, verb


@verb("update", "milestonectl update milestone-001 --apply")
@click.argument("session", metavar="SESSION", shell_complete=completing.sessions)
@click.option("--apply", is_flag=True, help="Take it in; otherwise it is only shown.")
@timeout_option
def command(ctx: click.Context, session: str, *, apply: bool, timeout: float | None, as_json: bool) -> int:
    """Show what an edit of the milestone file changes for the live SESSION (or milestone), and take it in.

    Tasks that are completed, and those that run, must be as they were.

    Exit codes: 0 shown, or taken in; 1 no such session, or no answer in time; 2 the file is not valid, or tasks changed
    that must not; 7 it does not live; 69 nobody supervises this project.
    """
    found = ask(ctx, "update", as_json=as_json, timeout=timeout, session=session, apply=apply)
    if as_json:
        print_json(found)
        return 0
    lines = [f"+ {task}" for task in found["added"]]
    lines += [f"- {task}" for task in found["removed"]]
    lines += [f"~ {task}: {', '.join(names)}" for task, names in found["changed"].items()]
    lines += [f"~ {name}" for name in found["fields"]]
    for line in lines or ["nothing changed"]:
        click.echo(escaped(line))
    if found["applied"]:
        click.echo("taken in")
    elif found["refusal"]:
        click.echo(escaped(f"cannot be taken in now: {found['refusal']}"))
    elif lines:
        click.echo("not taken in: that is done with --apply")
    return 0
