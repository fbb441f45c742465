"""Storms of signals, at any moment of a start, of a recovery, of an end."""

import os
import random
import signal
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from actors.events import AttemptStarted, TaskCompleted
from tests.e2e.stage import (
    Project,
    Running,
    assert_done_once,
    assert_nothing_lives,
    facts,
    milestone_of,
    stubborn_pids,
    stubborn_task,
)
from tests.e2e.test_kills import SEED
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("swept")

STORM: Final = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
CODES: Final = {129, 130, 143}


def _storm(running: Running, chance: random.Random, number: int) -> int:
    """Send signals in any order until the process has ended; return its exit code."""
    for _ in range(number):
        if running.process.poll() is not None:
            break
        running.process.send_signal(chance.choice(STORM))
        moment = monotonic() + chance.uniform(0.0, 0.01)
        wait_until(lambda moment=moment: monotonic() >= moment)  # type: ignore[misc]
    return running.wait(60.0)


@pytest.mark.row("F28")
def test_a_storm_of_signals_at_any_moment_leaves_a_session_that_resumes(project: Project, place: Path) -> None:
    """While it starts, while it takes up what a kill left, while it ends: no traceback, and nothing lives."""
    print(f"seed {SEED}")  # noqa: T201 - repeats the run
    chance = random.Random(f"{SEED}/storm")
    project.write("m1", milestone_of({"id": "t1", "run": stubborn_task(place)}))
    first = project.start("run", "m1")
    pids = stubborn_pids(place)
    first.kill()
    texts = []
    for life in range(3):
        running = project.start("run", "m1")
        # Before its first word in the journal it may still be an interpreter that imports, which is nothing of ours.
        seq = project.last_seq() + 1 + chance.randint(0, 6 * life)
        wait_until(
            lambda seq=seq, running=running: project.last_seq() >= seq or running.process.poll() is not None,  # type: ignore[misc]
            60.0,
            "a moment of its start",
        )
        code = _storm(running, chance, 40)
        # Signals that come before it listens end it as they do any other process.
        assert code in CODES | {-number for number in STORM}, running.text()
        texts.append(running.text())
        assert_nothing_lives(project, pids)

    assert not any("Traceback" in text for text in texts), texts
    (place / "go").touch()
    done = project.ctl("run", "m1")
    assert done.code == 0, done.out + done.err
    assert not (place / "living").exists()
    assert len(facts(project, TaskCompleted)) == 1
    assert_done_once(project, "m1", {"t1": ()})


@pytest.mark.row("F28")
def test_a_daemon_that_is_terminated_while_it_recovers_leaves_what_the_next_one_recovers(
    folder: Project, place: Path
) -> None:
    tasks = {f"t{number}": () for number in range(3)}
    entries = ({"id": task, "run": f"until test -e {place}/go; do sleep 0.05; done"} for task in tasks)
    folder.write("m1", milestone_of(*entries))
    daemon = folder.daemon()
    wait_until(lambda: folder.ctl("start", "m1").code == 0, 60.0, "it listens")
    wait_until(lambda: facts(folder, AttemptStarted), 60.0, "they run")
    daemon.kill()
    before = folder.last_seq()
    recovering = folder.daemon()
    wait_until(lambda: folder.last_seq() > before, 60.0, "it takes the session up")
    os.kill(recovering.process.pid, signal.SIGTERM)
    assert recovering.wait(60.0) == 0, recovering.text()
    assert "Traceback" not in recovering.text()
    (place / "go").touch()
    last = folder.daemon()
    wait_until(lambda: len(facts(folder, TaskCompleted)) == len(tasks), 60.0, "all are completed")
    assert len({fact.task for fact in facts(folder, TaskCompleted)}) == len(tasks)
    os.kill(last.process.pid, signal.SIGTERM)
    assert last.wait(60.0) == 0, last.text()
