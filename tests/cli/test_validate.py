"""`milestonectl validate`."""

import json
import os
import re
import shutil
import socket

import pytest

from tests.cli.conftest import Ctl
from tests.e2e.stage import Project

LOCATED = re.compile(r"^[^:]+:\d+:\d+: (warning: )?\S", re.ASCII)

BROKEN = """\
id: broken
title: Broken
tasks:
  - {id: task-1, title: One, run: "true", depends_on: [task-2, task_3]}
  - {id: task-3, title: Three, run: "true"}
"""


@pytest.mark.usefixtures("small")
def test_a_valid_file_is_exit_code_0_and_a_summary(ctl: Ctl) -> None:
    done = ctl("validate")
    assert (done.code, done.out) == (0, "1 milestone, 3 tasks: 0 errors, 0 warnings\n")


@pytest.mark.usefixtures("small")
def test_every_problem_of_every_file_has_a_line_with_its_place(project: Project, ctl: Ctl) -> None:
    project.write("broken", BROKEN)
    project.write("no-yaml", "a: [\n")
    project.configure("max_paralel: 3\n")
    done = ctl("validate")
    *problems, summary = done.out.splitlines()
    assert done.code == 2
    assert all(LOCATED.match(line) for line in problems)
    assert problems[1].startswith(".milestones/active/broken.yaml:4:64: ")
    assert "did you mean 'task-3'?" in problems[1]
    assert any(line.startswith(".milestones/active/no-yaml.yaml:") for line in problems)
    assert any("max_parallel" in line and "config/milestoned.yaml:1:1" in line for line in problems)
    assert summary.startswith("3 milestones, 3 tasks: 4 errors")


def test_paths_are_those_that_one_can_open_from_where_one_stands(
    project: Project, ctl: Ctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("broken", BROKEN)
    (project.path / "src").mkdir()
    monkeypatch.chdir(project.path / "src")
    assert ctl("validate").out.startswith("../.milestones/active/broken.yaml:4:")


@pytest.mark.usefixtures("small")
def test_only_the_named_file_is_judged(project: Project, ctl: Ctl) -> None:
    project.write("broken", BROKEN)
    assert ctl("validate", "small").code == 0
    assert ctl("validate", ".milestones/active/broken.yaml").code == 2


@pytest.mark.usefixtures("small")
def test_an_unknown_name_is_exit_code_1_with_what_was_meant(ctl: Ctl) -> None:
    done = ctl("validate", "smal")
    assert (done.code, done.out) == (1, "")
    assert "did you mean 'small'?" in done.err


def test_milestones_that_require_each_other_are_an_error_and_waiting_is_a_warning(project: Project, ctl: Ctl) -> None:
    text = "id: {0}\ntitle: T\ndependencies: {{requires: [{1}]}}\ntasks: [{{id: a, title: A, run: x}}]\n"
    project.write("one", text.format("one", "two"))
    project.write("two", text.format("two", "three"))
    project.write("three", "id: three\ntitle: T\ntasks:\n  - {id: a, title: A, run: x}\n")
    waiting = json.loads(ctl("validate", "--json").out)
    assert waiting["valid"]
    assert [problem["severity"] for problem in waiting["problems"]] == ["warning", "warning"]
    project.write("three", text.format("three", "one"))
    circle = json.loads(ctl("validate", "--json").out)
    assert not circle["valid"]
    assert any("require each other" in problem["message"] for problem in circle["problems"])


def test_a_task_for_an_agent_that_nobody_configured_is_warned_of_where_it_stands(project: Project, ctl: Ctl) -> None:
    project.write("agent", "id: agent\ntitle: T\ntasks:\n  - {id: a, title: A, run: x}\n  - {id: b, title: B}\n")
    done = ctl("validate")
    assert done.code == 0
    assert done.out.startswith(".milestones/active/agent.yaml:5:10: warning: task b: no 'run'")


@pytest.mark.usefixtures("small")
def test_json_is_one_document_with_a_fixed_form(project: Project, ctl: Ctl) -> None:
    project.write("broken", BROKEN)
    done = ctl("validate", "--json")
    document = json.loads(done.out)
    assert document.keys() == {"valid", "errors", "warnings", "files", "problems"}
    assert document["problems"][0].keys() == {"path", "line", "column", "severity", "message", "suggestion"}
    assert [(file["milestone_id"], file["valid"]) for file in document["files"]] == [(None, False), ("small", True)]
    assert (done.err, done.code, document["errors"]) == ("", 2, 2)


@pytest.mark.usefixtures("small")
def test_what_is_named_like_a_milestone_and_is_no_file_has_a_line_and_hangs_nobody(project: Project, ctl: Ctl) -> None:
    active = project.path / ".milestones" / "active"
    os.mkfifo(active / "pipe.yaml")
    (active / "folder.yaml").mkdir()
    (active / "dangling.yaml").symlink_to(active / "nowhere")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(active / "plug.yaml"))
    done = ctl("validate")
    *problems, summary = done.out.splitlines()
    assert done.code == 2
    assert [line.removeprefix(".milestones/active/") for line in problems] == [
        "dangling.yaml:1:1: cannot be read: it is a symbolic link; put the file itself there",
        "folder.yaml:1:1: cannot be read: it is a directory, no regular file; give it another name, or remove it",
        "pipe.yaml:1:1: cannot be read: it is a named pipe (FIFO), no regular file; give it another name, or remove it",
        "plug.yaml:1:1: cannot be read: it is a socket or device, no regular file; give it another name, or remove it",
    ]
    assert summary == "5 milestones, 3 tasks: 4 errors, 0 warnings"
    assert ctl("validate", "small").code == 0
    assert "it is a symbolic link" in ctl("validate", ".milestones/active/dangling.yaml").out
    for name in ("dangling", "folder", "pipe", "plug"):
        refused = ctl("run", name)
        assert (refused.code, "cannot be read: it is a " in refused.err) == (2, True)


@pytest.mark.usefixtures("small")
def test_the_users_blocker_rules_are_checked_with_their_places(project: Project, ctl: Ctl) -> None:
    project.configure("blockers: {rules: rules.yaml}\n")
    assert ctl("validate").out.startswith("rules.yaml:1:1: there is no such file; create it, or take blockers.rules")
    rules = project.path / "rules.yaml"
    rules.write_text("rules:\n- {id: ours, pattern: '(', proposal: 'retry: x'}\n- {id: Bad}\n")
    done = ctl("validate", "small")
    assert done.code == 2
    assert [line.partition(": ")[0] for line in done.out.splitlines()[:-1]] == ["rules.yaml:2:24", "rules.yaml:3:8"]
    rules.write_text("rules:\n- {id: ours, pattern: flux, proposal: 'retry: x'}\n")
    assert ctl("validate").code == 0


def test_without_milestones_it_says_what_to_do(project: Project, ctl: Ctl) -> None:
    assert ctl("validate").code == 1
    assert "milestonectl init" in ctl("validate").err
    (project.path / ".milestones" / "active").mkdir(parents=True)
    done = ctl("validate")
    assert done.code == 0
    assert "init --example" in done.out


def test_milestones_that_cannot_be_listed_are_not_taken_for_none(project: Project, ctl: Ctl) -> None:
    active = project.path / ".milestones" / "active"
    active.parent.mkdir(parents=True, exist_ok=True)
    if active.is_dir():
        shutil.rmtree(active)
    active.write_text("what stands here is no directory, which root cannot list either")
    for words in (("validate",), ("status",), ("validate", "--json")):
        done = ctl(*words)
        assert (done.code, str(active) in done.err, "Not a directory" in done.err) == (74, True, True)
