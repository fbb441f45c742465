"""A session without processes, files and clocks: its real door, fold and decisions, and stand-ins for all around them.

What is real: the ledger (door and fold) of the supervising process, the fold and the decisions of the executor, the
snapshots by which processes are born, records as bytes. What stands in: the journal is a list, the runner and git are
what they promise to be (an attempt is begun once; a commit that is there is found again), time is two numbers. Each
child has a mailbox to the supervising process, from which proposals are taken one by one, so that verbs, crashes and
the clock come between any two of them.
"""

from collections import deque

import attrs

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
    MilestoneUpdated,
    Outcome,
    PreflightPassed,
    Record,
    RoleFinished,
    SessionResumed,
    SessionStarted,
    SessionStatus,
    SessionUnpaused,
    Settings,
    SlotFailed,
    SlotPrepared,
    TaskCompleted,
    encode_event,
    task_of,
)
from actors.execution import Execution
from actors.model import Isolation, Milestone
from actors.state import ROLES, RUNNER, Attempt, SessionState, Stage, decode_state, encode_state
from supervisor.beginning import RESUMABLE, changed_completed
from supervisor.ledger import Ledger
from supervisor.updating import compare
from tests.model.reference import Reference

SESSION = "s"
START = 1_000_000.0
LONGEST_WAIT = 60.0
"""Seconds: no delay of a generated milestone is longer, however the clock jumps."""

CHILDREN = ("task_executor", "runner", "git_integration")

_MAY_RUN = {Stage.GRANTED, Stage.PREPARED, Stage.STARTED}


@attrs.define
class Child:
    """A process: its fold, how far it has read, and what it has begun.

    Attributes:
        state: Its own fold, born of a snapshot.
        seen: How many records it has folded.
        begun: Attempts that it has taken in hand.
        execution: The decisions, of the executor only.
        set_back: Whether the clock was set back in its life.
    """

    state: SessionState
    seen: int
    begun: set[str] = attrs.Factory(set)
    execution: Execution | None = None
    set_back: bool = False


class World:
    """One session.

    Args:
        milestone: What it executes.
        parallel: How many attempts may live at once.
        in_place: Whether it runs without slots.
    """

    def __init__(self, milestone: Milestone, parallel: int, *, in_place: bool) -> None:
        isolation = Isolation.NONE if in_place else Isolation.WORKTREE
        self.settings = Settings(max_parallel=parallel, isolation=isolation)
        self.in_place = in_place
        self.wall = self.mono = START
        self.journal: list[Record] = []
        self.ledger = Ledger(SESSION)
        self.replica = SessionState(session=SESSION)
        self.reference = Reference(isolated=not in_place, parallel=parallel)
        self.children: dict[str, Child] = {}
        self.mail: dict[str, deque[tuple[Event, ...]]] = {name: deque() for name in CHILDREN}
        self.repeatable: list[Event] = []
        self.running: dict[str, str] = {}
        self.ran: set[str] = set()
        self.commits: dict[str, str] = {}
        self.is_up = True
        self.deaths = 0
        self.state_facts(SessionStarted(milestone, "m.yaml", "/p", self.settings, "boot", 1))
        self._bear_all()

    # --- the supervising process ---------------------------------------------------------------------------------

    def state_facts(self, *events: Event) -> tuple[str, ...]:
        """Judge facts, journal those that are admitted, and show each to the model; return the refusals."""
        facts = [encode_event(event) for event in events]
        judged = self.ledger.admit(facts, len(self.journal) + 1, self.wall, self.mono)
        for fact, event in judged.admitted:
            record = Record(len(self.journal) + 1, SESSION, self.wall, self.mono, fact.kind, fact.body)
            self.journal.append(record)
            self.replica.apply(record)
            self.reference.see(event, self.mono)
        assert self.replica == self.ledger.state, "what the records fold to is not what lives"
        return judged.refusals

    def ask(self, verb: Event, *, begins: bool = False) -> bool:
        """Ask for something; whether it is accepted is foretold by the model.

        Args:
            verb: What.
            begins: Whether it is a life that begins that takes in an edit, and not the ``update`` of one under way.
        """
        foretold = self.reference.accepts(verb, begins=begins)
        refused = ""
        if isinstance(verb, MilestoneUpdated):
            state = self.ledger.state
            refused = (
                "".join(changed_completed(state, verb.milestone)) if begins else compare(state, verb.milestone).refusal
            )
        refused = refused or "".join(self.state_facts(verb))
        assert (not refused) is foretold, f"{verb}: {refused or 'accepted'}"
        return foretold

    def take_mail(self, name: str) -> bool:
        """Take the next proposal of a child."""
        if not self.mail[name]:
            return False
        events = self.mail[name].popleft()
        self.repeatable += [one for one in events if isinstance(one, AttemptGranted | AttemptEnded | TaskCompleted)]
        self.repeatable += [one for one in events if isinstance(one, SlotPrepared | Landed | LandConflicted)]
        self.state_facts(*events)
        return True

    def finish(self) -> None:
        """Let all roles say that they are done; the session ends when it has settled."""
        for role in ROLES:
            self.state_facts(RoleFinished(role, ""))
        ending = self.ledger.ending()
        if ending is not None:
            assert self.state_facts(ending) == ()
            self._fall()

    def kill_supervisor(self) -> None:
        """End everything at once: what lives on is the journal and the repository."""
        self._fall()

    def _fall(self) -> None:
        self.is_up = False
        self.children, self.running = {}, {}
        for mail in self.mail.values():
            mail.clear()

    @property
    def is_over(self) -> bool:
        """Whether the session has come to its end for good."""
        return self.ledger.state.status not in RESUMABLE

    def resume(self, edited: Milestone | None = None) -> None:
        """Take the session up in another process, from the journal alone."""
        former, self.ledger = self.ledger.state, Ledger(SESSION, self.journal)
        assert self.ledger.state == former, "what is replayed is not what lived"
        self.is_up, self.deaths = True, 0
        assert self.state_facts(SessionResumed(self.settings, "boot", 2 + len(self.reference.ends))) == ()
        if edited is not None:
            self.ask(MilestoneUpdated(edited), begins=True)
        self._bear_all()

    # --- children ------------------------------------------------------------------------------------------------

    def _bear_all(self) -> None:
        for name in CHILDREN:
            self.bear(name)

    def bear(self, name: str) -> None:
        """Start a child that is not there. What a runner says of its predecessor is heard before that it is ready."""
        state = decode_state(encode_state(self.ledger.state))
        assert state == self.ledger.state, "a snapshot is not what it was made of"
        child = self.children[name] = Child(state, len(self.journal))
        if name == "task_executor":
            child.execution = Execution(state)
        if name == RUNNER:
            self._settle_former(child)
            self.state_facts(ChildReady(RUNNER, 7, self.deaths + 1, self.deaths))

    def _settle_former(self, child: Child) -> None:
        for attempt in open_attempts(child.state):
            began = attempt.stage is Stage.STARTED or self._may_start(attempt)
            child.begun.add(attempt.id)
            died = bool(self.deaths) and began
            assert self.state_facts(AttemptEnded(attempt.id, Outcome.INTERRUPTED, runner_died=died)) == ()

    def kill(self, name: str, *, heard: bool) -> None:
        """Kill a child; what it has sent is heard, or lost with it."""
        del self.children[name]
        while heard and self.take_mail(name):
            pass
        self.mail[name].clear()
        if name == RUNNER:
            self.running = {}
            self.deaths += 1
            self.state_facts(ChildGone(RUNNER, self.deaths, "killed"))

    def _read(self, name: str) -> Child:
        child = self.children[name]
        for record in self.journal[child.seen :]:
            event = child.state.apply(record)
            if child.execution is not None:
                child.execution.observe(event)
        child.seen = len(self.journal)
        assert child.state == self.ledger.state, f"{name} knows something else"
        return child

    def turn_of_executor(self) -> float | None:
        """Let the executor read and decide; return when it wants to be woken."""
        child = self._read("task_executor")
        if self.mail["task_executor"] or child.execution is None:
            return None
        decision = child.execution.decide(self.wall)
        if not child.set_back:
            anew = Execution(child.state).decide(self.wall)
            assert anew.events == decision.events, "one that was born now decides otherwise"
        if decision.events:
            self.mail["task_executor"].append(decision.events)
        return decision.wake_wall

    def turn_of_runner(self) -> None:
        """Let the runner read, begin what it may and end what it must."""
        child = self._read(RUNNER)
        stop = child.state.stop
        for attempt in open_attempts(child.state):
            if stop is not None:
                if self.running.pop(attempt.id, "") or attempt.id not in child.begun:
                    child.begun.add(attempt.id)
                    outcome = Outcome.CANCELLED if stop.final else Outcome.INTERRUPTED
                    self.mail[RUNNER].append((AttemptEnded(attempt.id, outcome, detail=stop.reason),))
            elif attempt.id not in child.begun and self._may_start(attempt) and child.state.git_known:
                child.begun.add(attempt.id)
                self._execute(attempt.id)
                self.mail[RUNNER].append((AttemptStarted(attempt.id, 7),))

    def _may_start(self, attempt: Attempt) -> bool:
        return attempt.stage is (Stage.GRANTED if self.in_place else Stage.PREPARED)

    def _execute(self, attempt: str) -> None:
        task = task_of(attempt)
        assert task not in self.reference.done, "I1: a completed task is executed again"
        assert attempt not in self.ran, "I3: an attempt is executed twice"
        assert task not in self.running.values(), "I3: two attempts of a task are executed"
        for needed in self.ledger.state.milestone.by_id[task].depends_on:
            assert needed in self.reference.done or self.reference.books[needed].fate.value == "completed", "I3"
        self.ran.add(attempt)
        self.running[attempt] = task

    def end_attempt(self, attempt: str, outcome: Outcome) -> None:
        """Let an attempt that runs come to its end."""
        del self.running[attempt]
        self.mail[RUNNER].append((AttemptEnded(attempt, outcome, "run", int(outcome is not Outcome.OK), "", 1.0),))

    def turn_of_git(self, *, slot: str = "ok", landing: str = "ok") -> None:
        """Let validator and git speak, and git make slots and land what has ended."""
        child = self._read("git_integration")
        mail = self.mail["git_integration"]
        if not mail and child.state.preflight is None:
            mail.append((PreflightPassed(),))
        if not mail and not child.state.git_known:
            idle = GitIdle("not wanted")
            mail.append((idle if self.in_place else GitReady("milestone/m", "b" * 40, created=True, uncommitted=0),))
        if self.in_place or child.state.git.ready is None:
            return
        for task in child.state.live.values():
            attempt = child.state.tasks[task].attempt
            assert attempt is not None
            if f"{attempt.id}/{attempt.stage.value}" in child.begun:
                continue
            if attempt.stage is Stage.GRANTED and child.state.stop is None:
                child.begun.add(f"{attempt.id}/granted")
                failed = SlotFailed(attempt.id, "no space")
                mail.append((failed if slot == "failed" else SlotPrepared(attempt.id, "/slot", "b" * 40),))
            elif attempt.stage is Stage.ENDED:
                child.begun.add(f"{attempt.id}/ended")
                mail.append((self._land(task, attempt.id, landing),))

    def _land(self, task: str, attempt: str, how: str) -> Event:
        """Land as git does: what is there already is found by its trailer, whatever would have come of it now."""
        if task in self.commits:
            assert self.commits[task] == attempt, "I2: a second attempt lands where the first one has"
            return Landed(attempt, f"sha {attempt}", 1)
        match how:
            case "conflict":
                return LandConflicted(attempt, ("a.txt",))
            case "failed":
                return LandFailed(attempt, "cannot be read")
            case "lost":
                return LandFailed(attempt, "the slot is gone", lost=True)
            case "nothing":
                return Landed(attempt, "")
            case _:
                self.commits[task] = attempt
                return Landed(attempt, f"sha {attempt}", 1)

    # --- time ----------------------------------------------------------------------------------------------------

    def pass_time(self, seconds: float) -> None:
        """Let both clocks go on."""
        self.mono += seconds
        self.wall += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock."""
        self.wall = max(1.0, self.wall + seconds)
        self.reference.jumped = self.mono
        for child in self.children.values():
            child.set_back = True

    # --- the end -------------------------------------------------------------------------------------------------

    def calm(self) -> None:
        """Let faults stop: the session has to come to the one end that its tasks call for."""
        for _ in range(3):
            if self.is_over:
                break
            if not self.is_up:
                self.resume()
            for name in CHILDREN:
                if name not in self.children:
                    self.bear(name)
            self._come_to_rest()
            self.finish()
        assert self.is_over, "L1: it comes to no end"
        self._judge_the_end()

    def _come_to_rest(self) -> None:
        for _ in range(1000):
            if self.ledger.state.paused and not self.reference.is_over:
                self.ask(SessionUnpaused())
            before = len(self.journal)
            wake = self.turn_of_executor()
            self.turn_of_runner()
            for attempt in tuple(self.running):
                self.end_attempt(attempt, Outcome.OK)
            self.turn_of_git()
            moved = [name for name in CHILDREN if self.take_mail(name)]
            if moved or len(self.journal) != before:
                continue
            if self.reference.settled is not None:
                return
            assert wake is not None, f"L1: it is stuck; {self.reference.runnable()} could run"
            wait = wake - self.wall
            assert 0.0 < wait <= LONGEST_WAIT, f"L1: it waits for {wait} s"
            self.pass_time(wait)
        raise AssertionError("L1: it goes on for ever")

    def _judge_the_end(self) -> None:
        reference, final = self.reference, self.reference.ends[-1]
        assert all(one is SessionStatus.INTERRUPTED for one in reference.ends[:-1]), "it came to two ends"
        if final is not SessionStatus.CANCELLED:
            assert final is reference.expected()
            assert not reference.runnable()
        completed = set(reference.done)
        by_task = [task_of(attempt) for attempt in reference.landings]
        assert len(by_task) == len(set(by_task)), "I2: a task landed twice"
        if not self.in_place:
            assert completed <= set(by_task), "I2: completed without having landed"
        for task, attempt in self.commits.items():
            assert task not in completed or attempt in reference.landings, "I2: another attempt's commit"


def open_attempts(state: SessionState) -> list[Attempt]:
    """Return the attempts whose programs run, or may."""
    found = [state.tasks[task].attempt for task in state.live.values()]
    return [one for one in found if one is not None and one.stage in _MAY_RUN]
