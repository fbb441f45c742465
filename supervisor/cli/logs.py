"""Which file a name stands for: the output of a task's attempt, the log of a role, or that of the supervising process.

Owns the syntax of these names. Refuses to read the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from actors.problems import closest, did_you_mean
from actors.state import ROLES, RUNNER

if TYPE_CHECKING:
    from pathlib import Path

    from actors.paths import ProjectPaths
    from supervisor.sessions import Sessions

SUPERVISOR: Final = "supervisor"
PROCESSES: Final = (*ROLES, RUNNER, SUPERVISOR)
"""What has a log in a session beside its tasks."""


class UnknownLogError(Exception):
    """A name stands for no log.

    Attributes:
        lines: Why, and what to do.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@attrs.frozen
class Log:
    """What a name stands for.

    Attributes:
        name: As it is shown.
        session: Whose log it is.
        path: The file.
        task: Task whose output it is, ``""`` for a process.
        number: Which attempt of the task; 1 before the first one.
        pinned: Whether this very attempt was asked for, not the latest one.
    """

    name: str
    session: str
    path: Path
    task: str = ""
    number: int = 0
    pinned: bool = False


def attempt_log(paths: ProjectPaths, session: str, task: str, number: int, *, pinned: bool = False) -> Log:
    """Return the log of an attempt."""
    name = f"{task}.{number}"
    return Log(name, session, paths.task_log(session, name), task, number, pinned)


def find_log(name: str, paths: ProjectPaths, sessions: Sessions) -> Log:
    """Find what a name stands for.

    Args:
        name: ``TASK``, ``TASK.N`` or ``supervisor``, of the session that lives, else of the latest one that has it; or
            one of these, or a role, after ``SESSION:`` or ``MILESTONE:``.
        paths: The project.
        sessions: Its sessions.

    Raises:
        UnknownLogError: It stands for nothing.
        CommandError: The journal cannot be read.
    """
    owner, colon, rest = name.partition(":")
    if not colon:
        return _find_anywhere(name, paths, sessions)
    by_name = sessions.by_name()
    if owner not in by_name:
        raise UnknownLogError(f"{name}: no such session{did_you_mean(closest(owner, by_name))}", _KNOWN)
    session = by_name[owner]
    if rest in PROCESSES:
        return Log(name, session, paths.logs(session) / f"{rest}.log")
    found = _find_attempt(rest, session, paths, sessions)
    if found is None:
        known = [*PROCESSES, *sessions.view(session).state.tasks]
        raise UnknownLogError(f"{name}: no such role or task{did_you_mean(closest(rest, known))}", _KNOWN)
    return found


_KNOWN: Final = "names are TASK, TASK.N, SESSION:ROLE and supervisor; see them with: milestonectl status"


def _find_anywhere(name: str, paths: ProjectPaths, sessions: Sessions) -> Log:
    # The one that lives first; a sort keeps the others in their order, the newest first.
    latest = sorted(sessions.latest(), key=lambda session: not sessions.view(session).lives)
    if name == SUPERVISOR and latest:
        return Log(name, latest[0], paths.logs(latest[0]) / f"{name}.log")
    for session in latest:
        found = _find_attempt(name, session, paths, sessions)
        if found is not None:
            return found
    if not latest:
        raise UnknownLogError(f"{name}: no session has been run here yet", "begin with: milestonectl run ID")
    if name in sessions.by_name():
        raise UnknownLogError(f"{name} is a session: name one of its roles or tasks", f"such as {name}:{ROLES[0]}")
    tasks = {task: None for session in latest for task in sessions.view(session).state.tasks}
    if name in PROCESSES:
        owner = sessions.view(latest[0]).state.milestone.id
        raise UnknownLogError(f"{name} is a role: say of which session", f"such as {owner}:{name}")
    raise UnknownLogError(f"{name}: no such task{did_you_mean(closest(name, [*tasks, SUPERVISOR]))}", _KNOWN)


def _find_attempt(name: str, session: str, paths: ProjectPaths, sessions: Sessions) -> Log | None:
    tasks = sessions.view(session).state.tasks
    if name in tasks:
        return attempt_log(paths, session, name, max(1, tasks[name].attempts))
    task, _, number = name.rpartition(".")
    if task not in tasks or not (number.isascii() and number.isdigit()):
        return None
    if not 1 <= int(number) <= tasks[task].attempts:
        made = tasks[task].attempts
        raise UnknownLogError(f"{name}: no such attempt; {task} has had {made} so far")
    return attempt_log(paths, session, task, int(number), pinned=True)
