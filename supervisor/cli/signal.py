"""``milestonectl signal``: send a signal to roles."""

from __future__ import annotations

from typing import Any

import click

from supervisor.cli import completing
from supervisor.cli.reaching import order
from supervisor.cli.verbs import names_argument, timeout_option, verb


@verb("signal", "milestonectl signal KILL milestone-001:progress_monitor")
@click.argument("signal", metavar="SIGNAL", shell_complete=completing.signal_names)
@names_argument("NAME...")
@timeout_option
def command(ctx: click.Context, **asked: Any) -> int:  # noqa: ANN401 - of the types of the options
    """Send SIGNAL (HUP, SIGHUP or 1) to the process of each NAME: SESSION:ROLE, SESSION:*, a session, or all.

    A role handles TERM alone, by ending in order; whichever signal ends one, it is replaced.

    Exit codes: 0 signalled; 1 no such name or signal, or no answer in time; 7 not running; 69 nobody supervises this
    project.
    """
    return order(ctx, "signal", **asked)
