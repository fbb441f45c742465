"""``milestonectl top``: what milestoned and the tasks use, now.

The processes are those that ``status`` names; what they use is read from ``/proc`` here, at the pace of who looks, so
that nobody is asked more than once for each picture. A task is measured with everything below it.

Owns the pictures' pace and the end. What is measured is :mod:`supervisor.cli.top_rows`.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import click

from supervisor.cli.keyboard import is_typed, quiet_keyboard
from supervisor.cli.output import escaped, print_json, require_project
from supervisor.cli.reaching import NOBODY, nobody
from supervisor.cli.status import described
from supervisor.cli.top_rows import Measured, table
from supervisor.cli.verbs import names_argument, verb

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UNKNOWN: Final = 4
FIRST_SECONDS: Final = 0.5
"""Between the two looks that the first picture needs: a share of a core is a difference."""


@verb("top", "milestonectl top --interval 1")
@names_argument()
@click.option(
    "-d", "--interval", type=click.FloatRange(min=0.2), default=2.0, metavar="SECONDS", help="Between pictures."
)
@click.option("-n", "--number", type=click.IntRange(min=1), metavar="NUMBER", help="End after so many pictures.")
def command(ctx: click.Context, names: tuple[str, ...], *, interval: float, number: int | None, as_json: bool) -> int:
    """Show what the supervising process, roles, runner and tasks use: processor, memory, descriptors, threads.

    NAME is a session or milestone; without NAME all that live. On a terminal the picture is renewed until q or Ctrl-C;
    into a pipe, and with --json, it is one, unless --number says otherwise.

    Exit codes: 0 shown; 4 unknown name; 69 nobody supervises this project; 78 the journal cannot be read; 130 Ctrl-C.
    """
    project = require_project(ctx, as_json=as_json)
    is_live = sys.stdout.isatty() and not as_json
    pictures = number if number is not None else None if is_live else 1
    measured = Measured(project)
    document = _look(project, names, measured, as_json=as_json)
    with quiet_keyboard() if is_live else contextlib.nullcontext() as keyboard, _screen(wanted=is_live):
        pause = FIRST_SECONDS
        shown = 0
        while not is_typed(b"qQ", keyboard, pause):
            document = _look(project, names, measured, as_json=as_json)
            _show(document, measured, as_json=as_json, is_live=is_live)
            shown += 1
            pause = interval
            if shown == pictures or document["supervisor"] is None:
                break
    return UNKNOWN if document["unknown"] else 0 if document["supervisor"] is not None else NOBODY


def _look(project: Path, names: tuple[str, ...], measured: Measured, *, as_json: bool) -> dict[str, Any]:
    """Find out who is there, and measure them.

    Raises:
        CommandError: Nobody supervises the project (69).
    """
    document = described(project, names, everything=False, as_json=as_json)
    if document["supervisor"] is None:
        raise nobody(project, as_json=as_json)
    measured.measure(document, time.monotonic())
    return document


def _show(document: dict[str, Any], measured: Measured, *, as_json: bool, is_live: bool) -> None:
    if as_json:
        print_json(measured.document)
        return
    lines = [f"{one['name']}: ERROR ({one['message']})" for one in document["unknown"]]
    lines += table(measured.document)
    lines = [escaped(line) for line in lines]
    if is_live:
        rows, columns = _size()
        lines = [line[: columns - 1] for line in lines[: rows - 1]]
        # Row by row, so that nothing flickers: home, each row cleared behind its text, then whatever is below.
        click.echo("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J", nl=False)
    else:
        click.echo("\n".join(lines))
    sys.stdout.flush()


def _size() -> tuple[int, int]:
    columns, rows = os.get_terminal_size(sys.stdout.fileno())
    return max(2, rows), max(2, columns)


@contextlib.contextmanager
def _screen(*, wanted: bool) -> Iterator[None]:
    """Draw on the terminal's other screen, without a cursor; what stood on it comes back."""
    if not wanted:
        yield
        return
    click.echo("\x1b[?1049h\x1b[?25l", nl=False)
    try:
        yield
    finally:
        click.echo("\x1b[?25h\x1b[?1049l", nl=False)
        sys.stdout.flush()
