"""How a verb is written: a function under :func:`verb`, with its arguments and options between the two.

Owns what all verbs have in common: help by ``-h``, an example, ``--json``, and the arguments and options that several
share. Refuses to know any verb.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import click

from supervisor.cli import completing

if TYPE_CHECKING:
    from collections.abc import Callable

_DOCUMENT: Final = "One JSON document on standard output."
OBJECT_PER_EVENT: Final = "One JSON object per event on standard output."
OBJECT_PER_PICTURE: Final = "One JSON object per picture on standard output."
OBJECT_PER_LINE: Final = "One JSON object per line on standard output."


LONGEST_SECONDS: Final = 7 * 86_400.0
"""The longest time that an option takes; the system's calls that wait take no more than 24 days."""


class Seconds(click.FloatRange):
    """A number of seconds within a range, which *not a number* is not."""

    def convert(self, value: float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number of seconds.", param, ctx)
        return number


def verb(name: str, example: str, *, json: str = _DOCUMENT) -> Callable[[Callable[..., object]], click.Command]:
    """Make a function a verb.

    Args:
        name: As one types it.
        example: Shown at the end of its help.
        json: Help of ``--json``.
    """

    def make(function: Callable[..., object]) -> click.Command:
        settings = {"help_option_names": ["-h", "--help"]}
        command = click.command(name, epilog=f"Example: {example}", context_settings=settings)(
            click.pass_context(function)
        )
        command.params.append(click.Option(["--json", "as_json"], is_flag=True, help=json))
        return command

    return make


def names_argument(metavar: str = "[NAME]...") -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Take sessions, milestones and roles; at least one where the metavar has no brackets."""
    required = not metavar.startswith("[")
    return click.argument("names", metavar=metavar, nargs=-1, required=required, shell_complete=completing.sessions)


def tasks_argument(metavar: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Take tasks; at least one where the metavar has no brackets."""
    required = not metavar.startswith("[")
    return click.argument("tasks", metavar=metavar, nargs=-1, required=required, shell_complete=completing.tasks)


def wait_option(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let one say whether the answer comes when the thing has happened."""
    return click.option("--wait/--no-wait", default=True, help=text)


json_option = click.option("--json", "as_json", is_flag=True, help=_DOCUMENT)

session_option = click.option(
    "--session",
    default="",
    shell_complete=completing.sessions,
    metavar="NAME",
    help="Session or milestone, where several live.",
)

timeout_option = click.option(
    "--timeout",
    type=Seconds(min=0.0, max=LONGEST_SECONDS),
    metavar="SECONDS",
    help="Wait no longer than this for the answer.",
)
