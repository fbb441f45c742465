"""The milestone as data: what a reader makes of a file, and what a run executes.

Owns the frozen classes that every process agrees on. Refuses to know YAML, files, git, processes and time.
A :class:`Milestone` is also what a session journals as its snapshot, so each class here must survive a round
trip through msgspec (plain values only: strings, numbers, tuples, string-keyed mappings, enums).
"""

from __future__ import annotations

import enum
import functools

import attrs


class OnCrash(enum.Enum):
    """What becomes of an attempt that was cut off by a crash: of its runner, of all supervision, of the machine.

    An attempt that an orderly stop interrupts is no such case: it runs again when the session goes on.
    """

    RERUN = "rerun"
    ASK = "ask"
    FAIL = "fail"


class Containment(enum.Enum):
    """What makes sure that nothing of a task is left: the strongest that the machine gives, or one by name."""

    AUTO = "auto"
    CGROUP = "cgroup"
    PID_NAMESPACE = "pid_namespace"
    SWEEP = "sweep"


class Overflow(enum.Enum):
    """What becomes of an attempt that prints more than its log may have."""

    TRIM = "trim"
    END = "end"


class Isolation(enum.Enum):
    """Where attempts run: in a git worktree slot of their own, or in the project directory itself."""

    WORKTREE = "worktree"
    NONE = "none"


class FileStatus(enum.Enum):
    """The convention's five words for the status of a task in a milestone file."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"


Command = str | tuple[str, ...]
"""A command line for ``/bin/sh -c`` (a string), or a program with its arguments, started without a shell (a tuple)."""


@attrs.frozen
class Task:
    """One task of a milestone.

    Attributes:
        id: Unique in its milestone; matches ``[A-Za-z0-9][A-Za-z0-9._-]{0,63}``.
        title: One line, for people and for the subject of the commit.
        description: Free text, ``""`` when the file has none.
        status: The status that the file declared, folded to the convention's five words.
        depends_on: Ids of tasks of this milestone that must be completed first, in the file's order, no doubles.
        run: What the task executes; ``None`` hands the task to an agent runner.
        verify: Commands that must all succeed after ``run``, in order.
        timeout: Seconds that one attempt (``run`` and ``verify`` together) may take; ``None`` for no limit.
        retries: How often a failed attempt is repeated.
        retry_delay: Seconds before the first repetition; doubled for each later one.
        env: Variables added to the environment of the attempt.
        files: Paths or globs, relative to the project, that the task changes; tasks whose ``files`` overlap never
            run at the same time.
        on_crash: What becomes of an attempt that a crash cut off.
        agent: Name of the agent runner to use when ``run`` is ``None``; ``None`` takes the configured default.
        acceptance_criteria: Lines for people and agents.
        estimated_hours: The file's own estimate in hours; ``None`` without one.
        weight: Share of the task in the percentage, 0 or more; 1 where the file says none.
        kind: The file's ``type`` word, ``""`` without one.
    """

    id: str
    title: str
    description: str = ""
    status: FileStatus = FileStatus.PENDING
    depends_on: tuple[str, ...] = ()
    run: Command | None = None
    verify: tuple[Command, ...] = ()
    timeout: float | None = None
    retries: int = 0
    retry_delay: float = 1.0
    env: tuple[tuple[str, str], ...] = ()
    files: tuple[str, ...] = ()
    on_crash: OnCrash = OnCrash.RERUN
    agent: str | None = None
    acceptance_criteria: tuple[str, ...] = ()
    estimated_hours: float | None = None
    weight: float = 1.0
    kind: str = ""


@attrs.frozen
class Requirements:
    """What a milestone needs of the machine, checked before it starts.

    Attributes:
        tools: Programs that must be on ``PATH``.
        environment: Variables that must be set.
        disk_space_mb: Free space needed in megabytes (10**6 bytes).
    """

    tools: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    disk_space_mb: int = 100


@attrs.frozen
class Milestone:
    """One milestone file.

    Attributes:
        id: The file's ``id``; equals the stem of the file.
        title: One line.
        description: Free text, ``""`` without one.
        status: The file's own word, unfolded (``planned``, ``in_progress``...), ``""`` without one.
        category: The file's own word, ``""`` without one.
        tasks: In the file's order.
        requires: Ids of milestones that must be completed before this one starts.
        shared_resources: Names of things that no two active milestones may use at once.
        requirements: What the machine must offer.
        success_criteria: Lines for people and agents.
        declared_percentage: The progress that the file claims, ``None`` when it claims none.
    """

    id: str
    title: str
    description: str = ""
    status: str = ""
    category: str = ""
    tasks: tuple[Task, ...] = ()
    requires: tuple[str, ...] = ()
    shared_resources: tuple[str, ...] = ()
    requirements: Requirements = Requirements()
    success_criteria: tuple[str, ...] = ()
    declared_percentage: int | None = None

    @property
    def by_id(self) -> dict[str, Task]:
        """The tasks by their ids."""
        return self._by_id

    # By a name that no message carries: under its own it would travel along, each task twice.
    @functools.cached_property
    def _by_id(self) -> dict[str, Task]:
        return {task.id: task for task in self.tasks}
