"""``milestonectl skip``: leave tasks out."""

from __future__ import annotations

import click

from supervisor.cli import completing
from supervisor.cli.output import json_option
from supervisor.cli.reaching import ask, print_named, session_option, timeout_option


@click.command(
    "skip",
    epilog="Example: milestonectl skip task-007",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("tasks", metavar="TASK...", nargs=-1, required=True, shell_complete=completing.tasks)
@session_option
@timeout_option
@json_option
@click.pass_context
def command(ctx: click.Context, tasks: tuple[str, ...], *, session: str, timeout: float | None, as_json: bool) -> int:
    """Leave TASK out: one that waits, or has failed. What depends on it cannot run.

    Its status in the milestone file becomes `cancelled`; `milestonectl retry` brings it back.

    Exit codes: 0 done; 1 no such task, or one that runs or is completed; 69 nobody supervises this project.
    """
    results = ask(ctx, "skip", as_json=as_json, timeout=timeout, tasks=tasks, session=session)
    return print_named(results, as_json=as_json)
