"""What an examination finds: a word, what it is, where, why it matters, and the cure. Values only.

Owns the form of a finding and the exit code of many. Refuses to know what is examined.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable


class Level(enum.Enum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@attrs.frozen
class Finding:
    """One thing that was looked at.

    Attributes:
        level: How bad it is.
        what: What was found, one line.
        where: A path or place, ``""`` where that goes without saying.
        why: Why it matters, or why it is so; ``""`` where that goes without saying.
        cure: What to do; never ``""`` of what is not ok.
    """

    level: Level
    what: str
    where: str = ""
    why: str = ""
    cure: str = ""


def ok(what: str, where: str = "", why: str = "") -> Finding:
    """Return a finding that all is well."""
    return Finding(Level.OK, what, where, why)


def warning(what: str, where: str, why: str, cure: str) -> Finding:
    """Return a finding that something should be known."""
    return Finding(Level.WARNING, what, where, why, cure)


def error(what: str, where: str, why: str, cure: str) -> Finding:
    """Return a finding that something must be mended."""
    return Finding(Level.ERROR, what, where, why, cure)


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 1 when something is an error, else 0."""
    return int(any(one.level is Level.ERROR for one in findings))
