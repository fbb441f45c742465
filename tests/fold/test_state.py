"""The fold: every prefix of a valid history folds, and what it gives follows from the records alone."""

from itertools import cycle
from typing import Any

import attrs
import msgspec
import msgspec.structs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.events import (
    EVENT_TYPES,
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
    Fact,
    GitIdle,
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
)
from actors.model import FileStatus, Isolation, Milestone, Task
from actors.state import Phase, SessionState, Stage, decode_state, encode_state
from supervisor.ledger import Ledger
from tests.fold.histories import record_of, valid_history
from tests.fold.strategies import values_of

SEEDS = st.integers(0, 2**32 - 1)
NONSENSE = Fact("TaskTeleported", msgspec.Raw(b"{}"))
MILESTONE = Milestone(
    "m1",
    "One",
    tasks=(
        Task("a", "A"),
        Task("b", "B", depends_on=("a",)),
        Task("done", "Done", status=FileStatus.COMPLETED),
        Task("left", "Left", status=FileStatus.CANCELLED),
    ),
)
STARTED = SessionStarted(MILESTONE, ".milestones/active/m1.yaml", "/p", Settings(), "boot", 10)
READY = GitReady("milestone/m1", "base", created=True, uncommitted=3)
GRANTED = AttemptGranted("a.1", "a", 1, 2, (Step("run", "true"),))
RUNNING: tuple[Event, ...] = (GRANTED, SlotPrepared("a.1", "/slot", "base"), AttemptStarted("a.1", 7))
OK = AttemptEnded("a.1", Outcome.OK, "run", seconds=2.5)
BLOCKER = BlockerRaised("stall:a", "stall", Severity.ERROR, "a", "quiet", "look")


def folded(*events: Event | float, begin: bool = True) -> SessionState:
    """Fold facts of a session, admitting each; a number is how many seconds pass before the next one."""
    state, wall, seq = SessionState(), 1000.0, 0
    for event in (STARTED, *events) if begin else events:
        if isinstance(event, int | float):
            wall += event
            continue
        assert not state.admits(event), state.admits(event)
        seq += 1
        state.apply(record_of(event, seq, wall), event)
    return state


@pytest.mark.parametrize("kind", EVENT_TYPES)
@settings(max_examples=3)
@given(data=st.data())
def test_every_kind_of_fact_can_be_folded(kind: str, data: st.DataObject) -> None:
    state = folded(GRANTED)
    event: Event = data.draw(values_of(EVENT_TYPES[kind]))
    meant = {name: value for name, value in (("task", "a"), ("attempt", "a.1")) if hasattr(event, name)}
    assert state.apply(record_of(msgspec.structs.replace(event, **meant), 3, 1.0)) is not None
    assert state.seq == 3


# --- any history --------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(SEEDS)
def test_every_prefix_of_a_valid_history_folds_and_survives_its_encoding(seed: int) -> None:
    live = SessionState()
    for record in valid_history(seed, 60):
        assert live.apply(record) == record.event()
        assert live.seq == record.seq
        read = decode_state(encode_state(live))
        assert read == live
        assert set(live.live.values()) <= set(live.tasks)
        assert set(live.tasks) == set(live.milestone.by_id)


@settings(max_examples=40)
@given(SEEDS, st.integers(0, 240))
def test_who_was_handed_the_state_half_way_goes_on_as_who_folded_it_all(seed: int, half: int) -> None:
    records = valid_history(seed, 60)
    whole, handed = SessionState(), SessionState()
    for record in records[:half]:
        handed.apply(record)
    handed = decode_state(encode_state(handed))
    for record in records:
        whole.apply(record)
        if record.seq > half:
            handed.apply(record)
    assert handed == whole
    assert bytes(encode_state(handed)) == bytes(encode_state(whole))


@settings(max_examples=30)
@given(SEEDS, st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_what_was_folded_while_it_was_admitted_is_what_the_journal_folds_to(seed: int, sizes: list[int]) -> None:
    """However the facts came in bursts, and with facts among them that were refused."""
    records = valid_history(seed, 60)
    live, journaled = Ledger(records[0].session), list[Record]()
    waiting = [Fact(record.kind, record.body) for record in records]
    for size in cycle(sizes):
        if not waiting:
            break
        burst, waiting = waiting[:size], waiting[size:]
        judged = live.admit(
            [*burst, burst[0] if burst[0].kind == "SessionStarted" else NONSENSE], len(journaled) + 1, 5.0, 6.0
        )
        for fact, _ in judged.admitted:
            journaled.append(Record(len(journaled) + 1, live.session, 5.0, 6.0, fact.kind, fact.body))
        assert judged.refusals
    assert len(journaled) == len(records)
    assert Ledger(live.session, journaled).state == live.state


@settings(max_examples=40)
@given(SEEDS)
def test_an_attempt_is_alive_exactly_from_its_grant_until_it_is_over(seed: int) -> None:
    state = SessionState()
    for record in valid_history(seed, 60):
        state.apply(record)
        for key, task in state.tasks.items():
            alive = [attempt for attempt, owner in state.live.items() if owner == key]
            over = task.attempt is None or task.attempt.stage is Stage.OVER
            assert alive == ([] if over or task.attempt is None else [task.attempt.id])
            assert (task.phase in {Phase.PREPARING, Phase.RUNNING, Phase.LANDING}) is bool(alive)


# --- a life of a task ---------------------------------------------------------------------------------------


def test_the_file_s_own_completed_and_cancelled_tasks_begin_as_such() -> None:
    tasks = folded().tasks
    assert [task.phase for task in tasks.values()] == [
        Phase.PENDING,
        Phase.PENDING,
        Phase.COMPLETED,
        Phase.SKIPPED,
    ]
    assert [key for key, task in tasks.items() if task.before] == ["done"]


def test_a_task_goes_through_its_phases() -> None:
    steps: list[tuple[Event, Phase, Stage]] = [
        (GRANTED, Phase.PREPARING, Stage.GRANTED),
        (RUNNING[1], Phase.PREPARING, Stage.PREPARED),
        (RUNNING[2], Phase.RUNNING, Stage.STARTED),
        (OK, Phase.LANDING, Stage.ENDED),
        (Landed("a.1", "sha1", 2), Phase.LANDING, Stage.LANDED),
        (TaskCompleted("a", "a.1"), Phase.COMPLETED, Stage.OVER),
    ]
    for count, (_, phase, stage) in enumerate(steps, 1):
        task = folded(READY, *(event for event, _, _ in steps[:count])).tasks["a"]
        assert task.attempt is not None
        assert (task.phase, task.attempt.stage) == (phase, stage)
    state = folded(READY, *RUNNING, 5, OK, 1, Landed("a.1", "sha1"), TaskCompleted("a", "a.1"))
    task = state.tasks["a"]
    assert task.attempt is not None
    assert (task.attempt.sha, task.attempt.base, task.attempt.seconds) == ("sha1", "base", 2.5)
    assert (task.attempt.ended_wall, task.completed_wall) == (1005.0, 1006.0)
    assert (state.git.landed, state.git.tip, state.completed_here, state.task_seconds) == (1, "sha1", 1, 2.5)


@pytest.mark.parametrize(
    ("end", "counted"),
    [
        ((AttemptEnded("a.1", Outcome.FAILED, "run", 3),), {"failures": 1}),
        ((AttemptEnded("a.1", Outcome.TIMEOUT),), {"failures": 1}),
        ((AttemptEnded("a.1", Outcome.INTERRUPTED),), {"interruptions": 1}),
        ((AttemptEnded("a.1", Outcome.CANCELLED),), {"interruptions": 1}),
        ((AttemptEnded("a.1", Outcome.INTERRUPTED, runner_died=True),), {"interruptions": 1, "runner_deaths": 1}),
        ((AttemptEnded("a.1", Outcome.INTERRUPTED, lost=True),), {"interruptions": 1, "losses": 1}),
        ((OK, LandConflicted("a.1", ("x",))), {"conflicts": 1}),
        ((OK, LandFailed("a.1", "no")), {"failures": 1}),
        ((OK, LandFailed("a.1", "gone", lost=True)), {"interruptions": 1, "losses": 1}),
    ],
)
def test_an_attempt_that_came_to_nothing_is_counted_and_its_task_waits_again(
    end: tuple[Event, ...], counted: dict[str, int]
) -> None:
    state = folded(READY, *RUNNING, *end)
    task = state.tasks["a"]
    names = ("failures", "interruptions", "conflicts", "slot_failures", "losses", "runner_deaths")
    counts = {name: getattr(task, name) for name in names}
    assert {name: count for name, count in counts.items() if count} == counted
    assert (task.phase, state.live) == (Phase.PENDING, {})


def test_deaths_of_the_runner_are_counted_for_the_life_in_which_they_happen() -> None:
    ready, gone = ChildReady("runner", 5, 1, 0), ChildGone("runner", 1, "killed by SIGKILL")
    died = (AttemptEnded("a.1", Outcome.INTERRUPTED, detail="the runner died", runner_died=True),)
    state = folded(READY, ready, *RUNNING, 7, gone, *died)
    assert (state.runner_deaths, state.runner_died_wall) == (1, 1007.0)
    assert state.tasks["a"].runner_deaths == 1
    state = folded(READY, ready, *RUNNING, gone, *died, SessionResumed(Settings(), "boot", 2))
    assert (state.runner_deaths, state.runner_died_wall, state.tasks["a"].runner_deaths) == (0, 0.0, 0)


def test_a_runner_that_dies_while_the_session_stops_is_put_down_to_no_task() -> None:
    died = AttemptEnded("a.1", Outcome.INTERRUPTED, detail="the runner was told to end", runner_died=True)
    assert folded(READY, *RUNNING, StopRequested("TERM received"), died).tasks["a"].runner_deaths == 0


def test_a_runner_that_says_that_it_ends_is_not_ready_for_more() -> None:
    ready = ChildReady("runner", 5, 1, 0)
    ends = AttemptEnded("a.1", Outcome.INTERRUPTED, detail="the runner was told to end", runner_died=True)
    assert not folded(READY, ready, *RUNNING, ends).children["runner"].ready
    assert folded(READY, ready, *RUNNING, ends, ChildReady("runner", 6, 2, 1)).children["runner"].ready


def test_a_slot_that_could_not_be_made_is_no_failure_of_the_task() -> None:
    task = folded(READY, GRANTED, SlotFailed("a.1", "no space")).tasks["a"]
    assert (task.phase, task.failures, task.slot_failures) == (Phase.PENDING, 0, 1)


def test_landing_nothing_counts_no_commit() -> None:
    state = folded(READY, *RUNNING, OK, Landed("a.1", ""), TaskCompleted("a", "a.1"))
    assert (state.git.landed, state.git.tip, state.tasks["a"].phase) == (0, "", Phase.COMPLETED)


def test_a_task_that_failed_for_good_says_why() -> None:
    task = folded(READY, GRANTED, AttemptEnded("a.1", Outcome.FAILED), TaskFailed("a", "a.1", "enough")).tasks["a"]
    assert (task.phase, task.reason) == (Phase.FAILED, "enough")


def test_a_stall_lasts_as_long_as_its_attempt() -> None:
    stalled = folded(READY, *RUNNING, TaskStalled("a", "a.1", 301.0, "quiet"))
    assert stalled.stalled == {"a.1": 301.0}
    over = folded(READY, *RUNNING, TaskStalled("a", "a.1", 301.0, ""), AttemptEnded("a.1", Outcome.FAILED))
    assert over.stalled == {}


# --- snapshots and lives ------------------------------------------------------------------------------------


def test_a_newer_snapshot_keeps_what_is_known_of_tasks_that_stay() -> None:
    newer = Milestone("m1", "One", tasks=(Task("new", "New"), Task("a", "A, said better"), Task("done", "Done")))
    before = folded(READY, *RUNNING, OK, Landed("a.1", "sha"), TaskCompleted("a", "a.1"))
    state = folded(READY, *RUNNING, OK, Landed("a.1", "sha"), TaskCompleted("a", "a.1"), MilestoneUpdated(newer))
    assert list(state.tasks) == ["new", "a", "done"]
    assert state.tasks["a"] == before.tasks["a"]
    assert state.tasks["done"] == before.tasks["done"]
    assert state.tasks["new"].phase is Phase.PENDING
    assert state.milestone == newer
    assert state.completed_here == 1


BEFORE: tuple[Event | float, ...] = (
    ChildReady("runner", 11, 1, 0),
    READY,
    PreflightPassed(("little disk",)),
    *RUNNING,
    TaskStalled("a", "a.1", 301.0, ""),
    OK,
    Landed("a.1", "sha"),
    TaskCompleted("a", "a.1"),
    AttemptGranted("b.1", "b", 1, 0, (Step("run", "true"),)),
    Pushed("origin", "sha", 1),
    BLOCKER,
    HookRan("stall:a", "hook", ok=False, detail="no"),
    DependencyAlert("edited:m1", "edited", "m1.yaml was edited"),
    20,
    RoleFinished("git_integration", "1 commit"),
    CompletionAlert(1.0, 2.0, 2.0, 1, 0, ""),
    StopRequested("by the user"),
    SessionSettled(SessionStatus.INTERRUPTED, "by the user"),
    SessionEnded(SessionStatus.INTERRUPTED, "by the user"),
)
"""All that a first life can leave."""

ONE_LIFE: dict[str, Any] = {
    "children": {},
    "finished": {},
    "stalled": {},
    "preflight": None,
    "preflight_problems": (),
    "stop": None,
    "settled": None,
    "completion": None,
    "paused": "",
    "reason": "",
    "status": SessionStatus.RUNNING,
    "ended_wall": 0.0,
}


def test_a_next_life_forgets_what_belongs_to_a_life_and_nothing_else() -> None:
    before = folded(*BEFORE)
    resumed = SessionResumed(Settings(max_parallel=7), "boot 2", 99)
    after = folded(*BEFORE, 100, resumed)
    changed = {
        field.name for field in attrs.fields(SessionState) if getattr(before, field.name) != getattr(after, field.name)
    }
    told_anew = {"settings", "boot", "pid", "seq", "wall", "life_wall", "progress_wall", "active_before", "git"}
    left_alone = {"paused", "preflight_problems", "stalled"}  # the first life had none of these at its end
    assert changed == (set(ONE_LIFE) - left_alone) | told_anew
    assert {name: getattr(after, name) for name in ONE_LIFE} == ONE_LIFE
    assert (after.settings.max_parallel, after.boot, after.pid) == (7, "boot 2", 99)
    assert (after.git.ready, after.git.landed, after.git.pushed, after.git.tip) == (None, 1, 1, "sha")
    assert after.live == {"b.1": "b"}
    assert not after.git_known


@pytest.mark.parametrize(
    ("events", "field", "value"),
    [
        ((SessionPaused("by the user"),), "paused", ""),
        ((PreflightFailed(("no disk",)),), "preflight_problems", ()),
        ((READY, *RUNNING, TaskStalled("a", "a.1", 301.0, "")), "stalled", {}),
        ((ChildQuarantined("blocker_detector", "often"),), "children", {}),
    ],
)
def test_a_next_life_begins_without(events: tuple[Event, ...], field: str, value: object) -> None:
    assert getattr(folded(*events), field) != value
    assert getattr(folded(*events, SessionResumed(Settings(), "boot", 2)), field) == value


def test_an_attempt_over_a_soft_limit_is_remembered_and_is_no_progress() -> None:
    before = folded(READY, *RUNNING)
    after = folded(READY, *RUNNING, 60, AttemptOverLimit("a.1", "used much"))
    attempt, former = after.tasks["a"].attempt, before.tasks["a"].attempt
    assert attempt is not None
    assert former is not None
    assert attempt == msgspec.structs.replace(former, over_limit="used much")
    assert after.progress_wall == before.progress_wall
    assert before.admits(AttemptOverLimit("a.1", "used much")) == ""
    assert before.admits(AttemptOverLimit("a.2", "used much")) == "attempt a.2 is not alive"


@pytest.mark.parametrize("git", [GitIdle("none"), GitRefused("bare", "clone it")])
def test_what_git_said_holds_for_one_life(git: Event) -> None:
    resumed = folded(git, SessionResumed(Settings(), "boot", 2)).git
    assert (resumed.ready, resumed.idle, resumed.refused) == (None, "", None)


def test_active_time_adds_up_over_lives_and_leaves_out_what_lay_between() -> None:
    end = SessionEnded(SessionStatus.INTERRUPTED)
    resumed = SessionResumed(Settings(), "boot", 2)
    state = folded(10, end, 1000, resumed, 5, end, 1000, resumed)
    assert state.active_seconds(state.wall + 2.0) == 17.0
    assert state.started_wall == 1000.0
    ended = folded(10, end)
    assert ended.active_seconds(99_999.0) == 10.0


def test_a_life_that_was_killed_was_active_until_its_last_record() -> None:
    state = folded(10, READY, 500, SessionResumed(Settings(), "boot", 2), 3, PreflightPassed())
    assert state.active_seconds(state.wall) == 13.0


def test_a_clock_that_was_set_back_takes_no_active_time_away() -> None:
    state = folded(10, READY, -100, SessionResumed(Settings(), "boot", 2))
    assert state.active_seconds(state.wall - 5.0) == 10.0


# --- the rest -----------------------------------------------------------------------------------------------


def test_a_pause_is_shown_with_its_reason_and_ends() -> None:
    paused = folded(SessionPaused("disk"))
    assert (paused.status, paused.paused, paused.reason) == (SessionStatus.PAUSED, "disk", "disk")
    going = folded(SessionPaused("disk"), SessionUnpaused())
    assert (going.status, going.paused, going.reason) == (SessionStatus.RUNNING, "", "")


def test_a_child_s_last_exit_is_remembered_by_its_next_incarnation() -> None:
    events = (ChildReady("runner", 11, 1, 0), ChildGone("runner", 1, "killed by SIGKILL"))
    assert not folded(*events).children["runner"].ready
    child = folded(*events, ChildReady("runner", 12, 2, 1)).children["runner"]
    assert (child.ready, child.pid, child.incarnation, child.restarts) == (True, 12, 2, 1)
    assert child.last_exit == "killed by SIGKILL"


def test_a_refused_push_counts_as_done_for_its_round() -> None:
    git = folded(READY, PushRefused("origin", "no", 3)).git
    assert (git.pushed, git.push_refused, git.pushed_sha) == (3, "no", "")
    assert folded(READY, PushRefused("origin", "no", 3), Pushed("origin", "sha", 4)).git.push_refused == ""


def test_a_blocker_ages_and_goes() -> None:
    raised = folded(BLOCKER, BlockerEscalated("stall:a", 2, 60.0), HookRan("stall:a", "h", ok=True, detail=""))
    assert (raised.blockers["stall:a"].level, raised.blockers["stall:a"].hooked) == (2, True)
    assert folded(BLOCKER, BlockerResolved("stall:a", "it goes on")).blockers == {}
    assert folded(BlockerEscalated("stall:b", 2, 60.0), BlockerResolved("stall:b", "")).blockers == {}


def test_an_alert_holds_until_it_is_resolved() -> None:
    alert = DependencyAlert("cycle:m2", "cycle", "m2 depends on itself")
    assert folded(alert).alerts == {"cycle:m2": "m2 depends on itself"}
    assert folded(alert, DependencyAlert("cycle:m2", "resolved", "")).alerts == {}


@pytest.mark.parametrize(
    ("isolation", "said", "isolated"),
    [
        (Isolation.WORKTREE, (), True),
        (Isolation.WORKTREE, (READY,), True),
        (Isolation.WORKTREE, (GitIdle("no repository"),), False),
        (Isolation.NONE, (), False),
    ],
)
def test_where_attempts_run_follows_from_the_wish_and_from_git(
    isolation: Isolation, said: tuple[Event, ...], isolated: bool
) -> None:
    started = msgspec.structs.replace(STARTED, settings=Settings(isolation=isolation))
    assert folded(started, *said, begin=False).isolated is isolated
