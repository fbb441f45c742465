"""Reaching whoever supervises a project, for commands that want something of it.

Owns the way to the control socket, the waiting, and how answers about names are printed. Refuses to know verbs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from supervisor.cli.output import CommandError, escaped, print_json, require_project
from supervisor.client import AnswerTimeoutError, CallFailedError, Client, LostError, NoDaemonError
from supervisor.control_socket import control_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NOBODY: Final = 69
"""Nobody supervises the project."""

UNANSWERED: Final = 1


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


def order(ctx: click.Context, verb: str, *, as_json: bool, timeout: float | None, **args: object) -> int:
    """Have something done about names, print what became of each, and return the exit code; raises as :func:`ask`."""
    return print_named(ask(ctx, verb, as_json=as_json, timeout=timeout, **args), as_json=as_json)


def ask_if_there(project: Path, verb: str, timeout: float, **args: object) -> Any:  # noqa: ANN401 - as of the verb
    """Ask whoever supervises a project; ``None`` when nobody does, or cannot answer that now.

    Raises:
        AnswerTimeoutError: Somebody is there, and has not answered in time.
    """
    try:
        with Client(control_path(project), timeout) as client:
            return client.ask(verb, **args)
    except (NoDaemonError, CallFailedError, LostError, OSError):
        return None


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
    project = require_project(ctx, as_json=as_json)
    try:
        return Client(control_path(project), timeout)
    except NoDaemonError as error:
        raise nobody(project, as_json=as_json) from error


def nobody(project: Path, *, as_json: bool) -> CommandError:
    """Return the failure of a command that needs somebody who supervises the project, and can be reached."""
    from actors.paths import ProjectPaths  # noqa: PLC0415 - not for who is answered
    from supervisor.lock import read_holder  # noqa: PLC0415

    try:
        holder = read_holder(ProjectPaths(project))
    except OSError:
        holder = None
    if holder is not None:
        line = f"{holder} supervises {project}, and nobody listens at its control socket: it begins, ends, or lost it"
        end = f"; to end it in order: kill {holder.pid}" if holder.pid else ""
        return CommandError(NOBODY, line, f"look closer with: milestonectl doctor{end}", as_json=as_json)
    line = f"nobody supervises {project} at present"
    hint = "begin with: milestonectl run ID, or start milestoned"
    return CommandError(NOBODY, line, hint, as_json=as_json)


def _lost(*, as_json: bool) -> CommandError:
    line = "the supervising process went away before it answered"
    return CommandError(NOBODY, line, "look with: milestonectl status", as_json=as_json)
