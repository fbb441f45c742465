"""``milestonectl stop``: end sessions in order; they stay resumable."""

from __future__ import annotations

import click

from supervisor.cli import completing
from supervisor.cli.output import json_option
from supervisor.cli.reaching import ask, print_named, timeout_option


@click.command(
    "stop",
    epilog="Example: milestonectl stop milestone-001",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=completing.sessions)
@click.option("--wait/--no-wait", default=True, help="Answer when nothing of it lives (the default), or at once.")
@timeout_option
@json_option
@click.pass_context
def command(ctx: click.Context, names: tuple[str, ...], *, wait: bool, timeout: float | None, as_json: bool) -> int:
    """End the session NAME (a session, a milestone, or all) as Ctrl-C does; without NAME the one that lives.

    Running tasks are asked to end, and killed after their grace; `run` or `start` goes on. NAME may also be a role
    (SESSION:ROLE, SESSION:*), which stays stopped until it is started.

    Exit codes: 0 stopped; 1 no such name, or no answer in time; 2 several sessions live and none was named; 7 no
    session lives; 69 nobody supervises this project.
    """
    results = ask(ctx, "stop", as_json=as_json, timeout=timeout, names=names, wait=wait)
    return print_named(results, as_json=as_json)
