"""Commits of completed tasks that the journal does not know: it is older than the branch.

A journal that was brought back from a copy is whole, and so are projections that came back with it. What it cannot
bring back is the branch: each commit of a task names task and session. So before a session begins or goes on, the
commits of its milestone's branch are read, and a task of which there is one must be known as done: by the journal, or
because a person says so in the milestone file. Otherwise it would be executed a second time.

Owns that comparison, the refusal and the mending of it. Refuses to change the branch.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from actors.editor import set_statuses
from actors.events import AttemptEnded, Event, Fact, Outcome, TaskRetried, encode_event
from actors.files import read_milestone_file, update_file
from actors.git.plumbing import complaint, git
from actors.git.repository import NotARepository, no_repository
from actors.git.trailers import TaskCommit, task_commits
from actors.model import FileStatus, Isolation
from actors.programs import NOT_STARTED, Finished
from actors.state import Phase
from supervisor.beginning import CONFIGURATION, IO_ERROR, RESUMABLE, RunRefusedError, refuse_unreadable
from supervisor.finding import known_ids
from supervisor.journal import Journal
from supervisor.journal_reader import JournalReader
from supervisor.ledger import Latest, latest_in
from supervisor.testimony import begun
from supervisor.waited import complete, run

if TYPE_CHECKING:
    from pathlib import Path

    from actors.model import Milestone
    from actors.paths import ProjectPaths
    from supervisor.beginning import Wish
    from supervisor.ledger import Ledger

DEPTH: Final = 5_000
"""So many commits of a branch are looked at where it is not known at which one a session began."""

_SECONDS: Final = 60.0
_NO_SUCH_REF: Final = 1
"""Exit code of ``git rev-parse --verify --quiet`` when there is no such ref, or, with a word of it, a broken one."""


def commits_of(project: Path, milestone_id: str, base: str = "") -> tuple[TaskCommit, ...]:
    """Return the commits of tasks on a milestone's branch, newest first; none where there is no such branch.

    Args:
        project: The project directory, in a repository or not.
        milestone_id: The milestone.
        base: Only what was committed since this commit; the latest :data:`DEPTH` when it is not given, or not there.

    Raises:
        RunRefusedError: git cannot list them (74): nobody can tell then what the branch has.
    """
    if not any((folder / ".git").exists() for folder in (project, *project.parents)):
        return ()
    branch = f"refs/heads/milestone/{milestone_id}"
    asked = run(git("rev-parse", "--verify", "--quiet", branch, cwd=str(project), timeout=_SECONDS))
    if (asked.code == _NO_SUCH_REF and not asked.stderr) or (asked.code == NOT_STARTED and not _has_git()):
        return ()
    if asked.code not in {0, _NO_SUCH_REF}:
        found = no_repository(str(project), asked)
        if isinstance(found, NotARepository):
            return ()
        raise RunRefusedError(IO_ERROR, *filter(None, (found.reason, found.cure)))
    if not asked.ok:
        raise _unreadable(project, milestone_id, asked)
    listed = complete(task_commits(str(project), branch, f"^{base}", timeout=_SECONDS)) if base else None
    if listed is None or isinstance(listed, Finished):  # what the session began from may be gone
        listed = complete(task_commits(str(project), branch, f"--max-count={DEPTH}", timeout=_SECONDS))
    if isinstance(listed, Finished):
        raise _unreadable(project, milestone_id, listed)
    return tuple(one for one in listed if one.milestone == milestone_id)


def _has_git() -> bool:
    from shutil import which  # noqa: PLC0415 - for the machine without

    return which("git") is not None


def _unreadable(project: Path, milestone_id: str, done: Finished) -> RunRefusedError:
    return RunRefusedError(
        IO_ERROR,
        f"git cannot read the branch milestone/{milestone_id} of the repository at {project}: {complaint(done)}",
        "mend the repository, or run the tasks in place with --isolation none",
    )


def commits_ahead(
    paths: ProjectPaths, milestone: Milestone, former: Ledger | None, known: Collection[str], *, as_journaled: bool
) -> tuple[TaskCommit, ...]:
    """Return the latest commit of each task that would be executed although its work is on the branch.

    Args:
        paths: Of the project.
        milestone: What its file says.
        former: Fold of the milestone's latest session, which nobody supervises; ``None`` without one.
        known: Ids of all sessions in the journal.
        as_journaled: Whether the journaled snapshot counts and not the file.

    Raises:
        RunRefusedError: git cannot list them (74).
    """
    goes_on = former if former is not None and former.state.status in RESUMABLE else None
    ahead: dict[str, TaskCommit] = {}
    for commit in commits_of(paths.project, milestone.id, "" if former is None else former.state.git.base):
        if goes_on is not None and commit.session == goes_on.session:
            is_done = _is_done(goes_on, milestone, commit.task, as_journaled=as_journaled)
        else:
            # What a session that has ended did may be wanted again: a person says so in the file.
            is_done = commit.session in known or not _is_open(milestone, commit.task)
        if not is_done:
            ahead.setdefault(commit.task, commit)
    return tuple(ahead.values())


def refuse_commits_ahead(
    paths: ProjectPaths, milestone: Milestone, former: Ledger | None, known: Collection[str], wish: Wish
) -> None:
    """Refuse to execute a task again whose work is on the branch; arguments as of :func:`commits_ahead`.

    Who wants tasks to run in place needs no repository that git can read.

    Raises:
        RunRefusedError: A task would be (78), or git cannot list the commits (74).
    """
    try:
        ahead = commits_ahead(paths, milestone, former, known, as_journaled=wish.as_journaled)
    except RunRefusedError:
        if _isolation(former, wish) is Isolation.NONE:
            return
        raise
    if ahead:
        raise RunRefusedError(
            CONFIGURATION,
            f"{paths.state_db}: the journal {'is older than' if known else 'knows nothing of'} the branch "
            f"milestone/{milestone.id}, which has the work of tasks that the journal does not know as done:",
            *(f"  {one.task}: commit {one.sha[:12]} of session {one.session}" for one in ahead),
            "nothing was changed; bring back a newer copy of .milestones, or run `milestonectl recover`, "
            "which marks these tasks as completed in the milestone file",
        )


def _isolation(former: Ledger | None, wish: Wish) -> Isolation:
    if former is not None and former.state.status in RESUMABLE:
        return former.state.settings.isolation
    return wish.isolation or wish.settings.isolation


def mark_completed(
    paths: ProjectPaths,
    milestone_id: str,
    former: Ledger | None,
    known: Collection[str],
    testimony: tuple[str, Sequence[str]] = ("", ()),
) -> tuple[tuple[TaskCommit, ...], tuple[Event, ...]]:
    """Take the word of others for it: write into the milestone file that tasks are completed that the journal lost.

    These are the tasks of the branch's commits, and those that a session completed by what it left beside the journal.

    Args:
        paths: Of the project; its lock must be held.
        milestone_id: The milestone; nothing is done where its file cannot be read.
        former: As of :func:`commits_ahead`.
        known: As of :func:`commits_ahead`.
        testimony: A session, and tasks that it had completed, whatever the journal says.

    Returns:
        The commits, with an empty hash where there is none; and facts to journal in the session, without which it
        would not heed the file for these tasks.

    Raises:
        RunRefusedError: git cannot list the commits (74).
        OSError: The file cannot be written.
    """
    path = paths.file(milestone_id)
    milestone = read_milestone_file(path).milestone
    if milestone is None or milestone.id != milestone_id:
        return (), ()
    ahead = commits_ahead(paths, milestone, former, known, as_journaled=False)
    have_commits = {one.task for one in ahead}
    lost = [task for task in _lost(former, milestone, testimony) if task not in have_commits]
    ahead += tuple(TaskCommit("", milestone_id, task, testimony[0]) for task in lost)
    tasks = dict.fromkeys((one.task for one in ahead), "completed")
    if tasks:
        update_file(path, lambda data: set_statuses(data, milestone=None, tasks=tasks, path=str(path)))
    return ahead, tuple(_made_pending(former, tasks)) if former is not None else ()


def _lost(former: Ledger | None, milestone: Milestone, testimony: tuple[str, Sequence[str]]) -> Iterator[str]:
    """Yield the tasks of a testimony that would be executed again; none where another session came after that one."""
    session, tasks = testimony
    if former is not None and former.session == session:
        yield from (one for one in tasks if not _is_done(former, milestone, one, as_journaled=False))
    elif former is None or begun(former.session) < begun(session):
        yield from (one for one in tasks if _is_open(milestone, one))


def take_their_word(
    paths: ProjectPaths, testimonies: Mapping[str, tuple[str, Sequence[str]]] | None = None
) -> dict[str, tuple[TaskCommit, ...]]:
    """Mark tasks of all active milestones as completed whose commits the journal does not know.

    Can be cut short and done again: what is marked in a file alone is still refused by a run.

    Args:
        paths: Of the project; its lock must be held, and its journal be whole, or not be there.
        testimonies: By milestone, what a session is known to have completed besides (:mod:`supervisor.testimony`).

    Returns:
        What was marked, by milestone.

    Raises:
        RunRefusedError: git cannot list the commits (74), or a session cannot be read by this version (78).
        JournalError: The journal cannot be read or written.
        OSError: A milestone file cannot be written.
    """
    marked: dict[str, tuple[TaskCommit, ...]] = {}
    stated: list[tuple[str, Fact]] = []
    with contextlib.ExitStack() as stack:
        there = paths.state_db.exists()
        reader = stack.enter_context(JournalReader.open(paths.state_db)) if there else None
        known = {one.id for one in reader.sessions()} if reader is not None else set()
        for milestone_id in known_ids(paths):
            latest = Latest(milestone_id) if reader is None else latest_in(reader, milestone_id)
            refuse_unreadable(latest, paths.state_db)
            testimony = (testimonies or {}).get(milestone_id, ("", ()))
            ahead, facts = mark_completed(paths, milestone_id, latest.ledger, known, testimony)
            if ahead:
                marked[milestone_id] = ahead
            stated += [(latest.ledger.session, encode_event(fact)) for fact in facts if latest.ledger is not None]
    if stated:
        with Journal.open(paths.state_db) as journal:
            journal.append(stated, time.time(), time.monotonic())  # noqa: TID251 - stored with the records
    return marked


def _is_done(ledger: Ledger, milestone: Milestone, task_id: str, *, as_journaled: bool) -> bool:
    task = ledger.state.tasks.get(task_id)
    if task is None or task.phase in {Phase.COMPLETED, Phase.LANDING}:
        return True  # nothing of it is executed: it is done, or about to be found on the branch
    if as_journaled:
        return False
    if task_id not in milestone.by_id:
        return True  # a person has taken it out of the file, and with it out of the session
    heeds_file = task.phase is Phase.PENDING or (task.phase is Phase.SKIPPED and not task.reason)
    return heeds_file and not _is_open(milestone, task_id)


def _is_open(milestone: Milestone, task_id: str) -> bool:
    task = milestone.by_id.get(task_id)
    return task is not None and task.status not in {FileStatus.COMPLETED, FileStatus.CANCELLED}


def _made_pending(ledger: Ledger, tasks: Iterable[str]) -> list[Event]:
    """Return the facts that end attempts nobody makes any more, and take back what was decided about their tasks."""
    facts: list[Event] = []
    for task_id in tasks:
        task = ledger.state.tasks.get(task_id)
        if task is None:
            continue
        if task.attempt is not None and task.attempt.id in ledger.state.live:
            facts.append(AttemptEnded(task.attempt.id, Outcome.INTERRUPTED, detail="it had completed its task"))
        if task.phase in {Phase.FAILED, Phase.SKIPPED}:
            facts.append(TaskRetried(task_id))
    return facts
