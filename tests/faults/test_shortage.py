"""What the system refuses in the middle of a run: processes, descriptors, memory."""

import contextlib
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from actors.events import (
    AttemptEnded,
    AttemptStarted,
    ChildGone,
    ChildReady,
    Outcome,
    SessionPaused,
    SessionUnpaused,
    TaskFailed,
)
from actors.standstill import TASKS_WAIT
from actors.state import ROLES
from tests.e2e.stage import (
    COMMAND,
    Done,
    Project,
    Running,
    assert_done_once,
    facts,
    fork_server_of,
    milestone_of,
    pids_of_children,
    ready_pid,
    waits_for,
)
from tests.faults.strangers import limit, start_as_stranger, take_back
from tests.runner.harness import Stage, sh
from tests.waiting import wait_until


def _lowest_free(pid: int) -> int:
    taken = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    return next(number for number in range(len(taken) + 1) if number not in taken)


@contextlib.contextmanager
def nothing_more(kind: int, pids: list[int]) -> Iterator[None]:
    """Let processes of a user have no further process, or no further descriptor, meanwhile."""
    before = limit(kind, {pid: 1 if kind == resource.RLIMIT_NPROC else _lowest_free(pid) for pid in pids})
    try:
        yield
    finally:
        limit(kind, before)


@pytest.mark.row("F10")
def test_what_cannot_be_started_for_want_of_descriptors_waits_pauses_the_session_and_starts_then(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path)
    try:
        runner = stage.start()
        soft, hard = resource.prlimit(runner, resource.RLIMIT_NOFILE)
        resource.prlimit(runner, resource.RLIMIT_NOFILE, (_lowest_free(runner), hard))
        try:
            attempt = stage.grant("t", sh("echo here"))
            stage.until(lambda: stage.facts(SessionPaused))
            (paused,) = stage.facts(SessionPaused)
            assert paused.reason.startswith(TASKS_WAIT)
            assert "Too many open files" in paused.reason
            assert "ulimit -n" in paused.reason
            beats = stage.beats()
            stage.until(lambda: stage.beats() > beats)
            assert stage.facts(AttemptEnded) == []
        finally:
            resource.prlimit(runner, resource.RLIMIT_NOFILE, (soft, hard))
        assert stage.ended(attempt).outcome is Outcome.OK
        stage.until(lambda: stage.facts(SessionUnpaused))
        assert len(stage.facts(SessionPaused)) == 1
    finally:
        stage.close()


def _tree(running: Running) -> list[int]:
    for role in ROLES:
        ready_pid(running.project, role)
    children = pids_of_children(running.project.records()).values()
    return [running.process.pid, fork_server_of(running.process.pid), *children]


@pytest.mark.row("F10")
@pytest.mark.parametrize("kind", [resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE], ids=["processes", "descriptors"])
def test_a_run_without_processes_or_descriptors_pauses_loses_nobody_and_goes_on_when_there_are_some(
    strangers_project: Project, kind: int
) -> None:
    """A role that dies meanwhile is forked when that can be done; git, threads and tasks wait."""
    project, gate = strangers_project, strangers_project.path.parent / "go"
    tasks = {"t1": (), "t2": ("t1",)}
    scripts = {"t1": f"{waits_for(gate)}; echo 1 > one", "t2": "echo 2 > two"}
    project.write("m1", milestone_of(*({"id": t, "depends_on": [*n], "run": scripts[t]} for t, n in tasks.items())))
    running = start_as_stranger(project)
    wait_until(lambda: facts(project, AttemptStarted) or running.process.poll() is not None, 60.0, "the task runs")
    assert running.process.poll() is None, running.text()

    with nothing_more(kind, _tree(running)):
        gate.touch()
        wait_until(
            lambda: facts(project, SessionPaused) or running.process.poll() is not None, 60.0, "the session pauses"
        )
        os.kill(ready_pid(project, "blocker_detector"), signal.SIGKILL)
        wait_until(lambda: len(facts(project, ChildGone)) > 2, 60.0, "it cannot be forked again")
        assert running.process.poll() is None, running.text()
        assert len(facts(project, AttemptStarted)) == 1
        assert [fact.incarnation for fact in facts(project, ChildReady) if fact.child == "blocker_detector"] == [1]

    assert running.wait() == 0, running.text()
    assert {fact.child for fact in facts(project, ChildGone)} == {"blocker_detector"}
    assert facts(project, TaskFailed) == []
    assert len(facts(project, AttemptStarted)) == len(tasks)
    take_back(project)
    assert_done_once(project, "m1", tasks)


# --- memory ------------------------------------------------------------------------------------------------------

_V1: Final = Path("/sys/fs/cgroup/memory")
_V2: Final = Path("/sys/fs/cgroup")
LIMIT: Final = 256 << 20
"""Bytes that run, roles and tasks may have together."""


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """Yield the file by which a process enters a group of its own whose memory is limited."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a group whose memory is limited")
    for parent, name in ((_V1, "memory.limit_in_bytes"), (_V2, "memory.max")):
        group = parent / f"milestoned-test-{os.getpid()}"
        with contextlib.suppress(OSError):
            group.mkdir()
            try:
                (group / name).write_text(str(LIMIT), encoding="ascii")
                yield group / "cgroup.procs"
            finally:
                wait_until(lambda group=group: not _members(group), 60.0, "the group is empty")  # type: ignore[misc]
                group.rmdir()
            return
    pytest.skip("no control group limits memory here (v1 memory controller, or v2 with it enabled at the root)")


def _members(group: Path) -> str:
    return (group / "cgroup.procs").read_text(encoding="ascii").strip()


@pytest.mark.row("F9")
def test_a_task_that_the_kernel_kills_for_want_of_memory_has_failed_with_that_reason(
    folder: Project, memory_group: Path
) -> None:
    eats = f"{sys.executable} -c 'x = bytearray({2 * LIMIT}); x[::4096] = bytes(len(x[::4096]))'"
    folder.write("m1", milestone_of({"id": "hungry", "run": eats}, {"id": "modest", "run": "true"}))
    enter = ["sh", "-c", 'echo $$ > "$1" && shift && exec "$@"', "sh", str(memory_group)]
    found = subprocess.run(
        [*enter, *COMMAND, "-C", str(folder.path), "run", "m1", "--plain", "-j", "1"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
    done = Done(found.returncode, found.stdout, found.stderr)
    assert done.code == 1, done.out + done.err
    (failed,) = facts(folder, TaskFailed)
    assert failed.task == "hungry"
    assert "killed, while the kernel killed for want of memory" in failed.reason
    assert {fact.attempt: fact.outcome for fact in facts(folder, AttemptEnded)}["modest.1"] is Outcome.OK
    assert facts(folder, ChildGone) == []
