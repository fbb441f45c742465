"""Milestone files for the command line: found by name, read, and compared with each other.

Owns how a name that somebody types becomes a file, and which findings about several milestones are errors before a
run. Refuses to know what the commands do with them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import attrs

from actors.attempts import missing_agents
from actors.problems import Lines, Problem, Severity
from actors.survey import Survey
from actors.validation import MilestoneCycle, MissingPrerequisite, as_problem, check, subject_of
from supervisor.cli.output import FAILED, INVALID, CommandError
from supervisor.finding import NoMilestoneError, find_milestone, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from actors.events import Settings
    from actors.model import Milestone
    from actors.paths import ProjectPaths
    from actors.preflight import Surroundings
    from actors.reader import Reading
    from actors.validation import Finding, Subject

_USED_SUFFIX: Final = ".yaml"


def survey(project: Path) -> Surroundings:
    """Read all milestone files of a project."""
    found = Survey(project)
    found.look()
    found.read_some(math.inf)
    return found.surroundings()


def check_name(paths: ProjectPaths, milestone_id: str, *, as_json: bool, completed_too: bool = False) -> None:
    """See that there is an active milestone of this name, or with ``completed_too`` a completed one.

    Raises:
        CommandError: There is none; says what was probably meant.
    """
    try:
        find_milestone(paths, milestone_id)
    except NoMilestoneError as error:
        if not (completed_too and error.is_completed):
            raise CommandError(FAILED, *error.lines, as_json=as_json) from error


def read_one(paths: ProjectPaths, milestone_id: str, *, as_json: bool) -> Milestone:
    """Read the active milestone of a name.

    Raises:
        CommandError: There is none (1), or its file is not valid (2): all of its problems are said.
    """
    from actors.files import read_milestone_file  # noqa: PLC0415

    check_name(paths, milestone_id, as_json=as_json)
    reading = read_milestone_file(paths.file(milestone_id))
    if reading.milestone is None:
        lines = [str(attrs.evolve(problem, path=shown(problem.path))) for problem in reading.errors]
        raise CommandError(INVALID, f"{milestone_id} cannot be used:", *lines, as_json=as_json)
    return reading.milestone


def set_problems(surroundings: Surroundings, only: Collection[str] | None) -> Iterator[Problem]:
    """Yield what is wrong between the active milestones.

    A milestone that waits for another active one is nothing wrong: it is a warning here, while a run is refused.

    Args:
        surroundings: All milestone files.
        only: Ids of the milestones that are of interest, ``None`` for all.
    """
    subjects: dict[str, Subject] = {}
    for reading in surroundings.active.values():
        subject = subject_of(reading)
        if subject is None:
            continue
        other = subjects.setdefault(subject.milestone.id, subject)
        if other is not subject:
            message = f"the id {subject.milestone.id!r} is also that of {other.path}; give each its own"
            yield Problem(subject.path, 1, 1, message)
    for finding in check(tuple(subjects.values()), surroundings.completed_ids):
        if only is None or any(name in only for name in _concerned(finding)):
            problem = as_problem(finding)
            waits = isinstance(finding, MissingPrerequisite) and finding.is_active
            yield attrs.evolve(problem, severity=Severity.WARNING) if waits else problem


def _concerned(finding: Finding) -> tuple[str, ...]:
    match finding:
        case MilestoneCycle(text=text):
            return tuple(text.split(" -> "))
        case MissingPrerequisite(milestone=milestone):
            return (milestone,)
        case _:
            return (finding.milestone, finding.other)


def file_warnings(reading: Reading, settings: Settings) -> Iterator[Problem]:
    """Yield what the file itself does not show: its name, and agent runners that nobody configured."""
    if not reading.path.endswith(_USED_SUFFIX):
        message = f"milestones are found as <id>{_USED_SUFFIX}: rename the file, or no run will find it"
        yield Problem(reading.path, 1, 1, message, Severity.WARNING)
    if reading.milestone is None or reading.marks is None:
        return
    lines = Lines(reading.marks.text)
    for message in missing_agents(reading.milestone, settings):
        # The line begins with the tasks that it is about: "task a: ..." or "tasks a, b: ...".
        first = message.partition(":")[0].split()[1:2]
        mark = reading.marks.tasks.get(first[0].rstrip(",")) if first else None
        line, column = (1, 1) if mark is None else lines.place(mark.id.start)
        yield Problem(reading.path, line, column, message, Severity.WARNING)
