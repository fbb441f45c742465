"""``milestonectl cancel``: end sessions for good."""

from __future__ import annotations

import click

from supervisor.cli import completing
from supervisor.cli.output import json_option
from supervisor.cli.reaching import ask, print_named, timeout_option


@click.command(
    "cancel",
    epilog="Example: milestonectl cancel milestone-001",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=completing.sessions)
@click.option("--wait/--no-wait", default=True, help="Answer when nothing of it lives (the default), or at once.")
@timeout_option
@json_option
@click.pass_context
def command(ctx: click.Context, names: tuple[str, ...], *, wait: bool, timeout: float | None, as_json: bool) -> int:
    """End the session NAME (a session, a milestone, or all) for good: it is not taken up again.

    What is completed stays so; running the milestone again begins a new session with the rest.

    Exit codes: 0 cancelled; 1 no such session, or no answer in time; 69 nobody supervises this project.
    """
    results = ask(ctx, "cancel", as_json=as_json, timeout=timeout, names=names, wait=wait)
    return print_named(results, as_json=as_json)
