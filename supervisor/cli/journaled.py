"""Reading the journal for a command: what cannot be read is said as a command fails. Owns that translation alone."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from actors.paths import ProjectPaths
from supervisor.cli.output import CONFIGURATION, CommandError
from supervisor.finding import completed_ids, known_ids
from supervisor.journal_errors import JournalError
from supervisor.selection import select
from supervisor.sessions import Sessions, open_journal
from supervisor.status_document import document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def readable(*, as_json: bool) -> Iterator[None]:
    """Have a journal that cannot be read end the command.

    Raises:
        CommandError: It cannot be read, or is gone although there were sessions (78).
    """
    try:
        yield
    except JournalError as error:
        raise CommandError(CONFIGURATION, str(error), as_json=as_json) from error


@contextlib.contextmanager
def open_sessions(paths: ProjectPaths, *, as_json: bool) -> Iterator[Sessions]:
    """Open the sessions of a project for reading; raises as :func:`readable`."""
    with readable(as_json=as_json), contextlib.ExitStack() as stack:
        journal = open_journal(paths)
        yield Sessions(paths, None if journal is None else stack.enter_context(journal))


def describe_journaled(project: Path, names: tuple[str, ...], *, everything: bool, as_json: bool) -> dict[str, object]:
    """Return the document that ``milestonectl status`` shows, from the journal; raises as :func:`readable`."""
    paths = ProjectPaths(project)
    with open_sessions(paths, as_json=as_json) as sessions:
        now = time.time()  # noqa: TID251 - shown to people
        active, completed = known_ids(paths), completed_ids(paths)
        return document(select(project, sessions, names, now, active, completed, everything=everything))
