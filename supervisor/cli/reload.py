"""``milestonectl reload``: read the configuration again."""

from __future__ import annotations

from typing import Any

import click

from supervisor.cli.reaching import order
from supervisor.cli.verbs import timeout_option, verb


@verb("reload", "milestonectl reload")
@timeout_option
def command(ctx: click.Context, **asked: Any) -> int:  # noqa: ANN401 - of the types of the options
    """Have milestoned read its configuration again, for all its projects, and say what came of it.

    What can be is applied to the sessions that live; the rest counts from their next start. When something is wrong in
    a file nothing is changed.

    Exit codes: 0 done; 1 no answer in time; 69 nobody supervises this project; 75 a run does, which keeps its
    configuration; 78 something in the configuration is wrong.
    """
    return order(ctx, "reload", **asked)
