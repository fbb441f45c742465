"""The fold: what a session's journal amounts to.

Every process that acts on a session folds the same records with the same code: the supervising process (which
admits facts against it), the five roles and the runner. :class:`SessionState` is the only mutable thing here, it
has one owner in each process, and it changes through :meth:`SessionState.apply` alone; what it holds is frozen.

What may be folded at all is said in :mod:`actors.admission`.

Owns the meaning of facts. Refuses to know where they come from, files, processes, and time other than what the
records carry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, assert_never

import attrs
import msgspec
from msgspec.structs import replace as evolve

from actors.admission import Admission
from actors.events import (
    AttemptEnded,
    AttemptEvent,
    AttemptGranted,
    AttemptOverLimit,
    AttemptStarted,
    BlockerEscalated,
    BlockerEvent,
    BlockerRaised,
    BlockerResolved,
    ChildEvent,
    ChildGone,
    ChildHeld,
    ChildQuarantined,
    ChildReady,
    ChildReleased,
    CompletionAlert,
    ContainmentChosen,
    DependencyAlert,
    Event,
    GitEvent,
    GitIdle,
    GitNoticed,
    GitReady,
    GitRefused,
    HookRan,
    LandConflicted,
    Landed,
    LandFailed,
    MilestoneUpdated,
    Outcome,
    PreflightFailed,
    PreflightPassed,
    ProgressReported,
    Pushed,
    PushRefused,
    Record,
    ReportEvent,
    RoleFinished,
    SessionEnded,
    SessionEvent,
    SessionPaused,
    SessionResumed,
    SessionSettled,
    SessionStarted,
    SessionStatus,
    SessionUnpaused,
    SettingsChanged,
    SlotFailed,
    SlotPrepared,
    StopRequested,
    TaskCompleted,
    TaskFailed,
    TaskRetried,
    TaskSkipped,
    TaskStalled,
    UncommittedSeen,
    WriteBackFailed,
)
from actors.model import Milestone
from actors.standing import (
    ROLES,
    RUNNER,
    Attempt,
    Blocker,
    ChildState,
    Git,
    Phase,
    Stage,
    TaskState,
    carried_over,
    decided,
    first_states,
)

__all__ = ["ROLES", "RUNNER", "Attempt", "Blocker", "ChildState", "Git", "Phase", "SessionState", "Stage", "TaskState"]
__all__ += ["decode_state", "encode_state"]


_MAY_RUN: Final = frozenset({Stage.GRANTED, Stage.PREPARED, Stage.STARTED})

# Up to Python 3.11 looking a member up takes as long as replacing a struct, and each fact needs two or three of them.
_PREPARING, _RUNNING, _LANDING, _COMPLETED = Phase.PREPARING, Phase.RUNNING, Phase.LANDING, Phase.COMPLETED
_GRANTED, _PREPARED, _STARTED, _ENDED, _LANDED, _OVER = Stage
_OK: Final = Outcome.OK


def _over(attempt: Attempt, **changes: object) -> Attempt:
    """Return an attempt that holds nothing any more."""
    return evolve(attempt, stage=_OVER, granted=None, **changes)


@attrs.define
class SessionState(Admission):
    """The fold of one session's records; what it knows is described in :class:`~actors.knowledge.Knowledge`."""

    # --- folding -------------------------------------------------------------------------------------------------

    def apply(self, record: Record, event: Event | None = None) -> Event:
        """Fold one record.

        Args:
            record: The next record of this session.
            event: Its fact where the caller has decoded it already.

        Returns:
            The fact, decoded.
        """
        fact = record.event() if event is None else event
        self._folds[type(fact)](self, fact, record.wall)
        self.session, self.seq, self.wall = record.session, record.seq, record.wall
        return fact

    def _fold_session(self, event: SessionEvent, wall: float) -> None:
        match event:
            case SessionStarted(milestone=milestone, settings=settings, boot=boot, pid=pid, daemon=daemon):
                # The tasks once are enough: every replacement waits until they were sent and decoded.
                self.started = evolve(event, milestone=Milestone(milestone.id, milestone.title))
                self.milestone = milestone
                self.started_wall = self.life_wall = self.progress_wall = wall
                self.settings, self.boot, self.pid, self.daemon = settings, boot, pid, daemon
                self.tasks = first_states(milestone)
            case SessionResumed(settings=settings, boot=boot, pid=pid, daemon=daemon):
                self._begin_life(wall, boot)
                self.settings, self.boot, self.pid, self.daemon = settings, boot, pid, daemon
            case MilestoneUpdated(milestone=milestone):
                former, self.milestone = self.tasks, milestone
                self.snapshots += 1
                self.tasks = {key: carried_over(former.get(key), new) for key, new in first_states(milestone).items()}
                self.live = {key: task for key, task in self.live.items() if task in self.tasks}
            case StopRequested():
                cancelled = self.stop is not None and self.stop.final
                self.stop = evolve(event, final=event.final or cancelled)  # who cancelled is not overruled by a stop
                self._mark_stopped()
            case SessionPaused(reason=reason):
                self.paused, self.status, self.reason = reason, SessionStatus.PAUSED, reason
            case SessionUnpaused():
                self.paused, self.status, self.reason = "", SessionStatus.RUNNING, ""
            case SettingsChanged(settings=settings):
                self.settings = settings
            case SessionSettled():
                self.settled = event
            case WriteBackFailed(reason=reason):
                self.unwritten = reason
            case SessionEnded(status=status, reason=reason):
                self.status, self.reason, self.ended_wall = status, reason, wall
            case _:
                assert_never(event)

    def _mark_stopped(self) -> None:
        """Note which attempts the stop may interrupt: nobody may be left to say it of them, after a second Ctrl-C."""
        for task_id in self.live.values():
            task = self.tasks[task_id]
            if task.attempt is not None and task.attempt.stage in _MAY_RUN:
                self.tasks[task_id] = evolve(task, attempt=evolve(task.attempt, stopped=True))

    def _begin_life(self, wall: float, boot: str) -> None:
        # No task is to blame for what a machine that went down took with it.
        if not self.ended_wall and boot == self.boot:
            self._mark_cut_off()
        # The former life may have been killed: it was active until its last record, not until now.
        self.active_before += max(0.0, (self.ended_wall or self.wall) - self.life_wall)
        self.life_wall = self.progress_wall = wall
        self.status, self.reason, self.paused = SessionStatus.RUNNING, "", ""
        self.stop = self.settled = self.preflight = self.completion = None
        self.preflight_problems, self.unwritten = (), ""
        self.git = evolve(self.git, ready=None, idle="", refused=None)
        self.children, self.finished, self.stalled = {}, {}, {}
        self.ended_wall, self.runner_deaths, self.runner_died_wall = 0.0, 0, 0.0
        # Whoever ended the former life may have ended the runner too: no task is to blame for that.
        for key, task in self.tasks.items():
            if task.runner_deaths:
                self.tasks[key] = evolve(task, runner_deaths=0)

    def _mark_cut_off(self) -> None:
        """Note which attempts ran, or may have, when the supervising process died: one may have killed it."""
        begins = _PREPARED if self.isolated else _GRANTED
        for task_id in self.live.values():
            task = self.tasks[task_id]
            one = task.attempt
            if one is not None and not one.stopped and one.stage in {begins, _STARTED}:
                self.tasks[task_id] = evolve(task, attempt=evolve(one, cut_off=True))

    def _granted(self, event: AttemptGranted, _wall: float) -> None:
        attempt = Attempt(event.attempt, event.number, event.slot, _GRANTED, event)
        self.live[event.attempt] = event.task
        task = self.tasks[event.task]
        self.tasks[event.task] = evolve(task, phase=_PREPARING, attempts=event.number, attempt=attempt)

    def _given_up(self, event: TaskFailed, _wall: float) -> None:
        self.tasks[event.task] = evolve(self.tasks[event.task], phase=Phase.FAILED, reason=event.reason)

    def _retried(self, event: TaskRetried, _wall: float) -> None:
        # Numbers of attempts go on: each is used once in a session.
        self.tasks[event.task] = TaskState(attempts=self.tasks[event.task].attempts, retried=True)

    def _skipped(self, event: TaskSkipped, _wall: float) -> None:
        self.tasks[event.task] = evolve(self.tasks[event.task], phase=Phase.SKIPPED, reason=event.reason)

    def _fold_attempt(self, event: AttemptEvent, wall: float) -> None:
        self.progress_wall = self.progress_wall if isinstance(event, AttemptOverLimit) else wall
        found = self.attempt(event.attempt)
        if found is None:  # admits() keeps such facts out; a journal written by hand might hold one
            return
        task_id, task, attempt = found
        folded = self.tasks[task_id] = self._attempt_folds[type(event)](self, event, task, attempt, wall)
        if folded.attempt is not None and folded.attempt.stage is _OVER:
            self.tasks[task_id] = decided(folded)
            del self.live[event.attempt]
            self.stalled.pop(event.attempt, None)

    def _prepared(self, event: SlotPrepared, task: TaskState, attempt: Attempt, _wall: float) -> TaskState:
        return evolve(task, attempt=evolve(attempt, stage=_PREPARED, path=event.path, base=event.base))

    def _unprepared(self, event: SlotFailed, task: TaskState, attempt: Attempt, wall: float) -> TaskState:
        gone = _over(attempt, ended_wall=wall, detail=event.reason)
        return evolve(task, phase=Phase.PENDING, attempt=gone, slot_failures=task.slot_failures + 1)

    def _started(self, _event: AttemptStarted, task: TaskState, attempt: Attempt, wall: float) -> TaskState:
        return evolve(task, phase=_RUNNING, attempt=evolve(attempt, stage=_STARTED, started_wall=wall))

    def _exceeded(self, event: AttemptOverLimit, task: TaskState, attempt: Attempt, _wall: float) -> TaskState:
        return evolve(task, attempt=evolve(attempt, over_limit=event.what))

    def _ended(self, event: AttemptEnded, task: TaskState, attempt: Attempt, wall: float) -> TaskState:
        outcome, seconds = event.outcome, event.seconds
        if outcome is _OK:
            ended = evolve(attempt, stage=_ENDED, ended_wall=wall, outcome=outcome, seconds=seconds, stopped=False)
            return evolve(task, phase=_LANDING, attempt=ended)
        failed = outcome in {Outcome.FAILED, Outcome.TIMEOUT}
        if event.runner_died and RUNNER in self.children:  # who says so of itself is about to go
            self.children[RUNNER] = evolve(self.children[RUNNER], ready=False)
        return evolve(
            task,
            phase=Phase.PENDING,
            attempt=_over(attempt, ended_wall=wall, outcome=outcome, detail=event.explanation, seconds=seconds),
            failures=task.failures + failed,
            interruptions=task.interruptions + (not failed),
            runner_deaths=task.runner_deaths + (event.runner_died and not attempt.stopped),
            losses=task.losses + event.lost,
            lives_lost=task.lives_lost + (attempt.cut_off and not failed),
        )

    def _landed(self, event: Landed, task: TaskState, attempt: Attempt, _wall: float) -> TaskState:
        if event.sha:
            self.git = evolve(self.git, landed=self.git.landed + 1, tip=event.sha)
        return evolve(task, attempt=evolve(attempt, stage=_LANDED, sha=event.sha))

    def _conflicted(self, event: LandConflicted, task: TaskState, attempt: Attempt, _wall: float) -> TaskState:
        gone = _over(attempt, detail="conflicts in " + ", ".join(event.paths[:5]))
        return evolve(task, phase=Phase.PENDING, attempt=gone, conflicts=task.conflicts + 1)

    def _unlanded(self, event: LandFailed, task: TaskState, attempt: Attempt, _wall: float) -> TaskState:
        lost = event.lost
        gone = _over(attempt, outcome=Outcome.INTERRUPTED if lost else Outcome.FAILED, detail=event.reason)
        return evolve(
            task,
            phase=Phase.PENDING,
            attempt=gone,
            failures=task.failures + (not lost),
            losses=task.losses + lost,
            interruptions=task.interruptions + lost,
        )

    def _completed(self, _event: TaskCompleted, task: TaskState, attempt: Attempt, wall: float) -> TaskState:
        self.completed_here += 1
        self.task_seconds += attempt.seconds
        return evolve(task, phase=_COMPLETED, attempt=_over(attempt), completed_wall=wall)

    def _fold_child(self, event: ChildEvent, wall: float) -> None:
        match event:
            case ChildReady(child=child, pid=pid, incarnation=incarnation, restarts=restarts):
                former = self.children.get(child, ChildState())
                self.children[child] = ChildState(
                    ready=True,
                    pid=pid,
                    incarnation=incarnation,
                    restarts=restarts,
                    last_exit=former.last_exit,
                    ready_wall=wall,
                )
            case ChildGone(child=child, incarnation=incarnation, reason=reason):
                former = self.children.get(child, ChildState())
                self.children[child] = evolve(former, ready=False, incarnation=incarnation, last_exit=reason)
                if child == RUNNER:
                    self.runner_deaths += 1
                    self.runner_died_wall = wall
            case ChildQuarantined(child=child, reason=reason):
                former = self.children.get(child, ChildState())
                self.children[child] = evolve(former, ready=False, fatal=True, last_exit=reason)
            case ChildHeld(child=child):
                self.held = (*self.held, child)
                if child in self.children:
                    self.children[child] = evolve(self.children[child], ready=False)
            case ChildReleased(child=child):
                self.held = tuple(one for one in self.held if one != child)
            case RoleFinished(role=role, summary=summary):
                self.finished[role] = summary
            case ContainmentChosen():
                self.containment = event
            case _:
                assert_never(event)

    def _fold_git(self, event: GitEvent, _wall: float) -> None:
        git = self.git
        match event:
            case GitReady(uncommitted=uncommitted, base=base):
                first = git.base or base
                self.git = evolve(git, ready=event, idle="", refused=None, uncommitted=uncommitted, base=first)
            case GitIdle(reason=reason):
                self.git = evolve(git, ready=None, idle=reason, refused=None)
            case GitRefused():
                self.git = evolve(git, ready=None, refused=event)
            case Pushed(sha=sha, landed=landed):
                self.git = evolve(git, pushed=landed, pushed_sha=sha, push_refused="")
            case PushRefused(reason=reason, landed=landed):
                # Counted as done for this round, so that a refusal is retried after the next three tasks.
                self.git = evolve(git, pushed=landed, push_refused=reason)
            case UncommittedSeen(count=count):
                self.git = evolve(git, uncommitted=count)
            case GitNoticed(text=text):
                self.git = evolve(git, noticed=(*git.noticed, text))
            case _:
                assert_never(event)

    def _fold_blocker(self, event: BlockerEvent, wall: float) -> None:
        match event:
            case BlockerRaised(claim=claim):
                self.blockers[claim] = Blocker(event, wall)
            case BlockerEscalated(claim=claim, level=level) if claim in self.blockers:
                self.blockers[claim] = evolve(self.blockers[claim], level=level)
            case HookRan(claim=claim) if claim in self.blockers:
                self.blockers[claim] = evolve(self.blockers[claim], hooked=True)
            case BlockerResolved(claim=claim):
                self.blockers.pop(claim, None)
            case BlockerEscalated() | HookRan():
                pass
            case _:
                assert_never(event)

    def _fold_report(self, event: ReportEvent, _wall: float) -> None:
        match event:
            case PreflightPassed():
                self.preflight, self.preflight_problems = True, ()
            case PreflightFailed(problems=problems):
                self.preflight, self.preflight_problems = False, problems
            case DependencyAlert(claim=claim, kind="resolved"):
                self.alerts.pop(claim, None)
            case DependencyAlert(claim=claim, detail=detail):
                self.alerts[claim] = detail
            case ProgressReported():
                self.progress = event
            case TaskStalled(attempt=attempt, quiet_seconds=quiet):
                self.stalled[attempt] = quiet
            case CompletionAlert():
                self.completion = event
            case _:
                assert_never(event)

    # Tables, because to ask whether a struct is one of eight classes takes longer than to fold it. Whole by test.
    _folds: ClassVar[Mapping[type[Event], Callable[[SessionState, Any, float], None]]] = {
        kind: fold
        for union, fold in (
            (SessionEvent, _fold_session),
            (ChildEvent, _fold_child),
            (AttemptEvent, _fold_attempt),
            (GitEvent, _fold_git),
            (BlockerEvent, _fold_blocker),
            (ReportEvent, _fold_report),
        )
        for kind in union.__args__
    } | {AttemptGranted: _granted, TaskFailed: _given_up, TaskRetried: _retried, TaskSkipped: _skipped}
    _attempt_folds: ClassVar[Mapping[type[AttemptEvent], Callable[..., TaskState]]] = {
        SlotPrepared: _prepared,
        SlotFailed: _unprepared,
        AttemptStarted: _started,
        AttemptOverLimit: _exceeded,
        AttemptEnded: _ended,
        Landed: _landed,
        LandConflicted: _conflicted,
        LandFailed: _unlanded,
        TaskCompleted: _completed,
    }


_STATE_DECODER: Final = msgspec.json.Decoder(SessionState)


def encode_state(state: SessionState) -> msgspec.Raw:
    """Write a state down as JSON."""
    return msgspec.Raw(msgspec.json.encode(state))


def decode_state(raw: msgspec.Raw | bytes) -> SessionState:
    """Read a state that :func:`encode_state` wrote.

    Raises:
        msgspec.ValidationError: It was written by another version.
    """
    return _STATE_DECODER.decode(raw)
