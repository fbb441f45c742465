"""``milestonectl restart``: stop and start again."""

from __future__ import annotations

import click

from supervisor.cli import completing
from supervisor.cli.output import json_option
from supervisor.cli.reaching import ask, print_named, timeout_option


@click.command(
    "restart",
    epilog="Example: milestonectl restart milestone-001:progress_monitor",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=completing.sessions)
@click.option("--wait/--no-wait", default=True, help="Answer when it is ready again (the default), or at once.")
@timeout_option
@json_option
@click.pass_context
def command(ctx: click.Context, names: tuple[str, ...], *, wait: bool, timeout: float | None, as_json: bool) -> int:
    """Stop NAME and start it again: a session under milestoned, or roles (SESSION:ROLE, SESSION:*).

    Exit codes: 0 restarted; 1 no such name, or no answer in time; 7 it did not come up; 69 nobody supervises this
    project; 75 a session of `milestonectl run`, which ends with it.
    """
    return print_named(ask(ctx, "restart", as_json=as_json, timeout=timeout, names=names, wait=wait), as_json=as_json)
