"""``milestonectl plan``: what a milestone would do and how long it would take, before anything is started.

Owns the report; waves, critical path and schedule are :mod:`actors.plan`'s. Durations measured in former sessions come
from the journal, which is only read.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
import click

from actors.model import FileStatus
from actors.paths import ProjectPaths
from actors.plan import ASSUMED_SECONDS, DurationSource, Plan, Schedule
from actors.wording import duration_text
from supervisor.cli import completing
from supervisor.cli.gantt import BLOCKS, PLAIN_BLOCKS, gantt
from supervisor.cli.journaled import readable
from supervisor.cli.milestones import read_one, set_problems, survey
from supervisor.cli.output import (
    config_option,
    configuration_error,
    count,
    harmless,
    print_json,
    printable,
    require_project,
)
from supervisor.cli.verbs import verb
from supervisor.config import ConfigError, load_config
from supervisor.finding import shown
from supervisor.sessions import measured_seconds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from actors.model import Milestone
    from actors.problems import Problem

MOST_NAMES: Final = 60
"""Tasks of a wave, or of the critical path, that are named to people; programs get all."""

_INDENT: Final = "  "

_SOURCE_WORDS: Final = {
    DurationSource.MEASURED: "measured in former sessions",
    DurationSource.ESTIMATED: "from estimated_hours",
    DurationSource.ASSUMED: f"assumed ({ASSUMED_SECONDS:.0f}s each, nothing is known)",
    DurationSource.FINISHED: "finished already",
}


@attrs.frozen
class Forecast:
    """Everything that is shown.

    Attributes:
        milestone: As its file has it.
        plan: Of the milestone without its unreachable tasks.
        schedule: On the slots that there are.
        unreachable: Tasks that can never run, because one that they depend on is cancelled.
        problems: What keeps the milestone from starting now, or should be known before.
    """

    milestone: Milestone
    plan: Plan
    schedule: Schedule
    unreachable: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def sequential(self) -> float:
        """Seconds that the tasks take one after the other."""
        return sum(one.end - one.start for one in self.schedule.tasks)

    @property
    def speedup(self) -> float:
        """How many times as fast as one after the other."""
        return self.sequential / self.schedule.total if self.schedule.total else 1.0


@verb("plan", "milestonectl plan milestone-001 --max-parallel 8")
@click.argument("milestone", metavar="ID", shell_complete=completing.milestones)
@click.option("-j", "--max-parallel", type=click.IntRange(1, 1000), metavar="N", help="Predict for so many at once.")
@config_option
def command(
    ctx: click.Context, milestone: str, *, max_parallel: int | None, config: Path | None, as_json: bool
) -> None:
    """Show the waves, the critical path and the predicted schedule of the milestone ID. Nothing is started.

    A task takes as long as it took in the latest session, else its estimated_hours, else a minute.

    Exit codes: 0 planned; 1 not found; 2 invalid file; 78 configuration or journal.
    """
    paths = ProjectPaths(require_project(ctx, as_json=as_json))
    read = read_one(paths, milestone, as_json=as_json)
    slots = max_parallel or _configured(paths, config, as_json=as_json)
    gone = _unreachable(read)
    with readable(as_json=as_json):
        measured = measured_seconds(paths, read.id)
    plan = Plan.of(_without(read, gone), measured)
    forecast = Forecast(
        read,
        plan,
        plan.makespan(slots),
        tuple(task.id for task in read.tasks if task.id in gone),
        tuple(set_problems(survey(paths.project), {read.id})),
    )
    if as_json:
        print_json(_as_json(forecast))
        return
    for line in _text(forecast):
        click.echo(harmless(line))


def _unreachable(milestone: Milestone) -> set[str]:
    """Return the tasks that wait for a cancelled one, which will never be completed."""
    cancelled = [task.id for task in milestone.tasks if task.status is FileStatus.CANCELLED]
    return Plan.of(milestone).unreachable(cancelled) - _finished(milestone) if cancelled else set()


def _finished(milestone: Milestone) -> set[str]:
    return {task.id for task in milestone.tasks if task.status in {FileStatus.COMPLETED, FileStatus.CANCELLED}}


def _without(milestone: Milestone, gone: Collection[str]) -> Milestone:
    """Return a milestone in which some tasks count as cancelled: nothing is predicted of what never runs."""
    tasks = (attrs.evolve(one, status=FileStatus.CANCELLED) if one.id in gone else one for one in milestone.tasks)
    return attrs.evolve(milestone, tasks=tuple(tasks))


def _configured(paths: ProjectPaths, config: Path | None, *, as_json: bool) -> int:
    try:
        return load_config(paths.project, os.environ, config).settings.max_parallel
    except ConfigError as error:
        raise configuration_error(error, as_json=as_json) from error


def _text(forecast: Forecast) -> Iterable[str]:
    plan, schedule = forecast.plan, forecast.schedule
    width = shutil.get_terminal_size((80, 24)).columns
    sources = Counter(plan.sources.values())
    finished = len(_finished(forecast.milestone))
    yield click.style(f"{plan.milestone.id}: {plan.milestone.title}", bold=True)
    yield f"{count(len(plan.order), 'task')}, {finished} finished; {count(len(plan.waves), 'wave')}"
    for source, word in _SOURCE_WORDS.items():
        if source is not DurationSource.FINISHED and sources[source]:
            yield f"{_INDENT}duration of {count(sources[source], 'task')}: {word}"
    yield from _warnings(forecast)
    for number, wave in enumerate(plan.waves, 1):
        yield from _wrapped(f"Wave {number:<3}", wave, " ", width)
    if not schedule.tasks:
        yield "Nothing is left to do."
        return
    yield from _wrapped(f"Critical path, {duration_text(plan.critical_seconds)}: ", plan.critical_path, " > ", width)
    yield ""
    yield from gantt(plan, schedule, width, BLOCKS if printable("".join(BLOCKS)) else PLAIN_BLOCKS)
    yield ""
    yield click.style(
        f"Predicted with {schedule.max_parallel} at once: {duration_text(schedule.total)}, "
        f"{forecast.speedup:.1f}x as fast as one after the other ({duration_text(forecast.sequential)})",
        bold=True,
    )
    yield f"No schedule takes less than {duration_text(schedule.bound)}."


def _warnings(forecast: Forecast) -> Iterable[str]:
    for problem in forecast.problems:
        place = f"{shown(problem.path)}:{problem.line}:{problem.column}"
        yield click.style(f"{place}: {problem.message}", fg="red" if problem.is_error else "yellow")
    blocked = [task.id for task in forecast.milestone.tasks if task.status is FileStatus.BLOCKED]
    if blocked:
        yield click.style(f"Blocked by their status, and tried again by a run: {', '.join(blocked)}", fg="yellow")
    if forecast.unreachable:
        what = ", ".join(forecast.unreachable)
        yield click.style(f"Never run, because they depend on a cancelled task: {what}", fg="red")


def _wrapped(head: str, words: Sequence[str], between: str, width: int) -> Iterable[str]:
    """Yield a heading and its words in lines of a width; words are never cut, but there may be too many."""
    line, is_empty = head, True
    more = (f"and {len(words) - MOST_NAMES:,} more",) if len(words) > MOST_NAMES else ()
    for word in (*words[:MOST_NAMES], *more):
        piece = word if is_empty else between + word
        if not is_empty and len(line) + len(piece) > width:
            yield line
            line, piece = " " * 8, between.lstrip() + word
        line, is_empty = line + piece, False
    yield line


def _as_json(forecast: Forecast) -> dict[str, object]:
    plan, schedule = forecast.plan, forecast.schedule
    when = {one.task: one for one in schedule.tasks}
    critical, unreachable = set(plan.critical_path), set(forecast.unreachable)
    return {
        "milestone_id": plan.milestone.id,
        "title": plan.milestone.title,
        "max_parallel": schedule.max_parallel,
        "waves": [list(wave) for wave in plan.waves],
        "critical_path": list(plan.critical_path),
        "critical_seconds": plan.critical_seconds,
        "predicted_seconds": schedule.total,
        "sequential_seconds": forecast.sequential,
        "bound_seconds": schedule.bound,
        "speedup": round(forecast.speedup, 3),
        "unreachable": list(forecast.unreachable),
        "problems": [
            {
                "path": shown(one.path),
                "line": one.line,
                "column": one.column,
                "severity": one.severity.value,
                "message": one.message,
            }
            for one in forecast.problems
        ],
        "tasks": [
            {
                "id": task.id,
                "title": task.title,
                "status": task.status.value,
                "depends_on": list(task.depends_on),
                "seconds": plan.seconds[task.id],
                "source": None if task.id in unreachable else plan.sources[task.id].value,
                "start": when[task.id].start if task.id in when else None,
                "end": when[task.id].end if task.id in when else None,
                "slot": when[task.id].slot if task.id in when else None,
                "critical": task.id in critical,
            }
            for task in forecast.milestone.tasks
        ],
    }
