"""The frozen parts of the fold: what is known of a task, an attempt, a child, git and a blocker.

Owns the words and the fields. Refuses to know how a fact changes them (that is :mod:`actors.state`).

These are msgspec structs where the rest of the house has attrs classes: every process replaces two or three of them
for every record, and msgspec does that in C, ten times as fast as ``attrs.evolve``. What there is one of for each task
is written without its defaults: a snapshot is sent to every replacement, in the moment in which it is waited for.
"""

from __future__ import annotations

import enum
from typing import Final

import msgspec

from actors.events import AttemptGranted, BlockerRaised, GitReady, GitRefused, Outcome
from actors.model import FileStatus, Milestone

ROLES: Final = (
    "task_executor",
    "progress_monitor",
    "git_integration",
    "dependency_validator",
    "blocker_detector",
)
"""Ids of the five roles, in the order in which they are started."""

RUNNER: Final = "runner"
"""Id of the runner among the children of a session."""


class Phase(enum.Enum):
    """Where a task is. The words that ``session.json`` and ``status`` show."""

    PENDING = "pending"
    PREPARING = "preparing"
    RUNNING = "running"
    LANDING = "landing"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"


class Stage(enum.Enum):
    """Where an attempt is."""

    GRANTED = "granted"
    PREPARED = "prepared"
    STARTED = "started"
    ENDED = "ended"
    LANDED = "landed"
    OVER = "over"


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """The latest attempt of a task.

    Attributes:
        id: ``<task>.<number>``.
        number: 1 for the first.
        slot: The slot that it holds until it is over.
        stage: How far it came.
        granted: The grant itself, for who acts on it; ``None`` once the attempt is over.
        path: Directory that it runs in, ``""`` before it is known.
        base: Commit that its directory showed, ``""`` in place.
        started_wall: When its first program ran, epoch seconds; 0 before.
        ended_wall: When it ended, epoch seconds; 0 before.
        outcome: How it ended, ``None`` while it lives.
        detail: Why it ended so, one line.
        seconds: How long it took.
        sha: Commit that it became, ``""`` for none.
        stopped: Whether the session was told to stop while its programs could run: if it is interrupted then, that is
            no crash.
        cut_off: Whether the supervising process died while its programs ran, or may have.
        over_limit: The soft limit that it is over, with the figures; ``""`` for none.
    """

    id: str
    number: int
    slot: int
    stage: Stage
    granted: AttemptGranted | None = None
    path: str = ""
    base: str = ""
    started_wall: float = 0.0
    ended_wall: float = 0.0
    outcome: Outcome | None = None
    detail: str = ""
    seconds: float = 0.0
    sha: str = ""
    stopped: bool = False
    cut_off: bool = False
    over_limit: str = ""


class TaskState(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a task.

    Attributes:
        phase: Where it is.
        attempts: How many attempts were granted.
        failures: Attempts that failed or timed out.
        conflicts: Attempts whose change did not merge.
        slot_failures: Attempts that never ran because no worktree could be made.
        losses: Attempts whose worktree was gone or replaced when they had ended.
        interruptions: Attempts that were interrupted.
        runner_deaths: Attempts that were interrupted because the runner itself ended, in this life.
        lives_lost: Attempts that were interrupted because the life of the session was cut off, and not the machine's.
        attempt: The latest attempt.
        reason: Why it failed for good, or was skipped by a command; ``""`` otherwise.
        completed_wall: When it was completed in this session, epoch seconds; 0 otherwise.
        before: Whether the file already declared it completed when the session began.
        retried: Whether a command brought it back: what the file says of it from before counts no more.
        typed: What a person has made of it in the file while an attempt of it lived: so it is when that is over, unless
            it was completed.
    """

    phase: Phase = Phase.PENDING
    attempts: int = 0
    failures: int = 0
    conflicts: int = 0
    slot_failures: int = 0
    losses: int = 0
    interruptions: int = 0
    runner_deaths: int = 0
    lives_lost: int = 0
    attempt: Attempt | None = None
    reason: str = ""
    completed_wall: float = 0.0
    before: bool = False
    retried: bool = False
    typed: Phase | None = None

    @property
    def is_live(self) -> bool:
        """Whether an attempt of it lives."""
        return self.phase in _LIVE


def first_states(milestone: Milestone) -> dict[str, TaskState]:
    """Return the state of each task before a session has done anything, in the file's order."""
    phases = {FileStatus.COMPLETED: Phase.COMPLETED, FileStatus.CANCELLED: Phase.SKIPPED}
    return {
        task.id: TaskState(phases.get(task.status, Phase.PENDING), before=task.status is FileStatus.COMPLETED)
        for task in milestone.tasks
    }


_LIVE: Final = frozenset({Phase.PREPARING, Phase.RUNNING, Phase.LANDING})


def carried_over(former: TaskState | None, fresh: TaskState) -> TaskState:
    """Return what a task is under a newer snapshot: what happened stays, what a person decided in the file counts.

    Args:
        former: Its state so far, ``None`` for a new task.
        fresh: Its state by the newer file alone.
    """
    if former is None:
        return fresh
    if former.is_live:
        decided = fresh.phase is not Phase.PENDING and not former.retried
        return msgspec.structs.replace(former, typed=fresh.phase if decided else None)
    by_hand = former.phase is Phase.PENDING and fresh.phase is not Phase.PENDING
    # Who was skipped by a command has a reason, and comes back by a command.
    brought_back = former.phase is Phase.SKIPPED and not former.reason and fresh.phase is not Phase.SKIPPED
    if by_hand or brought_back:
        return msgspec.structs.replace(former, phase=fresh.phase, before=fresh.before)
    return former


def decided(task: TaskState) -> TaskState:
    """Return what a task is whose attempt is over: what a person has made of it meanwhile, where it came to nothing."""
    if task.typed is None:
        return task
    if task.phase is not Phase.PENDING:
        return msgspec.structs.replace(task, typed=None)
    return msgspec.structs.replace(task, phase=task.typed, before=task.typed is Phase.COMPLETED, typed=None)


class ChildState(msgspec.Struct, frozen=True):
    """What the journal says of a role or the runner.

    Attributes:
        ready: Whether it is there.
        pid: Its latest process.
        incarnation: Its latest number.
        restarts: Restarts in the present life of the session.
        last_exit: Why the former incarnation ended, ``""`` for none.
        fatal: Whether it was given up.
        ready_wall: When it was last ready, epoch seconds; 0 before.
    """

    ready: bool = False
    pid: int = 0
    incarnation: int = 0
    restarts: int = 0
    last_exit: str = ""
    fatal: bool = False
    ready_wall: float = 0.0


class Git(msgspec.Struct, frozen=True):
    """What the git role found and did.

    Attributes:
        ready: The branch and base, ``None`` before or when idle.
        idle: Why it has nothing to do, ``""`` otherwise.
        refused: Why it cannot work, ``None`` otherwise.
        landed: Commits made in this session.
        pushed: Value of ``landed`` when the latest push began.
        pushed_sha: Commit that was pushed last.
        push_refused: Why the latest push was refused, ``""`` otherwise.
        uncommitted: Uncommitted files of the checkout at the latest look.
        tip: Last commit landed in this session, ``""`` for none.
        base: Commit that the session's first life started from: all that it landed came after that.
        noticed: What was said already, so that it is not said again.
    """

    ready: GitReady | None = None
    idle: str = ""
    refused: GitRefused | None = None
    landed: int = 0
    pushed: int = 0
    pushed_sha: str = ""
    push_refused: str = ""
    uncommitted: int = 0
    tip: str = ""
    base: str = ""
    noticed: tuple[str, ...] = ()


class Blocker(msgspec.Struct, frozen=True):
    """A blocker that was raised.

    Attributes:
        raised: The claim itself.
        since_wall: When, epoch seconds.
        level: Escalations so far.
        hooked: Whether the hook was told (however it ended).
    """

    raised: BlockerRaised
    since_wall: float
    level: int = 0
    hooked: bool = False
