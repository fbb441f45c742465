"""The daemon with real processes: several sessions, what is taken up after its end, signals and exit codes."""

import functools
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from actors.events import AttemptStarted, SessionEnded, SessionResumed, SessionStarted, TaskCompleted
from supervisor.cancelling import NOTHING
from supervisor.client import Client
from supervisor.daemon import run_daemon
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
    wait_until(lambda: " ready " in running.text(), 60.0, "the daemon is ready")
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
    wait_until(lambda: attempts(folder) == 2, 60.0, "both run")
    (place / "m2").touch()
    wait_until(lambda: len(facts(folder, SessionEnded)) == 1, 60.0, "the second has ended")
    assert folder.ctl("stop") == Done(0, "m1: stopped\n", "")
    assert folder.ctl("stop").code == 7
    (place / "m1").touch()
    assert folder.ctl("start", "m1").code == 0
    wait_until(lambda: len(facts(folder, TaskCompleted)) == 2, 60.0, "both tasks are completed")
    assert folder.ctl("shutdown") == Done(0, "shut down\n", "")
    assert daemon.wait() == 0
    assert not (folder.path / ".milestones" / "run" / "control.sock").exists()


def test_a_session_that_ran_when_the_daemon_was_killed_is_taken_up_and_completed(folder: Project, gate: Path) -> None:
    write(folder, "m1", gate)
    daemon = up(folder)
    assert folder.ctl("start", "m1").code == 0
    wait_until(lambda: attempts(folder) == 1, 60.0, "it runs")
    pids = list(pids_of_children(folder.records()).values())
    daemon.kill()
    assert_nothing_lives(folder, pids)
    gate.touch()
    again = up(folder)
    wait_until(lambda: facts(folder, TaskCompleted), 60.0, "the task is completed")
    assert len(facts(folder, SessionStarted)) == len(facts(folder, SessionResumed)) == 1
    down(again)


def test_a_graceful_end_interrupts_sessions_and_the_next_daemon_takes_them_up(folder: Project, gate: Path) -> None:
    write(folder, "m1", gate)
    daemon = up(folder)
    assert folder.ctl("start", "m1").code == 0
    wait_until(lambda: attempts(folder) == 1, 60.0, "it runs")
    down(daemon)
    assert folder.session_json()["status"] == "interrupted"
    again = up(folder)
    wait_until(lambda: attempts(folder) == 2, 60.0, "it runs again")
    down(again)


@pytest.mark.parametrize("verb", ["stop", "cancel", "pause"])
def test_what_an_operator_ended_or_paused_stays_so_over_a_restart(folder: Project, gate: Path, verb: str) -> None:
    write(folder, "m1", gate)
    daemon = up(folder)
    assert folder.ctl("start", "m1").code == 0
    wait_until(lambda: attempts(folder) == 1, 60.0, "it runs")
    assert folder.ctl(verb, "m1").code == 0
    down(daemon)
    again = up(folder)
    assert folder.ctl("stop").code == 7
    down(again)
    assert len(facts(folder, SessionResumed)) == 0


def test_a_session_that_was_stopped_is_cancelled_by_the_daemon_and_begun_anew(folder: Project, gate: Path) -> None:
    write(folder, "m1", gate)
    daemon = up(folder)
    assert folder.ctl("start", "m1").code == 0
    wait_until(lambda: attempts(folder) == 1, 60.0, "it runs")
    session = folder.session()
    assert folder.ctl("stop", "m1").code == 0
    assert folder.ctl("cancel", session, "nosuch").out == f"{session}: cancelled\nnosuch: ERROR (no such session)\n"
    assert folder.ctl("cancel", "m1") == Done(7, f"m1: ERROR ({NOTHING})\n", "")
    assert json.loads((folder.path / ".milestones/sessions" / session / "session.json").read_text())["tasks"] == {
        "a": "interrupted"
    }
    gate.touch()
    assert folder.ctl("start", "m1").code == 0
    wait_until(lambda: attempts(folder) == 2, 60.0, "it runs again")
    assert folder.session() != session
    down(daemon)


@pytest.mark.row("F28")
def test_a_second_signal_ends_everything_at_once(folder: Project, place: Path) -> None:
    folder.configure("stop_grace: 60s\n")
    folder.write("m1", milestone_of({"id": "a", "run": f"trap '' TERM; {waits_for(place / 'gate')}"}))
    daemon = up(folder)
    assert folder.ctl("start", "m1").code == 0
    wait_until(lambda: attempts(folder) == 1, 60.0, "it runs")
    daemon.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "ending" in daemon.text(), 60.0, "it heeds the first one")
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.wait(60.0) == 0
    assert_nothing_lives(folder, [])


@pytest.mark.row("F19")
def test_a_project_that_a_daemon_holds_refuses_a_run_and_another_daemon_and_names_it(folder: Project) -> None:
    folder.write("m1", milestone_of({"id": "a", "run": "true"}))
    folder.configure(f"metrics: {{listen: '{folder.path / 'm.sock'}'}}\n")  # which the second one finds taken as well
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
    wait_until(lambda: attempts(folder) == 1, 60.0, "it runs")
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


def test_an_argument_that_is_not_there_is_wrong_usage(folder: Project, capsys: pytest.CaptureFixture[str]) -> None:
    missing = folder.path / "missing"
    for words in ((str(missing),), ("--config", str(missing), str(folder.path)), ("--nosuch",)):
        assert run_daemon(words) == 2
        assert ("missing" in capsys.readouterr().err) == (str(missing) in words)


def test_a_reload_is_taken_by_what_lives_as_far_as_that_goes_and_a_wrong_one_changes_nothing(
    folder: Project, gate: Path
) -> None:
    write(folder, "m1", gate)
    daemon = up(folder)
    assert folder.ctl("start", "m1").code == 0
    folder.configure("max_parallel: 0\n")
    refused = folder.ctl("reload")
    assert (refused.code, refused.out) == (78, "")
    assert "milestoned.yaml:1:15:" in refused.err
    folder.configure("max_parallel: 7\nstop_grace: 3s\n")
    done = folder.ctl("reload")
    assert (done.code, done.out.splitlines()[1]) == (0, "m1: changed: max_parallel; from its next start: stop_grace")
    wait_until(lambda: folder.fold().settings.max_parallel == 7, 60.0, "the session has it")
    folder.configure("max_parallel: 8\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: folder.fold().settings.max_parallel == 8, 60.0, "a signal does the same")
    down(daemon)


def test_usr1_writes_the_stacks_of_all_threads(folder: Project) -> None:
    folder.write("m1", milestone_of({"id": "a", "run": "true"}))
    daemon = up(folder)
    daemon.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: daemon.text().count("Thread 0x") >= 3, 60.0, "stacks are there")
    assert is_alive(daemon.process.pid)
    down(daemon)


def roles(project: Project) -> dict[str, str]:
    """Return the state of each role of milestone ``m1``, as `status` shows it."""
    (session,) = json.loads(project.ctl("status", "m1", "--json").out)["sessions"]
    return {role["role"]: role["state"] for role in session["roles"]}


@pytest.mark.row("P16")
def test_a_role_that_was_stopped_stays_so_over_a_restart_of_the_daemon_until_it_is_started(
    folder: Project, gate: Path
) -> None:
    write(folder, "m1", gate)
    daemon = up(folder)
    assert folder.ctl("start", "m1").code == 0
    name = "m1:progress_monitor"
    pid = int(folder.ctl("pid", name).out)
    assert is_alive(pid)
    assert folder.ctl("stop", name) == Done(0, f"{name}: stopped\n", "")
    assert not is_alive(pid)
    assert folder.ctl("stop", name) == Done(0, f"{name}: not running\n", "")
    assert folder.ctl("pid", name) == Done(7, "0\n", "")
    assert folder.ctl("signal", "HUP", name) == Done(7, f"{name}: ERROR (not running)\n", "")
    down(daemon)
    again = up(folder)
    wait_until(lambda: attempts(folder) == 2, 60.0, "the session was taken up")
    assert roles(folder)["progress_monitor"] == "STOPPED"
    assert folder.ctl("start", name, "m1:runner") == Done(0, f"{name}: started\nm1:runner: already started\n", "")
    wait_until(lambda: roles(folder)["progress_monitor"] == "RUNNING", 60.0, "it runs")
    down(again)


def test_two_projects_are_supervised_by_one_daemon_each_with_its_own_lock_and_socket(
    folder: Project, place: Path
) -> None:
    other = Project(place / "other")
    other.path.mkdir()
    for number, one in enumerate((folder, other)):
        write(one, "m1", place / f"gate-{number}")
    daemon = up(folder, str(other.path))
    for one in (folder, other):
        assert one.ctl("start", "m1").code == 0
        assert one.ctl("pid").out == f"{daemon.process.pid}\n"
    (place / "gate-1").touch()
    wait_until(lambda: facts(other, SessionEnded), 60.0, "the session of the other project has ended")
    assert not facts(folder, SessionEnded)
    assert other.ctl("reload").out.splitlines() == [
        f"{folder.path}: read again",
        "m1: nothing changed",
        f"{other.path}: read again",
    ]
    assert other.ctl("shutdown").code == 0
    assert daemon.wait() == 0
    assert facts(folder, SessionEnded)[-1].status.value == "interrupted"


def test_a_project_whose_lock_is_taken_away_ends_the_daemon_and_the_sessions_of_the_others_in_order(
    folder: Project, place: Path
) -> None:
    other = Project(place / "other")
    other.path.mkdir()
    for one in (folder, other):
        write(one, "m1", place / "gate")
    daemon = up(folder, str(other.path))
    for one in (folder, other):
        assert one.ctl("start", "m1").code == 0
        wait_until(functools.partial(attempts, one), 60.0, "it runs")
    (folder.path / ".milestones" / "lock").unlink()
    assert daemon.wait() == 75
    assert "was removed or replaced" in daemon.text()
    assert facts(other, SessionEnded)[-1].status.value == "interrupted"
    assert_nothing_lives(folder, [])
    (place / "gate").touch()
    again = up(other)
    wait_until(lambda: facts(other, TaskCompleted), 60.0, "the next daemon takes it up")
    down(again)


def test_a_run_stops_starts_and_restarts_its_roles_as_a_daemon_does(folder: Project, gate: Path) -> None:
    write(folder, "m1", gate)
    running = folder.start("run", "m1")
    wait_until(lambda: attempts(folder) == 1, 60.0, "it runs")
    name = "m1:blocker_detector"
    assert folder.ctl("stop", name).code == 0
    assert folder.ctl("restart", name) == Done(0, f"{name}: started\n", "")
    assert folder.ctl("restart", "m1").code == 75
    assert folder.ctl("reload").code == 75
    assert folder.ctl("cancel", name).code == 2
    gate.touch()
    assert running.wait() == 0


def test_tasks_get_of_a_daemons_environment_what_is_configured(folder: Project, place: Path) -> None:
    folder.configure("environment: [PATH, 'MY_*']\nsecrets: [TOKEN]\n")
    folder.write("m1", milestone_of({"id": "a", "run": f"env > '{place}/env'"}))
    daemon = folder.daemon(env={"MY_ONE": "1", "TOKEN": "2", "OTHER": "3", "HOME": "/nowhere"})
    wait_until(lambda: " ready " in daemon.text(), 60.0, "the daemon is ready")
    assert folder.ctl("start", "m1").code == 0
    wait_until(lambda: facts(folder, TaskCompleted), 60.0, "the task is completed")
    seen = dict(line.split("=", 1) for line in (place / "env").read_text().splitlines())
    assert {"PATH", "MY_ONE", "TOKEN", "TASK_ID"} <= seen.keys()
    assert not {"OTHER", "HOME"} & seen.keys()
    down(daemon)


def test_the_process_itself_answers_what_its_sessions_are(folder: Project, gate: Path) -> None:
    write(folder, "m1", gate)
    daemon = up(folder)
    assert folder.ctl("start", "m1").code == 0
    with Client(folder.path / ".milestones" / "run" / "control.sock", 30.0) as client:

        def report() -> Any:  # noqa: ANN401 - JSON
            answer = client.ask("status")
            assert (answer["pid"], answer["what"]) == (daemon.process.pid, "milestoned")
            return answer["sessions"][0]

        wait_until(lambda: report()["tally"]["counts"]["running"] == 1, 60.0, "the task runs")
        wait_until(lambda: {role["state"] for role in report()["roles"]} == {"RUNNING"}, 60.0, "all roles are shown")
        found = report()
        assert (found["milestone_id"], found["status"], found["tally"]["percentage"]) == ("m1", "running", 0)
        assert {role["pid"] for role in found["roles"]} == set(map(int, folder.ctl("pid", "m1").out.split()))
    down(daemon)


def test_a_session_with_a_stopped_role_can_end(folder: Project, gate: Path) -> None:
    write(folder, "m1", gate)
    daemon = up(folder)
    assert folder.ctl("start", "m1").code == 0
    wait_until(lambda: attempts(folder) == 1, 60.0, "it runs")
    assert folder.ctl("stop", "m1:blocker_detector").code == 0
    gate.touch()
    wait_until(lambda: facts(folder, SessionEnded), 60.0, "it has ended")
    assert facts(folder, SessionEnded)[-1].status.value == "completed"
    down(daemon)


def test_a_session_whose_executor_was_stopped_can_be_cancelled(folder: Project, gate: Path) -> None:
    write(folder, "m1", gate)
    daemon = up(folder)
    assert folder.ctl("start", "m1").code == 0
    wait_until(lambda: attempts(folder) == 1, 60.0, "it runs")
    assert folder.ctl("stop", "m1:task_executor").code == 0
    assert folder.ctl("cancel", "m1") == Done(0, "m1: cancelled\n", "")
    down(daemon)


def test_roles_and_sessions_are_restarted_and_signalled(folder: Project, gate: Path) -> None:
    write(folder, "m1", gate)
    daemon = up(folder)
    assert folder.ctl("start", "m1").code == 0
    wait_until(lambda: attempts(folder) == 1, 60.0, "it runs")
    pids = folder.ctl("pid", "m1:*").out.split()
    assert len(set(pids)) == 6
    assert folder.ctl("pid").out == f"{daemon.process.pid}\n"
    done = folder.ctl("restart", "m1:*")
    assert done.code == 0
    assert {line.partition(": ")[2] for line in done.out.splitlines()} == {"started"}
    again = folder.ctl("pid", "m1").out.split()
    assert not set(pids) & set(again)
    assert folder.ctl("signal", "KILL", "m1:git_integration") == Done(0, "m1:git_integration: signalled\n", "")
    assert folder.ctl("signal", "NOPE", "m1:git_integration").code == 1
    lives = len(facts(folder, SessionResumed))
    assert folder.ctl("restart", "m1") == Done(0, "m1: started\n", "")
    assert len(facts(folder, SessionResumed)) == lives + 1
    down(daemon)


@pytest.mark.row("F18")
def test_an_edit_is_shown_and_then_taken_in_by_the_session_that_lives(folder: Project, place: Path) -> None:
    first: dict[str, object] = {"id": "a", "run": waits_for(place / "a")}
    second: dict[str, object] = {"id": "b", "run": "false", "depends_on": ["a"]}
    third: dict[str, object] = {"id": "c", "run": "true", "depends_on": ["a"]}
    folder.write("m1", milestone_of(first, second))
    daemon = up(folder)
    assert folder.ctl("start", "m1").code == 0
    assert folder.ctl("update", "m1").out == "nothing changed\n"
    wait_until(lambda: attempts(folder) == 1, 60.0, "it runs")
    folder.write("m1", milestone_of(first, {**second, "run": "true"}, third))
    shown = folder.ctl("update", "m1")
    assert shown.out.splitlines()[:2] == ["+ c", "~ b: run"]
    assert json.loads(folder.ctl("update", "m1", "--json").out)["applied"] is False
    assert folder.ctl("update", "m1", "--apply").out.splitlines()[-1] == "taken in"
    folder.write("m1", milestone_of({**first, "run": "true"}, second))
    refused = folder.ctl("update", "m1", "--apply")
    assert (refused.code, "tasks that run changed: a" in refused.err) == (2, True)
    folder.write("m1", "id: m1\ntasks: 7\n")
    assert folder.ctl("update", "m1").code == 2
    assert folder.ctl("update", "nosuch").code == 1
    (place / "a").touch()
    wait_until(lambda: len(facts(folder, TaskCompleted)) == 3, 60.0, "all are completed")
    down(daemon)
