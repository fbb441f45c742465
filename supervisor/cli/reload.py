"""``milestonectl reload``: read the configuration again."""

from __future__ import annotations

import click

from supervisor.cli.output import json_option
from supervisor.cli.reaching import ask, print_named, timeout_option


@click.command(
    "reload",
    epilog="Example: milestonectl reload",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@timeout_option
@json_option
@click.pass_context
def command(ctx: click.Context, *, timeout: float | None, as_json: bool) -> int:
    """Have milestoned read its configuration again, for all its projects, and say what came of it.

    What can be is applied to the sessions that live; the rest counts from their next start. When something is wrong in
    a file nothing is changed.

    Exit codes: 0 done; 1 no answer in time; 69 nobody supervises this project; 75 a run does, which keeps its
    configuration; 78 something in the configuration is wrong.
    """
    return print_named(ask(ctx, "reload", as_json=as_json, timeout=timeout), as_json=as_json)
