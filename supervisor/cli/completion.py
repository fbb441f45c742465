"""``milestonectl completion``: what a shell has to read so that Tab completes."""

from __future__ import annotations

import click

from supervisor.cli import COMPLETE_VARIABLE
from supervisor.cli.output import print_json
from supervisor.cli.shells import SHELLS, script
from supervisor.cli.verbs import verb


@verb("completion", "milestonectl completion bash >> ~/.bashrc")
@click.argument("shell", type=click.Choice(SHELLS))
def command(ctx: click.Context, shell: str, *, as_json: bool) -> int:
    """Print the completion script of a shell: for commands, options, milestones, sessions, roles and tasks.

    Exit codes: 0 printed; 2 no such shell.
    """
    text = script(ctx.find_root().command, shell, COMPLETE_VARIABLE)
    if as_json:
        print_json({"shell": shell, "script": text})
    else:
        click.echo(text, nl=False)
    return 0
