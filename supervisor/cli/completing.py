"""What is offered behind a command when a shell completes it: milestones, sessions, roles, tasks of the project.

Only names of files, the latest projections and the files of milestones that never ran are read, so an answer comes at
once, and beside anything. Every command imports this, so whatever is large is imported by the answer.

Owns the answers. Refuses to know shells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from supervisor.cli.output import find_project

if TYPE_CHECKING:
    from collections.abc import Iterable

    import click

    from actors.paths import ProjectPaths

_MOST_BYTES: Final = 200_000
"""Of a milestone file that is read for its tasks: a larger one takes longer than who types waits."""

_MOST_SESSIONS: Final = 20
"""Sessions that are offered, the newest first."""


def milestones(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Offer the active milestones."""
    return _beginning(_active(_paths(ctx)), incomplete)


def sessions(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Offer milestones and sessions, and behind a colon their roles."""
    paths = _paths(ctx)
    owner, colon, _rest = incomplete.partition(":")
    if colon:
        return _beginning((f"{owner}:{role}" for role in (*_roles(), "*")), incomplete)
    return _beginning((*_active(paths), *_latest(paths)), incomplete)


def tasks(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Offer the tasks of the latest sessions, and of active milestones that were never started."""
    paths = _paths(ctx)
    return _beginning((*_tasks(paths), *_planned(paths)), incomplete)


def logs(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Offer tasks, milestones and sessions, and behind a colon what has a log in them."""
    paths = _paths(ctx)
    owner, colon, _rest = incomplete.partition(":")
    if colon:
        return _beginning((f"{owner}:{one}" for one in (*_roles(), "supervisor", *_tasks(paths))), incomplete)
    owners = (f"{one}:" for one in (*_active(paths), *_latest(paths)))
    return _beginning((*_tasks(paths), "supervisor", *owners), incomplete)


def signal_names(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Offer the names of signals."""
    import signal as signals  # noqa: PLC0415

    return _beginning((one.name.removeprefix("SIG") for one in signals.Signals), incomplete)


def _roles() -> tuple[str, ...]:
    from actors.state import ROLES, RUNNER  # noqa: PLC0415

    return (*ROLES, RUNNER)


def _paths(ctx: click.Context) -> ProjectPaths:
    from actors.paths import ProjectPaths  # noqa: PLC0415

    root = ctx.find_root()
    root.obj = root.params.get("directory")  # nothing is invoked while words are completed
    return ProjectPaths(find_project(ctx))


def _active(paths: ProjectPaths) -> list[str]:
    from supervisor.finding import known_ids  # noqa: PLC0415

    return known_ids(paths)


def _latest(paths: ProjectPaths) -> list[str]:
    """Return the newest sessions; their ids hold when they began."""
    found = [path.name for path in paths.sessions.glob("exec-*")] if paths.sessions.is_dir() else []
    return sorted(found, key=lambda name: name.rsplit("-", 2)[1:], reverse=True)[:_MOST_SESSIONS]


def _tasks(paths: ProjectPaths) -> list[str]:
    from supervisor.projection import load_session_json  # noqa: PLC0415

    sheets = (load_session_json(paths.session_json(session)) for session in _latest(paths))
    return list(dict.fromkeys(task for sheet in sheets if sheet is not None for task in sheet.tasks))


def _planned(paths: ProjectPaths) -> list[str]:
    """Return the tasks of active milestones that no session has executed, as their files say."""
    from actors.files import read_milestone_file  # noqa: PLC0415

    started = {name.removeprefix("exec-").rsplit("-", 2)[0] for name in _latest(paths)}
    found: list[str] = []
    for milestone_id in _active(paths):
        path = paths.active / f"{milestone_id}.yaml"
        if milestone_id not in started and path.stat().st_size <= _MOST_BYTES:
            milestone = read_milestone_file(path).milestone
            found += [] if milestone is None else [task.id for task in milestone.tasks]
    return found


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]
