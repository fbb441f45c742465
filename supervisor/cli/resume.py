"""``milestonectl resume``: go on with a paused session."""

from __future__ import annotations

from typing import Any

import click

from supervisor.cli.reaching import order
from supervisor.cli.verbs import names_argument, timeout_option, verb


@verb("resume", "milestonectl resume milestone-001")
@names_argument()
@timeout_option
def command(ctx: click.Context, **asked: Any) -> int:  # noqa: ANN401 - of the types of the options
    """Start tasks again in the paused session NAME (a session, a milestone, or all); without NAME the one that lives.

    A session that was interrupted, so that nobody supervises it, is taken up with `milestonectl run`.

    Exit codes: 0 resumed; 1 no such session, or no answer in time; 7 it does not live; 69 nobody supervises
    this project.
    """
    return order(ctx, "resume", **asked)
