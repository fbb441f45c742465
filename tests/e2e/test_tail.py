"""`milestonectl tail --follow` beside a run: it goes on with what comes, and ends when there is nothing to wait for."""

import json
import os
import signal
from pathlib import Path

from actors.events import AttemptStarted
from tests.e2e.stage import Project, facts, milestone_of, waits_for
from tests.waiting import wait_until


def test_follow_shows_what_comes_goes_on_with_the_next_attempt_and_ends_with_the_task(
    folder: Project, place: Path
) -> None:
    script = f"if test -e '{place}/tried'; then echo again; {waits_for(place / 'gate')}; echo done; exit 0; fi\n"
    script += f"echo first; printf open; {waits_for(place / 'gate-1')}; touch '{place}/tried'; exit 1"
    folder.write("m1", milestone_of({"id": "a", "run": script, "retries": 1, "retry_delay": "0s"}))
    running = folder.start("run", "m1")
    wait_until(lambda: facts(folder, AttemptStarted), 60.0, "an attempt runs")
    tail = folder.start("tail", "-f", "a")
    lines = folder.start("tail", "-f", "--json", "a")
    wait_until(lambda: "first\n" in tail.text(), 60.0, "the first attempt's output")
    wait_until(lambda: '"first"' in lines.text(), 60.0, "the same as an object")
    (place / "gate-1").touch()
    wait_until(lambda: "again\n" in tail.text(), 60.0, "the second attempt's output")
    assert tail.process.poll() is None
    (place / "gate").touch()
    assert (tail.wait(), lines.wait(), running.wait()) == (0, 0, 0)
    assert tail.text().index("first\n") < tail.text().index("==> a.2 <==") < tail.text().index("done\n")
    objects = [json.loads(line) for line in lines.text().splitlines() if line.startswith("{")]
    shown = [(one["name"], one["line"]) for one in objects if not one["line"].startswith("$ ")]
    assert shown == [("a.1", "first"), ("a.1", "open"), ("a.2", "again"), ("a.2", "done")]


def test_follow_ends_when_its_reader_has_gone_and_at_ctrl_c(folder: Project, place: Path) -> None:
    folder.write("m1", milestone_of({"id": "a", "run": f"echo hello; {waits_for(place / 'gate')}"}))
    running = folder.start("run", "m1")
    wait_until(lambda: facts(folder, AttemptStarted), 60.0, "an attempt runs")
    reader, writer = os.pipe()
    gone = folder.start("tail", "-f", "a", stdout=writer)
    os.close(writer)
    stopped = folder.start("tail", "-f", "m1:task_executor")
    followed = folder.start("tail", "-f", "a")
    with os.fdopen(reader, "rb", buffering=0) as output:
        assert output.readline() in {b"hello\n", b"$ run: echo hello; " + waits_for(place / "gate").encode() + b"\n"}
    assert gone.wait() == 141
    wait_until(lambda: "hello\n" in followed.text(), 60.0, "it follows")
    for one in (stopped, followed):
        one.process.send_signal(signal.SIGINT)
    assert followed.wait() == 130
    assert stopped.wait() in {130, -signal.SIGINT}  # before Python was up
    assert "Traceback" not in followed.text()
    (place / "gate").touch()
    assert running.wait() == 0
