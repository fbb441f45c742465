"""What every command shares: finding the project, naming paths, printing JSON, failing with lines and an exit code.

Refuses to know any command. Whatever a command prints goes through here or through click, so that an encoding that
lacks a character, or a reader that has gone, never shows as a traceback.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from supervisor.finding import shown

if TYPE_CHECKING:
    from supervisor.config import ConfigError

FAILED: Final = 1
"""Failed, blocked or not found."""

INVALID: Final = 2
"""Wrong usage, or an invalid file."""

BROKEN: Final = 70
"""A broken invariant: a defect of milestoned."""

IO_ERROR: Final = 74
"""Reading or writing failed."""

CONFIGURATION: Final = 78
"""Journal, configuration or machine."""

OLDEST_PYTHON: Final = (3, 11)

PIPE_CODE: Final = 141
"""Whoever read the output has gone: 128 + SIGPIPE."""

_COLOUR: Final = re.compile(r"(\x1b\[(?:0|1|2|3[0-7]|9[0-7])m)")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

config_option = click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Configuration file to use before the others.",
)


class CommandError(Exception):
    """A command failed for a reason that the user can do something about.

    Attributes:
        code: Exit code.
        lines: What happened, where, why and what to do; the first one is shown with the program's name.
        as_json: Whether the command was asked for JSON, so that the failure is JSON too.
    """

    def __init__(self, code: int, *lines: str, as_json: bool = False) -> None:
        super().__init__("\n".join(lines))
        self.code = code
        self.lines = lines
        self.as_json = as_json

    def show(self) -> None:
        """Print the lines to standard error, and the JSON form to standard output when that was asked for."""
        if self.as_json:
            try:
                print_json({"error": {"code": self.code, "lines": list(self.lines)}})
            except BrokenPipeError:
                raise
            except OSError:  # the disk is full, which may be the very failure: it is said below
                pass
        for number, line in enumerate(map(escaped, self.lines)):
            click.echo(f"milestonectl: {line}" if number == 0 else f"  {line}", err=True)


def starting_directory(ctx: click.Context) -> Path:
    """Return the directory that the command works from: that of ``-C``, else the current one.

    Raises:
        CommandError: The current directory was removed.
    """
    try:
        return Path(ctx.find_root().obj or ".").resolve()
    except FileNotFoundError as error:
        raise CommandError(FAILED, "the current directory does not exist any more; cd to another one") from error


def find_project(ctx: click.Context) -> Path:
    """Return the project's directory: the nearest one upwards that has ``.milestones``, else where we are.

    A git repository is a border: what stands above it is another project's.
    """
    start = starting_directory(ctx)
    for directory in (start, *start.parents):
        if (directory / ".milestones").is_dir():
            return directory
        if (directory / ".git").exists():
            break
    return start


def require_project(ctx: click.Context, *, as_json: bool) -> Path:
    """Return the project's directory, as :func:`find_project` does.

    Raises:
        CommandError: There is no ``.milestones`` directory.
    """
    project = find_project(ctx)
    if not (project / ".milestones").is_dir():
        line = f"there is no .milestones directory in {project}, nor above it in its repository"
        raise CommandError(FAILED, line, "make one with: milestonectl init", as_json=as_json)
    return project


def escaped(text: str) -> str:
    """Return a line that every UTF-8 stream takes, and that has no power over a terminal.

    Bytes of an argument or of a file's name that were no text are escaped, and what :func:`visible` escapes.
    """
    return visible(text).encode("utf-8", "backslashreplace").decode("utf-8")


def visible(text: str) -> str:
    """Return a text without power over a terminal: what is no printable character of a line is escaped.

    Titles, reasons and evidence come from files and programs, and may hold escape sequences.
    """
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def harmless(line: str) -> str:
    """Return a line that has been coloured by us, as :func:`escaped` but for the colours."""
    return "".join(part if _COLOUR.fullmatch(part) else escaped(part) for part in _COLOUR.split(line))


def print_json(value: object) -> None:
    """Print one JSON document on a line of its own."""
    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower().replace("-", "")
    document = json.dumps(value, ensure_ascii=encoding != "utf8")
    # JSON escapes what is below U+0020 alone: not the eight-bit controls, and not what turns the direction of text.
    click.echo(document if escaped(document) == document else json.dumps(value))


def can_draw() -> bool:
    """Tell whether standard output is a terminal that does more than to show one line after the other."""
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in {"", "dumb", "unknown"}


def count(number: int, noun: str) -> str:
    """Return a number with its noun in the right form, for nouns that take an s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def configuration_error(error: ConfigError, *, as_json: bool) -> CommandError:
    """Return the failure of a command that cannot work with the configuration as it is."""
    lines = (f"{shown(one.path)}:{one.line}:{one.column}: {one.message}" for one in error.problems)
    return CommandError(CONFIGURATION, "the configuration cannot be used:", *lines, as_json=as_json)


def printable(text: str) -> bool:
    """Tell whether standard output can show these characters."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return False
    return True
