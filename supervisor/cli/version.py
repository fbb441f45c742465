"""``milestonectl version``: what is installed, for people and for reports of defects."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Final

import click

from supervisor.cli import fitness
from supervisor.cli.output import print_json
from supervisor.cli.verbs import verb

LIBRARIES: Final = ("pykka", "attrs", "msgspec", "psutil", "PyYAML", "loguru", "click", "rich")
"""Distributions that milestoned works with."""


@verb("version", "milestonectl version --json")
def command(_: click.Context, *, as_json: bool) -> None:
    """Show the versions of milestoned and of what it works with.

    Exit code: 0. What is too old is named; the commands that need it refuse to start.
    """
    machine = fitness.look()
    libraries = {name.lower(): installed(name) for name in LIBRARIES}
    found = {
        "milestoned": installed("milestoned"),
        "python": platform.python_version(),
        "git": machine.git,
        "kernel": f"{machine.system} {machine.release}",
        "libraries": libraries,
    }
    complaints = fitness.complaints(machine, needs_git=True)
    if as_json:
        print_json({**found, "complaints": list(complaints)})
        return
    for name in ("milestoned", "python", "git", "kernel"):
        click.echo(f"{name:<12}{found[name] or 'not found'}")
    for name, version in libraries.items():
        click.echo(f"{name:<12}{version or 'not found'}")
    for complaint in complaints:
        click.secho(complaint, fg="yellow")


def installed(name: str) -> str | None:
    """Return the version of a distribution in this environment, ``None`` without it."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
