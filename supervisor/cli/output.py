"""What every command shares: finding the project, printing JSON, and failing with lines and an exit code."""

from __future__ import annotations

import json
from pathlib import Path

import click


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
            print_json({"error": {"code": self.code, "lines": list(self.lines)}})
        for number, line in enumerate(self.lines):
            click.echo(f"milestonectl: {line}" if number == 0 else f"  {line}", err=True)


def find_project(ctx: click.Context) -> Path:
    """Return the project's directory: the nearest one upwards that has ``.milestones``, else where we are."""
    start = Path(ctx.find_root().obj or ".").resolve()
    for directory in (start, *start.parents):
        if (directory / ".milestones").is_dir():
            return directory
    return start


def print_json(value: object) -> None:
    """Print one JSON document on a line of its own."""
    click.echo(json.dumps(value, ensure_ascii=False))
