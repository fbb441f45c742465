"""A look at what the user has not committed.

Owns one reading. Takes no lock and refreshes no index, so that it never stands in the way of a person's git.
"""

from __future__ import annotations

from typing import Final

import attrs

from actors.git.plumbing import Refusal, complaint, git, our_files, shown, split, without
from actors.programs import Flow

_NAMED: Final = 20
_TIMEOUT: Final = 600.0


@attrs.frozen
class Uncommitted:
    """Uncommitted files of a checkout, those under ``.milestones`` left out.

    Attributes:
        count: How many; an untracked folder counts once.
        paths: The first 20, relative to the top of the checkout.
    """

    count: int
    paths: tuple[str, ...]


def uncommitted(top: str, inside: str = "") -> Flow[Uncommitted | Refusal]:
    """Count the uncommitted files of a checkout.

    Args:
        top: Its top directory.
        inside: The project's directory, relative to that; ``""`` when it is the same.
    """
    done = yield git(
        "--no-optional-locks",
        "status",
        "--porcelain=v1",
        "-z",
        "--no-renames",
        "--untracked-files=normal",
        "--ignore-submodules=none",
        "--",
        ":(top)",
        *without(our_files(inside)),
        cwd=top,
        timeout=_TIMEOUT,
    )
    if not done.ok:
        return Refusal(f"git cannot compare {top} with its last commit: {complaint(done)}")
    paths = [shown(entry[3:]) for entry in split(done.stdout)]
    return Uncommitted(len(paths), tuple(paths[:_NAMED]))
