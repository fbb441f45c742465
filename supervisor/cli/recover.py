"""``milestonectl recover``: say what is wrong with a journal, make one of what is whole, and put the rest aside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import attrs
import click

from actors.editor import EditError
from actors.files import FileChangedError
from actors.paths import ProjectPaths
from supervisor.beginning import RunRefusedError
from supervisor.cli.output import (
    CONFIGURATION,
    IO_ERROR,
    CommandError,
    escaped,
    print_json,
    require_project,
)
from supervisor.cli.verbs import verb
from supervisor.commits_ahead import take_their_word
from supervisor.config import ConfigError, load_config
from supervisor.finding import shown
from supervisor.journal_errors import JournalBrokenError, JournalError, JournalFullError
from supervisor.journal_reader import JournalReader
from supervisor.journal_recover import Found, Recovered, look, recover
from supervisor.leases import left_behind
from supervisor.leftovers import clear_leftovers
from supervisor.lock import LockHeldError, ProjectLock
from supervisor.testimony import testified

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actors.git.trailers import TaskCommit

HELD: Final = 75
"""Another process supervises the project."""


@verb("recover", "milestonectl recover")
def command(ctx: click.Context, *, as_json: bool) -> None:
    """Say what is wrong with the journal; keep its whole beginning, and move everything else aside.

    Nothing is deleted: the damaged files and the projections that knew more stay beside the journal, with names that
    end in .lost-N. What is lost is said, by event and by task. Then the commits of the milestones' branches are
    compared: a task that has one, and that the journal does not know as done, is marked as completed in its milestone
    file, so that it is not executed again; and so is a task of an unfinished session that what was put aside knows to
    be completed. Worktrees that sessions which are over have left are removed, as any start does, and what had not
    landed in them is archived. A journal that is whole and up to date is left alone. Cut short at any moment, it can
    be run again.

    Exit codes: 0 done; 74 reading or writing failed; 75 another process runs here; 78 written by a newer version.
    """
    paths = ProjectPaths(require_project(ctx, as_json=as_json))
    try:
        with ProjectLock.acquire(paths, "milestonectl recover"):
            found = look(paths)
            recovered = recover(paths) if found.fault else Recovered(found.last, found.last)
            marked = take_their_word(paths, testified(paths, recovered.aside))
            tidied = _tidied(paths)
    except LockHeldError as error:
        raise CommandError(HELD, str(error), as_json=as_json) from error
    except RunRefusedError as error:
        raise CommandError(error.code, *error.lines, as_json=as_json) from error
    except (JournalFullError, JournalBrokenError, FileChangedError, EditError, OSError) as error:
        raise CommandError(IO_ERROR, str(error), as_json=as_json) from error
    except JournalError as error:
        raise CommandError(CONFIGURATION, str(error), as_json=as_json) from error
    if as_json:
        print_json({**_document(found, recovered, marked), "tidied": list(tidied)})
        return
    for line in (*_lines(paths, found, recovered, marked), *tidied):
        click.echo(escaped(line))


def _tidied(paths: ProjectPaths) -> tuple[str, ...]:
    """Remove what sessions that are over have left; return what came of it, or why it was not looked for."""
    if not paths.state_db.exists():
        return ()
    try:
        slots = load_config(paths.project, os.environ).settings.slots_directory
    except ConfigError as error:
        return (f"worktrees were not looked for: {error.problems[0]}",)
    with JournalReader.open(paths.state_db) as journal:
        if left_behind({one.id for one in journal.sessions()}, str(paths.project)):
            return ("worktrees were not looked for: processes of former sessions live; the next run ends them",)
        return clear_leftovers(paths, journal, slots)


def _document(found: Found, recovered: Recovered, marked: Mapping[str, tuple[TaskCommit, ...]]) -> dict[str, object]:
    return {
        "fault": found.fault,
        "kept": recovered.kept,
        "known": recovered.known,
        "aside": [shown(path) for path in recovered.aside],
        "tasks": [attrs.asdict(one) for one in recovered.tasks],
        "marked": [{"milestone": name, **attrs.asdict(one)} for name, commits in marked.items() for one in commits],
    }


def _lines(
    paths: ProjectPaths, found: Found, recovered: Recovered, marked: Mapping[str, tuple[TaskCommit, ...]]
) -> Iterator[str]:
    if found.fault:
        yield f"{shown(paths.state_db)}: {found.fault}"
        lost = f"events {recovered.kept + 1} to {recovered.known} are lost" if recovered.known > recovered.kept else ""
        yield "; ".join(
            filter(None, (f"kept {recovered.kept} events" if recovered.kept else "no event was whole", lost))
        )
        yield from (f"  {one.session}: {one.task} was {one.was}, is {one.now} now" for one in recovered.tasks)
        yield from (f"put aside: {shown(path)}" for path in recovered.aside)
    elif not marked:
        yield "nothing to repair: " + (
            f"all {found.last} events are whole" if found.last else "there is no journal yet"
        )
    for milestone_id, tasks in marked.items():
        place = f"marked as completed in {shown(paths.file(milestone_id))}"
        commits, others = [one for one in tasks if one.sha], [one for one in tasks if not one.sha]
        if commits:
            yield f"{place}, because their work is on its branch:"
        yield from (f"  {one.task}: commit {one.sha[:12]} of session {one.session}" for one in commits)
        if others:
            yield f"{place}, because what was put aside says so, and they are not executed again:"
        yield from (f"  {one.task}: of session {one.session}" for one in others)
