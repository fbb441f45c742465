"""``milestonectl cancel``: end sessions for good."""

from __future__ import annotations

from typing import Any

import click

from supervisor.cli.reaching import order
from supervisor.cli.verbs import names_argument, timeout_option, verb, wait_option


@verb("cancel", "milestonectl cancel milestone-001")
@names_argument("NAME...")
@wait_option("Answer when nothing of it lives (the default), or at once.")
@timeout_option
def command(ctx: click.Context, **asked: Any) -> int:  # noqa: ANN401 - of the types of the options
    """End the session NAME (a session, a milestone, or all) for good: it is not taken up again.

    What is completed stays so; running the milestone again begins a new session with the rest.

    Exit codes: 0 cancelled; 1 no such session, or no answer in time; 7 it does not live; 69 nobody supervises
    this project.
    """
    return order(ctx, "cancel", **asked)
