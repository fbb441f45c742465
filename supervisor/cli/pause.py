"""``milestonectl pause``: start nothing new; what runs finishes."""

from __future__ import annotations

from typing import Any

import click

from supervisor.cli.reaching import order
from supervisor.cli.verbs import names_argument, timeout_option, verb


@verb("pause", "milestonectl pause milestone-001")
@names_argument()
@timeout_option
def command(ctx: click.Context, **asked: Any) -> int:  # noqa: ANN401 - of the types of the options
    """Start no further task in the session NAME (a session, a milestone, or all); without NAME the one that lives.

    Running tasks finish and are committed. `milestonectl resume` goes on.

    Exit codes: 0 paused; 1 no such session, or no answer in time; 7 it does not live; 69 nobody supervises
    this project.
    """
    return order(ctx, "pause", **asked)
