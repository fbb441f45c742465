"""Everything of ours is killed at once: what becomes of the tasks, and what is said of it beforehand."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from actors.events import ContainmentChosen
from actors.state import ROLES
from supervisor import linux
from supervisor.environment import SESSION_MARK
from tests.containments import members_of, namespace_of, require_namespaces
from tests.e2e.stage import (
    COMMAND,
    GONE_SECONDS,
    Project,
    Running,
    assert_done_once,
    facts,
    fork_server_of,
    milestone_of,
    pids_of_children,
    stubborn_pids,
    stubborn_task,
)
from tests.waiting import wait_until


def _kill_everything(running: Running) -> None:
    """Kill run, fork server, runner and the five roles, so that nobody of them sees another one die."""
    children = pids_of_children(running.project.records())
    assert children.keys() == {*ROLES, "runner"}
    pids = [running.process.pid, fork_server_of(running.process.pid), *children.values()]
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)
    running.process.wait(60.0)


def _start(project: Project, place: Path) -> Running:
    project.write("m1", milestone_of({"id": "t1", "run": stubborn_task(place)}, {"id": "t2", "run": "echo 2 > two"}))
    running = project.start("run", "m1", "--plain")
    wait_until(lambda: pids_of_children(project.records()).keys() == {*ROLES, "runner"}, 60.0, "all have come up")
    wait_until(lambda: (place / "leader").exists() and (place / "leader").read_text(), 60.0, "the task runs")
    return running


def _status(project: Project) -> dict[str, Any]:
    done = project.ctl("status", "m1", "--json")
    session: dict[str, Any] = json.loads(done.out)["sessions"][0]
    return session


@pytest.mark.row("F7")
def test_in_a_pid_namespace_nothing_of_a_task_lives_on(project: Project, place: Path) -> None:
    require_namespaces()
    project.configure("containment: pid_namespace\n")
    running = _start(project, place)
    runner = pids_of_children(project.records())["runner"]
    namespace = namespace_of(runner)
    assert len(members_of(namespace)) > len(("runner", "leader", "daemon"))

    _kill_everything(running)

    wait_until(lambda: not members_of(namespace), GONE_SECONDS, "the namespace is empty")
    assert linux.find_marked(SESSION_MARK, project.session()) == ()
    (chosen,) = facts(project, ContainmentChosen)
    assert chosen.name == "pid_namespace"
    (place / "go").touch()
    done = project.ctl("run", "m1")
    assert done.code == 0, done.out + done.err
    assert_done_once(project, "m1", {"t1": (), "t2": ()})


def test_where_it_is_swept_the_next_start_ends_it_before_anything_runs(project: Project, place: Path) -> None:
    project.configure("containment: sweep\n")
    running = _start(project, place)
    pids = stubborn_pids(place)

    # The sheet follows the journal in its own time, and is not what this test is about.
    wait_until(lambda: project.session_json()["containment"], 60.0, "session.json says what holds")
    _kill_everything(running)

    assert all(map(linux.is_alive, pids))
    (chosen,) = facts(project, ContainmentChosen)
    assert (chosen.name, "until the next run ends every process" in chosen.detail) == ("sweep", True)
    assert f"containment sweep: {chosen.detail}" in running.text()
    said = project.ctl("status", "m1").out
    assert f"containment sweep: {chosen.detail}" in said
    left = re.search(r"(\d+) processes of its tasks still run; the next run ends them first", said)
    assert left is not None
    assert int(left[1]) >= len(pids)
    assert set(pids) <= set(_status(project)["left"])
    assert _status(project)["containment"] == {"name": "sweep", "detail": chosen.detail}
    assert project.session_json()["containment"] == {"name": "sweep", "detail": chosen.detail}
    (place / "go").touch()
    done = project.ctl("run", "m1")
    assert done.code == 0, done.out + done.err
    assert not (place / "living").exists(), "a task was started beside those of the former life"
    assert not any(map(linux.is_alive, pids))


def _without_the_capability(project: Project, *words: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "-C", str(project.path), *words]
    if linux.can_administer():
        command = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)


def test_without_privileges_the_choice_falls_to_the_sweep_and_the_reasons_are_said(project: Project) -> None:
    project.write("m1", milestone_of({"id": "t1", "run": "true"}))
    done = _without_the_capability(project, "run", "m1")
    assert done.returncode == 0, done.stdout + done.stderr
    (chosen,) = facts(project, ContainmentChosen)
    assert chosen.name == "sweep"
    assert "no control group (v2) is delegated" in chosen.detail
    assert "no PID namespace without the capability CAP_SYS_ADMIN" in chosen.detail


@pytest.mark.parametrize("name", ["pid_namespace", "cgroup"])
def test_one_that_was_named_and_cannot_be_had_refuses_the_run(project: Project, name: str) -> None:
    project.configure(f"containment: {name}\n")
    project.write("m1", milestone_of({"id": "t1", "run": "true"}))
    done = _without_the_capability(project, "run", "m1")
    assert done.returncode == 78, done.stdout + done.stderr
    assert f"containment: {name} cannot be had" in done.stderr
    assert "containment: auto" in done.stderr
    assert project.records() == []


def test_a_containment_that_is_none_is_refused_with_its_place(project: Project) -> None:
    project.configure("containment: jail\n")
    project.write("m1", milestone_of({"id": "t1", "run": "true"}))
    done = project.ctl("run", "m1")
    assert done.code == 78
    assert "milestoned.yaml:1:14" in done.err
