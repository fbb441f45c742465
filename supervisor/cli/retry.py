"""``milestonectl retry``: attempt tasks again that failed or were skipped."""

from __future__ import annotations

import click

from supervisor.cli.reaching import ask, print_named
from supervisor.cli.verbs import session_option, tasks_argument, timeout_option, verb


@verb("retry", "milestonectl retry task-007")
@tasks_argument("[TASK]...")
@session_option
@timeout_option
def command(ctx: click.Context, tasks: tuple[str, ...], *, session: str, timeout: float | None, as_json: bool) -> int:
    """Attempt TASK again as if it had never been attempted; without TASK all that failed.

    For a session that lives: one that has ended is taken up with `milestonectl run`.

    Exit codes: 0 done; 1 no such task, or one that neither failed nor was skipped; 7 no session lives; 69 nobody
    supervises this project.
    """
    results = ask(ctx, "retry", as_json=as_json, timeout=timeout, tasks=tasks, session=session)
    if not results and not as_json:
        click.echo("no task has failed")
    return print_named(results, as_json=as_json)
