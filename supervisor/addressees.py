"""Names as ``supervisorctl`` has them, and what they stand for among the sessions that live.

``session`` or ``milestone`` is a session, ``session:role`` one of its children, ``session:*`` all of them, ``all``
every session. Pure.

Owns the syntax. Refuses to know what is wanted of what is named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.problems import closest, did_you_mean
from actors.state import ROLES, RUNNER
from supervisor.protocol import Named

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from supervisor.session_run import SessionRun

ALL: Final = "all"

NO_SUCH_NAME: Final = 1
NOT_RUNNING: Final = 7
"""Exit codes as of ``supervisorctl`` (reference: supervisorctl, section 1)."""

_OF_A_TASK: Final = "a task is its session's to run; see skip and retry"

CHILDREN: Final = (RUNNER, *ROLES)
"""Ids of a session's children in the order in which they are started."""


@attrs.frozen
class Addressee:
    """What a name stands for.

    Attributes:
        name: As it is answered.
        run: The session.
        role: Which of its children; ``""`` for the session as a whole.
    """

    name: str
    run: SessionRun
    role: str = ""


def find_addressees(
    names: Sequence[str], live: Sequence[SessionRun], why_absent: Callable[[str], str] = lambda _: ""
) -> tuple[tuple[Addressee, ...], tuple[Named, ...]]:
    """Part names that stand for something from those that stand for nothing.

    Args:
        names: As they were typed.
        live: The sessions that live.
        why_absent: Says of a session or milestone of which nothing lives why that is; ``""`` where there is no such.

    Returns:
        What the names stand for, each once and in their order, and what to answer about the others.
    """
    known = {name: run for run in live for name in (run.session, run.milestone.id)}
    found: dict[str, Addressee] = {}
    others: list[Named] = []
    for name in dict.fromkeys(names):
        session, colon, role = name.partition(":")
        if name == ALL:
            addressees = tuple(Addressee(run.milestone.id, run) for run in live)
        elif session not in known and (why := why_absent(session)):
            others.append(Named(name, NOT_RUNNING, why))
            continue
        elif session not in known:
            kind = "session" if not colon else "group" if role == "*" else "process"
            others.append(Named(name, NO_SUCH_NAME, f"no such {kind}{did_you_mean(closest(session, known))}"))
            continue
        elif not colon:
            addressees = (Addressee(name, known[session]),)
        elif role in {"*", ""}:
            addressees = tuple(Addressee(f"{session}:{one}", known[session], one) for one in CHILDREN)
        elif role in CHILDREN:
            addressees = (Addressee(name, known[session], role),)
        elif role in known[session].milestone.by_id:
            others.append(Named(name, NO_SUCH_NAME, f"no such process: {_OF_A_TASK}"))
            continue
        else:
            others.append(Named(name, NO_SUCH_NAME, f"no such process{did_you_mean(closest(role, CHILDREN))}"))
            continue
        for addressee in addressees:
            found.setdefault(addressee.name, addressee)
    return tuple(found.values()), tuple(others)


def roles_of(addressees: Sequence[Addressee]) -> tuple[Addressee, ...]:
    """Return the children that addressees stand for: of a session as a whole all of them."""
    return tuple(
        one
        for addressee in addressees
        for one in (
            (addressee,)
            if addressee.role
            else tuple(Addressee(f"{addressee.name}:{role}", addressee.run, role) for role in CHILDREN)
        )
    )


def place_of(name: str, typed: Sequence[str]) -> int:
    """Return which of the names that were typed one stands for that is answered; the last place for none of them."""
    session = name.partition(":")[0]
    meant = {name, session, f"{session}:", f"{session}:*", ALL}
    return next((number for number, one in enumerate(typed) if one in meant), len(typed))
