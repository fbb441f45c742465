"""What is known of a session: the fields of the fold, and what is read from them.

Owns the fields. Refuses to know how a fact changes them: :mod:`actors.state` does that, and nobody else.
"""

from __future__ import annotations

import attrs

from actors.events import (
    CompletionAlert,
    ContainmentChosen,
    ProgressReported,
    SessionSettled,
    SessionStarted,
    SessionStatus,
    Settings,
    StopRequested,
)
from actors.model import Isolation, Milestone
from actors.standing import Attempt, Blocker, ChildState, Git, TaskState


@attrs.define
class Knowledge:
    """The fold of one session's records.

    Attributes:
        session: Session id, ``""`` before the first record.
        seq: Last record folded.
        wall: When that was, epoch seconds.
        started: The session's first fact, without the tasks that ``milestone`` has.
        milestone: The snapshot that is executed.
        snapshots: How many newer ones than the first were taken in.
        settings: How to run, as last told.
        pid: The process that supervises (or supervised last).
        daemon: Whether that is a daemon.
        boot: Boot id of the machine of the present life.
        status: What the session is.
        reason: Why it is paused or ended.
        started_wall: When it began, epoch seconds.
        life_wall: When its present life began, epoch seconds.
        active_before: Seconds that former lives were active.
        ended_wall: When it ended, epoch seconds; 0 while it lives.
        stop: The request to stop, ``None`` without one.
        paused: Why nothing is granted, ``""`` otherwise.
        settled: The executor's last word, ``None`` before.
        unwritten: Why the milestone file does not show how this life ended, ``""`` when it does.
        tasks: State of each task by id, in the file's order.
        live: Task id of each attempt that is not over, by attempt id.
        preflight: Whether pre-flight passed in this life; ``None`` before it is known.
        preflight_problems: Why it did not.
        git: What the git role found and did.
        children: Roles and runner by id.
        runner_deaths: How often the runner has ended unasked in this life.
        runner_died_wall: When it did so last, epoch seconds; 0 before.
        containment: What makes sure that nothing of a task is left, as the runner chose last; ``None`` before.
        blockers: Unresolved blockers by claim.
        stalled: Attempts reported as stalled.
        alerts: Dependency alerts that hold: detail by claim.
        held: Children that an operator has stopped.
        finished: Roles that have done all in this life.
        progress: The latest report.
        completion: The completion alert of this life, ``None`` before.
        progress_wall: When something last moved: an attempt started, ended, landed or completed.
        task_seconds: Sum of the successful attempts' times in this session.
        completed_here: Tasks completed by this session.
    """

    session: str = ""
    seq: int = 0
    wall: float = 0.0
    started: SessionStarted | None = None
    milestone: Milestone = Milestone(id="", title="")
    snapshots: int = 0
    settings: Settings = Settings()
    pid: int = 0
    daemon: bool = False
    boot: str = ""
    status: SessionStatus = SessionStatus.RUNNING
    reason: str = ""
    started_wall: float = 0.0
    life_wall: float = 0.0
    active_before: float = 0.0
    ended_wall: float = 0.0
    stop: StopRequested | None = None
    paused: str = ""
    settled: SessionSettled | None = None
    unwritten: str = ""
    tasks: dict[str, TaskState] = attrs.Factory(dict)
    live: dict[str, str] = attrs.Factory(dict)
    preflight: bool | None = None
    preflight_problems: tuple[str, ...] = ()
    git: Git = Git()
    children: dict[str, ChildState] = attrs.Factory(dict)
    runner_deaths: int = 0
    runner_died_wall: float = 0.0
    containment: ContainmentChosen | None = None
    blockers: dict[str, Blocker] = attrs.Factory(dict)
    stalled: dict[str, float] = attrs.Factory(dict)
    alerts: dict[str, str] = attrs.Factory(dict)
    held: tuple[str, ...] = ()
    finished: dict[str, str] = attrs.Factory(dict)
    progress: ProgressReported | None = None
    completion: CompletionAlert | None = None
    progress_wall: float = 0.0
    task_seconds: float = 0.0
    completed_here: int = 0

    # --- reading -------------------------------------------------------------------------------------------------

    @property
    def isolated(self) -> bool:
        """Whether attempts run in worktree slots: known once the git role has spoken, wished for before."""
        return self.settings.isolation is Isolation.WORKTREE and not self.git.idle

    @property
    def git_known(self) -> bool:
        """Whether the git role has said in this life that it is ready or idle."""
        return self.git.ready is not None or bool(self.git.idle)

    def is_absent(self, child: str) -> bool:
        """Whether nobody need wait for a child: it was given up, or an operator has stopped it."""
        known = self.children.get(child)
        return child in self.held or (known is not None and known.fatal)

    @property
    def last_landed(self) -> str:
        """The last commit that this session, or one before it, landed on the branch; ``""`` for none."""
        return self.git.tip or ("" if self.started is None else self.started.landed)

    def active_seconds(self, wall: float) -> float:
        """Seconds that the session has been active up to ``wall`` (epoch seconds), all lives together."""
        end = self.ended_wall or wall
        return self.active_before + max(0.0, end - self.life_wall)

    def attempt(self, attempt_id: str) -> tuple[str, TaskState, Attempt] | None:
        """Return task id, task and attempt if this is the latest attempt of its task and not over."""
        task_id = self.live.get(attempt_id)
        if task_id is None:
            return None
        task = self.tasks[task_id]
        if task.attempt is None or task.attempt.id != attempt_id:
            return None
        return task_id, task, task.attempt
