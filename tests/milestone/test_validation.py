"""What is wrong between several milestones."""

from time import perf_counter

import attrs

from actors.model import FileStatus, Milestone, Task
from actors.problems import Severity
from actors.validation import (
    FileConflict,
    MilestoneCycle,
    MissingPrerequisite,
    ResourceConflict,
    Subject,
    as_problem,
    check,
    subject_of,
)
from tests.milestone.texts import reading


def subject(milestone_id: str, *extra: str) -> Subject:
    """Read a milestone with one task and these further lines."""
    text = f"id: {milestone_id}\ntitle: T\n" + "".join(f"{line}\n" for line in extra)
    tasks = "" if "tasks:" in text else "tasks: [{id: a, title: A}]\n"
    found = subject_of(reading(text + tasks, f"{milestone_id}.yaml"))
    assert found is not None
    return found


def said(*subjects: Subject, completed: tuple[str, ...] = ()) -> list[str]:
    """Return the findings as a person sees them."""
    return [str(as_problem(finding)) for finding in check(subjects, completed)]


def test_a_completed_prerequisite_is_fine() -> None:
    assert said(subject("m2", "depends_on: [m1]"), completed=("m1",)) == []


def test_an_open_prerequisite_has_to_be_completed_first() -> None:
    first, second = subject("m1"), subject("m2", "dependencies:", "  requires: [m0, m1]")

    (finding,) = check([first, second], {"m0"})

    assert isinstance(finding, MissingPrerequisite)
    assert (finding.milestone, finding.prerequisite, finding.is_active) == ("m2", "m1", True)
    assert str(as_problem(finding)) == (
        "m2.yaml:4:18: milestone 'm2' requires 'm1', which is not completed yet; run it first"
    )


def test_a_prerequisite_that_exists_nowhere_is_unknown() -> None:
    assert said(subject("m2", "depends_on: milestone-1"), completed=("milestone-001",)) == [
        "m2.yaml:3:13: unknown milestone 'milestone-1' in requires of 'm2'; did you mean 'milestone-001'?"
    ]


def test_milestones_that_require_each_other_are_shown_as_a_circle() -> None:
    findings = check(
        [subject("m1", "depends_on: [m3]"), subject("m2", "depends_on: m1"), subject("m3", "depends_on: m2")],
        (),
    )

    (cycle,) = [finding for finding in findings if isinstance(finding, MilestoneCycle)]
    assert str(as_problem(cycle)) == (
        "m2.yaml:3:13: these milestones require each other: m1 -> m3 -> m2 -> m1; remove one of the requirements"
    )


def test_a_shared_resource_of_two_open_milestones_is_a_conflict() -> None:
    one = subject("m1", "shared_resources: [printer, staging]")
    two = subject("m2", "status: in_progress", "shared_resources: staging")

    (conflict,) = check([one, two], ())

    assert isinstance(conflict, ResourceConflict)
    assert as_problem(conflict).severity is Severity.WARNING
    assert str(as_problem(conflict)) == (
        "m1.yaml:3:29: the shared resource 'staging' of 'm1' is also used by milestone 'm2'; do not run the two at once"
    )
    assert said(one, subject("m2", "status: completed", "shared_resources: staging")) == []


def test_files_of_open_tasks_of_two_milestones_are_a_conflict() -> None:
    one = subject("m1", "tasks:", "  - id: a", "    title: A", "    files: [docs/x.md, src/core/*.py]")
    two = subject("m2", "tasks:", "  - {id: b, title: B, files: [src/core/a.py, src/core/b.py, web]}")

    (conflict,) = check([one, two], ())

    assert isinstance(conflict, FileConflict)
    assert (conflict.task, conflict.pattern, conflict.other_task, conflict.count) == (
        "a",
        "src/core/*.py",
        "b",
        2,
    )
    assert str(as_problem(conflict)) == (
        "m1.yaml:6:5: 'src/core/*.py' of task 'a' overlaps 'src/core/a.py' of task 'b' in milestone 'm2', "
        "and 1 more pairs; do not run the two at once"
    )


def test_files_of_tasks_that_are_over_conflict_with_nobody() -> None:
    one = subject("m1", "tasks: [{id: a, title: A, status: done, files: src}]")

    assert said(one, subject("m2", "tasks: [{id: b, title: B, files: src}]")) == []


def test_a_folder_overlaps_what_is_below_it_in_either_direction() -> None:
    def one(pattern: str) -> Subject:
        return Subject(Milestone("m1", "T", tasks=(Task("a", "A", files=(pattern,)),)), "m1.yaml")

    for first, second in (
        ("src", "src/a.py"),
        ("src/", "src/a/b"),
        (".", "x"),
        ("**", "x/y"),
        ("a/*", "a/b/c"),
    ):
        other = attrs.evolve(one(second).milestone, id="m2")
        assert len(check([one(first), Subject(other, "m2.yaml")], ())) == 1, (first, second)
        assert len(check([Subject(other, "m2.yaml"), one(first)], ())) == 1, (second, first)
    for first, second in (("src", "srcs/a.py"), ("a.py", "b.py"), ("docs/*", "src/*")):
        other = attrs.evolve(one(second).milestone, id="m2")
        assert check([one(first), Subject(other, "m2.yaml")], ()) == (), (first, second)


def test_a_milestone_known_without_its_file_is_placed_at_the_top() -> None:
    journaled = Subject(Milestone("m1", "T", requires=("m0",)), "active/m1.yaml")

    assert said(journaled) == ["active/m1.yaml:1:1: unknown milestone 'm0' in requires of 'm1'"]


def test_two_milestones_of_thousands_of_tasks_are_compared_in_a_moment() -> None:
    def large(milestone_id: str, folder: str) -> Subject:
        tasks = tuple(
            Task(f"t{n}", "T", status=FileStatus.PENDING, files=(f"{folder}/f{n}.py", "CHANGELOG.md"))
            for n in range(5_000)
        )
        return Subject(Milestone(milestone_id, "T", tasks=tasks), f"{milestone_id}.yaml")

    started = perf_counter()
    (conflict,) = check([large("m1", "src"), large("m2", "lib")], ())

    assert perf_counter() - started < 60
    assert isinstance(conflict, FileConflict)
    assert (conflict.pattern, conflict.count) == ("CHANGELOG.md", 1)


def test_thousands_of_completed_milestones_are_not_compared_with_each_other() -> None:
    over = [Subject(Milestone(f"m{n}", "T", status="completed", shared_resources=("x",)), "x") for n in range(30_000)]
    own = [Subject(Milestone(name, "T", shared_resources=("x",)), "x") for name in ("own", "other")]

    started = perf_counter()
    (conflict,) = check([own[0], *over, own[1]], ())

    assert perf_counter() - started < 60
    assert isinstance(conflict, ResourceConflict)
    assert (conflict.milestone, conflict.other) == ("own", "other")


def test_a_file_that_did_not_read_is_no_subject() -> None:
    assert subject_of(reading("[")) is None
