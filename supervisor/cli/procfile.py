"""Reads a Procfile, as foreman does: a line for each process, its name, a colon and a command for the shell.

Owns the format. Refuses to know files and how children are written down.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

from actors.problems import Problem
from supervisor.cli.foreign import Foreign, ForeignChild, ForeignError, Loss

if TYPE_CHECKING:
    from pathlib import Path

FIRST_PORT: Final = 5000
PORTS_APART: Final = 100
"""The port of the first process, and how far those of the others are apart, as of foreman."""

_LINE: Final = re.compile(r"(?P<name>[A-Za-z0-9_-]+):\s*(?P<command>\S.*)")
_FORM: Final = "must be 'name: command', the name of letters, digits, '-' and '_'"
_FOR_THE_SHELL: Final = frozenset("$`|&;<>()*?[]{}~#!\\\n")
_BUILTINS: Final = frozenset(
    {
        ".",
        ":",
        "[",
        "alias",
        "bg",
        "break",
        "cd",
        "command",
        "continue",
        "eval",
        "exec",
        "exit",
        "export",
        "fg",
        "getopts",
        "hash",
        "if",
        "for",
        "while",
        "until",
        "case",
        "jobs",
        "read",
        "readonly",
        "return",
        "set",
        "shift",
        "source",
        "times",
        "trap",
        "type",
        "ulimit",
        "umask",
        "unalias",
        "unset",
        "wait",
        "test",
    }
)
_REMARKS: Final = (
    "Unlike under foreman, which ends all processes when one ends, each is started again by itself; beyond",
    "'intensity' restarts within 'period' seconds it alone is given up until somebody starts it.",
)


def read_procfile(path: Path, text: str, *, has_env: bool) -> Foreign:
    """Read a Procfile.

    Args:
        path: Of the file, absolute; commands run in its directory.
        text: What it holds.
        has_env: Whether there is a file ``.env`` beside it.

    Raises:
        ForeignError: It is none.
    """
    problems: list[Problem] = []
    names: dict[str, int] = {}
    children: list[ForeignChild] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            problems.append(Problem(str(path), number, 1, f"is no process: {_FORM}"))
        elif found["name"] in names:
            message = f"there is a process {found['name']!r} already, in line {names[found['name']]}"
            problems.append(Problem(str(path), number, 1, message))
        else:
            names[found["name"]] = number
            children.append(_child(path, number, found, FIRST_PORT + PORTS_APART * len(children)))
    if not children and not problems:
        problems.append(Problem(str(path), 1, 1, "there is no process in it"))
    if problems:
        raise ForeignError(problems)
    cure = "set its variables for who supervises, or under 'env'; they may be secrets, so they were not copied"
    losses = (Loss(str(path.parent / ".env"), 1, "", "foreman reads .env", cure),) if has_env else ()
    flags = {"strategy": "one_for_one", "intensity": 5, "period": 60}
    return Foreign("procfile", (path,), flags, tuple(children), losses, _REMARKS)


def _child(path: Path, number: int, found: re.Match[str], port: int) -> ForeignChild:
    program = {"argv": argv_of(found["command"]), "cwd": str(path.parent), "env": {"PORT": str(port)}}
    fields = {"id": found["name"], "quarantine": True, "backoff": {"initial": 1, "maximum": 30}, "program": program}
    return ForeignChild(fields, f"{path}:{number}: {found['name']}")


def argv_of(command: str) -> list[str]:
    """Return the words of a command; those of a shell that executes it where it needs one."""
    shell = ["/bin/sh", "-c", command]
    if _FOR_THE_SHELL & set(command):
        return shell
    try:
        words = shlex.split(command)
    except ValueError:
        return shell
    return shell if not words or "=" in words[0] or words[0] in _BUILTINS else words
