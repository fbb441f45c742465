"""The journal's door: whoever asks and however often, the promises about tasks hold (I1 and I3)."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    Event,
    Fact,
    GitIdle,
    GitReady,
    Landed,
    MilestoneUpdated,
    Outcome,
    PreflightPassed,
    SessionEnded,
    SessionPaused,
    SessionResumed,
    SessionSettled,
    SessionStarted,
    SessionStatus,
    SessionUnpaused,
    Settings,
    SlotPrepared,
    Step,
    StopRequested,
    TaskCompleted,
    TaskFailed,
    TaskRetried,
    TaskSkipped,
    TaskStalled,
    decode_event,
    encode_event,
)
from actors.model import Isolation, Milestone, Task
from actors.standing import Phase
from supervisor.ledger import Ledger
from tests.fold.histories import SESSION, Watchman, beginning, proposal

SEEDS = st.integers(0, 2**32 - 1)
STEPS = (Step("run", "true"),)
MILESTONE = Milestone("m1", "One", tasks=(Task("a", "A", run="true"), Task("b", "B", run="true", depends_on=("a",))))
READY = GitReady("milestone/m1", "base", created=True, uncommitted=0)


def stated(ledger: Ledger, *events: Event) -> list[str]:
    """State facts and return the refusals."""
    facts = tuple(encode_event(event) for event in events)
    return list(ledger.admit(facts, ledger.state.seq + 1, 1e9 + ledger.state.seq, 0.0).refusals)


def ledger_of(isolation: Isolation = Isolation.WORKTREE) -> Ledger:
    """Return a ledger of a session that has begun."""
    ledger = Ledger(SESSION)
    path = ".milestones/active/m1.yaml"
    assert not stated(ledger, SessionStarted(MILESTONE, path, "/p", Settings(isolation=isolation), "boot", 1))
    return ledger


def grant(task: str = "a", number: int = 1, slot: int = 0) -> AttemptGranted:
    return AttemptGranted(f"{task}.{number}", task, number, slot, STEPS)


OK = AttemptEnded("a.1", Outcome.OK, "run")


@settings(max_examples=150)
@given(SEEDS)
def test_whatever_is_proposed_in_whatever_order_no_promise_about_tasks_is_broken(seed: int) -> None:
    chance = random.Random(seed)
    ledger, watchman = Ledger(SESSION), Watchman()
    first = beginning(chance)
    stated(ledger, first)
    watchman.see(first)
    for _ in range(150):
        batch = [proposal(chance, ledger.state) for _ in range(chance.randint(1, 4))]
        facts = [encode_event(event) for event in batch]
        if chance.random() < 0.1:
            facts.insert(0, Fact("AttemptEnded", encode_event(READY).body))
            facts.insert(0, Fact("Unheard", encode_event(READY).body))
        judged = ledger.admit(facts, ledger.state.seq + 1, 1e9, 0.0)
        assert len(judged.admitted) + len(judged.refusals) == len(facts)
        for fact, event in judged.admitted:
            assert decode_event(fact.kind, fact.body) == event
            watchman.see(event)
    live = {attempt: one.task for attempt, one in watchman.open.items()}
    assert ledger.state.live == live


def test_the_random_walk_gets_somewhere() -> None:
    """A walk that never completed anything would prove nothing."""
    done = 0
    for seed in range(20):
        chance = random.Random(seed)
        ledger = Ledger(SESSION)
        stated(ledger, beginning(chance))
        for _ in range(400):
            stated(ledger, proposal(chance, ledger.state))
        done += ledger.state.completed_here
    assert done >= 10


def test_a_completed_task_is_never_granted_again_not_in_a_later_life_either() -> None:
    ledger = ledger_of()
    assert not stated(ledger, READY, grant(), SlotPrepared("a.1", "/slot", "base"), OK, Landed("a.1", "sha"))
    assert not stated(ledger, TaskCompleted("a", "a.1"))
    assert stated(ledger, grant(number=2)) == ["AttemptGranted: task a is completed"]
    assert not stated(ledger, SessionEnded(SessionStatus.INTERRUPTED), SessionResumed(Settings(), "boot", 2))
    assert stated(ledger, grant(number=2), TaskCompleted("a", "a.1")) == [
        "AttemptGranted: task a is completed",
        "TaskCompleted: attempt a.1 is not alive",
    ]


def test_a_second_beginning_cannot_wipe_out_what_was_completed() -> None:
    ledger = ledger_of()
    started = ledger.state.started
    assert started is not None
    assert stated(ledger, started) == ["SessionStarted: the session has begun already"]


def test_a_newer_snapshot_may_not_forget_a_completed_task_nor_one_that_runs() -> None:
    ledger = ledger_of(Isolation.NONE)
    stated(ledger, GitIdle("none"), grant(), AttemptStarted("a.1", 1))
    without = MilestoneUpdated(Milestone("m1", "One", tasks=(Task("b", "B"),)))
    assert stated(ledger, without) == ["MilestoneUpdated: task a is running, and not in the newer snapshot"]
    stated(ledger, OK, TaskCompleted("a", "a.1"))
    assert stated(ledger, without) == ["MilestoneUpdated: task a is completed, and not in the newer snapshot"]


def test_a_snapshot_with_a_dependency_that_it_lacks_is_refused() -> None:
    ledger = ledger_of()
    odd = MilestoneUpdated(Milestone("m1", "One", tasks=(Task("c", "C", depends_on=("a",)),)))
    assert stated(ledger, odd) == ["MilestoneUpdated: task c needs a, which is not in the newer snapshot"]


def test_an_attempt_that_ran_in_a_slot_completes_only_when_it_has_landed() -> None:
    ledger = ledger_of()
    stated(ledger, READY, grant(), SlotPrepared("a.1", "/slot", "base"), AttemptStarted("a.1", 1), OK)
    assert stated(ledger, TaskCompleted("a", "a.1")) == ["TaskCompleted: attempt a.1 is ended"]
    # Git has nothing to do any more; what the attempt changed still lies in its slot.
    assert stated(ledger, GitIdle("gone"), TaskCompleted("a", "a.1")) == ["TaskCompleted: attempt a.1 is ended"]
    assert not stated(ledger, Landed("a.1", "sha"), TaskCompleted("a", "a.1"))


def test_in_place_an_attempt_that_ended_well_completes_its_task() -> None:
    ledger = ledger_of(Isolation.NONE)
    assert not stated(ledger, GitIdle("none"), grant(), AttemptStarted("a.1", 1), OK, TaskCompleted("a", "a.1"))


def test_a_task_is_not_completed_by_the_attempt_of_another() -> None:
    ledger = ledger_of(Isolation.NONE)
    stated(ledger, GitIdle("none"), grant(), OK)
    assert stated(ledger, TaskCompleted("b", "a.1")) == ["TaskCompleted: attempt a.1 is one of task a"]
    assert not stated(ledger, TaskCompleted("a", "a.1"), grant("b"))


REFUSED: dict[str, tuple[tuple[Event, ...], Event, str]] = {
    "no such task": ((), grant("z"), "there is no task z"),
    "a name that is not its own": (
        (),
        AttemptGranted("b.1", "a", 1, 0, STEPS),
        "b.1 is no name for attempt 1 of a",
    ),
    "a number left out": ((), grant(number=2), "attempt 2 of a does not follow 0"),
    "a dependency": ((), grant("b"), "task b needs a, which is pending"),
    "alive already": ((grant(),), grant(number=2, slot=1), "task a is preparing"),
    "after a stop": ((StopRequested("now"),), grant(), "the session is stopping"),
    "in a pause": ((SessionPaused("disk"),), grant(), "the session is paused"),
    "after an end that was not settled": (
        (SessionEnded(SessionStatus.INTERRUPTED),),
        grant(),
        "the session is over",
    ),
    "a pause that passes, in the place of a person's": (
        (SessionPaused("by hand", by_hand=True),),
        SessionPaused("no room", passing=True),
        "the session is paused already",
    ),
    "taking back a pause after which a person has made one": (
        (SessionPaused("no room", passing=True), SessionPaused("by hand", by_hand=True)),
        SessionUnpaused("no room"),
        "the session is not paused for that",
    ),
    "taking back a pause that is over": ((), SessionUnpaused("no room"), "the session is not paused for that"),
    "after the end": ((SessionSettled(SessionStatus.BLOCKED),), grant(), "the session is settled"),
    "an end of nothing": ((), OK, "attempt a.1 is not alive"),
    "a late end": ((grant(), OK), OK, "attempt a.1 is ended"),
    "a start after the end": ((grant(), OK), AttemptStarted("a.1", 1), "attempt a.1 is ended"),
    "a slot for what runs": (
        (grant(), AttemptStarted("a.1", 1)),
        SlotPrepared("a.1", "/slot", "base"),
        "attempt a.1 is started",
    ),
    "landing what runs": ((grant(),), Landed("a.1", "sha"), "attempt a.1 is granted"),
    "landing twice": ((grant(), OK, Landed("a.1", "1")), Landed("a.1", "2"), "attempt a.1 is landed"),
    "failing for an attempt that is not the latest": (
        (
            *(grant(), AttemptEnded("a.1", Outcome.FAILED)),
            *(grant(number=2), AttemptEnded("a.2", Outcome.INTERRUPTED)),
        ),
        TaskFailed("a", "a.1", "no"),
        "attempt a.1 is not the latest of task a",
    ),
    "failing for an attempt from before a retry": (
        (grant(), AttemptEnded("a.1", Outcome.FAILED), TaskFailed("a", "a.1", "no"), TaskRetried("a")),
        TaskFailed("a", "a.1", "no"),
        "attempt a.1 is not the latest of task a",
    ),
    "granting what a newer snapshot may have changed": (
        (MilestoneUpdated(Milestone("m1", "One", tasks=(Task("a", "A", run="another"), Task("b", "B")))),),
        grant(),
        "a newer snapshot was taken in meanwhile",
    ),
    "failing what runs": ((grant(),), TaskFailed("a", "a.1", "no"), "task a is preparing"),
    "failing nothing": ((), TaskFailed("z", "", "no"), "there is no task z"),
    "a stall of nothing": ((), TaskStalled("a", "a.1", 1.0, ""), "attempt a.1 is not alive"),
    "ending twice": (
        (SessionEnded(SessionStatus.BLOCKED),),
        SessionEnded(SessionStatus.COMPLETED),
        "the session has ended already",
    ),
}


@pytest.mark.parametrize(("before", "event", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_contradicts_the_journal_is_refused_with_the_reason(
    before: tuple[Event, ...], event: Event, reason: str
) -> None:
    ledger = ledger_of()
    assert not stated(ledger, READY, *before)
    assert stated(ledger, event) == [f"{type(event).__name__}: {reason}"]


def test_two_attempts_never_share_a_slot() -> None:
    ledger = Ledger(SESSION)
    milestone = Milestone("m1", "One", tasks=(Task("a", "A"), Task("b", "B")))
    stated(ledger, SessionStarted(milestone, "p", "/p", Settings(), "boot", 1))
    assert stated(ledger, grant("a", slot=1), grant("b", slot=1)) == ["AttemptGranted: slot 1 is held by a.1"]
    assert not stated(ledger, grant("b", slot=0))
    stated(ledger, AttemptEnded("a.1", Outcome.FAILED))
    assert not stated(ledger, grant("a", number=2, slot=1))


def test_a_pause_ends_and_grants_go_on() -> None:
    ledger = ledger_of()
    assert not stated(ledger, SessionPaused("by the user"), SessionUnpaused(), grant())


def test_refused_facts_do_not_keep_the_others_of_their_proposal_out() -> None:
    ledger = ledger_of()
    facts = (
        Fact("Unheard", encode_event(READY).body),
        encode_event(grant()),
        Fact("AttemptEnded", encode_event(READY).body),
        encode_event(AttemptStarted("a.1", 7)),
    )
    judged = ledger.admit(facts, 2, 1e9, 0.0)
    assert [type(event).__name__ for _, event in judged.admitted] == ["AttemptGranted", "AttemptStarted"]
    assert [line.partition(":")[0] for line in judged.refusals] == ["Unheard", "AttemptEnded"]
    assert ledger.state.seq == 3


def test_what_a_fact_has_beyond_its_kind_does_not_reach_the_journal() -> None:
    ledger = ledger_of()
    stated(ledger, grant())
    odd = type(encode_event(OK).body)(b'{"attempt":"a.1","pid":7,"more":[{"x":1}],"pid":8}')
    ((fact, event),) = ledger.admit([Fact("AttemptStarted", odd)], 3, 1e9, 0.0).admitted
    assert event == AttemptStarted("a.1", 8)
    assert bytes(fact.body) == b'{"attempt":"a.1","pid":8}'


def test_only_what_failed_or_was_left_out_is_retried_and_only_what_has_not_begun_or_failed_is_skipped() -> None:
    ledger = ledger_of()
    assert not stated(ledger, PreflightPassed(), READY)
    assert stated(ledger, TaskRetried("a")) == ["TaskRetried: task a is pending"]
    assert not stated(ledger, TaskSkipped("b", "by a person"))
    assert ledger.state.tasks["b"].reason == "by a person"
    assert not stated(ledger, AttemptGranted("a.1", "a", 1, 0, STEPS))
    assert stated(ledger, TaskSkipped("a", "x")) == ["TaskSkipped: task a is preparing"]
    assert stated(ledger, TaskSkipped("z", "x"), TaskRetried("z")) == [
        "TaskSkipped: there is no task z",
        "TaskRetried: there is no task z",
    ]
    assert not stated(ledger, SlotPrepared("a.1", "/s", "base"), AttemptEnded("a.1", Outcome.FAILED))
    assert not stated(ledger, TaskFailed("a", "a.1", "no"), TaskRetried("a"), TaskRetried("b"))
    assert [ledger.state.tasks[one].phase for one in "ab"] == [Phase.PENDING, Phase.PENDING]
    assert stated(ledger, AttemptGranted("a.1", "a", 1, 0, STEPS)) != []
    assert not stated(ledger, AttemptGranted("a.2", "a", 2, 0, STEPS))


@pytest.mark.parametrize(
    "end", [SessionSettled(SessionStatus.FAILED), SessionEnded(SessionStatus.INTERRUPTED, "all roles are gone")]
)
def test_nothing_is_retried_skipped_or_paused_once_the_session_is_over(end: Event) -> None:
    ledger = ledger_of()
    assert not stated(ledger, end)
    for event in (TaskRetried("a"), TaskSkipped("a", "x"), SessionPaused("x"), SessionUnpaused()):
        assert "the session is over" in stated(ledger, event)[0]


def test_a_result_that_comes_after_somebody_wanted_a_task_is_refused() -> None:
    ledger = ledger_of()
    assert not stated(ledger, PreflightPassed(), READY, AttemptGranted("a.1", "a", 1, 0, STEPS))
    ends = (SlotPrepared("a.1", "/s", "base"), AttemptEnded("a.1", Outcome.FAILED), TaskFailed("a", "a.1", "no"))
    assert not stated(ledger, *ends, TaskRetried("a"))
    assert stated(ledger, SessionSettled(SessionStatus.FAILED)) == ["SessionSettled: task a is to be attempted"]
    assert not stated(ledger, SessionSettled(SessionStatus.INTERRUPTED))


@pytest.mark.parametrize("status", [SessionStatus.COMPLETED, SessionStatus.BLOCKED])
def test_a_result_that_comes_after_somebody_wanted_a_task_that_was_never_attempted_is_refused(
    status: SessionStatus,
) -> None:
    ledger = ledger_of()
    skipped = [TaskSkipped(task, "by a person") for task in ledger.state.tasks]
    assert not stated(ledger, PreflightPassed(), READY, *skipped, TaskRetried("a"))
    assert stated(ledger, SessionSettled(status)) == ["SessionSettled: task a is to be attempted"]
    assert not stated(ledger, TaskSkipped("a", "by a person"))
    assert stated(ledger, SessionSettled(SessionStatus.BLOCKED)) == ["SessionSettled: its tasks make it completed"]
    assert not stated(ledger, SessionSettled(SessionStatus.COMPLETED))


def test_a_session_that_somebody_cancelled_does_not_settle_as_interrupted_whatever_came_before_or_after() -> None:
    ledger = ledger_of()
    stops = (StopRequested("x"), StopRequested("x", final=True), StopRequested("x", shutdown=True))
    assert not stated(ledger, *stops)
    assert stated(ledger, SessionSettled(SessionStatus.INTERRUPTED)) == [
        "SessionSettled: the session is to be cancelled"
    ]
    assert not stated(ledger, SessionSettled(SessionStatus.CANCELLED))


def test_a_newer_snapshot_is_refused_once_the_session_is_over() -> None:
    ledger = ledger_of()
    newer = MilestoneUpdated(ledger.state.milestone)
    assert not stated(ledger, SessionSettled(SessionStatus.INTERRUPTED))
    assert stated(ledger, newer) == ["MilestoneUpdated: the session is over"]
    assert not stated(ledger, SessionResumed(Settings(), "boot", 2), newer)
