"""``milestonectl pid``: process ids."""

from __future__ import annotations

import click

from supervisor.cli.output import print_json
from supervisor.cli.reaching import ask, code_of, print_named
from supervisor.cli.verbs import names_argument, timeout_option, verb


@verb("pid", "milestonectl pid milestone-001:task_executor")
@names_argument()
@timeout_option
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
