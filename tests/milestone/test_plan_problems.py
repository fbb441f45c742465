"""What is wrong between the tasks of one file."""

from actors.model import FileStatus
from actors.problems import closest
from tests.milestone.texts import HEAD, lines, reading, with_task


def tasks(*entries: str) -> str:
    """Return a milestone with tasks given as the insides of flow maps."""
    return f"{HEAD}tasks:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries)


def test_an_unknown_dependency_is_named_with_the_task_that_was_meant() -> None:
    found = reading(tasks("id: task-09, title: A", "id: task-3, title: B, depends_on: [task-9]"))

    assert lines(found) == ["m1.yaml:5:41: unknown task 'task-9' in depends_on of 'task-3'; did you mean 'task-09'?"]
    assert found.problems[0].suggestion == "task-09"


def test_an_unknown_dependency_without_a_likeness_has_no_suggestion() -> None:
    found = reading(tasks("id: task-1, title: A", "id: task-3, title: B, depends_on: [elsewhere, task-2]"))

    assert [problem.suggestion for problem in found.problems] == ["", ""]


def test_each_of_two_names_in_one_text_has_its_own_place() -> None:
    found = reading(tasks('id: a, title: A, depends_on: "x,  yy"'))

    assert [(problem.line, problem.column) for problem in found.problems] == [(4, 36), (4, 40)]


def test_a_second_task_of_the_same_id_is_refused() -> None:
    found = reading(tasks("id: a, title: A", "id: b, title: B", "id: a, title: C"))

    assert lines(found) == ["m1.yaml:6:10: duplicate task id 'a' (first given in line 4); give one another id"]


def test_a_cycle_is_shown_whole_at_the_edge_that_closes_it() -> None:
    found = reading(
        tasks(
            "id: a, title: A, depends_on: [c]",
            "id: b, title: B, depends_on: [a]",
            "id: c, title: C, depends_on: [b]",
            "id: d, title: D, depends_on: [c]",
        )
    )

    assert lines(found) == [
        "m1.yaml:5:36: these tasks wait for each other: a -> c -> b -> a; remove one of the dependencies"
    ]


def test_every_cycle_is_reported_not_only_the_first() -> None:
    found = reading(
        tasks(
            "id: a, title: A, depends_on: [b]",
            "id: b, title: B, depends_on: [a]",
            "id: c, title: C, depends_on: [d]",
            "id: d, title: D, depends_on: [e]",
            "id: e, title: E, depends_on: [c, e]",
        )
    )

    assert [problem.message.split(";")[0] for problem in found.problems] == [
        "these tasks wait for each other: a -> b -> a",
        "these tasks wait for each other: c -> d -> e -> c",
        "task 'e' depends on itself",
    ]


def test_a_cycle_through_thousands_of_tasks_is_found_and_shown_short() -> None:
    count = 5_000
    found = reading(tasks(*(f"id: t{n}, title: T, depends_on: [t{(n + 1) % count}]" for n in range(count))))

    assert len(found.problems) == 1
    assert f"t5 -> ({count - 12} more) -> t4994" in found.problems[0].message


def test_a_completed_task_that_waits_for_an_open_one_is_warned_of() -> None:
    found = reading(tasks("id: a, title: A, status: todo", "id: b, title: B, status: done, depends_on: [a]"))

    assert found.milestone is not None
    assert found.milestone.tasks[1].status is FileStatus.COMPLETED
    assert lines(found) == ["m1.yaml:5:50: task 'b' is completed but depends on 'a', which is pending"]


def test_a_dependency_given_twice_is_warned_of() -> None:
    found = reading(tasks("id: a, title: A", "id: b, title: B, depends_on: [a, a]"))

    assert lines(found) == ["m1.yaml:5:39: 'a' stands twice in 'depends_on'; once is enough"]


def test_an_id_that_is_not_the_name_of_the_file_is_warned_of() -> None:
    text = tasks("id: a, title: A")

    (warning,) = lines(reading(text, "active/m2.yaml"))
    assert warning.startswith("active/m2.yaml:1:5: the id 'm1' is not the name of the file (m2.yaml); ")
    assert not reading(text, "active/m1.yml").problems
    assert not reading(text, "completed/m1/definition.yaml").problems
    assert not reading(text, "<stdin>").problems


def test_placeholders_that_nothing_filled_in_are_warned_of() -> None:
    found = reading("id: m1\ntitle: ${TITLE}\ncreated_at: $(date -u +%F)\ntasks: [{id: a, title: A}]\n")

    assert lines(found) == [
        "m1.yaml:2:8: '${TITLE}' in 'title' looks like an unfilled placeholder",
        "m1.yaml:3:13: '$(date -u +%F)' in 'created_at' looks like an unfilled placeholder",
    ]
    assert not reading(with_task("run: echo ${HOME} $(date)", "description: $5 for ${X}")).problems


def test_keys_that_are_a_slip_of_the_pen_are_warned_of() -> None:
    slips = {
        "dependson": "depends_on",
        "verfiy": "verify",
        "time_out": "timeout",
        "retires": "retries",
        "Run": "run",
        "needs": "depends_on",
        "cmd": "run",
        "on-crash": "on_crash",
        "file": "files",
        "weigth": "weight",
        "estimate_hours": "estimated_hours",
        "discription": "description",
        "acceptence_criteria": "acceptance_criteria",
    }
    for slip, meant in slips.items():
        found = reading(with_task(f"{slip}: x"))
        assert lines(found) == [
            f"m1.yaml:6:5: unknown key '{slip}' of a task, which is ignored; did you mean '{meant}'?"
        ]
    for other in ("timeline", "environment_notes", "complexity", "subtasks", "testStrategy", "due"):
        assert not reading(with_task(f"{other}: x")).problems


def test_a_misspelt_key_of_the_milestone_is_warned_of() -> None:
    found = reading(f"{HEAD}task: []\ndependancies: [m0]\nproject: x\n")

    assert [problem.suggestion for problem in found.problems] == ["", "tasks", "dependencies"]
    assert (
        lines(found)[1] == "m1.yaml:3:1: unknown key 'task' of the milestone, which is ignored; did you mean 'tasks'?"
    )
    slips = {
        "prerequisite_milestone": "prerequisite_milestones",
        "requires": "depends_on",
        "shared_resource": "shared_resources",
        "requirments": "requirements",
        "sucess_criteria": "success_criteria",
        "statsu": "status",
        "descripton": "description",
    }
    for slip, meant in slips.items():
        found = reading(f"{HEAD}{slip}: x\ntasks: [{{id: a, title: A}}]\n")
        assert [(problem.line, problem.column, problem.suggestion) for problem in found.problems] == [(3, 1, meant)]
    for other in ("project", "stats", "in_progress", "risks", "team", "requester", "state"):
        assert not reading(f"{HEAD}{other}: pending\ntasks: [{{id: a, title: A}}]\n").problems


def test_a_misspelt_key_below_dependencies_or_requirements_is_warned_of() -> None:
    found = reading(
        f"{HEAD}tasks: [{{id: a, title: A}}]\ndependencies:\n  require: [m0]\n  external: []\n"
        "requirements: {tool: [make], disk_space: 5}\n"
    )

    assert lines(found) == [
        "m1.yaml:5:3: unknown key 'require' of 'dependencies', which is ignored; did you mean 'requires'?",
        "m1.yaml:7:16: unknown key 'tool' of 'requirements', which is ignored; did you mean 'tools'?",
        "m1.yaml:7:30: unknown key 'disk_space' of 'requirements', which is ignored; did you mean 'disk_space_mb'?",
    ]


def test_who_writes_the_second_name_of_a_key_misses_nothing() -> None:
    assert not reading(
        "id: m1\nname: One\ntitles: 3\ntasks: [{id: a, name: A, titles: 3, state: done, stat: x}]\n"
    ).problems


def test_the_same_slip_in_every_task_is_warned_of_in_every_task() -> None:
    many = 600
    found = reading(
        f"{HEAD}tasks:\n" + "".join(f"  - {{id: t{one}, title: T, depnds_on: []}}\n" for one in range(many))
    )

    assert [problem.suggestion for problem in found.problems] == ["depends_on"] * many


def test_a_list_of_arguments_in_the_place_of_commands_is_warned_of() -> None:
    assert (
        "write a command with its arguments as a list in the list"
        in lines(reading(with_task("verify: [pytest, -q]")))[0]
    )


def test_the_closest_word_is_found_by_letters_but_not_by_numbers_alone() -> None:
    assert closest("complted", ["pending", "completed"]) == "completed"
    assert closest("TASK_9", ["task-09", "task-1"]) == "task-09"
    assert closest("task-7", ["task-8", "task-17"]) is None
    assert closest("zebra", ["pending", "completed"]) is None
    assert closest("x", []) is None


def test_a_title_that_is_refused_is_not_said_to_be_missing_too() -> None:
    found = reading('id: m1\ntitle: "a\\u001b[31m"\ntasks: [{id: a, title: "b\\u0007"}, {id: c, title: [x]}]\n')

    assert lines(found) == [
        "m1.yaml:2:8: 'title' holds a control character; remove it",
        "m1.yaml:3:24: 'title' holds a control character; remove it",
        "m1.yaml:3:44: 'title' must be text, not a list",
    ]
