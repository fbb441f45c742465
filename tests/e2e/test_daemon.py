"""The daemon with real processes: several sessions, what is taken up after its end, signals and exit codes."""

import json
import signal
from pathlib import Path

import pytest

from actors.events import AttemptStarted, SessionEnded, SessionResumed, SessionStarted, TaskCompleted
from supervisor.linux import is_alive
from tests.e2e.stage import (
    Done,
    Project,
    Running,
    assert_nothing_lives,
    facts,
    milestone_of,
    pids_of_children,
    waits_for,
)
from tests.waiting import wait_until


def up(project: Project, *words: str) -> Running:
    """Start a daemon and wait until it answers."""
    running = project.daemon(*words)
    wait_until(lambda: '"ready"' in running.text() or " ready " in running.text(), 30.0, "the daemon is ready")
    return running


def write(project: Project, name: str, gate: Path, task: str = "a") -> None:
    """Write a milestone whose only task waits for a gate."""
    project.write(name, milestone_of({"id": task, "run": waits_for(gate)}).replace("id: m1", f"id: {name}", 1))


def attempts(project: Project) -> int:
    """Return how many attempts have started, in all sessions."""
    return len(facts(project, AttemptStarted))


def down(running: Running) -> None:
    """End a daemon in order."""
    running.process.send_signal(signal.SIGTERM)
    assert running.wait() == 0


@pytest.fixture
def gate(place: Path) -> Path:
    return place / "gate"


def test_several_sessions_run_at_once_and_each_ends_by_itself(folder: Project, place: Path) -> None:
    for name in ("m1", "m2"):
        write(folder, name, place / name)
    daemon = up(folder)
    assert folder.ctl("start", "m1", "m2") == Done(0, "m1: started\nm2: started\n", "")
    assert folder.ctl("start", "m1") == Done(0, "m1: already started\n", "")
    wait_until(lambda: attempts(folder) == 2, 30.0, "both run")
    (place / "m2").touch()
    wait_until(lambda: len(facts(folder, SessionEnded)) == 1, 30.0, "the second has ended")
    assert folder.ctl("stop") == Done(0, "m1: stopped\n", "")
    assert folder.ctl("stop").code == 7
    (place / "m1").touch()
    assert folder.ctl("start", "m1").code == 0
    wait_until(lambda: len(facts(folder, TaskCompleted)) == 2, 30.0, "both tasks are completed")
    assert folder.ctl("shutdown") == Done(0, "shut down\n", "")
    assert daemon.wait() == 0
    assert not (folder.path / ".milestones" / "run" / "control.sock").exists()


def test_a_session_that_ran_when_the_daemon_was_killed_is_taken_up_and_completed(folder: Project, gate: Path) -> None:
    write(folder, "m1", gate)
    daemon = up(folder)
    assert folder.ctl("start", "m1").code == 0
    wait_until(lambda: attempts(folder) == 1, 30.0, "it runs")
    pids = list(pids_of_children(folder.records()).values())
    daemon.kill()
    assert_nothing_lives(folder, pids)
    gate.touch()
    again = up(folder)
    wait_until(lambda: facts(folder, TaskCompleted), 30.0, "the task is completed")
    assert len(facts(folder, SessionStarted)) == len(facts(folder, SessionResumed)) == 1
    down(again)


def test_a_graceful_end_interrupts_sessions_and_the_next_daemon_takes_them_up(folder: Project, gate: Path) -> None:
    write(folder, "m1", gate)
    daemon = up(folder)
    assert folder.ctl("start", "m1").code == 0
    wait_until(lambda: attempts(folder) == 1, 30.0, "it runs")
    down(daemon)
    assert folder.session_json()["status"] == "interrupted"
    again = up(folder)
    wait_until(lambda: attempts(folder) == 2, 30.0, "it runs again")
    down(again)


@pytest.mark.parametrize("verb", ["stop", "cancel", "pause"])
def test_what_an_operator_ended_or_paused_stays_so_over_a_restart(folder: Project, gate: Path, verb: str) -> None:
    write(folder, "m1", gate)
    daemon = up(folder)
    assert folder.ctl("start", "m1").code == 0
    wait_until(lambda: attempts(folder) == 1, 30.0, "it runs")
    assert folder.ctl(verb, "m1").code == 0
    down(daemon)
    again = up(folder)
    assert folder.ctl("stop").code == 7
    down(again)
    assert len(facts(folder, SessionResumed)) == 0


def test_a_second_signal_ends_everything_at_once(folder: Project, place: Path) -> None:
    folder.configure("stop_grace: 60s\n")
    folder.write("m1", milestone_of({"id": "a", "run": f"trap '' TERM; {waits_for(place / 'gate')}"}))
    daemon = up(folder)
    assert folder.ctl("start", "m1").code == 0
    wait_until(lambda: attempts(folder) == 1, 30.0, "it runs")
    daemon.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "ending" in daemon.text(), 30.0, "it heeds the first one")
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.wait(20.0) == 0
    assert_nothing_lives(folder, [])


def test_a_project_that_a_daemon_holds_refuses_a_run_and_another_daemon_and_names_it(folder: Project) -> None:
    folder.write("m1", milestone_of({"id": "a", "run": "true"}))
    daemon = up(folder)
    refused = folder.ctl("run", "m1")
    assert (refused.code, f"process {daemon.process.pid} (milestoned)" in refused.err) == (75, True)
    assert "milestonectl start m1" in refused.err
    second = folder.daemon()
    assert second.wait() == 75
    assert f"process {daemon.process.pid} (milestoned)" in second.text()
    down(daemon)


def test_what_cannot_be_started_is_said_with_its_code(folder: Project) -> None:
    folder.write("bad", "id: bad\ntitle: T\ntasks:\n  - {id: a, title: A, depends_on: [z]}\n")
    daemon = up(folder)
    missing = folder.ctl("start", "nosuch")
    assert (missing.code, "milestone not found" in missing.out) == (1, True)
    document = json.loads(folder.ctl("start", "bad", "--json").out)
    assert document["exit_code"] == 2
    assert "bad.yaml:4:" in document["results"][0]["text"]
    down(daemon)


def test_a_milestone_that_a_run_supervises_cannot_be_started_beside_it(folder: Project, gate: Path) -> None:
    write(folder, "m1", gate)
    folder.write("m2", milestone_of({"id": "a", "run": "true"}).replace("id: m1", "id: m2", 1))
    running = folder.start("run", "m1")
    wait_until(lambda: attempts(folder) == 1, 30.0, "it runs")
    assert folder.ctl("start", "m1") == Done(0, "m1: already started\n", "")
    assert folder.ctl("start", "m2").code == 75
    assert folder.ctl("shutdown").code == 0
    assert running.wait() == 130


def test_a_directory_without_milestones_and_a_wrong_configuration_are_refused(folder: Project) -> None:
    lost = folder.daemon()
    assert lost.wait() == 1
    assert "milestonectl -C" in lost.text()
    folder.configure("max_parallel: many\n")
    wrong = folder.daemon()
    assert wrong.wait() == 78
    assert "milestoned.yaml:1:" in wrong.text()
    assert "Traceback" not in lost.text() + wrong.text()


def test_hup_reads_the_configuration_again_and_a_wrong_one_changes_nothing(folder: Project, gate: Path) -> None:
    write(folder, "m1", gate)
    daemon = up(folder)
    folder.configure("max_parallel: 0\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "not reloaded" in daemon.text(), 30.0, "it says so")
    folder.configure("max_parallel: 7\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: " reloaded" in daemon.text().replace("not reloaded", ""), 30.0, "it says so")
    assert folder.ctl("start", "m1").code == 0
    assert folder.fold().settings.max_parallel == 7
    down(daemon)


def test_usr1_writes_the_stacks_of_all_threads(folder: Project) -> None:
    folder.write("m1", milestone_of({"id": "a", "run": "true"}))
    daemon = up(folder)
    daemon.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: daemon.text().count("Thread 0x") >= 3, 30.0, "stacks are there")
    assert is_alive(daemon.process.pid)
    down(daemon)
