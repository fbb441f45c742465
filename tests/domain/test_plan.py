"""The plan of a milestone: graph, ranks, critical path, predicted schedule, file conflicts."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.conflicts import patterns_overlap
from actors.model import FileStatus, Milestone, Task
from actors.plan import DurationSource, Plan, PlanError, overlapping
from tests.domain.simulator import milestones


def milestone(*tasks: Task) -> Milestone:
    return Milestone(id="m", title="M", tasks=tasks)


def task(key: str, *needs: str, hours: float | None = None, files: tuple[str, ...] = ()) -> Task:
    return Task(id=key, title=key, depends_on=needs, estimated_hours=hours, files=files)


DIAMOND = milestone(
    task("end", "left", "right", hours=1),
    task("left", "start", hours=5),
    task("right", "start", hours=2),
    task("start", hours=1),
    task("alone"),
)


def test_a_wave_is_the_longest_chain_below_a_task_and_keeps_the_order_of_the_file() -> None:
    assert Plan.of(DIAMOND).waves == (("start", "alone"), ("left", "right"), ("end",))


def test_dependents_are_the_dependencies_turned_round() -> None:
    plan = Plan.of(DIAMOND)
    assert plan.dependents["start"] == ("left", "right")
    assert plan.dependents["end"] == ()


def test_the_critical_path_is_the_longest_by_time_and_not_by_number() -> None:
    plan = Plan.of(DIAMOND)
    assert plan.critical_path == ("start", "left", "end")
    assert plan.critical_seconds == 7 * 3600


def test_the_rank_of_a_task_is_what_still_follows_from_its_start() -> None:
    assert Plan.of(DIAMOND).rank == {
        "end": 3600, "left": 6 * 3600, "right": 3 * 3600, "start": 7 * 3600, "alone": 60,
    }  # fmt: skip


def test_a_measured_duration_beats_an_estimate_and_an_estimate_the_assumption() -> None:
    plan = Plan.of(DIAMOND, {"left": 10.0})
    assert plan.seconds["left"] == 10.0
    assert plan.sources["left"] is DurationSource.MEASURED
    assert plan.sources["right"] is DurationSource.ESTIMATED
    assert plan.seconds["alone"] == 60.0
    assert plan.sources["alone"] is DurationSource.ASSUMED
    assert plan.critical_path == ("start", "right", "end")


def test_what_is_finished_takes_no_time_and_is_not_on_the_critical_path() -> None:
    done = Task(id="done", title="d", status=FileStatus.COMPLETED, estimated_hours=9)
    plan = Plan.of(milestone(done, task("next", "done", hours=1)))
    assert plan.critical_path == ("next",)
    assert plan.critical_seconds == 3600
    assert [one.task for one in plan.makespan(1).tasks] == ["next"]


def test_everything_behind_a_failure_is_unreachable_and_nothing_else() -> None:
    plan = Plan.of(DIAMOND)
    assert plan.unreachable({"left"}) == {"end"}
    assert plan.unreachable({"start"}) == {"left", "right", "end"}
    assert plan.unreachable({"alone"}) == set()


@pytest.mark.parametrize(
    ("tasks", "reason"),
    [
        ((task("a", "b"), task("b", "a")), "cycle"),
        ((task("a", "a"),), "cycle"),
        ((task("a", "b"),), "b, which does not exist"),
        ((task("a"), task("a")), "same id"),
    ],
)
def test_what_is_no_acyclic_graph_is_refused(tasks: tuple[Task, ...], reason: str) -> None:
    with pytest.raises(PlanError, match=reason):
        Plan.of(milestone(*tasks))


def test_a_chain_of_ten_thousand_tasks_needs_no_recursion() -> None:
    links = [task("t0"), *(task(f"t{n}", f"t{n - 1}") for n in range(1, 10_000))]
    plan = Plan.of(milestone(*reversed(links)))
    assert len(plan.waves) == 10_000
    assert plan.critical_seconds == 600_000
    assert len(plan.unreachable({"t0"})) == 9_999


def test_an_empty_milestone_has_an_empty_plan() -> None:
    plan = Plan.of(milestone())
    assert plan.waves == ()
    assert plan.critical_path == ()
    assert plan.makespan(4).total == 0


def test_a_schedule_starts_the_critical_path_first() -> None:
    tasks = [
        *(task(f"short{n}", hours=1) for n in range(3)),
        task("first", hours=1),
        task("then", "first", hours=3),
    ]
    schedule = Plan.of(milestone(*tasks)).makespan(2)
    assert schedule.tasks[0].task == "first"
    assert schedule.total == 4 * 3600
    assert schedule.bound == 4 * 3600
    assert schedule.work_bound == 3.5 * 3600


def test_a_schedule_never_runs_conflicting_tasks_together() -> None:
    tasks = [task(f"t{n}", hours=1, files=("CHANGELOG.md", f"{n}.c")) for n in range(5)]
    schedule = Plan.of(milestone(*tasks)).makespan(8)
    assert schedule.total == 5 * 3600
    assert schedule.bound == 3600


def test_a_schedule_without_slots_is_refused() -> None:
    with pytest.raises(PlanError, match="max_parallel is 0"):
        Plan.of(DIAMOND).makespan(0)


@given(milestones(), st.integers(1, 5))
def test_every_schedule_is_one_that_could_be_executed(drawn: Milestone, slots: int) -> None:
    plan = Plan.of(drawn)
    schedule = plan.makespan(slots)
    by_id = {one.task: one for one in schedule.tasks}
    finished = {FileStatus.COMPLETED, FileStatus.CANCELLED}
    assert set(by_id) == {one.id for one in drawn.tasks if one.status not in finished}
    assert schedule.total >= schedule.bound - 1e-6
    for one in schedule.tasks:
        assert one.end == one.start + plan.seconds[one.task]
        assert 0 <= one.slot < slots
        for needed in drawn.by_id[one.task].depends_on:
            assert needed not in by_id or by_id[needed].end <= one.start
    for one, other in itertools.combinations(schedule.tasks, 2):
        if one.start < other.end and other.start < one.end:
            assert one.slot != other.slot
            assert not overlapping(drawn.by_id[one.task], drawn.by_id[other.task])


@given(milestones(), st.integers(1, 5))
def test_without_file_conflicts_a_schedule_keeps_graham_s_bound(drawn: Milestone, slots: int) -> None:
    free = milestone(*(Task(id=one.id, title="", depends_on=one.depends_on, status=one.status) for one in drawn.tasks))
    schedule = Plan.of(free).makespan(slots)
    assert schedule.total <= schedule.critical_bound * (1 - 1 / slots) + schedule.work_bound + 1e-6


@given(milestones())
def test_rank_waves_and_path_agree_with_their_definitions(drawn: Milestone) -> None:
    plan = Plan.of(drawn)
    wave = {key: number for number, keys in enumerate(plan.waves) for key in keys}
    finished = {FileStatus.COMPLETED, FileStatus.CANCELLED}
    for one in drawn.tasks:
        assert wave[one.id] == max((wave[needed] + 1 for needed in one.depends_on), default=0)
        after = max((plan.rank[key] for key in plan.dependents[one.id]), default=0.0)
        assert plan.rank[one.id] == (0.0 if one.status in finished else plan.seconds[one.id] + after)
    assert sum(plan.seconds[key] for key in plan.critical_path) == pytest.approx(plan.critical_seconds)
    assert sorted(plan.order) == sorted(drawn.by_id)


@pytest.mark.parametrize(
    ("one", "other", "conflict"),
    [
        ("src/a.py", "src/a.py", True),
        ("src/a.py", "./src//a.py", True),
        ("src/a.py", "src/b.py", False),
        ("src/a.py", "src/a.pyc", False),
        ("src", "src/a.py", True),
        ("src/", "src/a.py", True),
        ("src", "srcs/a.py", False),
        ("src/*.py", "src/a.py", True),
        ("src/*.py", "docs/a.md", False),
        ("src/*.py", "src/*.c", True),
        ("docs/*.md", "src/*.md", False),
        ("**/*.py", "docs/a.md", True),
        ("src/lib/*.c", "src", True),
        ("src/lib/*.c", "src/li", False),
        ("src/l*", "src/lib", True),
        ("src/l*", "src/m", False),
        ("src/{a,b}.c", "src/b.c", True),
        ("src/../docs/*.md", "docs/a.md", True),
        ("src/*/../../docs/a.md", "docs/a.md", True),
        (".", "anything", True),
        ("/srv/*.c", "/srv/a.c", True),
        ("/srv/*.c", "srv/a.c", False),
    ],
)
def test_patterns_conflict_when_they_could_name_the_same_path(one: str, other: str, *, conflict: bool) -> None:
    assert patterns_overlap(one, other) is conflict
    assert patterns_overlap(other, one) is conflict


def test_tasks_without_files_conflict_with_nobody() -> None:
    assert not overlapping(task("a"), task("b", files=("**",)))
    assert overlapping(task("a", files=("x", "y/z")), task("b", files=("y",)))
