"""`milestonectl doctor` beside a run: the run answers, its processes are nobody's leftovers; after a kill they are."""

import json
from pathlib import Path

from actors.events import AttemptStarted
from tests.e2e.stage import Project, assert_nothing_lives, facts, milestone_of, waits_for
from tests.waiting import wait_until


def test_beside_a_run_all_is_well_and_the_supervising_process_answers(folder: Project, place: Path) -> None:
    folder.write("m1", milestone_of({"id": "a", "run": waits_for(place / "gate")}))
    running = folder.start("run", "m1")
    wait_until(lambda: facts(folder, AttemptStarted), 60.0, "an attempt runs")
    document = json.loads(folder.ctl("doctor", "--json").out)
    said = {one["what"]: one["level"] for one in document["findings"]}
    assert document["exit_code"] == 0
    assert said["the supervising process answers"] == "ok"
    assert said["nothing is left of sessions that nobody supervises"] == "ok"
    (place / "gate").touch()
    assert running.wait() == 0
    said = {one["what"]: one["level"] for one in json.loads(folder.ctl("doctor", "--json").out)["findings"]}
    assert said["nobody supervises the project"] == "ok"
    assert "a stale control socket" not in said


def test_after_a_kill_the_socket_is_stale_and_the_next_run_mends_it(folder: Project, place: Path) -> None:
    folder.write("m1", milestone_of({"id": "a", "run": waits_for(place / "gate")}))
    running = folder.start("run", "m1")
    wait_until(lambda: facts(folder, AttemptStarted), 60.0, "an attempt runs")
    running.kill()
    text = folder.ctl("doctor").out
    assert "warning  a stale control socket\n" in text
    (place / "gate").touch()
    assert folder.ctl("run", "m1").code == 0
    assert "a stale control socket" not in folder.ctl("doctor").out
    assert_nothing_lives(folder, [])
