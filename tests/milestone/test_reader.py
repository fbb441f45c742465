"""What a valid file means."""

import gc

import pytest

from actors.model import FileStatus, Milestone, OnCrash, Requirements
from tests.milestone.texts import HEAD, lines, milestone, reading, task, with_task

FLAT = """\
id: m1
title: "A   milestone
  over two lines"
description: |
  Why it is done.
status: planned
category: feature
progress: {percentage: 40, tasks_completed: 2}
success_criteria:
  - It works
  - text: It is fast
  - Given a file: it is read
requirements:
  tools: [git, make]
  environment: HOME
  disk_space_mb: 250
dependencies:
  requires: [m0, "0.9"]
  enables: [m2]
shared_resources: [staging database]
tasks:
  - id: task-001
    title: First
    status: completed
  - id: task-002
    name: Second
    description: In words
    type: standard
    depends_on: [task-001]
    dependencies: task-001
    estimated_hours: 2-4
    weight: 2.5
    acceptance_criteria: [It runs]
"""


def test_a_flat_file_is_read_in_full() -> None:
    found = milestone(FLAT)

    first, second = found.tasks
    assert found == Milestone(
        id="m1",
        title="A milestone over two lines",
        description="Why it is done.",
        status="planned",
        category="feature",
        tasks=(first, second),
        requires=("m0", "0.9"),
        shared_resources=("staging database",),
        requirements=Requirements(tools=("git", "make"), environment=("HOME",), disk_space_mb=250),
        success_criteria=("It works", "It is fast", "Given a file: it is read"),
        declared_percentage=40,
    )
    assert (first.id, first.title, first.status) == ("task-001", "First", FileStatus.COMPLETED)
    assert (second.id, second.title, second.description) == ("task-002", "Second", "In words")
    assert (second.kind, second.weight, second.estimated_hours) == ("standard", 2.5, 3.0)
    assert second.depends_on == ("task-001",)
    assert second.acceptance_criteria == ("It runs",)
    assert not reading(FLAT).problems


def test_a_wrapped_file_means_the_same_whether_its_parts_stand_inside_or_beside() -> None:
    flat = milestone(FLAT)
    inside = "milestone:\n" + "".join(f"  {line}\n" for line in FLAT.splitlines())
    head, parts = FLAT.split("progress:")
    beside = "milestone:\n" + "".join(f"  {line}\n" for line in head.splitlines()) + "progress:" + parts

    assert milestone(inside) == flat
    assert milestone(beside) == flat


def test_a_json_file_of_the_flat_shape_is_read_as_the_yaml_that_it_is() -> None:
    assert milestone('{"id": "m1", "title": "T", "tasks": [{"id": "a", "title": "A"}]}').tasks[0].id == "a"


def test_the_fields_that_are_executed_are_read_with_their_types() -> None:
    found = task(
        "run: make build",
        "verify:",
        "  - make check",
        "  - [python, -c, 'print(1)']",
        "timeout: 1h30m",
        "retries: 3",
        "retry_delay: 250ms",
        "env: {MODE: on, VERSION: 1.10, EMPTY: ''}",
        "files: [./src/a.py, docs/]",
        "on_crash: ask",
        "agent: reviewer",
    )

    assert found.run == "make build"
    assert found.verify == ("make check", ("python", "-c", "print(1)"))
    assert (found.timeout, found.retries, found.retry_delay) == (5400.0, 3, 0.25)
    assert found.env == (("MODE", "on"), ("VERSION", "1.10"), ("EMPTY", ""))
    assert found.files == ("src/a.py", "docs/")
    assert (found.on_crash, found.agent) == (OnCrash.ASK, "reviewer")


def test_a_task_without_any_of_them_has_the_defaults() -> None:
    found = task()

    assert (found.run, found.verify, found.timeout, found.retries, found.retry_delay) == (
        None,
        (),
        None,
        0,
        1.0,
    )
    assert (found.on_crash, found.agent, found.env, found.files) == (OnCrash.RERUN, None, (), ())


def test_run_is_a_line_for_the_shell_or_a_list_without_one() -> None:
    assert task("run: |", "  set -e", "  make").run == "set -e\nmake\n"
    assert task("run: [make, -j2]").run == ("make", "-j2")
    assert task("run: yes").run == "yes"
    assert task("verify: make check").verify == ("make check",)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30", 30.0),
        ("'30'", 30.0),
        ("0.5", 0.5),
        ("90s", 90.0),
        ("5m", 300.0),
        ("2 h", 7200.0),
        ("1d 1h", 90000.0),
    ],
)
def test_a_timeout_is_seconds_or_a_duration(written: str, seconds: float) -> None:
    assert task(f"timeout: {written}").timeout == seconds


@pytest.mark.parametrize("written", ["1.10", "0777", "no", "on", "2024-07-01", "12-30", "1e5", "0x1F", "007", "M3.1"])
def test_ids_stay_as_they_are_written(written: str) -> None:
    text = f"id: {written}\ntitle: T\nstatus: done\ntasks:\n  - id: {written}\n    title: T\n"

    found = reading(text, f"{written}.yaml")

    assert found.milestone is not None, lines(found)
    assert found.milestone.id == written
    assert found.milestone.tasks[0].id == written


def test_a_dependency_written_as_a_number_is_the_task_with_that_text_as_id() -> None:
    found = milestone(HEAD + "tasks:\n  - {id: '01', title: A}\n  - {id: 2, title: B, depends_on: [01]}\n")

    assert found.tasks[1].depends_on == ("01",)


@pytest.mark.parametrize(
    "written",
    ["[a, b]", "a, b", '"a, b"', "[a, {id: b}]", "\n      - a\n      - b"],
)
def test_dependencies_are_a_list_or_one_text(written: str) -> None:
    text = f"{HEAD}tasks:\n  - {{id: a, title: A}}\n  - {{id: b, title: B}}\n  - id: c\n    title: C\n"

    found = milestone(f"{text}    dependencies: {written}\n")

    assert found.tasks[2].depends_on == ("a", "b")


@pytest.mark.parametrize("written", ["", "[]", "none", "~", "null", "{external: [x]}"])
def test_no_dependencies_have_many_spellings(written: str) -> None:
    assert task(f"depends_on: {written}".rstrip()).depends_on == ()
    assert task(f"dependencies: {written}".rstrip()).depends_on == ()


def test_depends_on_and_dependencies_of_a_task_are_united() -> None:
    text = HEAD + "tasks:\n  - {id: a, title: A}\n  - {id: b, title: B}\n"

    found = milestone(text + "  - {id: c, title: C, depends_on: [b, a], dependencies: [a]}\n")

    assert found.tasks[2].depends_on == ("b", "a")


@pytest.mark.parametrize(
    "written",
    [
        "dependencies: {requires: [m0, m9]}",
        "dependencies: [m0, m9]",
        "depends_on: m0, m9",
        "prerequisite_milestones: [m0, m9]",
        "dependencies: {internal: [{milestone_id: m0, status: done}, {milestone_id: m9}]}",
    ],
)
def test_prerequisite_milestones_have_several_names(written: str) -> None:
    assert milestone(f"{HEAD}{written}\ntasks: [{{id: a, title: A}}]\n").requires == ("m0", "m9")


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("pending", FileStatus.PENDING),
        ("todo", FileStatus.PENDING),
        ('"To Do"', FileStatus.PENDING),
        ("NOT_STARTED", FileStatus.PENDING),
        ("ready-for-dev", FileStatus.PENDING),
        ("in-progress", FileStatus.IN_PROGRESS),
        ("In Progress", FileStatus.IN_PROGRESS),
        ("DONE", FileStatus.COMPLETED),
        ("complete", FileStatus.COMPLETED),
        ("closed", FileStatus.COMPLETED),
        ("in_review", FileStatus.BLOCKED),
        ("DEFERRED", FileStatus.BLOCKED),
        ("superseded", FileStatus.CANCELLED),
        ('"[~]"', FileStatus.CANCELLED),
        ("", FileStatus.PENDING),
        ('""', FileStatus.PENDING),
        ("~", FileStatus.PENDING),
    ],
)
def test_status_words_that_people_use_are_folded(word: str, status: FileStatus) -> None:
    assert task(f"status: {word}".rstrip()).status is status


def test_a_status_can_be_called_state_or_be_ticked() -> None:
    assert task("state: closed").status is FileStatus.COMPLETED
    assert task("completed: true").status is FileStatus.COMPLETED
    assert task("done: false").status is FileStatus.PENDING
    assert task("done: true", "status: pending").status is FileStatus.PENDING


@pytest.mark.parametrize(
    ("written", "percentage"),
    [
        ("50", 50),
        ('"50%"', 50),
        ("{percentage: 66.7}", 66),
        ("{current_phase: spec, overall_percentage: 12}", 12),
        ("{tasks_completed: 3}", None),
        ("~", None),
    ],
)
def test_the_declared_progress_has_several_shapes(written: str, percentage: int | None) -> None:
    assert milestone(f"{HEAD}progress: {written}\ntasks: [{{id: a, title: A}}]\n").declared_percentage == percentage


def test_a_byte_order_mark_and_windows_line_breaks_change_nothing() -> None:
    text = "\ufeff" + FLAT.replace("\n", "\r\n")

    assert milestone(text) == milestone(FLAT)


def test_keys_that_nobody_knows_are_left_alone() -> None:
    text = with_task("my_own: {deep: [1, {er: x}]}") + "kiro_configuration: {enabled: true}\n"

    assert not reading(text).problems


def test_a_file_without_tasks_is_valid_and_warned_of() -> None:
    found = reading(HEAD)

    assert found.milestone is not None
    assert lines(found) == ["m1.yaml:1:1: the milestone has no tasks, so there is nothing to execute"]


def test_phases_instead_of_tasks_are_warned_of() -> None:
    found = reading("milestone:\n  id: m1\n  title: T\n  phases:\n    - {name: design, tasks: [Draw it]}\n")

    assert found.milestone is not None
    assert lines(found)[0].startswith("m1.yaml:4:3: the milestone has phases but no 'tasks'")


def test_the_places_of_what_is_compared_later_are_kept() -> None:
    found = reading(FLAT)

    assert found.marks is not None
    for name, index in (*found.marks.requires.items(), *found.marks.shared_resources.items()):
        assert found.marks.text[index:].lstrip('"').startswith(name)


def test_the_collector_is_off_only_while_a_file_is_read() -> None:
    assert gc.isenabled()
    reading(FLAT)
    assert gc.isenabled()
    gc.disable()
    try:
        reading("[")
        assert not gc.isenabled()
    finally:
        gc.enable()
