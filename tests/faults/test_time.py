"""Time that is not what it seems: busy processors, processes that stood still, a wall clock that jumps."""

import os
import shutil
import signal
import subprocess
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Final

import pytest

from actors.events import AttemptEnded, AttemptStarted, ChildGone, Outcome, TaskCompleted
from actors.state import ROLES
from supervisor.conduct import HEARTBEAT_TIMEOUT
from tests.e2e.stage import (
    Project,
    Running,
    assert_done_once,
    facts,
    fork_server_of,
    milestone_of,
    pids_of_children,
    ready_pid,
    start_waiting,
    waits_for,
)
from tests.repositories import MakeRepository
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("swept")

LONGER: Final = HEARTBEAT_TIMEOUT + 1.5
"""Seconds after which a silent child would have been found out."""

JUMP: Final = 7200
"""Seconds; more than any delay or limit of the tasks here."""


@pytest.mark.row("F2")
def test_on_a_machine_without_an_idle_moment_nobody_is_taken_for_hanging(folder: Project) -> None:
    number = 2 * len(os.sched_getaffinity(0))
    tasks = {f"t{index}": () for index in range(number)}
    burn = f"timeout {LONGER} sh -c 'while :; do :; done'; test $? = 124"
    folder.write("m1", milestone_of(*({"id": task, "run": burn} for task in tasks)))

    done = folder.ctl("run", "m1", "-j", str(number))

    assert done.code == 0, done.out + done.err
    ended = facts(folder, AttemptEnded)
    wanted, got = sum(one.seconds for one in ended), sum(one.cpu_seconds for one in ended)
    assert all(one.seconds >= LONGER for one in ended)
    assert got < 0.8 * wanted, "the processors were not all busy: the tasks got all the time that they wanted"
    assert facts(folder, ChildGone) == []


def _stand_still(pids: list[int]) -> None:
    """Stop processes for longer than any of them may be silent; they wake in this order."""
    over = monotonic() + LONGER
    for pid in reversed(pids):
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: monotonic() >= over, 60.0, "the deadline has passed")
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def _waiting_run(made: Project, gate: Path) -> Running:
    running = start_waiting(made, gate)
    wait_until(lambda: facts(made, AttemptStarted), 60.0, "the task runs")
    for role in ROLES:
        ready_pid(made, role)
    return running


@pytest.mark.row("F15")
def test_time_in_which_supervision_stood_still_is_held_against_nobody(
    project: Project, git_repo: MakeRepository, place: Path
) -> None:
    """The supervising process alone, and a whole tree, as a suspended machine has it: side by side."""
    other = Project(git_repo("other"))
    try:
        alone, whole = _waiting_run(project, place / "go"), _waiting_run(other, place / "go")
        children = pids_of_children(other.records()).values()
        everything = [whole.process.pid, fork_server_of(whole.process.pid), *children]

        _stand_still([alone.process.pid, *everything])

        # Whoever were to be called silent would be by the time that it has beaten again.
        beats = monotonic() + 1.5
        wait_until(lambda: monotonic() >= beats, 60.0, "all had time to be judged")
        (place / "go").touch()
        for made, running in ((project, alone), (other, whole)):
            assert running.wait() == 0, running.text()
            assert facts(made, ChildGone) == []
            assert len(facts(made, AttemptStarted)) == 1
            assert_done_once(made, "m1", {"t1": ()})
    finally:
        other.end_all()


@pytest.fixture(scope="module")
def shifted_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a library that moves the wall clock of whoever preloads it."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("a wall clock that jumps for one process is made with a C compiler (cc)")
    library = tmp_path_factory.mktemp("clock") / "shifted_clock.so"
    source = Path(__file__).with_name("shifted_clock.c")
    done = subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"the C compiler makes no library: {done.stderr}")
    return library


def turn(clock: Path, seconds: int) -> None:
    """Shift the clock of whoever reads that file: at once, so that nobody finds it empty."""
    fresh = clock.with_suffix(".new")
    fresh.write_text(str(seconds), encoding="ascii")
    fresh.rename(clock)


@pytest.mark.row("F15")
def test_a_wall_clock_that_jumps_ends_delays_and_hurries_nothing(
    project: Project, place: Path, shifted_clock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour's limit is not over after a jump of two, and a retry does not wait for a clock that was set back."""
    clock = place / "clock"
    turn(clock, 0)
    monkeypatch.setenv("SHIFTED_CLOCK", str(clock))
    monkeypatch.setenv("LD_PRELOAD", str(shifted_clock))
    tasks = {"t1": (), "t2": ("t1",), "t3": ("t2",)}
    scripts = {
        "t1": f"{waits_for(place / 'one')}; echo 1 > one",
        "t2": f"test -e {place}/again || {{ touch {place}/again; {waits_for(place / 'two')}; exit 1; }}; echo 2 > two",
        "t3": "echo 3 > three",
    }
    more = {"timeout": "1h", "retries": 2, "retry_delay": "1s"}
    entries = ({"id": task, "depends_on": list(needs), "run": scripts[task], **more} for task, needs in tasks.items())
    project.write("m1", milestone_of(*entries))
    running = project.start("run", "m1")
    wait_until(lambda: facts(project, AttemptStarted), 60.0, "the first task runs")

    turn(clock, JUMP)
    (place / "one").touch()
    wait_until(lambda: len(facts(project, AttemptStarted)) > 1, 60.0, "the second task runs")
    turn(clock, -JUMP)
    (place / "two").touch()

    assert running.wait() == 0, running.text()
    walls = [record.wall for record, _ in project.records()]
    jumps = [later - earlier for earlier, later in pairwise(walls) if abs(later - earlier) > 3600]
    assert [jump > 0 for jump in jumps] == [True, False], "the clock did not jump twice"
    assert facts(project, ChildGone) == []
    outcomes = [fact.outcome for fact in facts(project, AttemptEnded)]
    assert outcomes == [Outcome.OK, Outcome.FAILED, Outcome.OK, Outcome.OK]
    assert [fact.task for fact in facts(project, TaskCompleted)] == ["t1", "t2", "t3"]
    assert_done_once(project, "m1", tasks)
