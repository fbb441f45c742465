"""``milestonectl recover``: make a journal of what is whole again, and put the rest aside."""

from __future__ import annotations

from typing import Final

import click

from actors.paths import ProjectPaths
from supervisor.cli.output import CONFIGURATION, IO_ERROR, CommandError, json_option, print_json, require_project
from supervisor.finding import shown
from supervisor.journal_errors import JournalBrokenError, JournalError, JournalFullError
from supervisor.journal_recover import Recovered, last_of_whole, recover
from supervisor.lock import LockHeldError, ProjectLock

HELD: Final = 75
"""Another process supervises the project."""


@click.command(
    "recover",
    epilog="Example: milestonectl recover",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@json_option
@click.pass_context
def command(ctx: click.Context, *, as_json: bool) -> None:
    """Repair a damaged journal: keep its whole beginning, and move everything else aside.

    Nothing is deleted: the damaged files and the projections that knew more stay beside the journal, with names that
    end in .lost-N. A journal that is whole is left alone. What happened after the kept part is not known any more: look
    at the branch before the next run.

    Exit codes: 0 done; 74 reading or writing failed; 75 another process runs here; 78 written by a newer version.
    """
    paths = ProjectPaths(require_project(ctx, as_json=as_json))
    try:
        with ProjectLock.acquire(paths, "milestonectl recover"):
            last = last_of_whole(paths)
            recovered = recover(paths) if last is None else Recovered(last, ())
    except LockHeldError as error:
        raise CommandError(HELD, str(error), as_json=as_json) from error
    except (JournalFullError, JournalBrokenError, OSError) as error:
        raise CommandError(IO_ERROR, str(error), as_json=as_json) from error
    except JournalError as error:
        raise CommandError(CONFIGURATION, str(error), as_json=as_json) from error
    aside = [shown(path) for path in recovered.aside]
    if as_json:
        print_json({"kept": recovered.kept, "aside": aside})
        return
    if last is not None:
        click.echo("nothing to repair: " + (f"all {last} events are whole" if last else "there is no journal yet"))
        return
    click.echo(f"kept {recovered.kept} events" if recovered.kept else "no event was whole")
    for path in aside:
        click.echo(f"put aside: {path}")
