"""Commands that reach a run through its control socket: what they do, what they answer, and when."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from actors.events import AttemptStarted, SessionPaused, TaskCompleted, TaskFailed, TaskRetried
from tests.e2e.stage import Done, Project, Running, facts, milestone_of, waits_for
from tests.waiting import wait_until

VERBS = (
    ["start", "m1"],
    ["shutdown"],
    ["stop"],
    ["restart", "m1"],
    ["signal", "HUP", "m1:runner"],
    ["pid"],
    ["update", "m1"],
    ["reload"],
    ["cancel", "m1"],
    ["pause"],
    ["resume"],
    ["retry"],
    ["skip", "a"],
    ["events", "--follow"],
)


def begin(project: Project, *tasks: dict[str, object]) -> Running:
    """Start a run of milestone ``m1`` and wait until its first attempt runs."""
    project.write("m1", milestone_of(*tasks))
    running = project.start("run", "m1")
    wait_until(lambda: facts(project, AttemptStarted), 60.0, "an attempt runs")
    return running


def results(done: Done) -> dict[str, tuple[int, str]]:
    """Return code and text by name from what a verb printed with ``--json``."""
    document: dict[str, Any] = json.loads(done.out)
    assert document["exit_code"] == done.code
    return {one["name"]: (one["code"], one["text"]) for one in document["results"]}


def completed(project: Project) -> list[str]:
    """Return the completed tasks in order."""
    return [event.task for event in facts(project, TaskCompleted)]


def test_stop_answers_when_nothing_lives_and_the_next_run_finds_the_project_free(folder: Project, place: Path) -> None:
    running = begin(folder, {"id": "a", "run": waits_for(place / "gate")})
    assert folder.ctl("stop") == Done(0, "m1: stopped\n", "")
    assert folder.session_json()["status"] == "interrupted"
    (place / "gate").touch()
    again = folder.ctl("run", "m1")
    assert again.code == 0, again.out + again.err
    assert running.wait() == 130
    assert completed(folder) == ["a"]


def test_stop_can_be_told_not_to_wait_or_to_wait_no_longer(folder: Project, place: Path) -> None:
    folder.configure("stop_grace: 3s\n")
    running = begin(folder, {"id": "a", "run": f"trap '' TERM; {waits_for(place / 'gate')}"})
    late = folder.ctl("stop", "m1", "--timeout", "0.1")
    assert (late.code, late.out) == (1, "")
    assert "no answer within 0.1 s" in late.err
    assert folder.ctl("stop", "m1", "--no-wait") == Done(0, "m1: ending\n", "")
    assert running.wait() == 130


def test_cancel_ends_a_session_for_good_and_the_next_run_begins_another(folder: Project, place: Path) -> None:
    running = begin(folder, {"id": "a", "run": waits_for(place / "gate")})
    session = folder.session()
    assert results(folder.ctl("cancel", session, "--json")) == {session: (0, "cancelled")}
    assert running.wait() == 1
    assert folder.session_json()["status"] == "cancelled"
    assert "a new session begins with the rest: milestonectl run m1" in running.text()
    assert "\nMilestone m1 cancelled by a person, with milestonectl\n" in running.text()
    assert "Mend it" not in running.text()
    (place / "gate").touch()
    assert folder.ctl("run", "m1").code == 0
    assert folder.session() != session


def test_pause_starts_nothing_new_until_resume(folder: Project, place: Path) -> None:
    second: dict[str, object] = {"id": "b", "run": "true", "depends_on": ["a"]}
    running = begin(folder, {"id": "a", "run": waits_for(place / "gate")}, second)
    assert folder.ctl("pause", "m1") == Done(0, "m1: paused\n", "")
    (place / "gate").touch()
    wait_until(lambda: completed(folder) == ["a"], 60.0, "what ran has finished")
    assert "paused by a person" in folder.ctl("status", "m1").out
    assert [event.attempt for event in facts(folder, AttemptStarted)] == ["a.1"]
    assert folder.ctl("resume", "all") == Done(0, "m1: resumed\n", "")
    assert running.wait() == 0
    assert completed(folder) == ["a", "b"]


def test_retry_attempts_what_failed_again_and_what_waited_for_it_runs(project: Project, place: Path) -> None:
    running = begin(
        project,
        {"id": "a", "run": f"test -e '{place}/mended' && echo > a.txt"},
        {"id": "b", "run": "echo > b.txt", "depends_on": ["a"]},
        {"id": "c", "run": waits_for(place / "gate")},
    )
    wait_until(lambda: facts(project, TaskFailed), 60.0, "a has failed")
    (place / "mended").touch()
    assert results(project.ctl("retry", "--json")) == {"a": (0, "to be attempted again")}
    wait_until(lambda: completed(project) == ["a", "b"], 60.0, "a and b are completed")
    (place / "gate").touch()
    assert running.wait() == 0
    assert [commit["Task"] for commit in project.commits("milestone/m1")] == ["a", "b"]


def test_what_cannot_be_retried_or_skipped_is_said_for_each_task(folder: Project, place: Path) -> None:
    second: dict[str, object] = {"id": "task-2", "run": "true", "depends_on": ["task-1"]}
    running = begin(folder, {"id": "task-1", "run": waits_for(place / "gate")}, second)
    done = folder.ctl("skip", "task-1", "task-2", "task2")
    assert done.code == 1
    assert done.out.splitlines() == [
        "task-1: ERROR (task task-1 is running)",
        "task-2: skipped",
        "task2: ERROR (there is no task task2; did you mean 'task-2'?)",
    ]
    assert results(folder.ctl("retry", "task-1", "task-2", "--json")) == {
        "task-1": (1, "task task-1 is running"),
        "task-2": (0, "to be attempted again"),
    }
    assert folder.ctl("skip", "task-2", "--session", "nosuch").code == 1
    (place / "gate").touch()
    assert running.wait() == 0
    assert len(facts(folder, TaskRetried)) == 1


def test_a_skipped_task_is_cancelled_in_the_file_and_stays_out_of_the_next_run_unless_it_is_brought_back(
    folder: Project, place: Path
) -> None:
    skipped: list[dict[str, object]] = [{"id": key, "run": "true", "depends_on": ["a"]} for key in ("b", "c")]
    running = begin(folder, {"id": "a", "run": waits_for(place / "gate")}, *skipped)
    file = folder.path / ".milestones" / "active" / "m1.yaml"
    assert folder.ctl("skip", "b", "c").code == 0
    wait_until(lambda: file.read_text(encoding="utf-8").count("cancelled") == 2, 60.0, "it is in the file")
    assert folder.ctl("retry", "c").code == 0
    wait_until(lambda: file.read_text(encoding="utf-8").count("cancelled") == 1, 60.0, "the file has it back")
    running.kill()
    (place / "gate").touch()
    assert folder.ctl("run", "m1").code == 0
    assert completed(folder) == ["a", "c"]
    text = (folder.path / ".milestones" / "completed" / "m1.yaml").read_text(encoding="utf-8")
    assert text.count("cancelled") == 1


@pytest.mark.parametrize("verb", VERBS, ids=lambda words: words[0])
def test_with_nobody_there_each_verb_says_so_with_its_exit_code(folder: Project, verb: Sequence[str]) -> None:
    folder.write("m1", milestone_of({"id": "a", "run": "true"}))
    done = folder.ctl(*verb)
    assert (done.code, done.out) == (69, "")
    assert "nobody supervises" in done.err
    assert "Traceback" not in done.err
    assert json.loads(folder.ctl(*verb, "--json").out)["error"]["code"] == 69


def test_an_unknown_session_is_said_and_the_others_are_served(folder: Project, place: Path) -> None:
    running = begin(folder, {"id": "a", "run": waits_for(place / "gate")})
    done = folder.ctl("pause", "m2", "m1")
    assert (done.code, done.out.splitlines()) == (1, ["m2: ERROR (no such session)", "m1: paused"])
    assert len(facts(folder, SessionPaused)) == 1
    assert list(results(folder.ctl("pid", "m1:runner", "m2", "m1", "--json")))[:3] == [
        "m1:runner",
        "m2",
        "m1:task_executor",
    ]
    assert folder.ctl("stop", "nosuch").code == 1
    assert folder.ctl("stop").code == 0
    running.wait()


def test_events_are_followed_to_the_end_and_can_be_taken_up_anywhere(folder: Project, place: Path) -> None:
    running = begin(folder, {"id": "a", "run": waits_for(place / "gate")})
    followers = [folder.start("events", "--follow", "--json", "--since", since) for since in ("0", "5")]
    wait_until(lambda: all(follower.text().count("\n") for follower in followers), 60.0, "both follow")
    (place / "gate").touch()
    assert running.wait() == 0
    assert [follower.wait() for follower in followers] == [0, 0]
    seen = [[json.loads(line) for line in follower.text().splitlines()] for follower in followers]
    everything = [(record.seq, record.kind) for record, _ in folder.records()]
    assert [(one["seq"], one["kind"]) for one in seen[0]] == everything
    assert seen[1] == seen[0][5:]
    later = folder.ctl("events", "--json")
    assert [json.loads(line) for line in later.out.splitlines()] == seen[0]
    assert "TaskCompleted" in folder.ctl("events", "--session", folder.session()).out
    assert folder.ctl("events", "--session", "m1").out == folder.ctl("events", "--session", folder.session()).out
    assert folder.ctl("events", "--session", "nosuch").code == 1


def test_the_socket_goes_with_the_run_and_one_that_was_left_behind_hinders_nobody(folder: Project, place: Path) -> None:
    running = begin(folder, {"id": "a", "run": waits_for(place / "gate")})
    control = folder.path / ".milestones" / "run" / "control.sock"
    assert control.is_socket()
    running.kill()
    assert folder.ctl("pause").code == 69
    (place / "gate").touch()
    assert folder.ctl("run", "m1").code == 0
    assert not control.exists()


def test_a_run_without_its_socket_says_so_and_goes_on(folder: Project) -> None:
    folder.write("m1", milestone_of({"id": "a", "run": "true"}))
    (folder.path / ".milestones" / "run" / "control.sock" / "in the way").mkdir(parents=True)
    done = folder.ctl("run", "m1")
    assert done.code == 0
    assert "no control socket" in done.err
