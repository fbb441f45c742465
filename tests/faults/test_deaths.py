"""Who dies, and with whom: roles by each kind of end, several of ours at once, a runner that hangs.

Deaths at random moments of an ordinary run are `tests.e2e.test_kills`'s, those in chosen situations
`tests.e2e.test_faults`'s.
"""

import os
import signal
from pathlib import Path
from typing import Final

import pytest

from actors.events import AttemptEnded, AttemptGranted, AttemptStarted, ChildGone, ChildReady, Outcome, SlotPrepared
from actors.state import ROLES
from supervisor.linux import is_alive
from tests.e2e.stage import (
    Project,
    Running,
    assert_done_once,
    assert_files_written,
    assert_nothing_lives,
    assert_resumes,
    facts,
    fork_server_of,
    milestone_of,
    pids_of_children,
    ready_pid,
    start_waiting,
    stubborn_pids,
    stubborn_task,
    waits_for,
)
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("swept")

ENDS: Final = {
    "blocker_detector": signal.SIGKILL,
    "git_integration": signal.SIGTERM,  # it leaves in order: exit status 0
    "progress_monitor": signal.SIGABRT,
}


@pytest.mark.row("F1")
def test_a_role_is_replaced_however_it_ended_and_nobody_else_is_touched(project: Project, place: Path) -> None:
    running = start_waiting(project, place / "go")
    wait_until(lambda: facts(project, AttemptStarted), 60.0, "the task runs")
    first = {child: ready_pid(project, child) for child in (*ROLES, "runner")}

    for role, number in ENDS.items():
        os.kill(first[role], number)
    second = {role: ready_pid(project, role, 2) for role in ENDS}

    assert not any(is_alive(first[role]) for role in ENDS)
    assert all(is_alive(first[child]) for child in first.keys() - ENDS.keys())
    (place / "go").touch()
    assert running.wait() == 0, running.text()
    gone = {fact.child: fact.reason for fact in facts(project, ChildGone)}
    assert gone.keys() == ENDS.keys() - {"git_integration"}, "who ends with status 0 is replaced and no failure"
    assert "SIGKILL" in gone["blocker_detector"]
    assert "SIGABRT" in gone["progress_monitor"]
    assert {fact.child for fact in facts(project, ChildReady) if fact.incarnation > 1} == set(ENDS)
    assert_done_once(project, "m1", {"t1": ()})
    assert_nothing_lives(project, [*first.values(), *second.values()])


def _victims(running: Running, names: tuple[str, ...]) -> list[int]:
    known = {
        "run": running.process.pid,
        "fork server": fork_server_of(running.process.pid),
        "runner": ready_pid(running.project, "runner"),
    }
    return [known[name] for name in names]


def _kill_in_the_same_moment(pids: list[int]) -> None:
    """Kill so that none of them sees another one die."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            os.kill(pid, number)


@pytest.mark.row("F7", "F30")
@pytest.mark.parametrize("names", [("run", "runner"), ("run", "fork server"), ("runner", "fork server")])
def test_of_run_fork_server_and_runner_the_one_that_is_left_ends_the_tasks(
    project: Project, place: Path, names: tuple[str, ...]
) -> None:
    project.configure("stop_grace: 60s\n")
    project.write("m1", milestone_of({"id": "t1", "run": stubborn_task(place)}))
    running = project.start("run", "m1")
    pids = stubborn_pids(place)
    ready_pid(project, ROLES[-1])
    children = list(pids_of_children(project.records()).values())
    assert all(map(is_alive, pids))
    (place / "go").touch()

    _kill_in_the_same_moment(_victims(running, names))

    if "run" in names:
        running.process.wait(60.0)
        assert_nothing_lives(project, [*pids, *children])
        assert_resumes(project, place / "go", {"t1": ()})
    else:
        assert running.wait() == 0, running.text()
        assert_done_once(project, "m1", {"t1": ()})
    assert not (place / "living").exists(), "the task ran again beside its former processes"
    assert [fact.outcome for fact in facts(project, AttemptEnded)] == [Outcome.INTERRUPTED, Outcome.OK]


@pytest.mark.row("F8")
def test_a_task_that_was_started_and_not_journaled_is_ended_and_runs_again_alone(project: Project, place: Path) -> None:
    """The supervising process stands still while the runner starts the task; then everything is killed at once."""
    project.configure(f'worktree:\n  setup: ["{waits_for(place / "slot")}"]\n')
    project.write("m1", milestone_of({"id": "t1", "run": stubborn_task(place)}))
    running = project.start("run", "m1", "--json")
    wait_until(lambda: facts(project, AttemptGranted), 60.0, "the attempt is granted")
    runner = ready_pid(project, "runner")
    os.kill(runner, signal.SIGSTOP)
    (place / "slot").touch()
    # What is shown was sent to the children before.
    wait_until(lambda: '"event": "SlotPrepared"' in running.text(), 60.0, "the runner has been sent what it waited for")
    os.kill(running.process.pid, signal.SIGSTOP)
    os.kill(runner, signal.SIGCONT)
    pids = stubborn_pids(place)
    assert facts(project, SlotPrepared)
    assert not facts(project, AttemptStarted), "it was journaled after all"

    children = list(pids_of_children(project.records()).values())
    _kill_in_the_same_moment([fork_server_of(running.process.pid), running.process.pid, *children])
    running.process.wait(60.0)

    assert all(map(is_alive, pids)), "somebody was left to end the tasks"
    assert_resumes(project, place / "go", {"t1": ()})
    assert not (place / "living").exists(), "the task ran again beside its former processes"
    assert not any(map(is_alive, pids))
    assert [fact.attempt for fact in facts(project, AttemptStarted)] == ["t1.2"]


@pytest.mark.row("F2", "F30")
def test_a_stopped_runner_is_found_silent_its_tasks_are_ended_and_run_again(project: Project, place: Path) -> None:
    project.write("m1", milestone_of({"id": "t1", "run": stubborn_task(place)}))
    running = project.start("run", "m1")
    pids = stubborn_pids(place)
    runner = ready_pid(project, "runner")
    (place / "go").touch()

    os.kill(runner, signal.SIGSTOP)

    assert running.wait() == 0, running.text()
    (gone,) = facts(project, ChildGone)
    assert gone.child == "runner"
    assert "no heartbeat for 5 s" in gone.reason
    assert not any(map(is_alive, [runner, *pids]))
    assert not (place / "living").exists(), "the task ran again beside its former processes"
    assert [fact.outcome for fact in facts(project, AttemptEnded)] == [Outcome.INTERRUPTED, Outcome.OK]
    assert_done_once(project, "m1", {"t1": ()})
    assert_files_written(project)
