"""What a session that lives stands still for, in words, with the way on: nothing waits without a reason that is shown.

Of what holds a session up some is in the reason of its pause, some in what an operator has stopped, some in what a role
has not said yet. Here it is concluded from the fold alone, for whoever shows it. What keeps a single task from starting
stands beside the task.

Owns the beginnings of the reasons of pauses that end by themselves, and the sentences. Pure. Refuses to know how they
are shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.standing import ROLES, RUNNER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.knowledge import Knowledge

LANDING_WAITS: Final = "landing has to wait: "
"""How the reason of a pause begins that the git role states, and takes back, because of a passing obstacle."""

SLOT_WAITS: Final = "a worktree has to wait: "
"""The same of worktree slots, which a full disk does not hold."""

LANDING_HELD: Final = "landing is held: "
"""How the reason of a pause begins that the git role states for good: until somebody has looked at the disk."""

TASKS_WAIT: Final = "tasks have to wait: "
"""How the reason of a pause begins that the runner states, and takes back, because the system refuses it something."""

ROLE_WAITS: Final = "{role} has to wait: "
"""The same of a role that the system refuses descriptors."""

DISK_FULL: Final = "disk"
"""Reason of the pause that a full disk causes."""

_PASSING: Final = (LANDING_WAITS, SLOT_WAITS, TASKS_WAIT, *(ROLE_WAITS.format(role=role) for role in ROLES))

_BY_ITSELF: Final = "it goes on by itself when that has passed"


@attrs.frozen
class Wait:
    """Something that a session waits for.

    Attributes:
        role: The role, or the runner, that it waits for; ``""`` when it is none of them.
        why: What is the matter, and what does not go on meanwhile.
        command: What makes it go on, as one types it; ``""`` where it goes on by itself, as ``why`` says then.
    """

    role: str
    why: str
    command: str = ""

    @property
    def text(self) -> str:
        """All of it in one line, without what is waited for."""
        return "; to go on: ".join(filter(None, (self.why, self.command)))


def waits(state: Knowledge) -> tuple[Wait, ...]:
    """Return what a session that lives waits for, what people can do something about first.

    Tasks that run are nothing that is waited for, and neither is a role that is being started.
    """
    if state.ended_wall:
        return ()
    paused = (Wait("", pause_text(state.paused), pause_command(state)),) if state.paused else ()
    return (*paused, *held_up(state), *_unsaid(state))


def held_up(state: Knowledge) -> tuple[Wait, ...]:
    """Return which children that an operator has stopped the session cannot go on without."""
    if state.settled is not None:  # those that still have something to do are waited for, but never these
        return ()
    return tuple(
        Wait(child, f"is stopped until somebody starts it; meanwhile {missing}", start_command(state, child))
        for child, missing in _missing(state)
        if child in state.held
    )


def start_command(state: Knowledge, child: str) -> str:
    """Return what starts a child that an operator has stopped."""
    return f"milestonectl start {state.milestone.id}:{child}"


def pause_text(reason: str) -> str:
    """Say why a session is paused, and whether that ends by itself."""
    if reason == DISK_FULL:
        return "the disk that holds .milestones is full; free some space, and it goes on by itself"
    return f"{reason}; {_BY_ITSELF}" if reason.startswith(_PASSING) else reason


def pause_command(state: Knowledge) -> str:
    """Return what ends the pause of a session; ``""`` when it ends by itself."""
    passes = state.paused == DISK_FULL or state.paused.startswith(_PASSING)
    return "" if passes else f"milestonectl resume {state.milestone.id}"


def _missing(state: Knowledge) -> Iterator[tuple[str, str]]:
    """Yield the children that are needed now, each with what does not happen without it."""
    if state.preflight is None:
        yield "dependency_validator", "nobody looks whether the session can begin"
    yield "task_executor", "no task is granted or completed"
    if not state.git_known:
        yield "git_integration", "nobody says where tasks run"
    elif state.isolated:
        yield "git_integration", "no worktree is made and nothing lands"
    yield RUNNER, "no task can run"


def _unsaid(state: Knowledge) -> Iterator[Wait]:
    """Yield the roles that are there and have not said yet what everything else waits for."""
    silent: list[tuple[str, str]] = []
    if state.settled is not None:
        silent = [(role, "has not finished its work yet") for role in ROLES if role not in state.finished]
    elif state.stop is not None:
        yield Wait("", f"it is being stopped ({state.stop.reason}): tasks that run are ended first")
    else:
        if state.preflight is None:
            silent.append(("dependency_validator", "has not said yet whether the session can begin"))
        if not state.git_known and state.git.refused is None:
            silent.append(("git_integration", "has not said yet where tasks run"))
    for role, why in silent:
        known = state.children.get(role)
        if known is not None and known.ready and role not in state.held:
            yield Wait(role, why)
