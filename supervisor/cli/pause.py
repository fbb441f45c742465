"""``milestonectl pause``: start nothing new; what runs finishes."""

from __future__ import annotations

import click

from supervisor.cli import completing
from supervisor.cli.output import json_option
from supervisor.cli.reaching import ask, print_named, timeout_option


@click.command(
    "pause",
    epilog="Example: milestonectl pause milestone-001",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=completing.sessions)
@timeout_option
@json_option
@click.pass_context
def command(ctx: click.Context, names: tuple[str, ...], *, timeout: float | None, as_json: bool) -> int:
    """Start no further task in the session NAME (a session, a milestone, or all); without NAME the one that lives.

    Running tasks finish and are committed. `milestonectl resume` goes on.

    Exit codes: 0 paused; 1 no such session, or no answer in time; 69 nobody supervises this project.
    """
    return print_named(ask(ctx, "pause", as_json=as_json, timeout=timeout, names=names), as_json=as_json)
