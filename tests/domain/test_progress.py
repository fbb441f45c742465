"""Percentages, the expected end, reports, stalls, and the summary: at moments that the test names."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.events import (
    AttemptEnded,
    AttemptGranted,
    AttemptStarted,
    Event,
    GitIdle,
    Outcome,
    PreflightPassed,
    Record,
    SessionPaused,
    SessionSettled,
    SessionStarted,
    SessionStatus,
    SessionUnpaused,
    Settings,
    TaskCompleted,
    TaskFailed,
    TaskStalled,
    encode_event,
)
from actors.model import FileStatus, Milestone, Task
from actors.plan import Plan
from actors.progress import (
    completion,
    eta_seconds,
    percentage,
    report,
    report_due,
    should_report,
    stalled,
)
from actors.state import SessionState
from actors.wording import bar, duration_text, left_text

START = 1_000_000.0


def task(key: str, *needs: str, hours: float | None = None, **fields: object) -> Task:
    return attrs.evolve(Task(id=key, title=key, depends_on=needs, estimated_hours=hours), **fields)  # type: ignore[arg-type]


class Session:
    """A session in place whose facts are written by hand, at seconds after its start."""

    def __init__(self, *tasks: Task, declared: int | None = None, settings: Settings | None = None) -> None:
        self.milestone = Milestone(id="m", title="M", tasks=tasks, declared_percentage=declared)
        self.plan = Plan.of(self.milestone)
        self.state = SessionState()
        self._seq = 0
        self.at(0, SessionStarted(self.milestone, "m.yaml", "/p", settings or Settings(max_parallel=2), "b", 1))
        self.at(0, PreflightPassed(), GitIdle("told so"))

    def at(self, seconds: float, *events: Event) -> Session:
        for event in events:
            assert self.state.admits(event) == ""
            self._seq += 1
            fact = encode_event(event)
            self.state.apply(Record(self._seq, "s", START + seconds, seconds, fact.kind, fact.body), event)
        return self

    def started(self, seconds: float, key: str, slot: int = 0) -> Session:
        number = self.state.tasks[key].attempts + 1
        attempt = f"{key}.{number}"
        return self.at(seconds, AttemptGranted(attempt, key, number, slot, ()), AttemptStarted(attempt, 7))

    def completed(self, begin: float, end: float, key: str, slot: int = 0) -> Session:
        self.started(begin, key, slot)
        attempt = f"{key}.{self.state.tasks[key].attempts}"
        ended = AttemptEnded(attempt, Outcome.OK, seconds=end - begin)
        return self.at(end, ended, TaskCompleted(key, attempt))

    def eta(self, seconds: float) -> float | None:
        return eta_seconds(self.state, self.plan, START + seconds)


# --- percentage --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("done", "of", "percent"), [(0, 0, 0), (0, 3, 0), (2, 3, 66), (3, 3, 100), (199, 200, 99)])
def test_the_percentage_is_rounded_down_and_zero_without_tasks(done: int, of: int, percent: int) -> None:
    tasks = (task(f"t{n}", status=FileStatus.COMPLETED if n < done else FileStatus.PENDING) for n in range(of))
    assert percentage(Session(*tasks).state) == percent


def test_cancelled_tasks_do_not_keep_a_milestone_from_a_hundred_percent() -> None:
    session = Session(task("a", status=FileStatus.COMPLETED), task("b"), task("c", status=FileStatus.CANCELLED))
    assert report(session.state, session.plan, START).percentage == 50
    session.completed(0, 5, "b")
    found = report(session.state, session.plan, START + 5)
    assert (found.percentage, found.completed, found.total) == (100, 2, 2)


def test_the_declared_percentage_stands_beside_the_computed_one() -> None:
    session = Session(task("a"), task("b"), declared=90).completed(0, 5, "a")
    found = report(session.state, session.plan, START + 5)
    assert (found.percentage, found.declared, found.bar) == (50, 90, "██████████░░░░░░░░░░")


def test_the_percentage_counts_tasks_by_their_weight() -> None:
    session = Session(task("a", weight=3.0), task("b")).completed(0, 1, "a")
    found = report(session.state, session.plan, START + 1)
    assert (found.percentage, found.completed, found.total) == (75, 1, 2)
    assert found.bar == bar(75)


@pytest.mark.parametrize(
    ("weights", "done", "percent"),
    [
        ((0.0, 0.0), 1, 50),  # nothing weighs anything: tasks are counted
        ((0.0, 0.0), 2, 100),
        ((5.0, 0.0), 1, 99),  # what weighs nothing is still to be done
        ((1e9, 1e-9), 1, 99),
        ((0.0, 5.0), 1, 0),
        ((1e-300, 1e-300), 1, 50),
    ],
)
def test_a_hundred_percent_means_that_nothing_is_left_whatever_it_weighs(
    weights: tuple[float, ...], done: int, percent: int
) -> None:
    tasks = (
        task(f"t{n}", weight=one, status=FileStatus.COMPLETED if n < done else FileStatus.PENDING)
        for n, one in enumerate(weights)
    )
    assert percentage(Session(*tasks).state) == percent


@given(st.lists(st.integers(1, 100), min_size=1, max_size=8), st.integers(0, 8))
def test_the_percentage_is_exact_for_decimal_weights(hundredths: list[int], done: int) -> None:
    tasks = [
        task(f"t{n}", weight=one / 100, status=FileStatus.COMPLETED if n < done else FileStatus.PENDING)
        for n, one in enumerate(hundredths)
    ]
    assert percentage(Session(*tasks).state) == sum(hundredths[:done]) * 100 // sum(hundredths)


@pytest.mark.parametrize(
    ("percent", "width", "text"),
    [(0, 4, "░░░░"), (24, 4, "░░░░"), (25, 4, "█░░░"), (99, 4, "███░"), (100, 4, "████"), (140, 4, "████")],
)
def test_the_bar_fills_only_for_what_is_done(percent: int, width: int, text: str) -> None:
    assert bar(percent, width) == text


# --- the expected end --------------------------------------------------------------------------------------


def test_the_end_is_unknown_until_an_attempt_succeeded_when_nothing_is_estimated() -> None:
    session = Session(task("a"), task("b", "a"))
    assert session.eta(0) is None
    session.completed(0, 8, "a")
    assert session.eta(8) == 8.0


def test_the_end_follows_the_remaining_critical_path() -> None:
    session = Session(task("a", hours=1), task("b", "a", hours=2), task("c", hours=1))
    assert session.eta(0) == 3 * 3600
    session.started(0, "a")
    assert session.eta(600) == 3 * 3600 - 600


def test_the_end_follows_the_work_where_slots_are_short() -> None:
    session = Session(*(task(f"t{n}", hours=1) for n in range(6)))
    assert session.eta(0) == 3 * 3600


def test_measured_attempts_scale_the_estimates() -> None:
    session = Session(task("a", hours=1), task("b", "a", hours=2)).completed(0, 36, "a")
    assert session.eta(36) == pytest.approx(72.0)


def test_what_cannot_be_reached_is_not_waited_for() -> None:
    session = Session(task("a", hours=1), task("b", "a", hours=50), task("c", hours=2))
    session.at(0, TaskFailed("a", "", "broken"))
    assert session.eta(0) == 2 * 3600


def test_the_end_is_unknown_while_paused_and_now_when_all_is_done() -> None:
    session = Session(task("a", hours=1))
    session.at(1, SessionPaused("by the user"))
    assert session.eta(1) is None
    session.at(2, SessionUnpaused()).completed(2, 3, "a")
    assert session.eta(3) == 0.0


def test_an_attempt_that_takes_longer_than_expected_is_expected_to_end_now() -> None:
    session = Session(task("a", hours=1)).started(0, "a")
    assert session.eta(9000) == 0.0


def test_what_has_outrun_its_expectation_is_not_said_to_end_in_no_time() -> None:
    assert [left_text(seconds) for seconds in (None, 0.0, 0.04, 8.0)] == ["", "", "", "about 8.0s left"]


# --- reports -----------------------------------------------------------------------------------------------


def test_a_report_counts_what_runs_what_failed_and_what_is_completed_per_minute() -> None:
    session = Session(task("a"), task("b"), task("c")).completed(0, 30, "a")
    session.started(30, "b").at(30, TaskFailed("c", "", "broken"))
    found = report(session.state, session.plan, START + 120)
    assert (found.completed, found.running, found.failed, found.total) == (1, 1, 1, 3)
    assert found.throughput == pytest.approx(0.5)


def test_a_report_is_due_every_thirty_seconds() -> None:
    state = Session(task("a")).state
    assert should_report(state, 0.0, START)
    assert not should_report(state, START, START + 29.9)
    assert should_report(state, START, START + 30)


def test_a_change_makes_a_report_due_but_not_more_than_one_a_second() -> None:
    session = Session(task("a")).started(5, "a")
    assert report_due(session.state, START) == START + 1
    assert should_report(session.state, START, START + 5)
    assert report_due(session.state, START + 5) == START + 35


def test_the_last_change_of_a_settled_session_is_reported_at_once() -> None:
    session = Session(task("a")).completed(5, 5.1, "a").at(5.1, SessionSettled(SessionStatus.COMPLETED))
    assert should_report(session.state, START + 5, START + 5.1)


def test_a_clock_set_back_does_not_silence_the_reports() -> None:
    assert should_report(Session(task("a")).state, START + 9000, START)


# --- stalls ------------------------------------------------------------------------------------------------


def test_a_task_is_stalled_after_five_minutes_without_an_update() -> None:
    session = Session(task("a")).started(10, "a")
    assert stalled(session.state, START + 310, {}) == ()
    (found,) = stalled(session.state, START + 311, {})
    assert (found.task, found.attempt, found.quiet_seconds) == ("a", "a.1", 301.0)
    assert found.facts == "running for 5m 1s, 5m 1s without a sign of life and it has written nothing"


def test_output_is_an_update() -> None:
    session = Session(task("a")).started(10, "a")
    sign = {"a.1": START + 200}
    assert stalled(session.state, START + 500, sign) == ()
    (found,) = stalled(session.state, START + 520, sign)
    assert found.facts == "running for 8m 30s, 5m 20s without a sign of life since its last output"


def test_each_attempt_is_reported_as_stalled_once() -> None:
    session = Session(task("a")).started(0, "a")
    (found,) = stalled(session.state, START + 400, {})
    assert isinstance(found, TaskStalled)
    session.at(400, found)
    assert stalled(session.state, START + 800, {}) == ()
    session.at(900, AttemptEnded("a.1", Outcome.FAILED, seconds=900)).started(900, "a")
    assert [one.attempt for one in stalled(session.state, START + 1300, {})] == ["a.2"]


# --- the end -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lengths", "wall", "text"),
    [
        ((515, 515), 322, "5m 22s (3.2x faster than sequential)"),
        ((0.2, 0.2, 0.2), 0.3, "0.3s (2.0x faster than sequential)"),
        ((52.5, 52.5), 100, "1m 40s (1.1x faster than sequential)"),
        ((52, 52), 100, "1m 40s (as fast as sequential)"),
        ((50, 50), 100, "1m 40s (as fast as sequential)"),
        ((48, 48), 100, "1m 40s (as fast as sequential)"),
        ((20, 30), 100, "1m 40s (2 tasks, which took 50s together)"),
        ((0.002, 0.001), 2.5, "2.5s (2 tasks, which took less than 0.1s together)"),
        ((0, 0), 0.4, "0.4s (2 tasks, which took less than 0.1s together)"),
        ((0, 0), 0, "0.0s (2 tasks, which took less than 0.1s together)"),
        ((90,), 100, "1m 40s (one task, which took 1m 30s)"),
        ((0.001,), 1.2, "1.2s (one task, which took less than 0.1s)"),
    ],
)
def test_the_summary_compares_with_one_task_after_the_other_where_that_says_something(
    lengths: tuple[float, ...], wall: float, text: str
) -> None:
    keys = [f"t{n}" for n in range(len(lengths))]
    session = Session(*map(task, keys))
    for slot, (key, seconds) in enumerate(zip(keys, lengths, strict=True)):
        session.started(0, key, slot)
        session.at(wall, AttemptEnded(f"{key}.1", Outcome.OK, seconds=seconds), TaskCompleted(key, f"{key}.1"))
    found = completion(session.state, START + wall)
    assert found.text == f"Milestone execution time: {text}"
    assert (found.completed, found.failed) == (len(keys), 0)
    assert found.wall_seconds == pytest.approx(wall)
    assert found.speedup == (pytest.approx(sum(lengths) / wall) if wall else 0.0)


def test_a_session_that_completed_nothing_claims_no_speed() -> None:
    session = Session(task("a")).at(3, TaskFailed("a", "", "broken"))
    found = completion(session.state, START + 3)
    assert found.text == "Milestone execution time: 3.0s (no task was completed)"
    assert (found.failed, found.speedup) == (1, 0.0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0s"), (0.44, "0.4s"), (9.94, "9.9s"), (9.96, "10s"), (59.4, "59s"), (59.6, "1m 0s"),
        (322, "5m 22s"), (3599.6, "1h 0m"), (7500, "2h 5m"), (86_399.9, "1d 0h"), (273_600, "3d 4h"),
    ],
)  # fmt: skip
def test_durations_are_written_for_people(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
