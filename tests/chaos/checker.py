"""The offline checker: every invariant against a recorded history.

    python -m tests.chaos.checker HISTORY.json

Owns the table of checks. Everything that it says follows from the history alone, so that a history that was kept can
be judged again, by a later and sharper checker as well.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from tests.chaos import liveness, safety, surroundings
from tests.chaos.history import History, read_history
from tests.chaos.violation import Violation

CHECKS: Final[Mapping[str, tuple[Callable[[History], Iterable[Violation]], ...]]] = {
    "I1": (safety.check_completed_once,),
    "I2": (safety.check_commits,),
    "I3": (safety.check_one_at_a_time, safety.ended_without_end),
    "I4": (surroundings.check_journal,),
    "I5": (safety.check_accepted,),
    "I6": (surroundings.check_orphans,),
    "I7": (surroundings.check_one_supervisor,),
    "I8": (surroundings.check_users_things,),
    "I10": (surroundings.check_lives,),
    "I11": (surroundings.check_bounds,),
    "L1": (liveness.check_progress,),
    "L2": (liveness.check_named,),
    "L3": (liveness.check_stops,),
    "L4": (liveness.check_storms,),
}
"""What judges a history, by the id of the invariant. I9 is judged by :func:`surroundings.check_secrets`: over files."""


def check(history: History, only: Iterable[str] = ()) -> tuple[Violation, ...]:
    """Judge a history.

    Args:
        history: What was recorded.
        only: Ids of the invariants; empty for all.

    Returns:
        What was not kept, in the order of the invariants.
    """
    chosen = set(only) or set(CHECKS)
    return tuple(found for name, checks in CHECKS.items() if name in chosen for one in checks for found in one(history))


def main(arguments: list[str]) -> int:
    """Judge the history in a file: 0 when all is well, 1 when something is wrong, 2 when there is nothing to judge."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)  # noqa: T201  a program for a terminal
        return 2
    try:
        history = read_history(Path(arguments[0]))
    except (OSError, msgspec.MsgspecError) as error:
        print(f"checker: {arguments[0]}: {error}", file=sys.stderr)  # noqa: T201  as above
        return 2
    found = check(history)
    for violation in found:
        print(violation)  # noqa: T201  as above
    print(f"{len(found)} violations in {len(history.records)} events, {len(history.faults)} faults")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
