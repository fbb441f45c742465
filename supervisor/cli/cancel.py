"""``milestonectl cancel``: end sessions for good."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from supervisor.cli.output import CommandError, require_project
from supervisor.cli.reaching import NOBODY, order, print_named
from supervisor.cli.verbs import names_argument, timeout_option, verb, wait_option

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@verb("cancel", "milestonectl cancel milestone-001")
@names_argument("NAME...")
@wait_option("Answer when nothing of it lives (the default), or at once.")
@timeout_option
def command(ctx: click.Context, **asked: Any) -> int:  # noqa: ANN401 - of the types of the options
    """End the session NAME (a session, a milestone, or all) for good: it is not taken up again.

    What is completed stays so; running the milestone again begins a new session with the rest. A session that does not
    live, and neither completed nor was cancelled, is ended for good as well, also where nobody supervises the project:
    its worktrees are removed, and what had not landed is archived.

    Exit codes: 0 cancelled; 1 no such session, or no answer in time; 7 it does not live, and there is nothing to
    cancel; 69 nobody supervises this project, and of no NAME there is anything to cancel; as of `run` where the
    project's journal cannot be used.
    """
    try:
        return order(ctx, "cancel", **asked)
    except CommandError as error:
        if error.code != NOBODY:
            raise
        results = _cancel_here(require_project(ctx, as_json=asked["as_json"]), asked["names"], as_json=asked["as_json"])
        if results is None:
            raise
        return print_named(results, as_json=asked["as_json"])


def _cancel_here(project: Path, names: Sequence[str], *, as_json: bool) -> list[dict[str, Any]] | None:
    """Cancel sessions of a project that nobody supervises; ``None`` where nothing is to be cancelled.

    Raises:
        CommandError: The project cannot be had, or its journal cannot be used.
    """
    from actors.paths import ProjectPaths  # noqa: PLC0415 - not for who is answered
    from supervisor.beginning import RunRefusedError  # noqa: PLC0415
    from supervisor.cancelling import cancel_here  # noqa: PLC0415
    from supervisor.config import ConfigError, load_config  # noqa: PLC0415
    from supervisor.desk import BY_HAND  # noqa: PLC0415

    paths = ProjectPaths(project)
    try:
        slots = load_config(project, os.environ).settings.slots_directory
        found = cancel_here(paths, names, f"cancelled {BY_HAND}", slots)
    except ConfigError as error:
        raise CommandError(78, *map(str, error.problems), as_json=as_json) from error
    except RunRefusedError as error:
        raise CommandError(error.code, *error.lines, as_json=as_json) from error
    return None if found is None else [{"name": one.name, "code": one.code, "text": one.text} for one in found]
