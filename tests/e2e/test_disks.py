"""Disks under a run: no more files can be made, and a sync that fails.

Owns what only a file system of its own, or strace, can bring about; without them the tests are skipped, by name.
"""

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.events import AttemptEnded, AttemptStarted, SessionPaused, SessionUnpaused, TaskCompleted
from tests.disks import small_disk
from tests.e2e.stage import Project, assert_done_once, facts, milestone_of, pids_of_children, waits_for
from tests.journal import power
from tests.repositories import make_repository
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("swept")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of few files."""
    with small_disk(tmp_path / "disk", "size=64m,nr_inodes=2000") as made:
        yield made


def _take_all_files(disk: Path) -> Path:
    ballast = disk / "ballast"
    ballast.mkdir()
    with contextlib.suppress(OSError):
        for number in range(10_000):
            (ballast / str(number)).touch()
    with pytest.raises(OSError, match="No space left"):
        (disk / "one more").touch()
    return ballast


@pytest.mark.parametrize("isolation", ["worktree", "none"])
def test_a_disk_that_takes_no_more_files_pauses_the_session_and_room_lets_it_go_on(
    disk: Path, place: Path, isolation: str
) -> None:
    """There is room in the journal; what a commit, or the log of the next task, needs is a new file."""
    project = Project(make_repository(disk / "project"))
    change = {"worktree": "echo {0} > {0}.txt", "none": "echo {0}"}[isolation]
    first = {"id": "t0", "run": f"{waits_for(place / 'go')}; {change.format('t0')}"}
    second = {"id": "t1", "depends_on": ["t0"], "run": change.format("t1")}
    project.write("m1", milestone_of(first, second, requirements={"disk_space_mb": 1}))
    try:
        running = project.start("run", "m1", "--isolation", isolation)
        wait_until(lambda: facts(project, AttemptStarted), 60.0, "the first task runs")
        ballast = _take_all_files(disk)
        (place / "go").touch()
        wait_until(lambda: facts(project, SessionPaused) or running.process.poll() is not None, 60.0, "it pauses")
        assert running.process.poll() is None, running.text()
        assert "No space left on device" in facts(project, SessionPaused)[0].reason

        shutil.rmtree(ballast)

        assert running.wait() == 0, running.text()
    finally:
        project.end_all()
    assert facts(project, SessionUnpaused)
    assert [fact.outcome.value for fact in facts(project, AttemptEnded)] == ["ok", "ok"]
    assert [fact.task for fact in facts(project, TaskCompleted)] == ["t0", "t1"]
    if isolation == "worktree":
        assert_done_once(project, "m1", {"t0": (), "t1": ("t0",)})


def _is_watched(pid: int, tracer: subprocess.Popen[bytes]) -> bool:
    """Tell whether every thread of a process is watched, or nobody watches any more."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    said = f"TracerPid:\t{tracer.pid}\n"
    return tracer.poll() is not None or all(said in (one / "status").read_text(encoding="ascii") for one in threads)


def test_a_run_whose_journal_cannot_be_synced_ends_with_74_and_the_next_one_goes_on(
    project: Project, place: Path
) -> None:
    reason = power.missing()
    if reason:
        pytest.skip(reason)
    project.write("m1", milestone_of({"id": "t0", "run": f"{waits_for(place / 'go')}; echo x > t0.txt"}))
    running = project.start("run", "m1")
    wait_until(lambda: facts(project, AttemptStarted), 60.0, "the task runs")
    known = list(pids_of_children(project.records()).values())
    words = [
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=fdatasync",
        "-e",
        "inject=fdatasync:error=EIO",
        "-o",
        str(place / "trace"),
    ]
    with subprocess.Popen([*words, "-p", str(running.process.pid)], stderr=subprocess.DEVNULL) as tracer:
        try:
            wait_until(lambda: _is_watched(running.process.pid, tracer), 60.0, "every thread is watched")
            if tracer.poll() is not None:
                pytest.skip("strace may not watch another process here")
            (place / "go").touch()

            assert running.wait() == 74, running.text()
        finally:
            tracer.send_signal(signal.SIGTERM)
            tracer.wait(30.0)

    assert "the journal cannot be relied on any more" in running.text()
    assert "check the disk, then start again" in running.text()
    assert "Traceback" not in running.text()
    injected = [line for line in (place / "trace").read_text(encoding="ascii").splitlines() if "(INJECTED)" in line]
    assert len(injected) == 1, injected
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in known), 60.0, "nothing of it lives")
    done = project.ctl("run", "m1")
    assert done.code == 0, done.out + done.err
    assert_done_once(project, "m1", {"t0": ()})
