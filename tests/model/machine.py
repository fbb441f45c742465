"""The rules: what may happen to a session next, and what hypothesis chooses from."""

import sys
from typing import Any

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from actors.events import (
    Event,
    Outcome,
    SessionPaused,
    SessionUnpaused,
    StopRequested,
    TaskRetried,
    TaskSkipped,
)
from actors.events import MilestoneUpdated as Updated
from actors.model import FileStatus, Milestone, OnCrash, Task
from tests.model.world import CHILDREN, World

MOST_TASKS = 5
_FILE_WORDS = [FileStatus.PENDING] * 6 + [FileStatus.COMPLETED, FileStatus.CANCELLED]


@st.composite
def tasks(draw: st.DrawFn, key: str, below: list[str]) -> Task:
    """A task that depends on some of those before it."""
    return Task(
        id=key,
        title=key,
        run="true",
        status=draw(st.sampled_from(_FILE_WORDS)),
        depends_on=tuple(draw(st.lists(st.sampled_from(below), max_size=2, unique=True))) if below else (),
        retries=draw(st.integers(0, 2)),
        retry_delay=draw(st.sampled_from([0.0, 1.0, 7.0])),
        on_crash=draw(st.sampled_from([OnCrash.RERUN, OnCrash.RERUN, OnCrash.FAIL, OnCrash.ASK])),
    )


@st.composite
def milestones(draw: st.DrawFn) -> Milestone:
    """One to five tasks, in an order that is not that of their dependencies."""
    made: list[Task] = []
    for number in range(draw(st.integers(1, MOST_TASKS))):
        made.append(draw(tasks(f"t{number}", [one.id for one in made])))
    return Milestone("m", "M", tasks=tuple(reversed(made)))


class Session(RuleBasedStateMachine):
    """Sessions one after the other; every fact that is admitted is judged by the model at once."""

    steps = 0
    """Rules that were executed, in all runs of this process."""

    world: World

    @initialize(milestone=milestones(), parallel=st.integers(1, 3), in_place=st.booleans())
    def begin(self, milestone: Milestone, parallel: int, *, in_place: bool) -> None:
        self.world = World(milestone, parallel, in_place=in_place)

    def check_invariants(self, *args: Any, **named: Any) -> None:  # noqa: ANN401 - hypothesis's own
        """Count: hypothesis calls this after each rule."""
        Session.steps += 1
        super().check_invariants(*args, **named)

    def _is_up(self) -> bool:
        return self.world.is_up

    # --- the children go on --------------------------------------------------------------------------------------

    @precondition(_is_up)
    @rule(data=st.data())
    def the_supervisor_takes_a_proposal(self, data: st.DataObject) -> None:
        waiting = [name for name in CHILDREN if self.world.mail[name]]
        if waiting:
            self.world.take_mail(data.draw(st.sampled_from(waiting)))

    @precondition(lambda self: "task_executor" in self.world.children)
    @rule()
    def the_executor_decides(self) -> None:
        self.world.turn_of_executor()

    @precondition(lambda self: "runner" in self.world.children)
    @rule()
    def the_runner_acts(self) -> None:
        self.world.turn_of_runner()

    @precondition(lambda self: "git_integration" in self.world.children)
    @rule(
        slot=st.sampled_from(["ok", "ok", "ok", "failed"]),
        landing=st.sampled_from(["ok", "ok", "nothing", "conflict", "failed", "lost"]),
    )
    def git_acts(self, slot: str, landing: str) -> None:
        self.world.turn_of_git(slot=slot, landing=landing)

    @precondition(lambda self: self.world.running)
    @rule(data=st.data(), outcome=st.sampled_from([Outcome.OK, Outcome.OK, Outcome.FAILED, Outcome.TIMEOUT]))
    def an_attempt_ends(self, data: st.DataObject, outcome: Outcome) -> None:
        self.world.end_attempt(data.draw(st.sampled_from(sorted(self.world.running))), outcome)

    @precondition(_is_up)
    @rule(
        rounds=st.integers(1, 4),
        outcome=st.sampled_from([Outcome.OK, Outcome.FAILED, None]),
        landing=st.sampled_from(["ok", "conflict", "failed", "lost"]),
    )
    def all_goes_on_for_a_while(self, rounds: int, outcome: Outcome | None, landing: str) -> None:
        world = self.world
        for _ in range(rounds):
            for name in CHILDREN:
                while world.take_mail(name):
                    pass
            if "git_integration" in world.children:
                world.turn_of_git(landing=landing)
            if "task_executor" in world.children:
                world.turn_of_executor()
            if "runner" in world.children:
                world.turn_of_runner()
            for attempt in tuple(world.running) if outcome is not None else ():
                world.end_attempt(attempt, outcome or Outcome.OK)

    @precondition(lambda self: self.world.is_up and self.world.reference.settled is not None)
    @rule()
    def the_roles_finish(self) -> None:
        self.world.finish()

    # --- verbs ---------------------------------------------------------------------------------------------------

    @precondition(_is_up)
    @rule(verb=st.sampled_from([SessionPaused("by hand", by_hand=True), SessionUnpaused(), SessionUnpaused()]))
    def somebody_pauses_or_goes_on(self, verb: Event) -> None:
        self.world.ask(verb)

    @precondition(_is_up)
    @rule(number=st.integers(0, MOST_TASKS), wanted=st.booleans())
    def somebody_retries_or_skips(self, number: int, *, wanted: bool) -> None:
        known = [*self.world.reference.books, "nowhere"]
        task = known[number % len(known)]
        self.world.ask(TaskRetried(task) if wanted else TaskSkipped(task, "by hand"))

    @precondition(lambda self: self.world.is_up and len(self.world.journal) > 15)
    @rule(final=st.sampled_from([False, False, True]))
    def somebody_stops_or_cancels(self, *, final: bool) -> None:
        self.world.ask(StopRequested("by hand", final=final))

    @precondition(_is_up)
    @rule(data=st.data())
    def somebody_takes_in_an_edit(self, data: st.DataObject) -> None:
        self.world.ask(Updated(self._edited(data)))

    def _edited(self, data: st.DataObject) -> Milestone:
        """Add, drop, rewire or mark a task: what may not be edited is drawn as well."""
        milestone = self.world.ledger.state.milestone
        made = list(milestone.tasks)
        at = data.draw(st.integers(0, len(made) - 1)) if made else 0
        match data.draw(st.sampled_from(["add", "drop", "rewire", "cancel", "complete", "bring back"])):
            case "drop" if len(made) > 1:
                dropped = made.pop(at).id
                made = [_without(one, dropped) for one in made]
            case "rewire" if made:
                # The file's order is the reverse of that of the dependencies: no cycle can come of it.
                after = [one.id for one in made[at + 1 :]]
                needs = data.draw(st.lists(st.sampled_from(after), max_size=2, unique=True)) if after else []
                made[at] = attrs.evolve(made[at], depends_on=tuple(needs))
            case "cancel" if made:
                made[at] = attrs.evolve(made[at], status=FileStatus.CANCELLED)
            case "complete" if made:
                made[at] = attrs.evolve(made[at], status=FileStatus.COMPLETED)
            case "bring back" if made:
                made[at] = attrs.evolve(made[at], status=FileStatus.PENDING)
            case _ if len(made) < 2 * MOST_TASKS:
                key = f"n{len(self.world.journal)}"
                made.insert(0, data.draw(tasks(key, [one.id for one in made])))
            case _:
                pass
        return attrs.evolve(milestone, tasks=tuple(made))

    # --- faults --------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.children)
    @rule(data=st.data(), heard=st.booleans())
    def a_child_is_killed(self, data: st.DataObject, *, heard: bool) -> None:
        self.world.kill(data.draw(st.sampled_from(sorted(self.world.children))), heard=heard)

    @precondition(lambda self: self.world.is_up and len(self.world.children) < len(CHILDREN))
    @rule()
    def what_was_killed_is_started_again(self) -> None:
        for name in CHILDREN:
            if name not in self.world.children:
                self.world.bear(name)

    @precondition(lambda self: self.world.is_up and len(self.world.journal) > 10)
    @rule()
    def all_is_killed(self) -> None:
        self.world.kill_supervisor()

    @precondition(lambda self: not self.world.is_up and not self.world.is_over)
    @rule(data=st.data(), edited=st.booleans())
    def it_is_taken_up_again(self, data: st.DataObject, *, edited: bool) -> None:
        self.world.resume(self._edited(data) if edited else None)

    @precondition(lambda self: self.world.is_up and self.world.repeatable)
    @rule(data=st.data())
    def a_fact_is_stated_again(self, data: st.DataObject) -> None:
        former = self.world.repeatable
        self.world.state_facts(former[-1 - data.draw(st.integers(0, min(len(former), 12) - 1))])

    # --- time ----------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_time(seconds)

    @rule(seconds=st.sampled_from([-86_400.0, -3600.0, -2.0, 2.0, 3600.0, 86_400.0]))
    def the_wall_clock_jumps(self, seconds: float) -> None:
        self.world.jump(seconds)

    # --- the end -------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.is_over)
    @rule(milestone=milestones(), parallel=st.integers(1, 3), in_place=st.booleans())
    def another_session_begins(self, milestone: Milestone, parallel: int, *, in_place: bool) -> None:
        self.world.calm()
        self.begin(milestone, parallel, in_place=in_place)

    def teardown(self) -> None:
        """Let faults stop; the session has to come to its end."""
        if hasattr(self, "world") and sys.exc_info()[0] is None:
            self.world.calm()


def _without(task: Task, dropped: str) -> Task:
    return attrs.evolve(task, depends_on=tuple(one for one in task.depends_on if one != dropped))
