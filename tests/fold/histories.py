"""Random histories of a session, and a second opinion about what may happen in one.

Owns the proposals (sensible and hostile ones, of every kind) and :class:`Watchman`, which keeps its own account of
what was admitted. Refuses to look at the fold to judge it: the promises are written down here a second time.
"""

import random
from collections.abc import Callable, Iterator
from typing import Final

import attrs

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptOverLimit,
    AttemptStarted,
    BlockerEscalated,
    BlockerRaised,
    BlockerResolved,
    ChildGone,
    ChildQuarantined,
    ChildReady,
    CompletionAlert,
    DependencyAlert,
    Event,
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
    RoleFinished,
    SessionEnded,
    SessionPaused,
    SessionResumed,
    SessionSettled,
    SessionStarted,
    SessionStatus,
    SessionUnpaused,
    Settings,
    Severity,
    SlotFailed,
    SlotPrepared,
    Step,
    StopRequested,
    TaskCompleted,
    TaskFailed,
    TaskStalled,
    UncommittedSeen,
    encode_event,
)
from actors.model import FileStatus, Isolation, Milestone, Task
from actors.state import SessionState

SESSION: Final = "exec-m1-20260301_120000-0badcafe"
TASKS: Final = ("a", "b", "c", "d.1", "e")
SLOTS: Final = 3


def milestone_of(chance: random.Random) -> Milestone:
    """Return a milestone of five tasks, each depending on some of those before it."""
    statuses = [FileStatus.PENDING] * 8 + [FileStatus.COMPLETED, FileStatus.CANCELLED]
    tasks = tuple(
        Task(
            name,
            name.upper(),
            run="true",
            status=chance.choice(statuses),
            depends_on=tuple(other for other in TASKS[:number] if chance.random() < 0.4),
        )
        for number, name in enumerate(TASKS)
    )
    return Milestone("m1", "One", tasks=tasks)


def beginning(chance: random.Random) -> SessionStarted:
    """Return the first fact of a session."""
    settings = Settings(max_parallel=SLOTS, isolation=chance.choice(list(Isolation)))
    return SessionStarted(milestone_of(chance), ".milestones/active/m1.yaml", "/project", settings, "boot", 1)


def _edited(chance: random.Random, milestone: Milestone) -> Milestone:
    """Return another snapshot: a task more or less, other dependencies, now and then impossible ones."""
    tasks = list(milestone.tasks)
    if len(tasks) > 3 and chance.random() < 0.5:
        tasks.pop(chance.randrange(len(tasks)))
    if chance.random() < 0.5:
        name = f"n{chance.randrange(3)}"
        tasks = [task for task in tasks if task.id != name]
        tasks.append(Task(name, "New", run="true", depends_on=tuple(chance.sample(TASKS, 1))))
    return attrs.evolve(milestone, tasks=tuple(tasks))


def proposal(chance: random.Random, state: SessionState) -> Event:
    """Return a fact that somebody might state, whether it makes sense at the moment or not."""
    family = chance.choices([_work, _session, _other], [12, 1, 2])[0]
    return chance.choice(family(chance, state))()


def _work(chance: random.Random, state: SessionState) -> list[Callable[[], Event]]:
    names = [*state.tasks, "nowhere"]
    task = chance.choice(names)
    known = state.tasks.get(task)
    number = (known.attempts if known else 0) + chance.choice([1, 1, 1, 1, 0, 2])
    attempts = [*list(state.live) * 8, *(f"{name}.{chance.randint(1, 3)}" for name in names)]
    attempt = chance.choice(attempts)
    whose = chance.choice([attempt.rpartition(".")[0], attempt.rpartition(".")[0], task])
    outcome = chance.choice([Outcome.OK] * 8 + list(Outcome))
    path = chance.choice(["", f"/slots/{number}"])
    return [
        *[lambda: AttemptGranted(f"{task}.{number}", task, number, chance.randrange(SLOTS), _STEPS)] * 5,
        lambda: AttemptGranted(attempt, task, number, chance.randrange(SLOTS), _STEPS),
        lambda: AttemptStarted(attempt, 4711),
        lambda: AttemptOverLimit(attempt, "used 2 GiB of memory, its soft limit is 1 GiB"),
        lambda: SlotPrepared(attempt, path, "base"),
        lambda: SlotFailed(attempt, "no space"),
        *[lambda: AttemptEnded(attempt, outcome, "run", 0, "", float(number))] * 2,
        *[lambda: Landed(attempt, chance.choice(["", f"sha {attempt}"]), 1)] * 2,
        lambda: LandConflicted(attempt, ("file",)),
        lambda: LandFailed(attempt, "why", chance.random() < 0.5),
        *[lambda: TaskCompleted(whose, attempt)] * 6,
        lambda: TaskFailed(task, attempt, "enough"),
        lambda: TaskStalled(whose, attempt, 301.0, "quiet"),
    ]


def _session(chance: random.Random, state: SessionState) -> list[Callable[[], Event]]:
    status = chance.choice(list(SessionStatus))
    settings = state.settings
    return [
        lambda: beginning(chance),
        *[lambda: SessionResumed(settings, "boot", state.pid + 1)] * 6,
        lambda: MilestoneUpdated(_edited(chance, state.milestone)),
        lambda: StopRequested("by the user", chance.random() < 0.3),
        lambda: SessionPaused("by the user"),
        *[SessionUnpaused] * 3,
        lambda: SessionSettled(status, "done"),
        lambda: SessionEnded(status, "over"),
    ]


def _other(chance: random.Random, state: SessionState) -> list[Callable[[], Event]]:
    child = chance.choice(["git_integration", "runner", "task_executor"])
    number = chance.randrange(4)
    claim = f"stall:{number}"
    report = ProgressReported(number, None, 1, 5, len(state.live), 0, None, 0.5, "#" * 20)
    return [
        lambda: ChildReady(child, 100 + number, number + 1, number),
        lambda: ChildGone(child, number + 1, "killed by SIGKILL"),
        lambda: ChildQuarantined(child, "too often"),
        lambda: RoleFinished(child, "all done"),
        lambda: GitReady("milestone/m1", "base", created=True, uncommitted=number),
        lambda: GitIdle("no repository"),
        lambda: GitRefused("bare", "clone it"),
        lambda: Pushed("origin", "sha", number),
        lambda: PushRefused("origin", "no", number),
        lambda: UncommittedSeen(number, ("x",)),
        lambda: GitNoticed("no author"),
        PreflightPassed,
        lambda: PreflightFailed(("no disk",)),
        lambda: DependencyAlert(claim, chance.choice(["edited", "resolved"]), "detail"),
        lambda: report,
        lambda: CompletionAlert(1.0, 2.0, 2.0, 1, 0, "text"),
        lambda: BlockerRaised(claim, "stall", Severity.ERROR, "a", "seen", "do"),
        lambda: BlockerEscalated(claim, number, 5.0),
        lambda: BlockerResolved(claim, "gone"),
        lambda: HookRan(claim, "hook", ok=True, detail=""),
    ]


_STEPS: Final = (Step("run", "true"),)


def record_of(event: Event, seq: int, wall: float) -> Record:
    """Return the record that a fact becomes."""
    fact = encode_event(event)
    return Record(seq, SESSION, wall, wall - 1e9, fact.kind, fact.body)


def valid_history(seed: int, length: int) -> list[Record]:
    """Return the records of a session in which everything that was stated was admitted."""
    chance = random.Random(seed)
    state = SessionState()
    records: list[Record] = []
    wall = 1_772_366_400.0
    for event in _stated(chance, state, length):
        wall += chance.choice([0.0, 0.25, 1.0, 60.0])
        records.append(record_of(event, len(records) + 1, wall))
        state.apply(records[-1], event)
    return records


def _stated(chance: random.Random, state: SessionState, length: int) -> Iterator[Event]:
    yield beginning(chance)
    for _ in range(length * 4):
        event = proposal(chance, state)
        if not state.admits(event):
            yield event


@attrs.define
class _Attempt:
    task: str
    slot: int
    path: str = ""
    ended: bool = False
    landed: bool = False


@attrs.define
class Watchman:
    """Looks at admitted facts one after the other, and says which promise one of them breaks."""

    tasks: dict[str, Task] = attrs.Factory(dict)
    completed: set[str] = attrs.Factory(set)
    used: set[str] = attrs.Factory(set)
    open: dict[str, _Attempt] = attrs.Factory(dict)
    closed_for: str = ""
    slots_wanted: bool = True
    idle: bool = False
    begun: bool = False

    def see(self, event: Event) -> None:
        """Take an admitted fact in.

        Raises:
            AssertionError: It breaks a promise.
        """
        match event:
            case SessionStarted(milestone=milestone, settings=settings):
                assert not self.begun, "a session began twice"
                self.begun = True
                self.tasks = dict(milestone.by_id)
                self.completed = {one.id for one in milestone.tasks if one.status is FileStatus.COMPLETED}
                self.slots_wanted = settings.isolation is Isolation.WORKTREE
            case SessionResumed():
                self.closed_for, self.idle = "", False
            case MilestoneUpdated(milestone=milestone):
                assert self.completed <= set(milestone.by_id), "a completed task was dropped"
                assert {one.task for one in self.open.values()} <= set(milestone.by_id)
                added = set(milestone.by_id) - set(self.tasks)
                self.completed |= {key for key in added if milestone.by_id[key].status is FileStatus.COMPLETED}
                self.tasks = dict(milestone.by_id)
            case GitIdle():
                self.idle = True
            case GitReady():
                self.idle = False
            case StopRequested() | SessionSettled() | SessionPaused():
                self.closed_for = self.closed_for or type(event).__name__
                if not isinstance(event, SessionPaused):
                    self.closed_for = type(event).__name__
            case SessionUnpaused():
                self.closed_for = "" if self.closed_for == SessionPaused.__name__ else self.closed_for
            case _:
                self._see_work(event)

    def _see_work(self, event: Event) -> None:
        match event:
            case AttemptGranted(attempt=attempt, task=task, slot=slot):
                self._granted(attempt, task, slot)
            case SlotPrepared(attempt=attempt, path=path):
                self.open[attempt].path = path
            case AttemptEnded(attempt=attempt, outcome=outcome):
                assert not self.open[attempt].ended, "an attempt ended twice"
                self.open[attempt].ended = True
                if outcome is not Outcome.OK:
                    del self.open[attempt]
            case Landed(attempt=attempt):
                assert self.open[attempt].ended, "an attempt landed that had not ended well"
                assert not self.open[attempt].landed, "an attempt landed twice"
                self.open[attempt].landed = True
            case SlotFailed(attempt=attempt) | LandConflicted(attempt=attempt) | LandFailed(attempt=attempt):
                del self.open[attempt]
            case TaskCompleted(task=task, attempt=attempt):
                done = self.open.pop(attempt)
                assert done.task == task, "a task was completed by another one's attempt"
                assert task not in self.completed, "a task was completed twice"
                in_slot = (self.slots_wanted and not self.idle) or done.path
                assert done.landed if in_slot else done.ended, "completed before it had landed, or ended"
                self.completed.add(task)
            case TaskFailed(task=task):
                assert task not in self.completed, "a completed task failed"
                assert task not in {one.task for one in self.open.values()}, "failed with a live attempt"
            case _:
                pass

    def _granted(self, attempt: str, task: str, slot: int) -> None:
        assert not self.closed_for, f"granted after {self.closed_for}"
        assert task not in self.completed, "a completed task was granted again"
        assert attempt not in self.used, "an attempt id was used twice"
        assert task not in {one.task for one in self.open.values()}, "two live attempts of one task"
        assert slot not in {one.slot for one in self.open.values()}, "two attempts share a slot"
        assert set(self.tasks[task].depends_on) <= self.completed, "granted before its dependencies"
        self.used.add(attempt)
        self.open[attempt] = _Attempt(task, slot)
