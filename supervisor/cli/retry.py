"""``milestonectl retry``: attempt tasks again that failed or were skipped."""

from __future__ import annotations

import click

from supervisor.cli import completing
from supervisor.cli.output import json_option
from supervisor.cli.reaching import ask, print_named, session_option, timeout_option


@click.command(
    "retry",
    epilog="Example: milestonectl retry task-007",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("tasks", metavar="[TASK]...", nargs=-1, shell_complete=completing.tasks)
@session_option
@timeout_option
@json_option
@click.pass_context
def command(ctx: click.Context, tasks: tuple[str, ...], *, session: str, timeout: float | None, as_json: bool) -> int:
    """Attempt TASK again as if it had never been attempted; without TASK all that failed.

    For a session that lives: one that has ended is taken up with `milestonectl run`.

    Exit codes: 0 done; 1 no such task, or one that neither failed nor was skipped; 69 nobody supervises this project.
    """
    results = ask(ctx, "retry", as_json=as_json, timeout=timeout, tasks=tasks, session=session)
    if not results and not as_json:
        click.echo("no task has failed")
    return print_named(results, as_json=as_json)
