"""``milestonectl pid``: process ids."""

from __future__ import annotations

import click

from supervisor.cli import completing
from supervisor.cli.output import json_option, print_json
from supervisor.cli.reaching import ask, code_of, print_named, timeout_option


@click.command(
    "pid",
    epilog="Example: milestonectl pid milestone-001:task_executor",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=completing.sessions)
@timeout_option
@json_option
@click.pass_context
def command(ctx: click.Context, names: tuple[str, ...], *, timeout: float | None, as_json: bool) -> int:
    """Print the process id of each NAME: SESSION:ROLE, SESSION:*, a session, or all; without NAME the supervisor's own.

    A role that does not run has the process id 0.

    Exit codes: 0 all run; 1 no such name, or no answer in time; 7 one does not run; 69 nobody supervises this project.
    """
    results = ask(ctx, "pid", as_json=as_json, timeout=timeout, names=names)
    if as_json:
        print_json({"results": results, "exit_code": code_of(results)})
        return code_of(results)
    for one in results:
        if one["text"].isdigit():
            click.echo(one["text"])
        else:
            print_named([one], as_json=False)
    return code_of(results)
