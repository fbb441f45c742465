"""``milestonectl skip``: leave tasks out."""

from __future__ import annotations

from typing import Any

import click

from supervisor.cli.reaching import order
from supervisor.cli.verbs import session_option, tasks_argument, timeout_option, verb


@verb("skip", "milestonectl skip task-009")
@tasks_argument("TASK...")
@session_option
@timeout_option
def command(ctx: click.Context, **asked: Any) -> int:  # noqa: ANN401 - of the types of the options
    """Leave TASK out: one that waits, or has failed. What depends on it cannot run.

    Its status in the milestone file becomes `cancelled`; `milestonectl retry` brings it back.

    Exit codes: 0 done; 1 no such task, or one that runs or is completed; 7 no session lives; 69 nobody supervises this
    project.
    """
    return order(ctx, "skip", **asked)
