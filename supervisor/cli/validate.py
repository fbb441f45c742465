"""``milestonectl validate``: every problem of milestone files, configuration and blocker rules, with its place.

Owns the report. What is wrong is found by the readers; one bad file never stops the others.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import click

from actors.events import Settings
from actors.files import read_milestone_file
from actors.paths import ProjectPaths
from actors.problems import Problem, Severity
from actors.rules_file import read_rules_file
from supervisor.cli import completing
from supervisor.cli.milestones import check_name, file_warnings, set_problems, survey
from supervisor.cli.output import (
    FAILED,
    INVALID,
    CommandError,
    config_option,
    count,
    escaped,
    find_project,
    print_json,
    require_project,
)
from supervisor.cli.verbs import verb
from supervisor.config import ConfigError, load_config
from supervisor.finding import known_ids, shown

if TYPE_CHECKING:
    from actors.preflight import Surroundings
    from actors.reader import Reading

_SUFFIXES: Final = (".yaml", ".yml")


@attrs.frozen
class Report:
    """What was found.

    Attributes:
        readings: Each file that was read, by absolute path.
        problems: All of them, with absolute paths, file by file.
    """

    readings: dict[str, Reading]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> int:
        """How many keep a file from being used."""
        return sum(problem.is_error for problem in self.problems)

    @property
    def warnings(self) -> int:
        """How many do not."""
        return len(self.problems) - self.errors


@verb("validate", "milestonectl validate milestone-001")
@click.argument("milestones", metavar="[ID]...", nargs=-1, shell_complete=completing.milestones)
@config_option
def command(ctx: click.Context, milestones: tuple[str, ...], *, config: Path | None, as_json: bool) -> int:
    """Check milestone files, how they fit together, the configuration and its rules; without ID all active ones.

    An ID may also be the path of a milestone file. Each problem is a line file:line:column: message, a warning one
    with the word before the message.

    Exit codes: 0 valid, warnings allowed; 1 not found; 2 invalid; 74 the milestones cannot be listed.
    """
    named_files = [Path(name) for name in milestones if name.endswith(_SUFFIXES) or os.sep in name]
    ids = [name for name in milestones if Path(name) not in named_files]
    project = find_project(ctx) if named_files and not ids else require_project(ctx, as_json=as_json)
    paths = ProjectPaths(project)
    for milestone_id in ids:
        check_name(paths, milestone_id, as_json=as_json)
    for path in named_files:
        if not path.exists() and not path.is_symlink():
            raise CommandError(FAILED, f"milestone file not found: {path}", as_json=as_json)
    report = _report(paths, ids, named_files, config)
    if as_json:
        print_json(_as_json(report))
    else:
        _print(report, paths)
    return INVALID if report.errors else 0


def _report(paths: ProjectPaths, ids: list[str], named_files: list[Path], config: Path | None) -> Report:
    settings = Settings()
    problems: list[Problem] = []
    try:
        settings = load_config(paths.project, os.environ, config).settings
    except ConfigError as error:
        problems += error.problems
    problems += read_rules_file(paths.project, settings.rules).problems
    if not (ids or named_files):
        known_ids(paths)  # raises where the directory cannot be read, which would pass for an empty one below
    surroundings = survey(paths.project)
    # Links are not followed: a run does not either.
    whole = [Path(os.path.normpath(path.absolute())) for path in named_files]
    readings = {str(path): read_milestone_file(path) for path in whole}
    readings |= _wanted(paths, surroundings, ids, all_of_them=not (ids or named_files))
    for reading in readings.values():
        problems += reading.problems
        problems += file_warnings(reading, settings)
    own = {reading.milestone.id for reading in readings.values() if reading.milestone is not None}
    problems += (
        attrs.evolve(problem, path=str(paths.project / problem.path))
        for problem in set_problems(surroundings, own if ids or named_files else None)
    )
    problems.sort(key=lambda problem: (problem.path, problem.line, problem.column))
    return Report(readings, tuple(dict.fromkeys(problems)))


def _wanted(
    paths: ProjectPaths, surroundings: Surroundings, ids: list[str], *, all_of_them: bool
) -> dict[str, Reading]:
    wanted = {f".milestones/active/{name}.yaml" for name in ids}
    return {
        str(paths.project / path): _absolute(reading, paths.project)
        for path, reading in surroundings.active.items()
        if all_of_them or path in wanted
    }


def _absolute(reading: Reading, project: Path) -> Reading:
    problems = tuple(attrs.evolve(one, path=str(project / one.path)) for one in reading.problems)
    return attrs.evolve(reading, problems=problems, path=str(project / reading.path))


def _print(report: Report, paths: ProjectPaths) -> None:
    for problem in report.problems:
        place = escaped(f"{shown(problem.path)}:{problem.line}:{problem.column}: ")
        word, colour = ("warning: ", "yellow") if problem.severity is Severity.WARNING else ("", "red")
        click.echo(f"{click.style(place, bold=True)}{click.style(escaped(word + problem.message), fg=colour)}")
    if not report.readings:
        click.echo(f"There is no milestone in {shown(paths.active)}/ (an example: milestonectl init --example)")
    tasks = sum(len(one.milestone.tasks) for one in report.readings.values() if one.milestone is not None)
    told = f"{count(report.errors, 'error')}, {count(report.warnings, 'warning')}"
    click.secho(
        f"{count(len(report.readings), 'milestone')}, {count(tasks, 'task')}: {told}",
        fg="red" if report.errors else "green",
    )


def _as_json(report: Report) -> dict[str, object]:
    invalid = {problem.path for problem in report.problems if problem.is_error}
    return {
        "valid": not report.errors,
        "errors": report.errors,
        "warnings": report.warnings,
        "files": [
            {
                "path": shown(path),
                "milestone_id": None if reading.milestone is None else reading.milestone.id,
                "tasks": 0 if reading.milestone is None else len(reading.milestone.tasks),
                "valid": path not in invalid,
            }
            for path, reading in report.readings.items()
        ],
        "problems": [
            {
                "path": shown(problem.path),
                "line": problem.line,
                "column": problem.column,
                "severity": problem.severity.value,
                "message": problem.message,
                "suggestion": problem.suggestion or None,
            }
            for problem in report.problems
        ],
    }
