"""A session in virtual time: the real fold and the real executor, a scripted runner and a scripted git.

Every fact goes through the journal's door (:meth:`SessionState.admits`); a fact that it refuses fails the
test. After every record the invariants are checked that hold in any session (reference: I1 and I3).
"""

from __future__ import annotations

import heapq
import random

import attrs
from hypothesis import strategies as st

from actors.conflicts import overlapping
from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    ChildGone,
    ChildReady,
    Event,
    GitIdle,
    GitReady,
    LandConflicted,
    Landed,
    LandFailed,
    Outcome,
    PreflightPassed,
    Record,
    SessionPaused,
    SessionResumed,
    SessionSettled,
    SessionStarted,
    SessionUnpaused,
    Settings,
    SlotFailed,
    SlotPrepared,
    StopRequested,
    TaskCompleted,
    encode_event,
)
from actors.execution import Execution
from actors.model import FileStatus, Milestone, OnCrash, Task
from actors.state import RUNNER, ChildState, Phase, SessionState, Stage

START = 1_000_000.0
GIT = GitReady(branch="milestone/m", base="b" * 40, created=True, uncommitted=0)

FILES = ("CHANGELOG.md", "src/a.py", "src/*.py", "src", "docs/**", "docs/x.md", "build/[ab].o")
ENDINGS = ("ok", "ok", "ok", "failed", "timeout", "interrupted", "conflict", "slot", "unlandable", "lost")


def chance(numerator: int, of: int = 10) -> st.SearchStrategy[bool]:
    """True in `numerator` of `of` cases."""
    return st.integers(0, of - 1).map(lambda drawn: drawn < numerator)


@st.composite
def milestones(draw: st.DrawFn, *, largest: int = 12, statuses: bool = True) -> Milestone:
    """A milestone with an acyclic graph whose file order is not the order of its dependencies."""
    size = draw(st.integers(0, largest))
    tasks = []
    for number in range(size):
        below = draw(st.lists(st.integers(0, number - 1), max_size=3, unique=True)) if number else []
        status = FileStatus.PENDING
        if statuses and draw(chance(2)):
            status = draw(st.sampled_from([FileStatus.COMPLETED, FileStatus.CANCELLED, FileStatus.BLOCKED]))
        tasks.append(
            Task(
                id=f"t.{number}",
                title=f"Task {number}",
                status=status,
                depends_on=tuple(f"t.{one}" for one in below),
                run="true",
                retries=draw(st.integers(0, 2)),
                retry_delay=draw(st.sampled_from([0.0, 1.0, 7.0])),
                files=tuple(draw(st.lists(st.sampled_from(FILES), max_size=2, unique=True))) if draw(chance(5)) else (),
                on_crash=draw(st.sampled_from(OnCrash)),
                estimated_hours=draw(st.sampled_from([None, 0.0, 0.5, 2.0])),
            )
        )
    return Milestone(id="m", title="M", tasks=tuple(draw(st.permutations(tasks))))


@attrs.define
class Script:
    """How attempts end: by the task's id and the number of the attempt; ``ok`` where nothing is said."""

    endings: dict[tuple[str, int], str] = attrs.Factory(dict)
    seconds: dict[str, float] = attrs.Factory(dict)


@st.composite
def scripts(draw: st.DrawFn, milestone: Milestone) -> Script:
    """Endings for the first attempts of some tasks."""
    script = Script()
    for task in milestone.tasks:
        script.seconds[task.id] = draw(st.sampled_from([0.0, 1.0, 3.0, 10.0]))
        for number, ending in enumerate(draw(st.lists(st.sampled_from(ENDINGS), max_size=3)), start=1):
            script.endings[task.id, number] = ending
    return script


class Simulation:
    """One session, driven to its end.

    Args:
        milestone: What to execute.
        settings: How.
        script: How its attempts end.
        in_place: Whether git is idle.
        rebuild: Whether the executor is replaced by one built from the fold before every decision.
    """

    def __init__(
        self,
        milestone: Milestone,
        settings: Settings,
        script: Script | None = None,
        *,
        in_place: bool = False,
        rebuild: bool = False,
    ) -> None:
        self.script = script or Script()
        self.rebuild = rebuild
        self.state = SessionState()
        self.wall = START
        self.history: list[tuple[float, Event]] = []
        self.wake: float | None = None
        self.deaths = 0
        self._agenda: list[tuple[float, int, Event]] = []
        self._number = 0
        self.execution = Execution(self.state)
        self.record(SessionStarted(milestone, "m.yaml", "/p", settings, boot="b", pid=1))
        self.record(PreflightPassed())
        self.record(GitIdle("not a repository") if in_place else GIT)

    # --- the journal ---

    def record(self, event: Event) -> None:
        """Admit, fold, observe, check, and let runner and git react."""
        assert self.state.admits(event) == "", (event, self.state.admits(event))
        self._number += 1
        fact = encode_event(event)
        self.state.apply(Record(self._number, "s", self.wall, self.wall, fact.kind, fact.body), event)
        self.history.append((self.wall, event))
        self.execution.observe(event)
        self._check(event)
        self._react(event)

    def later(self, seconds: float, event: Event) -> None:
        """Put a fact on the agenda."""
        self._number += 1
        heapq.heappush(self._agenda, (self.wall + seconds, self._number, event))

    def decide(self) -> tuple[Event, ...]:
        """Decide once, twice for the same answer, and record what was decided."""
        if self.rebuild:
            self.execution = Execution(self.state)
        decision = self.execution.decide(self.wall)
        assert self.execution.decide(self.wall) == decision
        self.wake = decision.wake_wall
        for event in decision.events:
            self.record(event)
        return decision.events

    def run(self, rounds: int = 2000) -> SessionSettled:
        """Go on until the session is settled."""
        for _ in range(rounds):
            if self.decide():
                continue
            if self.state.settled is not None:
                assert not self._agenda
                return self.state.settled
            assert self.step(), "nothing lives, nothing is due, and the session is not settled"
        raise AssertionError("the session does not come to an end")

    def step(self) -> bool:
        """Let the next thing happen that is on the agenda or waited for; False when there is none."""
        if self._agenda and (self.wake is None or self._agenda[0][0] <= self.wake):
            self.wall, _, event = heapq.heappop(self._agenda)
            # Only a task that runs can kill the runner, and only one that lives: the reason says which attempt does it.
            runner = self.state.children.get(RUNNER, ChildState(ready=True))
            possible = runner.ready and getattr(event, "reason", "") in self.state.live
            outdated = isinstance(event, ChildGone) and not possible
            if not outdated and not self.state.admits(event):
                self.record(event)
            return True
        if self.wake is None:
            return False
        assert self.wake > self.wall, "woken again for what was due already"
        self.wall = self.wake
        return True

    def die(self, boot: str = "b") -> None:
        """Let everything be killed, and another process take the session up, in this or another boot of the machine."""
        self._agenda.clear()
        former = [name for name in self.state.live if self.state.admits(AttemptEnded(name, Outcome.INTERRUPTED)) == ""]
        self.record(SessionResumed(self.state.settings, boot, 2))
        self.execution = Execution(self.state)
        for name in former:
            self.record(AttemptEnded(name, Outcome.INTERRUPTED, detail="the runner died"))
        self.record(PreflightPassed())
        self.record(GIT)

    # --- runner and git ---

    def _react(self, event: Event) -> None:
        match event:
            case AttemptGranted(attempt=attempt):
                ending = self._ending(attempt)
                if not self.state.isolated:
                    self.later(0.0, AttemptStarted(attempt, 7))
                elif ending == "slot":
                    self.later(0.1, SlotFailed(attempt, "no space left"))
                else:
                    self.later(0.1, SlotPrepared(attempt, f"/slots/{event.slot}", "b" * 40))
            case SlotPrepared(attempt=attempt):
                self.later(0.0, AttemptStarted(attempt, 7))
            case AttemptStarted(attempt=attempt):
                self._end(attempt)
            case AttemptEnded(attempt=attempt, outcome=Outcome.OK) if self.state.isolated:
                self._land(attempt)
            case StopRequested():
                for attempt in self.state.live:
                    # Also for those that end by themselves at this moment: only the first end is admitted.
                    self.later(0.2, AttemptEnded(attempt, Outcome.INTERRUPTED, detail="by the user"))
            case ChildGone(child="runner"):
                self.deaths += 1
                for name in self.state.live:
                    found = self.state.attempt(name)
                    if found is not None and found[2].stage is not Stage.ENDED:
                        died = AttemptEnded(name, Outcome.INTERRUPTED, detail="the runner died", runner_died=True)
                        self.later(0.1, died)
                self.later(0.2, ChildReady(RUNNER, 7, self.deaths + 1, self.deaths))
            case _:
                pass

    def _ending(self, attempt: str) -> str:
        task, _, number = attempt.rpartition(".")
        return self.script.endings.get((task, int(number)), "ok")

    def _end(self, attempt: str) -> None:
        seconds = self.script.seconds.get(attempt.rpartition(".")[0], 1.0)
        ending = self._ending(attempt)
        if ending == "kills":
            self.later(seconds, ChildGone(RUNNER, self.deaths + 1, attempt))
            return
        failures = {"failed": Outcome.FAILED, "timeout": Outcome.TIMEOUT, "interrupted": Outcome.INTERRUPTED}
        outcome = failures.get(ending, Outcome.OK)
        detail = "its runner died" if outcome is Outcome.INTERRUPTED else ""
        self.later(seconds, AttemptEnded(attempt, outcome, "verify 1", 1, detail, seconds))

    def _land(self, attempt: str) -> None:
        match self._ending(attempt):
            case "conflict":
                self.later(0.1, LandConflicted(attempt, ("a.txt",)))
            case "unlandable":
                self.later(0.1, LandFailed(attempt, "cannot be read"))
            case "lost":
                self.later(0.1, LandFailed(attempt, "the slot is gone", lost=True))
            case _:
                self.later(0.1, Landed(attempt, "c" * 40, 1))

    # --- invariants ---

    def _check(self, event: Event) -> None:
        state = self.state
        live = [state.tasks[task] for task in state.live.values()]
        assert len(live) <= state.settings.max_parallel
        slots = [one.attempt.slot for one in live if one.attempt is not None]
        assert len(set(slots)) == len(slots)
        assert all(0 <= slot < state.settings.max_parallel for slot in slots)
        if isinstance(event, AttemptGranted):
            self._check_grant(event)
        assert sum(isinstance(one, SessionSettled) for _, one in self.history) <= 1

    def _check_grant(self, event: AttemptGranted) -> None:
        state, task = self.state, self.state.milestone.by_id[event.task]
        done = {one.task for _, one in self.history if isinstance(one, TaskCompleted)}
        assert event.task not in done, "I1: a completed task is never started again"
        assert all(state.tasks[needed].phase is Phase.COMPLETED for needed in task.depends_on), "I3"
        assert list(state.live.values()).count(event.task) == 1, "I3: one live attempt of a task"
        others = [state.milestone.by_id[one] for one in state.live.values() if one != event.task]
        assert not any(overlapping(task, other) for other in others), "conflicting tasks run together"
        assert not state.stop
        assert not state.paused

    @property
    def events(self) -> list[Event]:
        """Everything that was recorded."""
        return [event for _, event in self.history]

    def of(self, kind: type[Event]) -> list[Event]:
        """Everything of one kind that was recorded."""
        return [event for event in self.events if isinstance(event, kind)]

    def landing(self) -> bool:
        """Whether anything waits for git."""
        attempts = [self.state.tasks[task].attempt for task in self.state.live.values()]
        return any(one is not None and one.stage is Stage.ENDED for one in attempts)


def interrupt(simulation: Simulation, seed: int) -> None:
    """Put pauses on the agenda, and perhaps a stop, at moments drawn from a seed."""
    drawn = random.Random(seed)
    for _ in range(drawn.randrange(3)):
        begin = drawn.uniform(0, 20)
        simulation.later(begin, SessionPaused("by the user"))
        simulation.later(begin + drawn.uniform(0, 10), SessionUnpaused())
    if drawn.random() < 0.5:
        simulation.later(drawn.uniform(0, 20), StopRequested("by the user", final=drawn.random() < 0.5))
