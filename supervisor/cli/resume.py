"""``milestonectl resume``: go on with a paused session."""

from __future__ import annotations

import click

from supervisor.cli import completing
from supervisor.cli.output import json_option
from supervisor.cli.reaching import ask, print_named, timeout_option


@click.command(
    "resume",
    epilog="Example: milestonectl resume milestone-001",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=completing.sessions)
@timeout_option
@json_option
@click.pass_context
def command(ctx: click.Context, names: tuple[str, ...], *, timeout: float | None, as_json: bool) -> int:
    """Start tasks again in the paused session NAME (a session, a milestone, or all); without NAME the one that lives.

    A session that was interrupted, so that nobody supervises it, is taken up with `milestonectl run`.

    Exit codes: 0 resumed; 1 no such session, or no answer in time; 69 nobody supervises this project.
    """
    return print_named(ask(ctx, "resume", as_json=as_json, timeout=timeout, names=names), as_json=as_json)
