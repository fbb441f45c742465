"""``milestonectl top``: what milestoned and the tasks use, now.

The processes are those that ``status`` names; what they use is read from ``/proc`` here, at the pace of who looks, so
that nobody is asked more than once for each picture. A task is measured with everything below it.

Owns the pictures' pace and the end. What is measured is :mod:`supervisor.cli.top_rows`.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from supervisor.cli.keyboard import Keyboard
from supervisor.cli.output import can_draw, escaped, print_json, require_project
from supervisor.cli.reaching import nobody
from supervisor.cli.status import described
from supervisor.cli.top_rows import Measured, table
from supervisor.cli.verbs import LONGEST_SECONDS, OBJECT_PER_PICTURE, Seconds, names_argument, verb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    _Document = dict[str, Any]

UNKNOWN: Final = 4
FIRST_SECONDS: Final = 0.5
"""Between the two looks that the first picture needs: a share of a core is a difference."""


@verb("top", "milestonectl top --interval 1", json=OBJECT_PER_PICTURE)
@names_argument()
@click.option(
    "-d",
    "--interval",
    type=Seconds(min=0.2, max=LONGEST_SECONDS),
    default=2.0,
    metavar="SECONDS",
    help="Between pictures.",
)
@click.option("-n", "--number", type=click.IntRange(min=1), metavar="NUMBER", help="End after so many pictures.")
def command(ctx: click.Context, names: tuple[str, ...], *, interval: float, number: int | None, as_json: bool) -> int:
    """Show what the supervising process, roles, runner and tasks use: processor, memory, descriptors, threads.

    NAME is a session or milestone; without NAME all that live. On a terminal the picture is renewed until q or Ctrl-C;
    into a pipe, and with --json, there is one, unless --number says otherwise.

    Exit codes: 0 shown; 4 unknown name; 69 nobody supervises this project; 78 the journal cannot be read; 130 Ctrl-C.
    """
    project = require_project(ctx, as_json=as_json)
    measured = Measured(project)
    look = functools.partial(_look, project, names, measured, as_json=as_json)
    document = look()
    if can_draw() and not as_json:
        document = _live(look, measured, interval, number) or document
    else:
        for shown in range(number or 1):
            threading.Event().wait(interval if shown else FIRST_SECONDS)
            document = look()
            if as_json:
                print_json(measured.document)
            else:
                click.echo("\n".join(_rows(document, measured)))
            sys.stdout.flush()
    return UNKNOWN if document["unknown"] else 0


def _live(look: Callable[[], _Document], measured: Measured, interval: float, number: int | None) -> _Document | None:
    """Renew the picture until it is enough, and return what was shown last; ``None`` for nothing."""
    screen = _Screen()
    document: _Document | None = None
    rows: list[str] = []
    keyboard = Keyboard(screen.leave)
    with _ended_in_order(), keyboard, contextlib.closing(screen):
        pause = FIRST_SECONDS
        while number is None or number > 0:
            if keyboard.is_typed(b"qQ", pause):
                return document
            document = look()
            rows = _rows(document, measured)
            if keyboard.is_ours():
                screen.draw(rows)
            number = None if number is None else number - 1
            pause = interval
    # The other screen is gone; the last picture of so many is what was asked for.
    click.echo("\n".join(rows))
    return document


def _look(project: Path, names: tuple[str, ...], measured: Measured, *, as_json: bool) -> _Document:
    """Find out who is there, and measure them.

    Raises:
        CommandError: Nobody supervises the project (69).
    """
    document = described(project, names, everything=False, as_json=as_json)
    if document["supervisor"] is None:
        raise nobody(project, as_json=as_json)
    measured.measure(document, time.monotonic())
    return document


def _rows(document: _Document, measured: Measured) -> list[str]:
    lines = [f"{one['name']}: ERROR ({one['message']})" for one in document["unknown"]]
    return [escaped(line) for line in (*lines, *table(measured.document))]


class _Screen:
    """The terminal's other screen, without a cursor, from the first picture on; what stood on it comes back."""

    def __init__(self) -> None:
        self._is_drawn = False

    def draw(self, rows: Sequence[str]) -> None:
        """Show rows; what has no room is left out."""
        columns, height = os.get_terminal_size(sys.stdout.fileno())
        lines = [line[: max(1, columns - 1)] for line in rows[: max(1, height - 1)]]
        begin = "" if self._is_drawn else "\x1b[?1049h\x1b[?25l"
        self._is_drawn = True
        # Row by row, so that nothing flickers: home, each row cleared behind its text, then whatever is below.
        click.echo(begin + "\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J", nl=False)
        sys.stdout.flush()

    def leave(self) -> None:
        """Give the first screen back."""
        if self._is_drawn:
            self._is_drawn = False
            click.echo("\x1b[?25h\x1b[?1049l", nl=False)
            sys.stdout.flush()

    close = leave


@contextlib.contextmanager
def _ended_in_order() -> Iterator[None]:
    """Have TERM end us as Ctrl-C does, with the terminal as it was."""

    def end(number: int, _: object) -> NoReturn:
        raise click.exceptions.Exit(128 + number)

    former = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
