"""Reaching whoever supervises a project, for commands that want something of it.

Owns the way to the control socket, the waiting, and how answers about names are printed. Refuses to know verbs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from actors.paths import ProjectPaths
from supervisor.cli import completing
from supervisor.cli.output import CommandError, escaped, print_json, require_project
from supervisor.client import AnswerTimeoutError, CallFailedError, Client, LostError, NoDaemonError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NOBODY: Final = 69
"""Nobody supervises the project."""

UNANSWERED: Final = 1

session_option = click.option(
    "--session",
    default="",
    shell_complete=completing.sessions,
    metavar="NAME",
    help="Session or milestone, where several live.",
)

timeout_option = click.option(
    "--timeout", type=click.FloatRange(min=0.0), metavar="SECONDS", help="Wait no longer than this for the answer."
)


def ask(ctx: click.Context, verb: str, *, as_json: bool, timeout: float | None = None, **args: object) -> Any:  # noqa: ANN401 - the result's shape is the verb's
    """Ask whoever supervises the project, and wait for the answer.

    Args:
        ctx: Of the command.
        verb: One of :data:`supervisor.protocol.VERBS`.
        as_json: Whether a failure is JSON too.
        timeout: Seconds to wait; ``None`` waits for ever.
        args: Fields of the request.

    Raises:
        CommandError: Nobody is there (69), or it answered with a failure, or not in time (1).
    """
    with _connected(ctx, timeout, as_json=as_json) as client:
        try:
            return client.ask(verb, **args)
        except CallFailedError as error:
            raise CommandError(error.code, *error.lines, as_json=as_json) from error
        except AnswerTimeoutError as error:
            line = f"no answer within {timeout:g} s; what was asked for may still happen"
            raise CommandError(UNANSWERED, line, "look with: milestonectl status", as_json=as_json) from error
        except LostError as error:
            raise _lost(as_json=as_json) from error


def follow(ctx: click.Context, verb: str, *, as_json: bool, **args: object) -> Iterator[Any]:
    """Ask, and yield items until the answer comes; errors as of :func:`ask`."""
    with _connected(ctx, None, as_json=as_json) as client:
        try:
            yield from client.follow(verb, **args)
        except CallFailedError as error:
            raise CommandError(error.code, *error.lines, as_json=as_json) from error
        except LostError as error:
            raise _lost(as_json=as_json) from error


def code_of(results: Sequence[dict[str, Any]]) -> int:
    """Return the exit code of answers about names: that of the last one that failed."""
    return next((int(one["code"]) for one in reversed(results) if one["code"]), 0)


def print_named(results: Sequence[dict[str, Any]], *, as_json: bool) -> int:
    """Print what became of each name, and return the exit code: that of the last one that failed."""
    code = code_of(results)
    if as_json:
        print_json({"results": list(results), "exit_code": code})
        return code
    for one in results:
        text = f"ERROR ({one['text']})" if one["code"] else one["text"]
        click.echo(escaped(f"{one['name']}: {text}"))
    return code


def _connected(ctx: click.Context, timeout: float | None, *, as_json: bool) -> Client:
    paths = ProjectPaths(require_project(ctx, as_json=as_json))
    try:
        return Client(paths.control, timeout)
    except NoDaemonError as error:
        line = f"nobody supervises {paths.project} at present"
        hint = "begin with: milestonectl run ID, or start milestoned"
        raise CommandError(NOBODY, line, hint, as_json=as_json) from error


def _lost(*, as_json: bool) -> CommandError:
    line = "the supervising process went away before it answered"
    return CommandError(NOBODY, line, "look with: milestonectl status", as_json=as_json)
