"""``milestonectl start``: begin sessions under ``milestoned``."""

from __future__ import annotations

from typing import Any

import click

from supervisor.cli.reaching import order
from supervisor.cli.verbs import names_argument, timeout_option, verb, wait_option


@verb("start", "milestonectl start milestone-001")
@names_argument("ID...")
@wait_option("Answer when its roles are ready (the default), or at once.")
@timeout_option
def command(ctx: click.Context, **asked: Any) -> int:  # noqa: ANN401 - of the types of the options
    """Begin a session of the milestone ID under milestoned, or go on with its unfinished one.

    ID may also be a role of a live session that was stopped: SESSION:ROLE, or SESSION:*.

    Exit codes: 0 started, or it runs already; 1 no such name, or no answer in time; 2 invalid file; 7 it did not come
    up, or the session of a role does not live; 69 nobody supervises this project; 75 a run of another
    milestone does; 78 configuration.
    """
    return order(ctx, "start", **asked)
