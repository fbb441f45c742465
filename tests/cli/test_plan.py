"""`milestonectl plan`."""

import json

import pytest

from actors.events import AttemptEnded, AttemptGranted, AttemptStarted, Outcome, Step
from actors.model import Milestone, Task
from actors.plan import Plan
from supervisor.cli.gantt import gantt
from tests.cli.conftest import Ctl, Journalist
from tests.e2e.stage import Project


@pytest.mark.usefixtures("small")
def test_it_shows_waves_critical_path_sources_and_prediction(ctl: Ctl) -> None:
    done = ctl("plan", "small")
    assert done.code == 0
    assert "Wave 1  one\nWave 2  two three\n" in done.out
    assert "Critical path, 1h 1m: one > two" in done.out
    assert "duration of 1 task: from estimated_hours" in done.out
    assert "duration of 2 tasks: assumed (60s each, nothing is known)" in done.out
    assert "Predicted with 4 at once: 1h 1m" in done.out


@pytest.mark.usefixtures("small")
def test_with_one_at_once_it_takes_as_long_as_all_tasks_together(ctl: Ctl) -> None:
    document = json.loads(ctl("plan", "small", "--max-parallel", "1", "--json").out)
    assert document["predicted_seconds"] == document["sequential_seconds"] == 3720.0
    assert document["speedup"] == 1.0


@pytest.mark.usefixtures("small")
def test_json_is_one_document_with_a_fixed_form(ctl: Ctl) -> None:
    document = json.loads(ctl("plan", "small", "--json").out)
    assert document.keys() == {
        "milestone_id",
        "title",
        "max_parallel",
        "waves",
        "critical_path",
        "critical_seconds",
        "predicted_seconds",
        "sequential_seconds",
        "bound_seconds",
        "speedup",
        "unreachable",
        "problems",
        "tasks",
    }
    assert document["waves"] == [["one"], ["two", "three"]]
    assert document["tasks"][1] == {
        "id": "two",
        "title": "Second",
        "status": "pending",
        "depends_on": ["one"],
        "seconds": 3600.0,
        "source": "estimated",
        "start": 60.0,
        "end": 3660.0,
        "slot": 0,
        "critical": True,
    }


@pytest.mark.usefixtures("small")
def test_the_configured_number_of_slots_counts_and_the_option_has_the_last_word(project: Project, ctl: Ctl) -> None:
    project.configure("max_parallel: 7\n")
    assert json.loads(ctl("plan", "small", "--json").out)["max_parallel"] == 7
    assert json.loads(ctl("plan", "small", "-j2", "--json").out)["max_parallel"] == 2
    project.configure("max_parallel: none\n")
    assert ctl("plan", "small").code == 78


@pytest.mark.usefixtures("small")
def test_durations_of_former_sessions_come_before_estimates(journal: Journalist, ctl: Ctl) -> None:
    journal(
        "small",
        AttemptGranted("one.1", "one", 1, 0, (Step("run", "true"),)),
        AttemptStarted("one.1", 1),
        AttemptEnded("one.1", Outcome.OK, seconds=7.5),
        AttemptGranted("two.1", "two", 1, 0, (Step("run", "true"),)),
        AttemptEnded("two.1", Outcome.FAILED, seconds=99.0),
    )
    tasks = {task["id"]: task for task in json.loads(ctl("plan", "small", "--json").out)["tasks"]}
    assert (tasks["one"]["seconds"], tasks["one"]["source"]) == (7.5, "measured")
    assert tasks["two"]["source"] == "estimated"


def test_what_waits_for_a_cancelled_task_is_named_and_not_predicted(project: Project, ctl: Ctl) -> None:
    text = (
        "id: m\ntitle: T\ntasks:\n"
        "  - {id: a, title: A, run: x, status: cancelled}\n"
        "  - {id: b, title: B, run: x, depends_on: [a]}\n"
        "  - {id: c, title: C, run: x, status: blocked}\n"
    )
    project.write("m", text)
    done = ctl("plan", "m")
    assert "Never run, because they depend on a cancelled task: b" in done.out
    assert "Blocked by their status, and tried again by a run: c" in done.out
    document = json.loads(ctl("plan", "m", "--json").out)
    assert document["unreachable"] == ["b"]
    assert document["predicted_seconds"] == 60.0


def test_the_picture_fits_the_terminal_and_shows_when_each_task_runs(
    project: Project, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"a-rather-long-name-of-a-task-{number:02d}" for number in range(12)]
    tasks = "".join(f"  - {{id: {name}, title: T, run: x}}\n" for name in names)
    project.write("wide", f"id: wide\ntitle: T\ntasks:\n{tasks}")
    for columns in (60, 100):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = ctl("plan", "wide").out.splitlines()
        picture = [line for line in lines if "█" in line or "▒" in line]
        assert len(picture) == 12
        assert max(map(len, picture)) <= columns


def test_a_bar_stands_where_its_task_runs_and_tells_whether_it_is_critical() -> None:
    tasks = (
        Task("a", "A", run="x", estimated_hours=1),
        Task("b", "B", run="x", estimated_hours=1, depends_on=("a",)),
        Task("c", "C", run="x", estimated_hours=1),
    )
    plan = Plan.of(Milestone("m", "M", tasks=tasks))
    rows = gantt(plan, plan.makespan(2), 40, ("#", "="))
    assert rows[1].startswith("a  #")
    bar = len(rows[1].split("  ")[1].rstrip())
    assert rows[2].startswith("c  =")
    assert rows[3].index("#") == 3 + bar


@pytest.mark.usefixtures("small")
def test_not_found_is_1_and_invalid_is_2_with_all_problems(project: Project, ctl: Ctl) -> None:
    assert ctl("plan", "smal").code == 1
    assert ctl("plan", "../small").code == 1
    project.write("broken", "id: broken\ntitle: T\ntasks:\n  - {id: a, depends_on: [b, c]}\n")
    done = ctl("plan", "broken")
    assert (done.code, done.out) == (2, "")
    assert done.err.count(".milestones/active/broken.yaml:4:") == 2


def test_of_many_tasks_people_see_the_first_and_programs_all(project: Project, ctl: Ctl) -> None:
    tasks = "".join(f"  - {{id: t{number}, title: T, run: x}}\n" for number in range(2000))
    project.write("large", f"id: large\ntitle: L\ntasks:\n{tasks}")
    drawn = ctl("plan", "large").out
    assert "t59 and 1,940 more\n" in drawn
    assert "and 1,960 more tasks after these\n" in drawn
    assert len(drawn.splitlines()) < 70
    assert len(json.loads(ctl("plan", "large", "--json").out)["waves"][0]) == 2000
