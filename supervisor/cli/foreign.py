"""What was read of another supervisor's configuration, in our words: children, and what could not be carried over.

Owns the shape. Refuses to know where it came from, and how it is written down.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from pathlib import Path

    from actors.problems import Problem


@attrs.frozen
class Loss:
    """Something that could not be carried over.

    Attributes:
        path: The file that says it.
        line: Where, from 1.
        child: Whom it concerns; ``""`` for nobody alone.
        what: What is lost.
        cure: What to do about it.
    """

    path: str
    line: int
    child: str
    what: str
    cure: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.child + ': ' if self.child else ''}{self.what}: {self.cure}"


@attrs.frozen
class ForeignChild:
    """A child.

    Attributes:
        fields: Of a child of a spec file, but for ``children``, in the order in which they are to be written.
        place: Where it comes from.
        losses: What could not be carried over of it.
        is_idle: Whether it is not to be started with the others, for which there is no word here.
        children: Of a supervisor.
    """

    fields: Mapping[str, object]
    place: str
    losses: tuple[Loss, ...] = ()
    is_idle: bool = False
    children: tuple[ForeignChild, ...] = ()

    def count(self) -> int:
        """Return how many programs it is."""
        return sum(child.count() for child in self.children) if "type" in self.fields else 1

    def all_losses(self) -> tuple[Loss, ...]:
        """Return its losses, and those of what is below it."""
        return (*self.losses, *(loss for child in self.children for loss in child.all_losses()))


@attrs.frozen
class Foreign:
    """All of a configuration.

    Attributes:
        kind: ``supervisord`` or ``procfile``.
        files: What was read.
        flags: Of the supervisor.
        children: In start order.
        losses: What concerns no child.
        remarks: How things go on differently here, for every child.
    """

    kind: str
    files: tuple[Path, ...]
    flags: Mapping[str, object]
    children: tuple[ForeignChild, ...]
    losses: tuple[Loss, ...]
    remarks: tuple[str, ...]

    def all_losses(self) -> tuple[Loss, ...]:
        """Return everything that could not be carried over."""
        return (*self.losses, *(loss for child in self.children for loss in child.all_losses()))


class ForeignError(Exception):
    """A configuration that cannot be read.

    Attributes:
        problems: Everything that is wrong.
    """

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems
