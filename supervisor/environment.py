"""The environment that tasks see.

The runner's own environment is the caller's (``run``) or the configured one (daemon). Taken out of it is what
would make a task act on something that is not its own: git variables of a hook that started us, sockets and
watchdogs that systemd gave to the supervising process, and the marks of an outer session. Put in are the
marks by which every process of an attempt is known, whatever the task sets.

Owns names and precedence. Refuses to know processes and files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from supervisor.forked import MARK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actors.events import AttemptGranted

SESSION_MARK: Final = "MILESTONED_SESSION"
"""Variable that names the session in every process of its tasks."""

ATTEMPT_MARK: Final = "MILESTONED_ATTEMPT"
"""Variable that names the attempt in every process of it."""

PROJECT_MARK: Final = "MILESTONED_PROJECT"
"""Variable that names the project's directory in every process of its tasks."""

DENIED_PREFIXES: Final = ("GIT_", "LISTEN_", "MILESTONED_", "WATCHDOG_")
"""Beginnings of variables that never reach a task from outside; a task's own ``env`` may set ``GIT_*``."""

DENIED: Final = frozenset(
    {
        "NOTIFY_SOCKET",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "MAINPID",
        "MANAGERPID",
        "SYSTEMD_EXEC_PID",
        "OLDPWD",
    }
)
"""Variables that speak of the supervising process and not of a task."""


class TaskEnvironment:
    """Makes the environment of attempts.

    Args:
        base: The runner's own environment, read once.
        session: Session id.
        milestone: Milestone id.
        project: Absolute path of the project directory.
    """

    def __init__(self, base: Mapping[str, str], *, session: str, milestone: str, project: str) -> None:
        self._base = {name: value for name, value in base.items() if not is_denied(name)}
        self._marks = {SESSION_MARK: session, PROJECT_MARK: project, "MILESTONE_ID": milestone}
        if MARK in base:  # the fork server's mark of this very runner, by which all below it are found
            self._marks[MARK] = base[MARK]

    def of(self, granted: AttemptGranted, directory: str) -> dict[str, str]:
        """Compose the environment of one attempt: base, then the task's own variables, then our marks.

        Args:
            granted: The attempt.
            directory: Where it runs; becomes ``PWD``.
        """
        environment = {**self._base, "PWD": directory}
        environment.update(granted.env)
        environment.update(self._marks)
        environment[ATTEMPT_MARK] = granted.attempt
        environment["TASK_ID"] = granted.task
        environment["TASK_ATTEMPT"] = str(granted.number)
        return environment


def passed_on(base: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Return the variables of an environment that are named, for the tasks of a daemon.

    Args:
        base: The daemon's own environment.
        names: Names; with a ``*`` at the end all that begin so.
    """
    wanted = tuple(names)
    whole = frozenset(name for name in wanted if not name.endswith("*"))
    beginnings = tuple(name[:-1] for name in wanted if name.endswith("*"))
    return {name: value for name, value in base.items() if name in whole or name.startswith(beginnings)}


def is_denied(name: str) -> bool:
    """Tell whether a variable of the runner stays away from tasks."""
    return name in DENIED or name.startswith(DENIED_PREFIXES)
