"""``milestonectl start``: begin sessions under ``milestoned``."""

from __future__ import annotations

import click

from supervisor.cli import completing
from supervisor.cli.output import json_option
from supervisor.cli.reaching import ask, print_named, timeout_option


@click.command(
    "start",
    epilog="Example: milestonectl start milestone-001",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("names", metavar="ID...", nargs=-1, required=True, shell_complete=completing.sessions)
@click.option("--wait/--no-wait", default=True, help="Answer when its roles are ready (the default), or at once.")
@timeout_option
@json_option
@click.pass_context
def command(ctx: click.Context, names: tuple[str, ...], *, wait: bool, timeout: float | None, as_json: bool) -> int:
    """Begin a session of the milestone ID under milestoned, or go on with its unfinished one.

    ID may also be a role of a live session that was stopped: SESSION:ROLE, or SESSION:*.

    Exit codes: 0 started, or it runs already; 1 no such name, or no answer in time; 2 invalid file; 7 it did not come
    up; 69 nobody supervises this project; 75 a run of another milestone does; 78 configuration.
    """
    return print_named(ask(ctx, "start", as_json=as_json, timeout=timeout, names=names, wait=wait), as_json=as_json)
