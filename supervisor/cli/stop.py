"""``milestonectl stop``: end sessions in order; they stay resumable."""

from __future__ import annotations

from typing import Any

import click

from supervisor.cli.reaching import order
from supervisor.cli.verbs import names_argument, timeout_option, verb, wait_option


@verb("stop", "milestonectl stop milestone-001")
@names_argument()
@wait_option("Answer when nothing of it lives (the default), or at once.")
@timeout_option
def command(ctx: click.Context, **asked: Any) -> int:  # noqa: ANN401 - of the types of the options
    """End the session NAME (a session, a milestone, or all) as Ctrl-C does; without NAME the one that lives.

    Running tasks are asked to end, and killed after their grace; `run` or `start` goes on. NAME may also be a role
    (SESSION:ROLE, SESSION:*), which stays stopped until it is started.

    Exit codes: 0 stopped; 1 no such name, or no answer in time; 2 several sessions live and none was named; 7 it
    does not live, or no session does; 69 nobody supervises this project.
    """
    return order(ctx, "stop", **asked)
