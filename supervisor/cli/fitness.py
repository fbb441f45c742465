"""Whether this machine and this environment can run milestoned at all, and what to do when they cannot.

Owns the oldest versions that work and the wording. Refuses to know what a milestone requires of the machine (that is
pre-flight's).
"""

from __future__ import annotations

import platform
import re
import subprocess
import sys
from typing import Final

import attrs

from actors.surroundings import OLDEST_GIT
from supervisor.cli.output import CONFIGURATION, OLDEST_PYTHON, CommandError
from supervisor.distributions import installed

OLDEST_LINUX: Final = (5, 14)
"""The first kernel with ``cgroup.kill``; pidfd is older."""

_NUMBERS: Final = re.compile(r"(\d+)\.(\d+)")


@attrs.frozen
class Machine:
    """What was found.

    Attributes:
        system: Name of the operating system, as ``uname`` says it.
        release: Release of its kernel.
        python: Version of Python.
        git: What ``git --version`` says, ``None`` where there is no git.
        rival: Version of PyPI's Supervisor in this environment, ``None`` without it.
    """

    system: str
    release: str
    python: tuple[int, int]
    git: str | None
    rival: str | None


def look() -> Machine:
    """Look at this machine and this environment."""
    return Machine(
        platform.system(),
        platform.release(),
        (sys.version_info.major, sys.version_info.minor),
        git_version(),
        installed("supervisor"),
    )


def git_version() -> str | None:
    """Return the version of the git on ``PATH``, ``None`` when there is none that runs."""
    try:
        done = subprocess.run(
            ["git", "--version"], capture_output=True, text=True, check=True, timeout=10, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().removeprefix("git version ")


def complaints(machine: Machine, *, needs_git: bool) -> tuple[str, ...]:
    """Return why a machine will not do, each with what to do about it; empty when it will.

    Args:
        machine: As :func:`look` found it.
        needs_git: Whether the command works with git; where there is none at all, tasks run in place, which is
            the git role's to say.
    """
    found: list[str] = []
    if machine.python < OLDEST_PYTHON:
        found.append(f"Python {_text(machine.python)} is too old: {_text(OLDEST_PYTHON)} or later is needed")
    if machine.system != "Linux":
        found.append(
            f"this is {machine.system or 'an unknown system'}: only Linux has what is needed (pidfd, subreaper)"
        )
    elif _numbers(machine.release) < OLDEST_LINUX:
        found.append(f"Linux {machine.release} is too old: {_text(OLDEST_LINUX)} or later is needed (cgroup.kill)")
    if needs_git and machine.git is not None and _numbers(machine.git) < OLDEST_GIT:
        found.append(
            f"git {machine.git} is too old: {_text(OLDEST_GIT)} or later is needed (merge-tree --write-tree); "
            "install a newer one, or run with --isolation none"
        )
    if machine.rival is not None:
        found.append(
            f"Supervisor {machine.rival} of PyPI is in this environment, and its package is named 'supervisor' like "
            "ours: install milestoned into an environment of its own (pipx install, uv tool install or a venv)"
        )
    return tuple(found)


def refuse_unfit(*, needs_git: bool, as_json: bool) -> None:
    """Raise unless this machine and environment will do.

    Raises:
        CommandError: They will not; all reasons are said at once.
    """
    found = complaints(look(), needs_git=needs_git)
    if found:
        raise CommandError(CONFIGURATION, "milestoned cannot run here", *found, as_json=as_json)


def _numbers(text: str) -> tuple[int, int]:
    match = _NUMBERS.search(text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def _text(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
