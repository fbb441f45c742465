"""All named steps, read from the source, and how they are dealt to tests.

Owns the list and the groups of kills. Refuses to know what the steps are.
"""

import ast
import functools
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

from actors.state import ROLES
from tests.steps.stops import Target

CHECKOUT: Final = Path(__file__).parents[2]

OF_EVERY_ROLE: Final = ("role.", "log.")
"""Beginnings of steps that each of the five roles goes through."""

REDONE: Final = (
    "git.branch.moved",
    "git.found.landed",
    "git.ref.locked.again",
    "git.secured",
)
"""Steps of which the later are only reached after a kill at the first, once for each: one group has them all."""

ELSEWHERE: Final = frozenset({"journal.migrate.kept", "journal.migrate.unwitnessed", "session.made_up"})
"""Steps that no ordinary run goes through; each has a test of its own."""

BY_ITSELF: Final = (
    "child.",
    "fork_server.",
    "git.archive.",
    "git.aside.",
    "git.cache.",
    "git.expiry.",
    "git.slot.",
    "lock.",
    "log.",
    "role.",
    "sheet.",
)
"""Beginnings of steps at which the ordinary tests kill the process alone: whatever it leaves is the same to its
replacement and to the next run. ``make steps`` kills everything there, too."""

_ONCE: Final = ("git.cache.", "journal.create.")
"""Beginnings of steps that a project goes through once."""

_SCARCE: Final = ("runner.", "fork_server.", "child.")
"""Beginnings of steps of which a group has one: three kills of the runner while a task runs, and two of the fork
server within a minute, are answered otherwise than by going on."""


@frozen
class Step:
    """A named step.

    Attributes:
        name: Its name.
        file: Where it is, from the checkout's top.
        line: The line.
    """

    name: str
    file: str
    line: int


@functools.cache
def steps() -> tuple[Step, ...]:
    """Return every call of ``at`` of :mod:`actors.failpoints` in the product.

    Raises:
        AssertionError: One names its step with anything but a literal, or imports the function under another name.
    """
    return tuple(itertools.chain.from_iterable(map(_steps_of, sorted(_sources()))))


def _sources() -> Iterator[Path]:
    for package in ("actors", "supervisor"):
        yield from (CHECKOUT / package).rglob("*.py")


def _steps_of(path: Path) -> Iterator[Step]:
    source = path.read_text(encoding="utf-8")
    if "failpoints" not in source:
        return
    tree = ast.parse(source)
    imported = [
        alias
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "actors.failpoints"
        for alias in node.names
    ]
    assert all(alias.asname is None for alias in imported), path
    if "at" not in {alias.name for alias in imported}:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "at":
            (argument,) = node.args
            assert isinstance(argument, ast.Constant), f"{path}:{node.lineno}"
            assert isinstance(argument.value, str), f"{path}:{node.lineno}"
            yield Step(argument.value, str(path.relative_to(CHECKOUT)), node.lineno)


def targets(*, everything: bool, hits: Iterable[int] = (1,), without: tuple[str, ...] = ()) -> list[Target]:
    """Return a kill at every step that a run goes through.

    Args:
        everything: Whether all processes of ours are killed; a step of every role is then that of whichever is first.
        hits: At which times that the step is reached.
        without: Beginnings of the steps that are left out.
    """
    names = sorted(step.name for step in steps() if step.name not in ELSEWHERE and not step.name.startswith(without))
    each = [
        (name, process)
        for name in names
        for process in (ROLES if name.startswith(OF_EVERY_ROLE) and not everything else ("",))
    ]
    return [
        Target(name, process, everything, hit)
        for hit in hits
        for name, process in each
        if hit == 1 or not (name.startswith(_ONCE) or name in REDONE[1:])
    ]


def dealt(all_targets: list[Target], number: int) -> list[list[Target]]:
    """Deal kills to groups: those that need each other to one, scarce ones one to each, the rest evenly."""
    groups: list[list[Target]] = [[] for _ in range(number)]
    redone = [target for target in all_targets if target.step in REDONE]
    scarce = [target for target in all_targets if target.step.startswith(_SCARCE)]
    for target in redone:
        groups[target.hit - 1].append(target)
    for target, group in zip(scarce, itertools.cycle(groups), strict=False):
        group.append(target)
    for target in all_targets:
        if target not in redone and target not in scarce:
            min(groups, key=len).append(target)
    return groups
