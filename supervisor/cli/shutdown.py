"""``milestonectl shutdown``: end whoever supervises the project."""

from __future__ import annotations

import click

from supervisor.cli.output import print_json
from supervisor.cli.reaching import ask
from supervisor.cli.verbs import timeout_option, verb


@verb("shutdown", "milestonectl shutdown")
@click.option("--wait/--no-wait", default=True, help="Answer when the project is free (the default), or at once.")
@timeout_option
def command(ctx: click.Context, *, wait: bool, timeout: float | None, as_json: bool) -> int:
    """End milestoned, or a run, as a TERM signal does: running tasks are ended, sessions stay resumable.

    The sessions of milestoned are taken up when it starts again.

    Exit codes: 0 done; 1 no answer in time; 69 nobody supervises this project.
    """
    text = ask(ctx, "shutdown", as_json=as_json, timeout=timeout, wait=wait)
    if as_json:
        print_json({"result": text})
    else:
        click.echo(text)
    return 0
