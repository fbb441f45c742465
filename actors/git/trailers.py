"""Whose work a commit is: the trailers by which commits of tasks are known, read back.

Owns the question to git and the reading of its answer. Refuses to know how the trailers get into a message
(:mod:`actors.git.commit`) and what follows from them.
"""

from __future__ import annotations

from typing import Final

import attrs

from actors.git.plumbing import git, shown, split
from actors.programs import Finished, Flow

_KEYS: Final = ("Milestone", "Task", "Session")
_VALUES: Final = "%x1f".join(f"%(trailers:key={key},valueonly,unfold,separator=%x1d)" for key in _KEYS)


@attrs.frozen
class TaskCommit:
    """A commit of a task.

    Attributes:
        sha: The commit.
        milestone: Milestone id.
        task: Task id.
        session: Session id.
    """

    sha: str
    milestone: str
    task: str
    session: str


def task_commits(folder: str, *revisions: str, timeout: float = 60.0) -> Flow[tuple[TaskCommit, ...] | Finished]:
    """List the commits that have all three trailers, as ``git log`` lists them.

    Args:
        folder: Any directory of the repository.
        revisions: What to list, as ``git log`` takes it.
        timeout: Seconds that git has.

    Returns:
        The commits; or how the git ended that could not list them.
    """
    shape = ("-z", "--no-show-signature", "--no-color", f"--format=%H%x1f{_VALUES}")
    done = yield git("log", *shape, *revisions, "--", cwd=folder, timeout=timeout)
    if not done.ok:
        return done
    entries = (shown(entry).strip("\n").split("\x1f") for entry in split(done.stdout))
    return tuple(
        TaskCommit(sha, *values)
        for sha, *values in entries
        if len(values) == len(_KEYS) and all(values)  # a message may hold anything
    )
