"""What the checker says when something is wrong."""

from __future__ import annotations

import attrs


@attrs.frozen
class Violation:
    """A promise that was not kept.

    Attributes:
        invariant: Its id, ``I1`` to ``L4``.
        what: What happened, in one line.
        evidence: The lines of the history that show it.
    """

    invariant: str
    what: str
    evidence: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n    ".join((f"{self.invariant}: {self.what}", *self.evidence))
