"""``milestonectl doctor``: what is wrong with the machine, the environment and the project, each with its cure.

Owns the order and the report. The checks change nothing.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from actors.paths import ProjectPaths
from actors.surroundings import slots_directory
from supervisor.cli import fitness, machine_checks, project_checks
from supervisor.cli.diagnosis import Finding, Level, exit_code, warning
from supervisor.cli.output import (
    CONFIGURATION,
    CommandError,
    count,
    escaped,
    find_project,
    print_json,
)
from supervisor.cli.verbs import verb
from supervisor.lock import read_holder

if TYPE_CHECKING:
    from collections.abc import Iterator

_COLOURS: Final = {Level.OK: "green", Level.WARNING: "yellow", Level.ERROR: "red"}


@verb("doctor", "milestonectl doctor")
def command(ctx: click.Context, *, as_json: bool) -> int:
    """Look for what is wrong with the machine, the environment and the project, and say what to do about it.

    Nothing is changed, and nobody is disturbed: it may be asked beside a run.

    Exit codes: 0 nothing is an error (warnings allowed); 1 something is; 78 it cannot look.
    """
    paths = ProjectPaths(find_project(ctx))
    try:
        findings = list(_examine(paths, as_json=as_json))
    except PermissionError as failure:
        line = f"{failure.filename or paths.milestones} cannot be looked at: {failure.strerror}"
        raise CommandError(CONFIGURATION, line, "ask as the user who owns the project", as_json=as_json) from failure
    code = exit_code(findings)
    if as_json:
        print_json({"project": str(paths.project), "findings": list(map(_as_json, findings)), "exit_code": code})
    else:
        _print(findings)
    return code


def _examine(paths: ProjectPaths, *, as_json: bool) -> Iterator[Finding]:
    yield from machine_checks.check_machine(fitness.look())
    settings, found = project_checks.check_configuration(paths.project)
    yield from machine_checks.check_containment(settings.containment)
    yield from machine_checks.check_disk(paths.project, "the project")
    slots = Path(slots_directory(str(paths.project), settings.slots_directory))
    yield from machine_checks.check_disk(slots, "worktrees")
    yield from found
    try:
        mode = paths.milestones.stat().st_mode
    except FileNotFoundError:
        why = "neither here nor above, up to the top of the repository"
        yield warning("there is no .milestones directory", str(paths.project), why, "milestonectl init")
        return
    if not stat.S_ISDIR(mode):
        raise CommandError(CONFIGURATION, f"{paths.milestones} is no directory", "move it away", as_json=as_json)
    yield from project_checks.check_permissions(paths)
    holder = read_holder(paths)
    yield from project_checks.check_supervision(paths, holder)
    yield from project_checks.check_journal(paths, holder)
    yield from project_checks.check_leftovers(paths)
    yield from project_checks.check_worktrees(paths, slots)


def _print(findings: list[Finding]) -> None:
    for one in findings:
        place = f" ({one.where})" if one.where and one.level is Level.OK else ""
        click.echo(click.style(f"{one.level.value:<9}", fg=_COLOURS[one.level]) + _line(one.what + place))
        details = (("where", one.where), ("why", one.why), ("cure", one.cure)) if one.level is not Level.OK else ()
        for word, text in details:
            if text:
                click.echo(f"{'':<9}{word + ':':<7}{_line(text)}")
    errors = sum(one.level is Level.ERROR for one in findings)
    warnings = sum(one.level is Level.WARNING for one in findings)
    colour = _COLOURS[Level.ERROR if errors else Level.WARNING if warnings else Level.OK]
    click.secho(f"{count(errors, 'error')}, {count(warnings, 'warning')}", fg=colour)


def _line(text: str) -> str:
    return escaped(text)


def _as_json(one: Finding) -> dict[str, str]:
    return {"level": one.level.value, "what": one.what, "where": one.where, "why": one.why, "cure": one.cure}
