"""``milestonectl signal``: send a signal to roles."""

from __future__ import annotations

import click

from supervisor.cli import completing
from supervisor.cli.output import json_option
from supervisor.cli.reaching import ask, print_named, timeout_option


@click.command(
    "signal",
    epilog="Example: milestonectl signal USR1 milestone-001:task_executor",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("signal", metavar="SIGNAL", shell_complete=completing.signal_names)
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=completing.sessions)
@timeout_option
@json_option
@click.pass_context
def command(ctx: click.Context, signal: str, names: tuple[str, ...], *, timeout: float | None, as_json: bool) -> int:
    """Send SIGNAL (HUP, SIGHUP or 1) to the process of each NAME: SESSION:ROLE, SESSION:*, a session, or all.

    Exit codes: 0 signalled; 1 no such name or signal, or no answer in time; 7 not running; 69 nobody supervises this
    project.
    """
    results = ask(ctx, "signal", as_json=as_json, timeout=timeout, signal=signal, names=names)
    return print_named(results, as_json=as_json)
