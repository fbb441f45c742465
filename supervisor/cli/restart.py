"""``milestonectl restart``: stop and start again."""

from __future__ import annotations

from typing import Any

import click

from supervisor.cli.reaching import order
from supervisor.cli.verbs import names_argument, timeout_option, verb, wait_option


@verb("restart", "milestonectl restart milestone-001:progress_monitor")
@names_argument("NAME...")
@wait_option("Answer when it is ready again (the default), or at once.")
@timeout_option
def command(ctx: click.Context, **asked: Any) -> int:  # noqa: ANN401 - of the types of the options
    """Stop NAME and start it again: a session under milestoned, or roles (SESSION:ROLE, SESSION:*).

    A milestone of which no session lives is only started.

    Exit codes: 0 restarted; 1 no such name, or no answer in time; 2 invalid file; 7 it did not come up, or nothing of
    that name lives; 69 nobody supervises this project; 75 a session of `milestonectl run`, which ends with it.
    """
    return order(ctx, "restart", **asked)
